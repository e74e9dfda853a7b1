//! What is known of one endpoint: requests in flight, failures in a row, until when it is out, and what probes found.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Duration,
};

use super::Lasting;
use crate::config::Outlier;

/// Set in the mark of an ejection whose cause was a failed connect: the bound on ejections does not count it.
const UNREACHABLE: u64 = 1;

/// The state of one endpoint of one upstream, shared by all workers and kept across reloads.
///
/// Times are nanoseconds since the process started.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Those in flight in the lower bits, all that ever began above them: one addition counts both.
    requests: AtomicU64,
    failures: AtomicU32,
    /// 0: never ejected. It stays after the end, so that growth knows how long the endpoint has been back. The lowest
    /// bit is no nanosecond but [`UNREACHABLE`].
    ejected_until: AtomicU64,
    /// Ejections in a row without a good time of `eject_max` between them.
    growth: AtomicU32,
    ejections: AtomicU64,
    /// Since when it is here or up again; 0: from the start.
    since: AtomicU64,
    /// Whether probes found it down.
    down: AtomicBool,
    /// Probes in a row that contradict `down`.
    contrary: AtomicU32,
    /// Who waits for its requests to end; unset where nobody ever may.
    lasting: OnceLock<Arc<Lasting>>,
}

/// 16,777,215 requests in flight, more than there can be connections, and 10^12 in all.
const IN_FLIGHT_BITS: u32 = 24;

/// A request in flight, and one that began.
const ONE_MORE: u64 = 1 << IN_FLIGHT_BITS | 1;

fn in_flight(requests: u64) -> u32 {
    (requests & ((1 << IN_FLIGHT_BITS) - 1)) as u32
}

impl EndpointState {
    /// Requests in flight, all workers.
    pub fn in_flight(&self) -> u32 {
        in_flight(self.requests.load(Relaxed))
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

    /// Whether the last probes found it down.
    pub fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// The endpoint came with a reload: with `slow_start` its share grows from `now` on.
    pub fn arrived(&self, now: Duration) {
        self.since.store(nanos(now).max(1), Relaxed);
    }

    /// Hears of one probe; Some when it is up (true) or down (false) from now on. `fall` failures in a row take it
    /// down, `rise` successes bring it up again. One prober at a time.
    pub fn probed(&self, good: bool, fall: u32, rise: u32, now: Duration) -> Option<bool> {
        let down = self.down.load(Relaxed);
        if good != down {
            self.contrary.store(0, Relaxed);
            return None;
        }
        let contrary = self.contrary.load(Relaxed).saturating_add(1);
        if contrary < if down { rise } else { fall } {
            self.contrary.store(contrary, Relaxed);
            return None;
        }
        self.contrary.store(0, Relaxed);
        if down {
            self.arrived(now);
        }
        self.down.store(!down, Relaxed);
        Some(down)
    }

    /// Forgets what probes found: nobody probes any more, or anew.
    pub fn forget_probes(&self) {
        self.contrary.store(0, Relaxed);
        self.down.store(false, Relaxed);
    }

    /// When it comes back; zero if it was never out.
    pub(super) fn ejected_until(&self) -> u64 {
        self.ejected_until.load(Relaxed)
    }

    /// Whether it is out at `now` because of its answers.
    pub(super) fn is_ejected_for_answers(&self, now: Duration) -> bool {
        let until = self.ejected_until.load(SeqCst);
        until > nanos(now) && until & UNREACHABLE == 0
    }

    /// How far its share has grown since it came back, in 65536ths.
    pub(super) fn grown(&self, now: Duration, slow_start: Duration) -> u64 {
        let since = self.since.load(Relaxed).max(self.ejected_until.load(Relaxed));
        let whole = nanos(slow_start);
        if since == 0 || whole == 0 {
            return FULLY_GROWN;
        }
        let here = nanos(now).saturating_sub(since);
        match here < whole {
            true => (u128::from(FULLY_GROWN) * u128::from(here) / u128::from(whole)) as u64,
            false => FULLY_GROWN,
        }
    }

    /// From now on the end of each of its requests calls the first one who waits.
    pub(super) fn let_wait(&self, lasting: &Arc<Lasting>) {
        self.lasting.get_or_init(|| Arc::clone(lasting));
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(ONE_MORE, Relaxed);
        InFlight { state: Arc::clone(self) }
    }

    /// Counts a request unless `most` are in flight.
    pub(super) fn try_begin(self: &Arc<Self>, most: u32) -> Option<InFlight> {
        let one_more = |requests: u64| (in_flight(requests) < most).then(|| requests + ONE_MORE);
        self.requests.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(InFlight { state: Arc::clone(self) })
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
    pub(super) fn eject(
        &self,
        outlier: &Outlier,
        now: Duration,
        unreachable: bool,
        may_stay_out: impl Fn() -> bool,
    ) -> Option<Ejection> {
        let before = self.ejected_until.load(SeqCst);
        if before > nanos(now) {
            return None;
        }
        let good_since = Duration::from_nanos(before & !UNREACHABLE);
        let forgotten = before == 0 || now.saturating_sub(good_since) >= outlier.eject_max;
        let growth = if forgotten { 0 } else { self.growth.load(Relaxed) };
        let for_ = grown(outlier, growth);
        let until = nanos(now.saturating_add(for_)).max(2) & !UNREACHABLE;
        // One less is odd, and no later than was said.
        let until = if unreachable { until - 1 } else { until };
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

impl InFlight {
    /// Work that counts for no endpoint.
    pub fn uncounted() -> Self {
        let state = Arc::<EndpointState>::default();
        state.begin()
    }

    /// The answer came to its clean end; a row of failures is over.
    pub fn succeed(&self) {
        self.state.succeed();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.requests.fetch_sub(1, Relaxed);
        if let Some(lasting) = self.state.lasting.get() {
            lasting.room.released();
        }
    }
}

/// An endpoint was just taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// For how long.
    pub for_: Duration,
}

/// The whole of a share, as [`EndpointState::grown`] counts it.
pub(super) const FULLY_GROWN: u64 = 1 << 16;

/// `eject`, doubled `growth` times, at most `eject_max`.
fn grown(outlier: &Outlier, growth: u32) -> Duration {
    let factor = 1u32.checked_shl(growth).unwrap_or(u32::MAX);
    outlier.eject.saturating_mul(factor).min(outlier.eject_max)
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
