//! Permits: how many connections at once, how many of one client; and the limits of the config.

mod limiters;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

pub use limiters::{Limiter, Limiters, Place, TooMuch};

/// Counts the open client connections of the process.
#[derive(Default)]
pub struct Connections {
    open: AtomicUsize,
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection; gives its place back on drop.
pub struct Permit {
    connections: Arc<Connections>,
    client: Option<IpAddr>,
}

impl Connections {
    /// A place for one more connection; None when `max` are open.
    pub fn admit(self: &Arc<Self>, max: usize) -> Option<Permit> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit { connections: Arc::clone(self), client: None })
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// Counts the connection as one of this client; false when it has `most` already.
    pub fn is_one_of(&mut self, client: IpAddr, most: usize) -> bool {
        let mut by_client = self.connections.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_client.entry(client).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut by_client = self.connections.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_at_its_limit_is_refused_and_others_are_not() {
        let connections = Arc::new(Connections::default());
        let (one, two) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let admit = |client| connections.admit(10).and_then(|mut permit| permit.is_one_of(client, 1).then_some(permit));
        let first = admit(one);
        assert!(first.is_some());
        assert!(admit(one).is_none());
        assert!(admit(two).is_some());
        drop(first);
        assert!(admit(one).is_some());
        assert_eq!(connections.open(), 0);
    }

    #[test]
    fn no_more_than_max_are_open() {
        let connections = Arc::new(Connections::default());
        let held = connections.admit(1);
        assert!(held.is_some());
        assert!(connections.admit(1).is_none());
    }
}
