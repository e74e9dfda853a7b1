//! The path of a request: decoded and normalised once, and read every other way an upstream might.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What stays as it is when a path is encoded (RFC 3986 §3.3).
pub const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Stands, in readings that split before they decode, for a decoded `%2f`: it separates nothing and equals no byte
/// of a pattern, and no decoded path holds a NUL of its own.
const KEPT_SLASH: u8 = 0;

/// A checked path. A plain one (no `%`, `\`, `//` or `/.`) costs one scan and no allocation.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    raw: &'a [u8],
    decoded: Cow<'a, [u8]>,
    ambiguous: bool,
}

impl<'a> Path<'a> {
    /// Checks the path of a request target, without its query.
    ///
    /// The path is percent-decoded, then `//` is merged, then dot segments are removed (RFC 3986 §5.2.4). What it
    /// decodes to need not be UTF-8.
    pub fn new(raw: &'a [u8]) -> Result<Self, PathError> {
        if raw.first() != Some(&b'/') {
            return Err(PathError::NoSlash);
        }
        if is_plain(raw) {
            return Ok(Self { raw, decoded: Cow::Borrowed(raw), ambiguous: false });
        }
        let decoded = decode(raw, b'/')?;
        if !has_other_readings(raw, &decoded) {
            return Ok(Self { raw, decoded, ambiguous: false });
        }
        let decoded = normalise(&decoded, true, true).ok_or(PathError::AboveRoot)?;
        Ok(Self { raw, decoded: Cow::Owned(decoded), ambiguous: true })
    }

    /// The decoded, dot-free, `//`-merged bytes, starting with `/`.
    pub fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// The path as it was received.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether an upstream may read another path: dot segments, an encoded slash, a backslash or `//` were received.
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// Every other reading as bytes to split at `/`; None is one that climbs above the root. Empty unless ambiguous.
    pub(super) fn other_readings(&self) -> impl Iterator<Item = Option<Vec<u8>>> {
        let has_backslash = self.raw.contains(&b'\\') || self.raw.windows(3).any(|w| w.eq_ignore_ascii_case(b"%5c"));
        let has_escape = self.raw.contains(&b'%');
        Reading::all()
            .filter(move |reading| self.ambiguous && (has_backslash || !reading.backslash_separates))
            .filter(move |reading| has_escape || reading.decode == Decode::First)
            .map(|reading| reading.of(self.raw))
    }
}

/// Why a path is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// Does not start with `/`.
    NoSlash,
    /// A `%` without two hexadecimal digits.
    BadEscape,
    /// A NUL, plain or encoded.
    Nul,
    /// More `..` than segments before it.
    AboveRoot,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSlash => "the path does not start with '/'",
            Self::BadEscape => "the path has a '%' without two hexadecimal digits",
            Self::Nul => "the path has a NUL",
            Self::AboveRoot => "the path climbs above the root",
        })
    }
}

impl std::error::Error for PathError {}

/// When a reader decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decode {
    /// Before it splits: `%2f` separates, `%2e` is a dot.
    First,
    /// Each segment for itself, then it normalises.
    Segments,
    /// After it normalised what was received.
    Last,
}

/// One way to read a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    decode: Decode,
    backslash_separates: bool,
    remove_dots: bool,
    merge: bool,
}

impl Reading {
    fn all() -> impl Iterator<Item = Self> {
        [Decode::First, Decode::Segments, Decode::Last].into_iter().flat_map(|decode| {
            (0..8).map(move |bits| Self {
                decode,
                backslash_separates: bits & 1 != 0,
                remove_dots: bits & 2 != 0,
                merge: bits & 4 != 0,
            })
        })
    }

    fn of(self, raw: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = match self.decode {
            Decode::First => decode(raw, b'/').ok()?.into_owned(),
            Decode::Segments => decode(raw, KEPT_SLASH).ok()?.into_owned(),
            Decode::Last => raw.to_vec(),
        };
        if self.backslash_separates {
            bytes.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        }
        let bytes = normalise(&bytes, self.remove_dots, self.merge)?;
        match self.decode {
            Decode::Last => Some(decode(&bytes, KEPT_SLASH).ok()?.into_owned()),
            _ => Some(bytes),
        }
    }
}

fn is_plain(raw: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in raw {
        match byte {
            b'%' | b'\\' | 0 => return false,
            b'/' | b'.' if previous == b'/' => return false,
            _ => previous = byte,
        }
    }
    true
}

fn has_other_readings(raw: &[u8], decoded: &[u8]) -> bool {
    let slashes = |bytes: &[u8]| memchr::memchr_iter(b'/', bytes).count();
    decoded.contains(&b'\\')
        || slashes(decoded) != slashes(raw)
        || decoded.windows(2).any(|pair| pair == b"//")
        || decoded.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

/// Percent-decodes; an encoded slash becomes `slash`.
fn decode(raw: &[u8], slash: u8) -> Result<Cow<'_, [u8]>, PathError> {
    if raw.contains(&0) {
        return Err(PathError::Nul);
    }
    let Some(first) = memchr::memchr(b'%', raw) else {
        return Ok(Cow::Borrowed(raw));
    };
    let mut decoded = Vec::with_capacity(raw.len());
    decoded.extend_from_slice(&raw[..first]);
    let mut rest = &raw[first..];
    while let [byte, tail @ ..] = rest {
        if *byte != b'%' {
            decoded.push(*byte);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else { return Err(PathError::BadEscape) };
        match hex(*high)? << 4 | hex(*low)? {
            0 => return Err(PathError::Nul),
            b'/' => decoded.push(slash),
            byte => decoded.push(byte),
        }
        rest = tail;
    }
    Ok(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Result<u8, PathError> {
    let value = char::from(digit).to_digit(16).ok_or(PathError::BadEscape)?;
    u8::try_from(value).map_err(|_| PathError::BadEscape)
}

/// Merges `//` and removes dot segments of a path that starts with `/`; None if it climbs above the root.
pub(super) fn normalise(path: &[u8], remove_dots: bool, merge: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path.get(1..)?.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" if merge && !last => {}
            b"." | b".." if remove_dots => {
                if segment == b".." {
                    out.truncate(memchr::memrchr(b'/', &out)?);
                }
                if last {
                    out.push(b'/');
                }
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_merged_and_freed_of_dots() {
        for (raw, decoded, ambiguous) in [
            ("/", "/", false),
            ("/a/b.c/", "/a/b.c/", false),
            ("/.well-known/x", "/.well-known/x", false),
            ("/...", "/...", false),
            ("/a%20b", "/a b", false),
            ("/%61", "/a", false),
            ("/%252e", "/%2e", false),
            ("/a/./b", "/a/b", true),
            ("/a/%2e/b", "/a/b", true),
            ("/admin/%2E%2e/x", "/x", true),
            ("/a/..", "/", true),
            ("/a/b/..", "/a/", true),
            ("/a/.", "/a/", true),
            ("//a", "/a", true),
            ("/a//", "/a/", true),
            ("/a//../b", "/b", true),
            ("/a%2fb", "/a/b", true),
            ("/a%2F..%2fb", "/b", true),
            ("/a\\b", "/a\\b", true),
            ("/a%5cb", "/a\\b", true),
        ] {
            let path = Path::new(raw.as_bytes()).unwrap();
            assert_eq!(path.decoded(), decoded.as_bytes(), "{raw}");
            assert_eq!(path.is_ambiguous(), ambiguous, "{raw}");
        }
    }

    #[test]
    fn a_plain_path_is_borrowed() {
        for raw in ["/", "/a/b", "/.well-known/x"] {
            assert!(matches!(Path::new(raw.as_bytes()).unwrap().decoded, Cow::Borrowed(_)), "{raw}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        assert_eq!(Path::new(b"/caf%E9").unwrap().decoded(), b"/caf\xe9");
    }

    #[test]
    fn a_path_with_no_meaning_is_refused() {
        for (raw, error) in [
            ("", PathError::NoSlash),
            ("*", PathError::NoSlash),
            ("a/b", PathError::NoSlash),
            ("/%", PathError::BadEscape),
            ("/%4", PathError::BadEscape),
            ("/%4g", PathError::BadEscape),
            ("/%+1", PathError::BadEscape),
            ("/a%00", PathError::Nul),
            ("/a\0", PathError::Nul),
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/%2e%2e/x", PathError::AboveRoot),
            ("/a//../..", PathError::AboveRoot),
        ] {
            assert_eq!(Path::new(raw.as_bytes()).err(), Some(error), "{raw:?}");
        }
    }
}
