//! Another path for a request, by a regular expression.
//!
//! **Invariant:** the new path has one reading, whoever decodes it; a request whose path would have two is refused.

use std::fmt;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::{
    Path,
    path::{PLAIN, normalise},
};
use crate::frame::http1::Target;

/// Bytes of a compiled pattern, and of what a worker keeps to run it: far more than a person writes.
const COMPILED_MAX: usize = 1 << 20;

/// What stays as it is of a captured text in a query: nothing that would end a value.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A pattern and what stands in the place of its first match.
#[derive(Debug)]
pub struct Rewrite {
    pattern: Regex,
    path: Template,
    /// None: the query stays.
    query: Option<Template>,
}

/// Texts, and groups by number.
type Template = Box<[Piece]>;

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Group(usize),
}

/// What is wrong with a rewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRewrite {
    /// What is wrong with the pattern, and at which of its bytes, if that is known.
    Pattern(String, Option<std::ops::Range<usize>>),
    /// The replacement names a group that the pattern has not; those that it has.
    NoGroup(String, Vec<String>),
    /// The replacement has an escape in its path, or what no query can have.
    Replacement(&'static str),
}

/// Why a request can't get its new path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteError {
    /// The received path is none.
    Malformed,
    /// The new path would have dot segments, a backslash or control characters.
    Ambiguous,
    /// The new target would be longer than allowed.
    TooLong,
}

impl Rewrite {
    /// Compiles a pattern and its replacement: `$1`, `${name}`, `$$` for a `$`; what follows a `?` is the new query.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, BadRewrite> {
        let syntax = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern);
        syntax.map_err(|error| bad_pattern(&error))?;
        let compiled = RegexBuilder::new(pattern).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build();
        let pattern = compiled.map_err(|_| BadRewrite::Pattern("larger than 1 MiB when compiled".to_owned(), None))?;
        let (path, query) = match replacement.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (replacement, None),
        };
        if path.split('%').skip(1).any(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2) {
            return Err(BadRewrite::Replacement("the path is written decoded: the character itself, not its escape"));
        }
        if query.is_some_and(|query| query.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#')) {
            return Err(BadRewrite::Replacement("a query has spaces and other letters percent-encoded"));
        }
        if path.contains("/../") || path.contains("/./") {
            return Err(BadRewrite::Replacement(
                "a path with a segment `.` or `..` is answered 400: write where it leads",
            ));
        }
        let path = template(path, &pattern)?;
        let query = query.map(|query| template(query, &pattern)).transpose()?;
        Ok(Self { pattern, path, query })
    }

    /// The target with its new path; None: the pattern does not match, or nothing would change.
    ///
    /// The pattern sees the path percent-decoded, without dot segments and doubled slashes, as routes do. A new path
    /// gets its first slash if it has none, doubled slashes are merged, and it is encoded again.
    ///
    /// # Errors
    /// What the client sent does not fit the pattern: 400, or 414 over `longest` bytes.
    pub fn apply(&self, target: &Target, longest: usize) -> Result<Option<Target>, RewriteError> {
        let old = Path::new(target.path()).map_err(|_| RewriteError::Malformed)?;
        let old = old.decoded();
        let Some(captures) = self.pattern.captures(old) else { return Ok(None) };
        let Some(found) = captures.get(0) else { return Ok(None) };
        let mut path = vec![b'/'];
        path.extend_from_slice(&old[..found.start()]);
        fill(&self.path, &captures, &mut path, longest, |captured, out| out.extend_from_slice(captured))?;
        path.extend_from_slice(&old[found.end()..]);
        let path = normalise(&path, false, true).ok_or(RewriteError::Ambiguous)?;
        if path == old && self.query.is_none() {
            return Ok(None);
        }
        let mut raw: Vec<u8> = percent_encode(&path, PLAIN).flat_map(str::bytes).collect();
        let plain = Path::new(&raw).is_ok_and(|path| !path.is_ambiguous());
        if !plain || path.iter().any(u8::is_ascii_control) {
            return Err(RewriteError::Ambiguous);
        }
        match &self.query {
            None => raw.extend(target.query().into_iter().flat_map(|query| [b"?", query].concat())),
            Some(template) if template.is_empty() => {}
            Some(template) => {
                raw.push(b'?');
                let encoded = |captured: &[u8], out: &mut Vec<u8>| {
                    out.extend(percent_encode(captured, VALUE).flat_map(str::bytes));
                };
                fill(template, &captures, &mut raw, longest, encoded)?;
            }
        }
        if raw.len() > longest {
            return Err(RewriteError::TooLong);
        }
        Target::new(Bytes::from(raw)).map(Some).map_err(|_| RewriteError::Ambiguous)
    }
}

fn fill(
    template: &[Piece],
    captures: &Captures<'_>,
    out: &mut Vec<u8>,
    longest: usize,
    write: impl Fn(&[u8], &mut Vec<u8>),
) -> Result<(), RewriteError> {
    for piece in template {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Group(index) => write(captures.get(*index).map_or(&[], |group| group.as_bytes()), out),
        }
        if out.len() > longest {
            return Err(RewriteError::TooLong);
        }
    }
    Ok(())
}

/// The names that `$` may stand before are as long as they can be, as everywhere in Rust: `${1}a`, not `$1a`.
fn template(text: &str, pattern: &Regex) -> Result<Template, BadRewrite> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        plain.push_str(before);
        let end = after.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_').unwrap_or(after.len());
        if after.starts_with('{') && !after.contains('}') {
            return Err(BadRewrite::Replacement("a `${` has no `}`; `$$` is a plain `$`"));
        }
        let (name, behind) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(end),
        };
        if name.is_empty() {
            plain.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
            continue;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
        }
        pieces.push(Piece::Group(group(name, pattern)?));
        rest = behind;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain.into()));
    }
    Ok(pieces.into())
}

fn group(name: &str, pattern: &Regex) -> Result<usize, BadRewrite> {
    let by_name = pattern.capture_names().position(|known| known == Some(name));
    let by_number = || name.parse().ok().filter(|&number: &usize| number < pattern.captures_len());
    by_name.or_else(by_number).ok_or_else(|| {
        let names = pattern.capture_names().enumerate();
        let names = names.map(|(number, name)| name.map_or(number.to_string(), str::to_owned));
        BadRewrite::NoGroup(name.to_owned(), names.collect())
    })
}

fn bad_pattern(error: &regex_syntax::Error) -> BadRewrite {
    let (why, span) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span()),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span()),
        other => return BadRewrite::Pattern(other.to_string(), None),
    };
    BadRewrite::Pattern(why, Some(span.start.offset..span.end.offset))
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the path is malformed",
            Self::Ambiguous => "the rewritten path could be read in two ways",
            Self::TooLong => "the rewritten target is too long",
        })
    }
}

impl std::error::Error for RewriteError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(pattern: &str, replacement: &str, target: &str) -> Result<Option<String>, RewriteError> {
        let target = Target::new(Bytes::copy_from_slice(target.as_bytes())).unwrap();
        let rewritten = Rewrite::new(pattern, replacement).unwrap().apply(&target, 200)?;
        Ok(rewritten.map(|target| target.as_str().to_owned()))
    }

    #[test]
    fn the_first_match_gives_way_and_the_query_stays_unless_there_is_a_new_one() {
        for (pattern, replacement, target, rewritten) in [
            ("^/old/(.*)", "/new/$1", "/old/a/b?x=1", "/new/a/b?x=1"),
            ("^/(?<lang>[a-z]{2})/", "/${lang}_x/", "/de/a", "/de_x/a"),
            ("_", "-", "/a_b_c", "/a-b_c"),
            ("^/u/([0-9]+)$", "/user?id=$1", "/u/7?x=1", "/user?id=7"),
            ("^/u/(.+)$", "/user?id=$1&a=b", "/u/a&x=%26%20y", "/user?id=a%26x%3D%26%20y&a=b"),
            ("^/x", "/y?", "/x?q", "/y"),
            ("^/api/", "", "/api/users", "/users"),
            ("^/api", "", "/api", "/"),
            ("^/a(.*)", "/b/$1", "/a/x", "/b/x"),
            ("^/a", "/$$1", "/a", "/$1"),
            ("^/a", "/b c", "/a/%E2%82%AC", "/b%20c/%E2%82%AC"),
            ("^/a/(.*)", "/$1", "/a/x%3fy%23z", "/x%3Fy%23z"),
            ("^/%", "/p", "/%25", "/p"),
            ("^/a/", "/b/", "/a/caf%E9", "/b/caf%E9"),
            ("^/a/", "/b/", "/%61/./c//d", "/b/c/d"),
            ("(x)?y", "[$1]", "/y", "/%5B%5D"),
        ] {
            let told = apply(pattern, replacement, target);
            assert_eq!(told, Ok(Some(rewritten.to_owned())), "{pattern} {replacement} {target}");
        }
    }

    #[test]
    fn what_does_not_match_or_change_stays_as_it_was_received() {
        for (pattern, replacement, target) in [("^/b", "/c", "/a%2fb//?q"), ("^/a", "/a", "/%61/b")] {
            assert_eq!(apply(pattern, replacement, target), Ok(None), "{pattern} {target}");
        }
    }

    #[test]
    fn a_new_path_that_two_readers_would_read_in_two_ways_is_refused() {
        for (pattern, replacement, target) in [
            ("^/a(.*)", "/b/$1", "/a../secret"),
            ("^/a(.*)", "/b/$1", "/a%2e%2e/secret"),
            ("^/a(.*)", "/b/$1", "/a."),
            ("^/x", "/y", "/x/%5c..%5cz"),
            ("^/x", "/y", "/x/%0d%0aHost:%20z"),
            ("^/x", "/y", "/x/%7f"),
        ] {
            assert_eq!(apply(pattern, replacement, target), Err(RewriteError::Ambiguous), "{pattern} {target}");
        }
        let long = format!("/{}", "a".repeat(120));
        assert_eq!(apply("^/(.*)", "/$1$1", &long), Err(RewriteError::TooLong));
        assert_eq!(apply("^/(.*)", "/x?$1$1", &long), Err(RewriteError::TooLong));
    }

    #[test]
    fn a_wrong_rewrite_says_where_and_what_is_there() {
        let wrong = |pattern, replacement| Rewrite::new(pattern, replacement).unwrap_err();
        assert_eq!(wrong("^/(a", "/"), BadRewrite::Pattern("unclosed group".to_owned(), Some(2..3)));
        assert!(matches!(wrong(r"\p{Nope}", "/"), BadRewrite::Pattern(_, Some(_))));
        assert!(matches!(wrong("((((a{100}){100}){100}){100})", "/"), BadRewrite::Pattern(_, None)));
        let groups = vec!["0".to_owned(), "1".to_owned(), "id".to_owned()];
        assert_eq!(wrong("(a)(?<id>b)", "/$1a"), BadRewrite::NoGroup("1a".to_owned(), groups));
        assert!(matches!(wrong("a", "/%20"), BadRewrite::Replacement(_)));
        assert!(matches!(wrong("a", "/?a b"), BadRewrite::Replacement(_)));
        assert!(matches!(wrong("^/(.*)", "/../$1"), BadRewrite::Replacement(_)));
        assert!(matches!(wrong("(?<id>a)", "/${id"), BadRewrite::Replacement(_)));
    }

    proptest! {
        #[test]
        fn whatever_comes_a_rewritten_target_is_one_that_reads_the_same_everywhere(
            target in "/[a-c/.%?\\\\]{0,12}(%(2e|2f|5c|0d|00|41|25|e9)[/a.]{0,3}){0,3}",
            (pattern, replacement) in prop_oneof![
                Just(("^/a(.*)", "/b/$1")), Just(("a", "..")), Just(("(?s)^(.*)$", "$1$1")), Just(("^", "/x")),
                Just(("b", "")), Just(("^/(.)", "/n?q=$1")),
            ],
        ) {
            let Ok(target) = Target::new(Bytes::from(target)) else { return Ok(()) };
            let rewrite = Rewrite::new(pattern, replacement).unwrap();
            if let Ok(Some(new)) = rewrite.apply(&target, 60) {
                prop_assert!(new.as_bytes().len() <= 60);
                let path = Path::new(new.path()).unwrap();
                prop_assert!(!path.is_ambiguous(), "{}", new.as_str());
            }
        }
    }
}
