//! Path patterns as the config writes them: literal segments, `{name}` and a final `*`.

use std::{fmt, sync::Arc};

use http::Method;

/// Bytes of a pattern; no request target is longer by default.
const LENGTH_MAX: usize = 8 << 10;

/// Segments of a pattern; it bounds the depth of a search.
const SEGMENTS_MAX: usize = 64;

/// A checked path pattern, without its method.
///
/// `{name}` is one whole segment that is not empty; a final `*` is the rest after a `/`, possibly empty. All else is
/// literal and compared, byte by byte, with the decoded path. A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Arc<str>,
}

impl Pattern {
    /// Checks a pattern like `/api/{id}/*`.
    ///
    /// An error is whatever could never match (dot segments, `//`, a query) or would match something else than it
    /// says (percent-encoding: patterns are written decoded).
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let below = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        if text.len() > LENGTH_MAX || below.split('/').count() > SEGMENTS_MAX {
            return Err(PatternError::TooLong);
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || matches!(c, '\\' | '?' | '#')) {
            return Err(PatternError::Character(bad));
        }
        if let Some(escape) = find_escape(text) {
            return Err(PatternError::Escape(escape.into()));
        }
        let mut names: Vec<&str> = Vec::new();
        let mut segments = below.split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if let Some(name) = check_segment(segment, last)? {
                if names.contains(&name) {
                    return Err(PatternError::DuplicateName(name.into()));
                }
                names.push(name);
            }
        }
        Ok(Self { text: text.into() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What every matching path starts with, up to and including a `/`: `/static/` for `/static/*`, `/` for `/*`,
    /// `/docs/` for `/docs/readme.txt`. In bytes of the decoded path.
    pub fn literal_prefix(&self) -> &str {
        let literal = self.text.find(['{', '*']).unwrap_or(self.text.len());
        let end = self.text[..literal].rfind('/').map_or(0, |slash| slash + 1);
        &self.text[..end]
    }

    /// Whether it ends in `*`.
    pub fn ends_in_wildcard(&self) -> bool {
        self.text.ends_with("/*")
    }

    /// The parameters' names, from the left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').filter_map(name_of)
    }

    /// What tells patterns apart, segment by segment; it compares in order of precedence.
    pub(super) fn shape(&self) -> impl Iterator<Item = Shape<'_>> {
        self.text[1..].split('/').map(|segment| match segment {
            "*" => Shape::Rest,
            _ if name_of(segment).is_some() => Shape::Name,
            _ => Shape::Literal(segment),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl std::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Checks a route's key: `/login`, or `POST /login`. Methods are case-sensitive tokens (RFC 9110 §9.1).
pub fn parse_key(key: &str) -> Result<(Option<Method>, Pattern), PatternError> {
    let Some((method, pattern)) = key.split_once(' ').filter(|_| !key.starts_with('/')) else {
        return Ok((None, Pattern::parse(key)?));
    };
    let parsed = Method::from_bytes(method.as_bytes()).ok().filter(|_| !method.contains(|c: char| c.is_lowercase()));
    let parsed = parsed.ok_or_else(|| PatternError::Method(method.into()))?;
    Ok((Some(parsed), Pattern::parse(pattern)?))
}

/// A segment of a pattern without the name of a parameter. The order is the precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape<'a> {
    /// These bytes.
    Literal(&'a str),
    /// Any segment that is not empty.
    Name,
    /// All that is left, possibly empty.
    Rest,
}

/// Why a pattern is refused; each says what would have been right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternError {
    /// Does not start with `/`.
    NoSlash,
    /// Over 8 KiB or over 64 segments.
    TooLong,
    /// A control character, `\`, `?` or `#`.
    Character(char),
    /// A percent-encoding.
    Escape(String),
    /// `.`, `..`, or an empty one that is not the last.
    NeverMatches(String),
    /// A `*` that is not the whole last segment.
    Wildcard(String),
    /// A brace in a segment that is not `{name}` as a whole, or a name that is none.
    Name(String),
    /// Two parameters of one name.
    DuplicateName(String),
    /// What stands before the path is no method in capitals.
    Method(String),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash => f.write_str("a path starts with '/'"),
            Self::TooLong => write!(f, "a path has at most {LENGTH_MAX} bytes and {SEGMENTS_MAX} segments"),
            Self::Character(c @ ('?' | '#')) => write!(f, "{c:?} can't be in a path: only the path chooses a route"),
            Self::Character(c) => write!(f, "{c:?} can't be in a path"),
            Self::Escape(escape) => {
                write!(f, "routes match the decoded path: write the character itself instead of {escape:?}")
            }
            Self::NeverMatches(segment) => {
                write!(f, "the segment {segment:?} never matches: paths are compared without '//', '.' and '..'")
            }
            Self::Wildcard(segment) => write!(f, "'*' must be the whole last segment, not in {segment:?}"),
            Self::Name(segment) => {
                write!(f, "{segment:?} must be one whole segment like {{name}}, of letters, digits, '_' and '-'")
            }
            Self::DuplicateName(name) => write!(f, "two parameters are named {name:?}"),
            Self::Method(method) => write!(f, "{method:?} is no method in capitals, like \"POST /login\""),
        }
    }
}

impl std::error::Error for PatternError {}

/// The parameter's name, if the segment is one.
fn check_segment(segment: &str, last: bool) -> Result<Option<&str>, PatternError> {
    match segment {
        "*" if last => return Ok(None),
        "." | ".." => return Err(PatternError::NeverMatches(segment.into())),
        "" if !last => return Err(PatternError::NeverMatches(segment.into())),
        _ if segment.contains('*') => return Err(PatternError::Wildcard(segment.into())),
        _ if !segment.contains(['{', '}']) => return Ok(None),
        _ => {}
    }
    let named = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    name_of(segment).filter(named).map(Some).ok_or_else(|| PatternError::Name(segment.into()))
}

fn name_of(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The first `%xx`; any other `%` is a literal one.
fn find_escape(text: &str) -> Option<&str> {
    text.match_indices('%').find_map(|(at, _)| {
        let escape = text.get(at..at + 3)?;
        escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(escape)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_displays_as_it_was_written() {
        for text in ["/", "/*", "/a", "/a/", "/a/{id}/*", "/100%", "/a b/ü", "/.well-known/*", "/{a-b}/{_c}"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_pattern_that_cannot_match_is_refused() {
        use PatternError::*;
        let segment = |s: &str| s.to_string();
        for (text, error) in [
            ("", NoSlash),
            ("a/b", NoSlash),
            ("*", NoSlash),
            ("/a?b", Character('?')),
            ("/a#b", Character('#')),
            ("/a\\b", Character('\\')),
            ("/a\tb", Character('\t')),
            ("/a\0", Character('\0')),
            ("/a\u{85}", Character('\u{85}')),
            ("/a%2fb", Escape(segment("%2f"))),
            ("/%%41", Escape(segment("%41"))),
            ("//a", NeverMatches(segment(""))),
            ("/a//b", NeverMatches(segment(""))),
            ("/a/../b", NeverMatches(segment(".."))),
            ("/a/.", NeverMatches(segment("."))),
            ("/*/a", Wildcard(segment("*"))),
            ("/a*", Wildcard(segment("a*"))),
            ("/a/**", Wildcard(segment("**"))),
            ("/{a*}", Wildcard(segment("{a*}"))),
            ("/a{b}", Name(segment("a{b}"))),
            ("/{b}c", Name(segment("{b}c"))),
            ("/{}", Name(segment("{}"))),
            ("/{a", Name(segment("{a"))),
            ("/a}", Name(segment("a}"))),
            ("/{a}{b}", Name(segment("{a}{b}"))),
            ("/{a b}", Name(segment("{a b}"))),
            ("/{a}/x/{a}", DuplicateName(segment("a"))),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Pattern::parse(&"/a".repeat(SEGMENTS_MAX + 1)), Err(TooLong));
        assert_eq!(Pattern::parse(&format!("/{}", "a".repeat(LENGTH_MAX))), Err(TooLong));
    }

    #[test]
    fn the_literal_prefix_ends_before_what_varies() {
        for (text, prefix) in [
            ("/static/*", "/static/"),
            ("/*", "/"),
            ("/", "/"),
            ("/a/b/{c}/d/*", "/a/b/"),
            ("/docs/readme.txt", "/docs/"),
            ("/favicon.ico", "/"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap().literal_prefix(), prefix, "{text}");
        }
        let pattern = Pattern::parse("/{a}/b/{c}/*").unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["a", "c"]);
        assert!(pattern.ends_in_wildcard());
        assert!(!Pattern::parse("/a/").unwrap().ends_in_wildcard());
    }

    #[test]
    fn a_key_may_start_with_a_method() {
        assert_eq!(parse_key("/login"), Ok((None, Pattern::parse("/login").unwrap())));
        assert_eq!(parse_key("POST /login"), Ok((Some(Method::POST), Pattern::parse("/login").unwrap())));
        assert_eq!(parse_key("/a b"), Ok((None, Pattern::parse("/a b").unwrap())));
        assert_eq!(parse_key("post /login"), Err(PatternError::Method("post".into())));
        assert_eq!(parse_key(" /login"), Err(PatternError::Method("".into())));
        assert_eq!(parse_key("GET, POST /x"), Err(PatternError::Method("GET,".into())));
        assert_eq!(parse_key("GET  /x"), Err(PatternError::NoSlash));
        assert_eq!(parse_key("PROPFIND /x").unwrap().0.unwrap().as_str(), "PROPFIND");
    }
}
