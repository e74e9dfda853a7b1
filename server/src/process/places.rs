//! How many processes run of one kind at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// The processes of one `exec` or `cgi`, by its name: shared by all workers, across reloads.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicUsize,
    /// Told of each that is free again.
    freed: Notify,
}

/// One process's place among the others; free again when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// A place, if there are fewer than `max`.
    pub fn take(self: &Arc<Self>, max: usize) -> Option<Place> {
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < max).then_some(now + 1));
        taken.ok().map(|_| Place(Arc::clone(self)))
    }

    /// The same, but if there is none, then one that is free within this time.
    pub async fn take_within(self: &Arc<Self>, patience: Duration, max: usize) -> Option<Place> {
        if let Some(place) = self.take(max) {
            return Some(place);
        }
        let waiting = async {
            loop {
                self.freed.notified().await;
                if let Some(place) = self.take(max) {
                    return place;
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_waits_gets_the_place_that_is_free_in_time() {
        let places = Arc::<Places>::default();
        let place = places.take(1).unwrap();
        assert!(places.take_within(Duration::from_millis(1), 1).await.is_none());
        let long = Duration::from_secs(60);
        let (first, second, ()) = tokio::join!(
            async { drop(places.take_within(long, 1).await.unwrap()) },
            async { drop(places.take_within(long, 1).await.unwrap()) },
            async { drop(place) }
        );
        assert_eq!((first, second), ((), ()));
        assert!(places.take(1).is_some());
    }
}
