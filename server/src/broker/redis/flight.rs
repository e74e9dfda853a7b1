//! How much may wait for Redis.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::observe::BrokerCounts;

/// Commands that wait for an answer; more are refused.
const COMMANDS_MAX: usize = 10_000;

/// Bytes of them.
const BYTES_MAX: usize = 64 << 20;

/// What waits for answers, of all nodes.
#[derive(Default)]
pub struct Flight {
    commands: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place among what waits.
pub struct Place<'a> {
    flight: &'a Flight,
    bytes: usize,
    counts: &'a BrokerCounts,
}

impl Flight {
    /// None: too much waits.
    pub fn take<'a>(&'a self, bytes: usize, counts: &'a BrokerCounts) -> Option<Place<'a>> {
        let commands = self.commands.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        counts.waiting.inc();
        let place = Place { flight: self, bytes, counts };
        (commands < COMMANDS_MAX && before + bytes <= BYTES_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.flight.commands.fetch_sub(1, Ordering::Relaxed);
        self.flight.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.counts.waiting.dec();
    }
}
