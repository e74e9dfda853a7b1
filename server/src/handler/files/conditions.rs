//! Which answer a conditional or range request gets: RFC 9110 §13 and §14.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use rustix::fs::Stat;
use smallvec::SmallVec;

use crate::observe::http_date_of;

/// What identifies one state of a file.
pub struct Validators {
    /// `"mtime-size-inode"`, quotes included; strong.
    etag: SmallVec<[u8; 64]>,
    /// Seconds since 1970.
    modified: i64,
    size: u64,
}

/// What the conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200
    Whole,
    /// 206
    Part {
        /// First byte.
        offset: u64,
        /// Bytes, at least 1.
        length: u64,
    },
    /// 304
    NotModified,
    /// 412
    Failed,
    /// 416
    Unsatisfiable,
}

impl Validators {
    /// The inode belongs to it because reproducible builds give all their files one time.
    pub fn of(stat: &Stat) -> Self {
        let nanoseconds = stat.st_mtime.wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec.cast_signed());
        let size = stat.st_size.unsigned_abs();
        let mut etag = SmallVec::new();
        etag.push(b'"');
        push_hex(&mut etag, nanoseconds.cast_unsigned());
        etag.push(b'-');
        push_hex(&mut etag, size);
        etag.push(b'-');
        push_hex(&mut etag, stat.st_ino);
        etag.push(b'"');
        Self { etag, modified: stat.st_mtime, size }
    }

    /// Sets `ETag` and `Last-Modified`; the latter never in the future (RFC 9110 §8.8.2.1).
    pub fn set(&self, headers: &mut HeaderMap, now: i64) {
        if let Ok(etag) = HeaderValue::from_bytes(&self.etag) {
            headers.insert(header::ETAG, etag);
        }
        if self.modified <= now {
            headers.insert(header::LAST_MODIFIED, last_modified(self.modified));
        }
    }

    /// In the order of RFC 9110 §13.2.2; `may_range`: the method is GET.
    pub fn decide(&self, headers: &HeaderMap, may_range: bool) -> Answer {
        // One walk over the few fields of a usual request costs less than a look-up for each condition.
        if !headers.keys().any(is_condition) {
            return Answer::Whole;
        }
        if headers.contains_key(header::IF_MATCH) {
            if !self.is_listed(headers, &header::IF_MATCH, |ours, theirs| ours == theirs) {
                return Answer::Failed;
            }
        } else if date(headers, &header::IF_UNMODIFIED_SINCE).is_some_and(|date| self.modified > date) {
            return Answer::Failed;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            if self.is_listed(headers, &header::IF_NONE_MATCH, |ours, theirs| ours == opaque(theirs)) {
                return Answer::NotModified;
            }
        } else if date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|date| self.modified <= date) {
            return Answer::NotModified;
        }
        match headers.get(header::RANGE) {
            Some(range) if may_range && self.range_applies(headers) => self.range(range),
            _ => Answer::Whole,
        }
    }

    fn is_listed(&self, headers: &HeaderMap, name: &HeaderName, same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        headers.get_all(name).iter().any(|list| {
            let list = list.as_bytes().trim_ascii();
            list == b"*" || EntityTags(list).any(|tag| same(&self.etag, tag))
        })
    }

    /// `If-Range`: our strong tag, or exactly our date.
    fn range_applies(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = headers.get(header::IF_RANGE) else { return true };
        condition.as_bytes() == &self.etag[..] || date(headers, &header::IF_RANGE) == Some(self.modified)
    }

    /// A single range; several, or none that can be read, are answered with the whole, as RFC 9110 §14.2 allows.
    fn range(&self, value: &HeaderValue) -> Answer {
        let Some((first, last)) = value.to_str().ok().and_then(single_range) else { return Answer::Whole };
        let (first, last) = match (first, last) {
            (None, Some(0)) => return Answer::Unsatisfiable,
            (None, Some(suffix)) if self.size > 0 => (self.size.saturating_sub(suffix), self.size - 1),
            (None, _) => return Answer::Whole,
            (Some(first), _) if first >= self.size => return Answer::Unsatisfiable,
            (Some(first), last) => (first, last.map_or(self.size - 1, |last| last.min(self.size - 1))),
        };
        Answer::Part { offset: first, length: last - first + 1 }
    }
}

/// The tags of a list, each with its quotes and its `W/`; ends at the first that is none.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = &self.0[start..];
        let open = rest.len() - opaque(rest).len();
        if rest.get(open) != Some(&b'"') {
            return None;
        }
        let close = open + 1 + memchr::memchr(b'"', &rest[open + 1..])?;
        let (tag, left) = rest.split_at(close + 1);
        self.0 = left;
        Some(tag)
    }
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// `bytes=first-last`, `bytes=first-` or, without a first, `bytes=-suffix`; None for anything else.
fn single_range(value: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, ranges) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let (first, last) = ranges.next()?.split_once('-')?;
    if ranges.next().is_some() {
        return None;
    }
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some((None, Some(number(last)?))),
        (false, true) => Some((Some(number(first)?), None)),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((Some(first), Some(last)))
        }
    }
}

/// Digits only; more than fit are as good as the most that fit.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().unwrap_or(u64::MAX))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

fn push_hex(into: &mut SmallVec<[u8; 64]>, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (67 - (number | 1).leading_zeros()) / 4;
    into.extend((0..digits).rev().map(|i| DIGITS[(number >> (4 * i)) as usize & 15]));
}

fn is_condition(name: &HeaderName) -> bool {
    [header::RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE]
        .contains(name)
}

/// The date of a file in words; those of the files asked for last are kept, for their formatting costs most of a head.
fn last_modified(second: i64) -> HeaderValue {
    const KEPT: usize = 16;
    thread_local! {
        static DATES: RefCell<[Option<(i64, HeaderValue)>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
    }
    DATES.with_borrow_mut(|dates| {
        let place = &mut dates[second.unsigned_abs() as usize % KEPT];
        match place {
            Some((known, date)) if *known == second => date.clone(),
            _ => {
                let date = http_date_of(second);
                *place = Some((second, date.clone()));
                date
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 15 Nov 1994 12:45:26 GMT";
    const LATER: &str = "Tue, 15 Nov 1994 12:45:27 GMT";
    const EARLIER: &str = "Tue, 15 Nov 1994 12:45:25 GMT";

    fn file(size: u64) -> Validators {
        Validators { etag: SmallVec::from_slice(b"\"a,b\""), modified: 784_903_526, size }
    }

    fn decide(fields: &[(HeaderName, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        file(100).decide(&headers, true)
    }

    #[test]
    fn tags_are_compared_strongly_for_if_match_and_weakly_for_if_none_match() {
        use Answer::{Failed, NotModified, Whole};
        for (field, value, wanted) in [
            (header::IF_MATCH, "\"a,b\"", Whole),
            (header::IF_MATCH, "\"x\", \"a,b\"", Whole),
            (header::IF_MATCH, "*", Whole),
            (header::IF_MATCH, "W/\"a,b\"", Failed),
            (header::IF_MATCH, "\"x\"", Failed),
            (header::IF_MATCH, "a,b", Failed),
            (header::IF_NONE_MATCH, "\"a,b\"", NotModified),
            (header::IF_NONE_MATCH, ", W/\"x\" , W/\"a,b\"", NotModified),
            (header::IF_NONE_MATCH, "*", NotModified),
            (header::IF_NONE_MATCH, "\"a\", \"b\"", Whole),
            (header::IF_NONE_MATCH, "\"a,b", Whole),
        ] {
            assert_eq!(decide(&[(field.clone(), value)]), wanted, "{field}: {value}");
        }
        assert_eq!(decide(&[(header::IF_NONE_MATCH, "\"x\""), (header::IF_NONE_MATCH, "\"a,b\"")]), NotModified);
    }

    #[test]
    fn dates_count_to_the_second_and_unreadable_ones_do_not_count() {
        use Answer::{Failed, NotModified, Whole};
        for (field, value, wanted) in [
            (header::IF_MODIFIED_SINCE, DATE, NotModified),
            (header::IF_MODIFIED_SINCE, LATER, NotModified),
            (header::IF_MODIFIED_SINCE, EARLIER, Whole),
            (header::IF_MODIFIED_SINCE, "yesterday", Whole),
            (header::IF_MODIFIED_SINCE, "Tuesday, 15-Nov-94 12:45:26 GMT", NotModified),
            (header::IF_UNMODIFIED_SINCE, DATE, Whole),
            (header::IF_UNMODIFIED_SINCE, EARLIER, Failed),
            (header::IF_UNMODIFIED_SINCE, "", Whole),
        ] {
            assert_eq!(decide(&[(field.clone(), value)]), wanted, "{field}: {value}");
        }
    }

    #[test]
    fn tags_win_over_dates_and_what_fails_over_what_is_not_modified() {
        use Answer::{Failed, NotModified, Whole};
        let (tag, other) = ("\"a,b\"", "\"x\"");
        let if_match = header::IF_MATCH;
        assert_eq!(decide(&[(if_match.clone(), tag), (header::IF_UNMODIFIED_SINCE, EARLIER)]), Whole);
        assert_eq!(decide(&[(header::IF_NONE_MATCH, other), (header::IF_MODIFIED_SINCE, DATE)]), Whole);
        assert_eq!(decide(&[(if_match.clone(), other), (header::IF_NONE_MATCH, tag)]), Failed);
        assert_eq!(decide(&[(if_match, tag), (header::IF_NONE_MATCH, tag)]), NotModified);
        assert_eq!(decide(&[(header::IF_NONE_MATCH, tag), (header::RANGE, "bytes=0-0")]), NotModified);
    }

    #[test]
    fn a_single_range_is_cut_to_the_file() {
        let part = |offset, length| Answer::Part { offset, length };
        for (range, wanted) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=90-", part(90, 10)),
            ("bytes=90-200", part(90, 10)),
            ("bytes=0-99999999999999999999999", part(0, 100)),
            ("bytes=-1", part(99, 1)),
            ("bytes=-1000", part(0, 100)),
            ("Bytes=5-5, ", part(5, 1)),
            ("bytes=100-", Answer::Unsatisfiable),
            ("bytes=99999999999999999999999-", Answer::Unsatisfiable),
            ("bytes=-0", Answer::Unsatisfiable),
            ("bytes=2-1", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes=", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("bytes=+1-2", Answer::Whole),
            ("bytes=0-1,3-4", Answer::Whole),
            ("lines=0-1", Answer::Whole),
            ("0-1", Answer::Whole),
        ] {
            assert_eq!(decide(&[(header::RANGE, range)]), wanted, "{range}");
        }
    }

    #[test]
    fn an_empty_file_has_no_first_byte() {
        let range = |text| file(0).range(&HeaderValue::from_static(text));
        assert_eq!(range("bytes=0-"), Answer::Unsatisfiable);
        assert_eq!(range("bytes=-5"), Answer::Whole);
    }

    #[test]
    fn if_range_wants_the_strong_tag_or_the_very_date() {
        let range = (header::RANGE, "bytes=0-0");
        let part = Answer::Part { offset: 0, length: 1 };
        for (condition, wanted) in [
            ("\"a,b\"", part),
            (DATE, part),
            ("W/\"a,b\"", Answer::Whole),
            ("\"x\"", Answer::Whole),
            (LATER, Answer::Whole),
        ] {
            assert_eq!(decide(&[range.clone(), (header::IF_RANGE, condition)]), wanted, "{condition}");
        }
    }

    #[test]
    fn numbers_are_written_in_hex_without_zeros_in_front() {
        for number in [0, 1, 15, 16, 0xabc, u64::from(u32::MAX), u64::MAX] {
            let mut text = SmallVec::new();
            push_hex(&mut text, number);
            assert_eq!(std::str::from_utf8(&text).unwrap(), format!("{number:x}"));
        }
    }
}
