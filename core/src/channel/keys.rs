//! Idempotency keys: what was published under them, for a while.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt};

/// Keys of one channel; one more forgets the oldest.
pub const KEYS_MAX: usize = 10_000;

/// Bytes of a key.
pub const KEY_MAX: usize = 128;

/// The keys of one channel.
#[derive(Debug)]
pub(super) struct Keys {
    offsets: HashMap<Arc<str>, u64>,
    /// The oldest first.
    order: VecDeque<(Duration, Arc<str>)>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { offsets: HashMap::new(), order: VecDeque::new() }
    }
}

impl Keys {
    pub(super) fn find(&self, key: &str) -> Option<u64> {
        self.offsets.get(key).copied()
    }

    /// Remembers a key that is not known, until `until`, which is never before that of another key.
    pub(super) fn insert(&mut self, key: &str, offset: u64, until: Duration) {
        let key: Arc<str> = key.into();
        self.offsets.insert(Arc::clone(&key), offset);
        self.order.push_back((until, key));
        if self.order.len() > KEYS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets what is too old; true when nothing is left.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
        self.order.is_empty()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.offsets.remove(&key);
        }
    }
}
