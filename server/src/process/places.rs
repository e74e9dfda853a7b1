//! How many processes run of one kind at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The processes of one `exec` or `cgi`, by its name: shared by all workers, across reloads.
#[derive(Debug, Default)]
pub struct Places(AtomicUsize);

/// One process's place among the others; free again when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// A place, if there are fewer than `max`.
    pub fn take(self: &Arc<Self>, max: usize) -> Option<Place> {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < max).then_some(now + 1));
        taken.ok().map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
