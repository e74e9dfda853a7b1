//! Which answer a conditional or range request gets: RFC 9110 §13 and §14.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use rustix::fs::Stat;
use smallvec::SmallVec;

use super::ranges::{self, Ranges, Span};
use crate::observe::http_date_of;

/// What identifies one state of a file.
pub struct Validators {
    /// `"mtime-size-inode"`, quotes included; strong.
    etag: HeaderValue,
    /// Seconds since 1970.
    modified: i64,
    /// The same in words.
    modified_date: HeaderValue,
    size: u64,
}

/// What the conditions come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200
    Whole,
    /// 206; one span or several.
    Part(SmallVec<[Span; 1]>),
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
        let etag = format!("\"{nanoseconds:x}-{size:x}-{:x}\"", stat.st_ino);
        Self {
            etag: HeaderValue::try_from(etag).unwrap_or_else(|_| HeaderValue::from_static("")),
            modified: stat.st_mtime,
            modified_date: http_date_of(stat.st_mtime),
            size,
        }
    }

    /// Sets `ETag` and `Last-Modified`; the latter never in the future (RFC 9110 §8.8.2.1).
    pub fn set(&self, headers: &mut HeaderMap, now: i64) {
        headers.insert(header::ETAG, self.etag.clone());
        if self.modified <= now {
            headers.insert(header::LAST_MODIFIED, self.modified_date.clone());
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
        match headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
            Some(range) if may_range && self.range_applies(headers) => match ranges::read(range, self.size) {
                Ranges::Ignored => Answer::Whole,
                Ranges::Unsatisfiable => Answer::Unsatisfiable,
                Ranges::Spans(spans) => Answer::Part(spans),
            },
            _ => Answer::Whole,
        }
    }

    fn is_listed(&self, headers: &HeaderMap, name: &HeaderName, same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        headers.get_all(name).iter().any(|list| {
            let list = list.as_bytes().trim_ascii();
            list == b"*" || EntityTags(list).any(|tag| same(self.etag.as_bytes(), tag))
        })
    }

    /// `If-Range`: our strong tag, or exactly our date.
    fn range_applies(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = headers.get(header::IF_RANGE) else { return true };
        condition == self.etag || date(headers, &header::IF_RANGE) == Some(self.modified)
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

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

fn is_condition(name: &HeaderName) -> bool {
    [header::RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE]
        .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 15 Nov 1994 12:45:26 GMT";
    const LATER: &str = "Tue, 15 Nov 1994 12:45:27 GMT";
    const EARLIER: &str = "Tue, 15 Nov 1994 12:45:25 GMT";

    fn file(size: u64) -> Validators {
        let modified = 784_903_526;
        Validators { etag: HeaderValue::from_static("\"a,b\""), modified, modified_date: http_date_of(modified), size }
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
    fn if_range_wants_the_strong_tag_or_the_very_date() {
        let range = (header::RANGE, "bytes=0-0");
        let part = Answer::Part(smallvec::smallvec![Span { offset: 0, length: 1 }]);
        for (condition, wanted) in [
            ("\"a,b\"", part.clone()),
            (DATE, part),
            ("W/\"a,b\"", Answer::Whole),
            ("\"x\"", Answer::Whole),
            (LATER, Answer::Whole),
        ] {
            assert_eq!(decide(&[range.clone(), (header::IF_RANGE, condition)]), wanted, "{condition}");
        }
    }
}
