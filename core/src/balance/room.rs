//! Where requests wait while every endpoint is full or away, first come first served, whatever worker they are on.
//!
//! **Invariant:** the lock is taken only while somebody waits, and never held while somebody is woken.
//! **Invariant:** whenever the first place becomes another's, or something is released while somebody waits, the first
//! one is woken: it looks again, and nobody else does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    task::Waker,
    time::Duration,
};

use super::endpoint::nanos;

/// While no endpoint can be reached, one request is let through so often to see whether one is back.
pub const TRIAL_EVERY: Duration = Duration::from_millis(100);

/// What of a group lasts across reloads, beside the states of its endpoints.
#[derive(Debug, Default)]
pub struct Lasting {
    /// The position of the round robin.
    pub(super) cursor: AtomicUsize,
    /// Who waits.
    pub room: Room,
}

/// Those who wait.
#[derive(Debug, Default)]
pub struct Room {
    waiting: AtomicUsize,
    line: Mutex<Line>,
    /// When the next request may try whether an endpoint can be reached again; 0: they can.
    next_trial: AtomicU64,
}

#[derive(Debug, Default)]
struct Line {
    /// By ticket; None until it first looked whether it is first.
    waiters: BTreeMap<u64, Option<Waker>>,
    next_ticket: u64,
}

/// A place in the line, given up when it is dropped.
#[derive(Debug)]
#[must_use = "the place is kept only as long as this lives"]
pub struct Place {
    lasting: Arc<Lasting>,
    ticket: u64,
}

impl Room {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Something changed for the better: the first one looks again.
    pub fn stir(&self) {
        fence(SeqCst);
        if self.waiting.load(Relaxed) > 0 {
            self.wake_first();
        }
    }

    /// A request has ended. The count in flight was lowered before; a waiter counts itself before it looks at that
    /// count: of the two, at least one sees the other.
    pub(super) fn released(&self) {
        self.stir();
    }

    /// No endpoint could be reached: the next one tries in [`TRIAL_EVERY`].
    pub fn unreachable(&self, now: Duration) {
        self.next_trial.store(nanos(now.saturating_add(TRIAL_EVERY)).max(1), Relaxed);
    }

    /// An endpoint was reached.
    pub fn reached(&self) {
        if self.next_trial.load(Relaxed) != 0 {
            self.next_trial.store(0, Relaxed);
            self.stir();
        }
    }

    /// Whether a request may try to reach an endpoint; while none can be reached, one in [`TRIAL_EVERY`].
    pub(super) fn may_try(&self, now: Duration) -> bool {
        let next = self.next_trial.load(Relaxed);
        if next == 0 {
            return true;
        }
        let later = nanos(now.saturating_add(TRIAL_EVERY));
        next <= nanos(now) && self.next_trial.compare_exchange(next, later, Relaxed, Relaxed).is_ok()
    }

    /// When the next trial is; None: there is nothing to try.
    pub(super) fn next_trial(&self) -> Option<Duration> {
        Some(self.next_trial.load(Relaxed)).filter(|at| *at != 0).map(Duration::from_nanos)
    }

    fn wake_first(&self) {
        let first = self.line().waiters.first_key_value().and_then(|(_, waker)| waker.clone());
        if let Some(waker) = first {
            waker.wake();
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A place at the end of the line; None: `size` wait already.
    pub fn take(lasting: &Arc<Lasting>, size: usize) -> Option<Self> {
        let room = &lasting.room;
        room.waiting.fetch_update(SeqCst, Relaxed, |count| (count < size).then(|| count + 1)).ok()?;
        fence(SeqCst);
        let mut line = room.line();
        let ticket = line.next_ticket;
        line.next_ticket += 1;
        line.waiters.insert(ticket, None);
        drop(line);
        Some(Self { lasting: Arc::clone(lasting), ticket })
    }

    /// Whether it is this one's turn to look; it is woken when it is, and when it should look again.
    pub fn is_first(&self, waker: &Waker) -> bool {
        let mut line = self.lasting.room.line();
        if let Some(known) = line.waiters.get_mut(&self.ticket) {
            match known {
                Some(known) => known.clone_from(waker),
                None => *known = Some(waker.clone()),
            }
        }
        line.waiters.first_key_value().is_some_and(|(ticket, _)| *ticket == self.ticket)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let room = &self.lasting.room;
        let mut line = room.line();
        let was_first = line.waiters.first_key_value().is_some_and(|(ticket, _)| *ticket == self.ticket);
        line.waiters.remove(&self.ticket);
        drop(line);
        room.waiting.fetch_sub(1, Relaxed);
        if was_first {
            room.wake_first();
        }
    }
}
