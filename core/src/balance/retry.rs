//! How many second attempts an upstream may cost, so that retries never multiply an outage.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// One retry, in thousandths.
const RETRY: u64 = 1000;

/// Retries that requests can save up for a bad moment.
const SAVED_MAX: u64 = 100 * RETRY;

/// Retries a second that need no savings, so that an upstream with few requests can retry at all.
const FLOOR: u32 = 3;

/// The second attempts of one upstream as a share of its requests: a token bucket with a floor, shared by all workers.
///
/// Each request saves `share` of a retry, 100 retries at most; each retry spends one. Beside that three retries a
/// second are free. A share of 0 allows none at all.
#[derive(Debug)]
pub struct RetryBudget {
    /// What a request saves, in thousandths of a retry.
    share: u64,
    saved: AtomicU64,
    /// When the free retries will have been paid off, in nanoseconds since the process started.
    free_from: AtomicU64,
}

impl RetryBudget {
    /// A budget of `share` retries a request (0.2 is one for five requests), with nothing saved.
    pub fn new(share: f64) -> Self {
        let share = (share * RETRY as f64).round() as u64;
        Self { share: share.min(SAVED_MAX), saved: AtomicU64::new(0), free_from: AtomicU64::new(0) }
    }

    /// Counts a request; its retries are not requests.
    pub fn request(&self) {
        // A full bucket, the usual one, is only read.
        if self.share > 0 && self.saved.load(Relaxed) < SAVED_MAX {
            self.saved.fetch_add(self.share, Relaxed);
        }
    }

    /// Takes one retry; false: the budget is spent, answer with what the first attempt gave.
    pub fn try_retry(&self, now: Duration) -> bool {
        if self.share == 0 {
            return false;
        }
        let spend = |saved: u64| saved.checked_sub(RETRY);
        self.saved.fetch_update(Relaxed, Relaxed, spend).is_ok() || self.take_free(now)
    }

    /// Each free retry moves `free_from` a third of a second on; it may run one second ahead.
    fn take_free(&self, now: Duration) -> bool {
        const SECOND: u64 = 1_000_000_000;
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - SECOND);
        let step = |from: u64| {
            let next = from.max(now).saturating_add(SECOND / u64::from(FLOOR));
            (next <= now.saturating_add(SECOND)).then_some(next)
        };
        self.free_from.fetch_update(Relaxed, Relaxed, step).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn retries(budget: &RetryBudget, now: Duration) -> usize {
        (0..10_000).take_while(|_| budget.try_retry(now)).count()
    }

    #[test]
    fn a_quiet_upstream_may_retry_three_times_a_second() {
        let budget = RetryBudget::new(0.2);
        assert_eq!(retries(&budget, at(0)), 3);
        assert_eq!(retries(&budget, at(300)), 0);
        assert_eq!(retries(&budget, at(334)), 1);
        assert_eq!(retries(&budget, at(60_000)), 3);
    }

    #[test]
    fn a_busy_upstream_may_retry_its_share() {
        let budget = RetryBudget::new(0.2);
        (0..100).for_each(|_| budget.request());
        assert_eq!(retries(&budget, at(0)), 20 + 3);
    }

    #[test]
    fn savings_are_bounded() {
        let budget = RetryBudget::new(0.2);
        (0..1_000_000).for_each(|_| budget.request());
        assert_eq!(retries(&budget, at(0)), 100 + 3);
    }

    #[test]
    fn a_share_of_zero_allows_no_retry() {
        let budget = RetryBudget::new(0.0);
        budget.request();
        assert_eq!(retries(&budget, at(5_000)), 0);
    }
}
