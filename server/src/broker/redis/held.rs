//! What is taken back when a worker stops waiting: its futures may be dropped at any time.

use std::sync::{Arc, atomic::Ordering};

use super::{node::Failure, shared::Shared};
use crate::broker::{Inbox, Name};

/// Subscribers that wait for a channel to be heard; more are refused.
const SUBSCRIBING_MAX: usize = 10_000;

/// A subscriber that is taken back unless it is kept; its future may be dropped at any time.
pub struct Held<'a> {
    shared: &'a Shared,
    channel: &'a Name,
    inbox: &'a Arc<Inbox>,
    is_kept: bool,
}

impl<'a> Held<'a> {
    /// One that was held.
    pub fn new(shared: &'a Shared, channel: &'a Name, inbox: &'a Arc<Inbox>) -> Self {
        Self { shared, channel, inbox, is_kept: false }
    }

    /// It stays.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.shared.interests.release(self.channel, self.inbox);
        }
    }
}

/// A place among those that wait for a channel to be heard.
pub struct Subscribing<'a>(&'a Shared);

impl<'a> Subscribing<'a> {
    /// None: too many wait.
    pub fn begin(shared: &'a Shared) -> Option<Self> {
        let before = shared.subscribing.fetch_add(1, Ordering::Relaxed);
        let place = Self(shared);
        (before < SUBSCRIBING_MAX).then_some(place)
    }
}

impl Drop for Subscribing<'_> {
    fn drop(&mut self) {
        self.0.subscribing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody who comes; if Redis did not say yes, it is as if nobody had come.
pub struct Entering<'a> {
    shared: &'a Shared,
    channel: &'a Name,
    id: &'a str,
    /// None: it was done.
    outcome: Option<Failure>,
}

impl<'a> Entering<'a> {
    /// Until there is an answer, nothing is known.
    pub fn begin(shared: &'a Shared, channel: &'a Name, id: &'a str) -> Self {
        Self { shared, channel, id, outcome: Some(Failure::Unknown) }
    }

    /// There is an answer; None: it was done.
    pub fn end(mut self, outcome: Option<Failure>) {
        self.outcome = outcome;
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if let Some(failure) = self.outcome {
            self.shared.own.withdraw(self.channel, self.id, failure == Failure::Unknown);
        }
    }
}
