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
    /// A place for one more connection; None when `max` are open, or `per_client` of this client.
    pub fn admit(self: &Arc<Self>, client: Option<IpAddr>, max: usize, per_client: Option<usize>) -> Option<Permit> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        // From here on the permit gives the place back, whatever follows.
        let mut permit = Permit { connections: Arc::clone(self), client: None };
        if let (Some(client), Some(per_client)) = (client, per_client) {
            let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_client.entry(client).or_default();
            if *count >= per_client {
                return None;
            }
            *count += 1;
            permit.client = Some(client);
        }
        Some(permit)
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
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
        let (one, two) = (Some([127, 0, 0, 1].into()), Some([127, 0, 0, 2].into()));
        let first = connections.admit(one, 10, Some(1));
        assert!(first.is_some());
        assert!(connections.admit(one, 10, Some(1)).is_none());
        assert!(connections.admit(two, 10, Some(1)).is_some());
        drop(first);
        assert!(connections.admit(one, 10, Some(1)).is_some());
        assert_eq!(connections.open(), 0);
    }

    #[test]
    fn no_more_than_max_are_open() {
        let connections = Arc::new(Connections::default());
        let held = connections.admit(None, 1, None);
        assert!(held.is_some());
        assert!(connections.admit(None, 1, None).is_none());
    }
}
