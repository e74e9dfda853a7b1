//! What is known of one endpoint: requests in flight, failures in a row, and until when it is out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::config::Outlier;

/// The state of one endpoint of one upstream, shared by all workers and kept across reloads.
///
/// Times are nanoseconds since the process started.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Those in flight in the lower bits, all that ever began above them: one addition counts both.
    requests: AtomicU64,
    failures: AtomicU32,
    /// 0: never ejected. It stays after the end, so that growth knows how long the endpoint has been back.
    ejected_until: AtomicU64,
    /// Ejections in a row without a good time of `eject_max` between them.
    growth: AtomicU32,
    ejections: AtomicU64,
}

/// 16,777,215 requests in flight, more than there can be connections, and 10^12 in all.
const IN_FLIGHT_BITS: u32 = 24;

impl EndpointState {
    /// Requests in flight, all workers.
    pub fn in_flight(&self) -> u32 {
        (self.requests.load(Relaxed) & ((1 << IN_FLIGHT_BITS) - 1)) as u32
    }

    /// Requests that it got since it is known.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed) >> IN_FLIGHT_BITS
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// How long it still is out; zero if it isn't.
    pub fn ejected_for(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.ejected_until.load(Relaxed)).saturating_sub(now)
    }

    /// How often it was ejected since the process started.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// Whether it is out at `now`.
    pub fn is_ejected(&self, now: Duration) -> bool {
        let until = self.ejected_until.load(SeqCst);
        until != 0 && until > nanos(now)
    }

    /// When it comes back; zero if it was never out.
    pub(super) fn ejected_until(&self) -> u64 {
        self.ejected_until.load(Relaxed)
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1 << IN_FLIGHT_BITS | 1, Relaxed);
        InFlight { state: Arc::clone(self) }
    }

    pub(super) fn succeed(&self) {
        // A plain store would make every good answer of every worker write to the shared cache line.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// Adds failures; the number in a row.
    pub(super) fn fail(&self, count: u32) -> u32 {
        let before = self.failures.fetch_add(count, Relaxed);
        if before > u32::MAX / 2 {
            // Ages of failures without an answer must not wrap round to a healthy zero.
            self.failures.store(u32::MAX / 2, Relaxed);
        }
        before.saturating_add(count)
    }

    /// Takes the endpoint out, unless it is out or `may_stay_out` says that too many are.
    ///
    /// `may_stay_out` is asked once this endpoint is marked: of two reporters that eject at once, at least one sees
    /// both marks, so that they can't overstep a bound together (hence SeqCst, also in [`Self::is_ejected`]).
    pub(super) fn eject(&self, outlier: &Outlier, now: Duration, may_stay_out: impl Fn() -> bool) -> Option<Ejection> {
        let before = self.ejected_until.load(SeqCst);
        if before > nanos(now) {
            return None;
        }
        let good_since = Duration::from_nanos(before);
        let forgotten = before == 0 || now.saturating_sub(good_since) >= outlier.eject_max;
        let growth = if forgotten { 0 } else { self.growth.load(Relaxed) };
        let for_ = grown(outlier, growth);
        let until = nanos(now.saturating_add(for_)).max(1);
        self.ejected_until.compare_exchange(before, until, SeqCst, SeqCst).ok()?;
        if !may_stay_out() {
            // Nobody else changes the mark while it lies in the future.
            self.ejected_until.store(before, SeqCst);
            return None;
        }
        self.growth.store(growth.saturating_add(1), Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        Some(Ejection { for_ })
    }
}

/// Counts one request in flight while it lives.
#[derive(Debug)]
#[must_use = "the request counts only as long as this lives"]
pub struct InFlight {
    state: Arc<EndpointState>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.requests.fetch_sub(1, Relaxed);
    }
}

/// An endpoint was just taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// For how long.
    pub for_: Duration,
}

/// `eject`, doubled `growth` times, at most `eject_max`.
fn grown(outlier: &Outlier, growth: u32) -> Duration {
    let factor = 1u32.checked_shl(growth).unwrap_or(u32::MAX);
    outlier.eject.saturating_mul(factor).min(outlier.eject_max)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
