//! When a certificate is renewed, and how long is waited after an attempt that failed.
//!
//! Times are durations since the Unix epoch; seeds are any random numbers.

use std::time::Duration;

/// The first wait after a refusal; each one doubles it.
const REFUSED: Duration = Duration::from_secs(60);
/// The first wait when the authority can't be reached: nothing was used up there.
const UNREACHABLE: Duration = Duration::from_secs(2);
/// The longest wait of our own.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// The longest wait that an authority may ask for: one that asks for more is asked again after it.
const TOLD_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How often an authority is asked for its window at most, and at least (RFC 9773 §4.3.2).
const LOOK: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));

/// A new certificate stays this long at least, or an eighth of a short life, whatever its authority says: one that names
/// a window in the past would be asked for the next one at once, and again.
const STAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// From when until when a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore`.
    pub from: Duration,
    /// `notAfter`.
    pub until: Duration,
}

/// When the authority wants a certificate to be renewed, RFC 9773 §4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its start.
    pub start: Duration,
    /// Its end.
    pub end: Duration,
}

/// Whose word an attempt failed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The authority did not answer, so nothing counts against us.
    Unreachable,
    /// It answered, or what it gave can't be used.
    Refused,
}

impl Validity {
    /// At two thirds of its life, or up to a twenty-fourth of it earlier, so that those of one day don't come back on one.
    pub fn renew_at(self, seed: u64) -> Duration {
        let life = self.until.saturating_sub(self.from);
        (self.from + life * 2 / 3).saturating_sub(part(life / 24, seed))
    }

    /// Some time in the window, but never so late that a tenth of the life is left for what may go wrong; a window that
    /// ends before it starts is none.
    pub fn renew_within(self, window: Window, seed: u64) -> Duration {
        let Some(width) = window.end.checked_sub(window.start) else { return self.renew_at(seed) };
        let latest = self.until.saturating_sub(self.until.saturating_sub(self.from) / 10);
        (window.start + part(width, seed)).min(latest)
    }

    /// Before this it is not renewed, as it was got at `got`.
    pub fn stays_until(self, got: Duration) -> Duration {
        let life = self.until.saturating_sub(self.from);
        got + (life / 8).clamp(STAY.0, STAY.1)
    }

    /// Whether it counts now.
    pub fn holds(self, now: Duration) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// How long to wait after `failures` in a row, at least 1, the last one being `failure`. The authority's own word
/// (`Retry-After`) counts in full, up to a week; it shortens only the wait after the first one.
pub fn wait_after(failures: u32, failure: Failure, told: Option<Duration>, seed: u64) -> Duration {
    let first = match failure {
        Failure::Refused => REFUSED,
        Failure::Unreachable => UNREACHABLE,
    };
    let doubled = |times: u32| first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(WAIT_MAX);
    let own = match (failures, told) {
        (0 | 1, Some(_)) => Duration::ZERO,
        (failures, _) => doubled(failures.saturating_sub(1).min(31)),
    };
    let own = own.saturating_sub(part(own / 8, seed));
    own.max(told.unwrap_or_default().min(TOLD_MAX))
}

/// When to ask for the window again, of what the authority says; a certificate of seconds is asked for in time.
pub fn look_after(told: Duration, validity: Validity) -> Duration {
    let life = validity.until.saturating_sub(validity.from);
    told.clamp(LOOK.0.min(life / 8).max(Duration::from_secs(1)), LOOK.1)
}

/// Evenly from nothing up to all of it.
fn part(whole: Duration, seed: u64) -> Duration {
    whole.mul_f64((seed >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const NINETY: Validity = Validity { from: Duration::from_secs(1_000_000), until: Duration::from_secs(8_776_000) };

    #[test]
    fn a_certificate_of_ninety_days_is_renewed_a_month_before_its_end_or_a_little_earlier() {
        assert_eq!(NINETY.until - NINETY.renew_at(0), 30 * DAY);
        let early = NINETY.until - NINETY.renew_at(u64::MAX);
        assert!(early > 33 * DAY && early < 34 * DAY, "{early:?}");
    }

    #[test]
    fn a_certificate_that_ends_before_it_begins_is_due_at_once() {
        let wrong = Validity { from: NINETY.until, until: NINETY.from };
        assert_eq!(wrong.renew_at(u64::MAX), wrong.from);
        assert!(!wrong.holds(wrong.from));
    }

    #[test]
    fn a_window_is_kept_but_never_past_the_last_tenth() {
        let at =
            |start, end| NINETY.renew_within(Window { start: NINETY.from + start, end: NINETY.from + end }, 1 << 63);
        assert_eq!(at(10 * DAY, 20 * DAY), NINETY.from + 15 * DAY);
        assert_eq!(at(200 * DAY, 300 * DAY), NINETY.from + 81 * DAY);
    }

    #[test]
    fn a_window_that_ends_before_it_starts_is_none() {
        let window = Window { start: NINETY.until, end: NINETY.from };
        assert_eq!(NINETY.renew_within(window, 7), NINETY.renew_at(7));
    }

    #[test]
    fn a_new_certificate_stays_a_while() {
        let got = NINETY.from + DAY;
        assert_eq!(NINETY.stays_until(got), got + Duration::from_secs(3600));
        let life = |seconds| Validity { from: NINETY.from, until: NINETY.from + Duration::from_secs(seconds) };
        assert_eq!(life(16).stays_until(got), got + Duration::from_secs(2));
        assert_eq!(life(0).stays_until(got), got + Duration::from_secs(1));
    }

    #[test]
    fn refusals_are_waited_out_from_a_minute_to_a_day() {
        let waits: Vec<_> = (1..=14).map(|n| wait_after(n, Failure::Refused, None, 0).as_secs()).collect();
        assert_eq!(waits[..4], [60, 120, 240, 480]);
        assert_eq!(waits[13], 86_400);
        assert_eq!(wait_after(u32::MAX, Failure::Refused, None, 0), DAY);
        assert!(wait_after(1, Failure::Refused, None, u64::MAX) >= Duration::from_secs(52));
    }

    #[test]
    fn an_authority_that_is_away_is_tried_sooner() {
        assert_eq!(wait_after(1, Failure::Unreachable, None, 0), Duration::from_secs(2));
        assert_eq!(wait_after(6, Failure::Unreachable, None, 0), Duration::from_secs(64));
    }

    #[test]
    fn what_the_authority_asks_for_is_waited_out() {
        let told = |failures, seconds| wait_after(failures, Failure::Refused, Some(Duration::from_secs(seconds)), 0);
        assert_eq!(told(1, 3), Duration::from_secs(3));
        assert_eq!(
            told(2, 3),
            Duration::from_secs(120),
            "one that says 3 again and again is not asked every 3 seconds"
        );
        assert_eq!(told(1, 100_000), Duration::from_secs(100_000));
        assert_eq!(told(1, u64::MAX), 7 * DAY);
    }

    #[test]
    fn the_window_is_asked_for_again_within_bounds() {
        assert_eq!(look_after(Duration::ZERO, NINETY), Duration::from_secs(60));
        assert_eq!(look_after(Duration::MAX, NINETY), DAY);
        let seconds = Validity { from: Duration::ZERO, until: Duration::from_secs(16) };
        assert_eq!(look_after(Duration::ZERO, seconds), Duration::from_secs(2));
    }
}
