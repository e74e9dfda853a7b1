//! The wall clock in words: the `Date` field, log times and time stamps, each formatted once a second and thread.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use rustix::time::{ClockId, clock_gettime};

thread_local! {
    static DATE: RefCell<Option<(i64, HeaderValue)>> = const { RefCell::new(None) };
    static CLF: RefCell<Cached> = const { RefCell::new(Cached::EMPTY) };
    static RFC3339: RefCell<Cached> = const { RefCell::new(Cached::EMPTY) };
    static RFC1123: RefCell<Cached> = const { RefCell::new(Cached::EMPTY) };
}

/// The text of one second.
struct Cached {
    second: i64,
    text: String,
}

impl Cached {
    const EMPTY: Self = Self { second: i64::MIN, text: String::new() };

    fn at(&mut self, second: i64, format: &str) -> &str {
        if self.second != second {
            self.text = in_zone(second).strftime(format).to_string();
            self.second = second;
        }
        &self.text
    }
}

/// The `Date` of an answer that leaves now (RFC 9110 §6.6.1); a clone of one value for all answers of a second.
pub fn http_date() -> HeaderValue {
    let now = now_seconds();
    DATE.with_borrow_mut(|cached| match cached {
        Some((second, value)) if *second == now => value.clone(),
        _ => {
            let value = http_date_of(now);
            *cached = Some((now, value.clone()));
            value
        }
    })
}

/// A time in seconds since 1970 as an HTTP date; what the format can't express becomes the nearest it can.
pub fn http_date_of(second: i64) -> HeaderValue {
    /// The last second of the year 9999.
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(second.max(0).unsigned_abs().min(LAST));
    let text = httpdate::fmt_http_date(time);
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// Now, as rsp's own messages begin: `[2026-11-20 12:00:00.000000 +0000]`, at the local offset.
pub fn timestamp() -> String {
    Zoned::now().strftime("[%Y-%m-%d %H:%M:%S%.6f %z]").to_string()
}

/// Seconds since 1970; the clock of the kernel's last tick, a few milliseconds old and cheap.
pub fn now_seconds() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}

/// Appends `20/Nov/2026:12:00:00 +0000`, Apache's time.
pub fn push_clf(line: &mut Vec<u8>, time: SystemTime) {
    let (second, _) = split(time);
    CLF.with_borrow_mut(|cached| line.extend_from_slice(cached.at(second, "%d/%b/%Y:%H:%M:%S %z").as_bytes()));
}

/// Appends `Fri, 20 Nov 2026 12:00:00 +0000`, websocketd's time.
pub fn push_rfc1123(line: &mut Vec<u8>, time: SystemTime) {
    let (second, _) = split(time);
    RFC1123.with_borrow_mut(|cached| line.extend_from_slice(cached.at(second, "%a, %d %b %Y %H:%M:%S %z").as_bytes()));
}

/// Appends `2026-11-20T12:00:00.123+00:00` (RFC 3339).
pub fn push_rfc3339(line: &mut Vec<u8>, time: SystemTime) {
    let (second, millis) = split(time);
    RFC3339.with_borrow_mut(|cached| {
        let text = cached.at(second, "%Y-%m-%dT%H:%M:%S%:z").as_bytes();
        let (until_second, offset) = text.split_at(text.len().min(19));
        line.extend_from_slice(until_second);
        let digits = [b'0' + (millis / 100) as u8, b'0' + (millis / 10 % 10) as u8, b'0' + (millis % 10) as u8];
        line.push(b'.');
        line.extend_from_slice(&digits);
        line.extend_from_slice(offset);
    });
}

/// Seconds since 1970 and milliseconds; a clock before 1970 counts as 1970.
fn split(time: SystemTime) -> (i64, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_millis())
}

fn in_zone(second: i64) -> Zoned {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::system())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_second_is_formatted_once() {
        let first = http_date();
        assert_eq!(first.len(), 29);
        assert!(httpdate::parse_http_date(first.to_str().unwrap()).is_ok());
        let cached = DATE.with_borrow(|cached| cached.clone().unwrap());
        DATE.set(Some((cached.0, HeaderValue::from_static("of this second"))));
        let second = http_date();
        assert!(second == "of this second" || now_seconds() != cached.0);
    }

    #[test]
    fn a_time_outside_the_formats_years_is_no_fault() {
        assert_eq!(http_date_of(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date_of(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn a_time_stamp_looks_like_the_original_rsps() {
        let stamp = timestamp();
        assert_eq!(stamp.len(), "[2026-11-20 12:00:00.000000 +0000]".len(), "{stamp}");
        assert!(stamp.starts_with("[20") && stamp.ends_with(']'));
        assert_eq!(&stamp[20..21], ".");
    }

    #[test]
    fn log_times_of_different_seconds_differ_and_keep_their_milliseconds() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_176_000_123);
        let mut line = Vec::new();
        push_rfc3339(&mut line, time);
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text.parse::<Timestamp>().unwrap().as_millisecond(), 1_795_176_000_123, "{text}");
        let (mut one, mut other) = (Vec::new(), Vec::new());
        push_clf(&mut one, time);
        push_clf(&mut other, time + Duration::from_secs(1));
        assert_ne!(one, other);
        assert_eq!(one.len(), "20/Nov/2026:12:00:00 +0000".len());
    }
}
