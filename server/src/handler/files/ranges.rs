//! Which bytes a `Range` asks for: RFC 9110 §14.1.2 and §14.2.

use smallvec::SmallVec;

/// Ranges in one request. A player asks for one, a viewer of documents for a handful.
const RANGES_MAX: usize = 16;

/// Bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Bytes, at least 1.
    pub length: u64,
}

/// What a `Range` comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// It is no range of bytes, or it asks for too much: as if it were not there.
    Ignored,
    /// None of it is in the file.
    Unsatisfiable,
    /// At least one, disjoint, in the order of the request.
    Spans(SmallVec<[Span; 1]>),
}

impl Span {
    fn end(self) -> u64 {
        self.offset + self.length
    }

    fn touches(self, other: Self) -> bool {
        self.offset <= other.end() && other.offset <= self.end()
    }

    fn with(self, other: Self) -> Self {
        let offset = self.offset.min(other.offset);
        Self { offset, length: self.end().max(other.end()) - offset }
    }
}

/// Reads the field's value against a file of `size` bytes.
///
/// Ignored as RFC 9110 §14.2 allows: more than 16 ranges, and ranges that ask for more bytes than the file has.
pub fn read(value: &str, size: u64) -> Ranges {
    let Some((unit, ranges)) = value.split_once('=') else { return Ranges::Ignored };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ranges::Ignored;
    }
    let mut spans: SmallVec<[Span; 1]> = SmallVec::new();
    let (mut count, mut asked) = (0, 0_u64);
    for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        count += 1;
        let Some(span) = one(range, size).filter(|_| count <= RANGES_MAX) else { return Ranges::Ignored };
        let Some(span) = span else { continue };
        asked = asked.saturating_add(span.length);
        join(&mut spans, span);
    }
    match (count, spans.is_empty()) {
        (0, _) => Ranges::Ignored,
        (_, true) if size == 0 => empty_file(ranges),
        (_, true) => Ranges::Unsatisfiable,
        _ if asked > size => Ranges::Ignored,
        _ => Ranges::Spans(spans),
    }
}

/// The end of nothing is all of it.
fn empty_file(ranges: &str) -> Ranges {
    let is_suffix = |range: &str| range.trim().strip_prefix('-').and_then(number).is_some_and(|suffix| suffix > 0);
    if ranges.split(',').any(is_suffix) { Ranges::Ignored } else { Ranges::Unsatisfiable }
}

/// None: it can't be read; Some(None): it can't be satisfied.
fn one(range: &str, size: u64) -> Option<Option<Span>> {
    let (first, last) = range.split_once('-')?;
    let (offset, end) = match (first.is_empty(), last.is_empty()) {
        (true, true) => return None,
        (true, false) => (size.saturating_sub(number(last)?), size),
        (false, true) => (number(first)?, size),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some((offset < end).then(|| Span { offset, length: end - offset }))
}

/// Ranges that overlap or adjoin become one, in the place of the first of them.
fn join(spans: &mut SmallVec<[Span; 1]>, mut span: Span) {
    let mut place = spans.len();
    while let Some(found) = spans.iter().position(|known| known.touches(span)) {
        span = spans.remove(found).with(span);
        place = place.min(found);
    }
    spans.insert(place.min(spans.len()), span);
}

/// Digits only; more than fit are as good as the most that fit.
fn number(digits: &str) -> Option<u64> {
    let legal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    legal.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(value: &str, size: u64) -> Vec<(u64, u64)> {
        match read(value, size) {
            Ranges::Spans(spans) => spans.iter().map(|span| (span.offset, span.length)).collect(),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn a_single_range_is_cut_to_the_file() {
        for (range, wanted) in [
            ("bytes=0-0", (0, 1)),
            ("bytes=10-19", (10, 10)),
            ("bytes=90-", (90, 10)),
            ("bytes=90-200", (90, 10)),
            ("bytes=0-99999999999999999999999", (0, 100)),
            ("bytes=-1", (99, 1)),
            ("bytes=-1000", (0, 100)),
            ("Bytes=5-5, ", (5, 1)),
        ] {
            assert_eq!(spans(range, 100), [wanted], "{range}");
        }
    }

    #[test]
    fn what_is_no_range_is_ignored_and_what_is_outside_is_unsatisfiable() {
        for range in
            ["bytes=2-1", "bytes=-", "bytes=", "bytes=a-b", "bytes=+1-2", "lines=0-1", "0-1", "bytes=0-1,x", ""]
        {
            assert_eq!(read(range, 100), Ranges::Ignored, "{range}");
        }
        for range in ["bytes=100-", "bytes=99999999999999999999999-", "bytes=-0", "bytes=100-,200-300,-0"] {
            assert_eq!(read(range, 100), Ranges::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn an_empty_file_has_no_first_byte() {
        assert_eq!(read("bytes=0-", 0), Ranges::Unsatisfiable);
        assert_eq!(read("bytes=-0", 0), Ranges::Unsatisfiable);
        assert_eq!(read("bytes=-5", 0), Ranges::Ignored);
    }

    #[test]
    fn several_ranges_keep_their_order_and_join_where_they_touch() {
        assert_eq!(spans("bytes=50-59,0-9", 100), [(50, 10), (0, 10)]);
        assert_eq!(spans("bytes=0-9,10-19", 100), [(0, 20)]);
        assert_eq!(spans("bytes=0-9,20-29,5-24", 100), [(0, 30)]);
        assert_eq!(spans("bytes=0-9,500-,-5", 100), [(0, 10), (95, 5)], "one outside is left out");
    }

    #[test]
    fn too_many_ranges_and_more_than_the_file_are_ignored() {
        let ranges = |count: usize| {
            let all: Vec<_> = (0..count).map(|n| format!("{}-{}", n * 3, n * 3)).collect();
            format!("bytes={}", all.join(","))
        };
        assert_eq!(spans(&ranges(RANGES_MAX), 100).len(), RANGES_MAX);
        assert_eq!(read(&ranges(RANGES_MAX + 1), 100), Ranges::Ignored);
        assert_eq!(read("bytes=0-,0-", 100), Ranges::Ignored);
        assert_eq!(read("bytes=0-60,40-99", 100), Ranges::Ignored);
    }

    proptest! {
        #[test]
        fn joined_ranges_hold_exactly_the_bytes_asked_for(
            size in 1_u64..60,
            asked in proptest::collection::vec((0_u64..70, 0_u64..70), 1..16),
        ) {
            let asked: Vec<_> = asked.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let text: Vec<_> = asked.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            let wanted = |byte: &u64| asked.iter().any(|(first, last)| (first..=last).contains(&byte));
            match read(&format!("bytes={}", text.join(",")), size) {
                Ranges::Spans(spans) => {
                    let mut sent: Vec<u64> = spans.iter().flat_map(|span| span.offset..span.end()).collect();
                    sent.sort_unstable();
                    prop_assert_eq!(sent, (0..size).filter(wanted).collect::<Vec<_>>());
                }
                Ranges::Unsatisfiable => prop_assert!(!(0..size).any(|byte| wanted(&byte))),
                Ranges::Ignored => {
                    let all: u64 = asked.iter().map(|(a, b)| (b + 1).min(size).saturating_sub(*a)).sum();
                    prop_assert!(all > size);
                }
            }
        }
    }
}
