//! Hides the passwords of URLs in what is shown of a config: `redis://user:secret@host` has one, and a log keeps it.

use std::{borrow::Cow, ops::Range};

/// The same text, byte for byte as long, with stars for passwords.
///
/// One stands behind a colon between `://` and the last `@` of a string, or behind `pass=` in the URL of a unix socket.
pub fn hidden(text: &str) -> Cow<'_, str> {
    let of_users = text.match_indices("://").filter_map(|(at, _)| of_user(text, at + 3));
    let of_queries = ["?pass=", "&pass="].into_iter().flat_map(|name| {
        let ends = text.match_indices(name).map(move |(at, _)| at + name.len());
        ends.map(|from| from..from + end_of_string(&text[from..], &['&', '#']))
    });
    let mut out = Cow::Borrowed(text);
    for Range { start, end } in of_users.chain(of_queries) {
        out.to_mut().replace_range(start..end, &"*".repeat(end - start));
    }
    out
}

/// Where the password is in a URL whose authority begins at `from`.
fn of_user(text: &str, from: usize) -> Option<Range<usize>> {
    let rest = &text[from..];
    // Up to the end of the string and not of the authority: in a URL that is wrong, the password may hold a slash.
    let end = rest[..end_of_string(rest, &[' ', '\t'])].rfind('@')?;
    let colon = rest[..end].find(':')?;
    Some(from + colon + 1..from + end)
}

fn end_of_string(text: &str, others: &[char]) -> usize {
    text.find(|c| matches!(c, '"' | '\'' | '`' | '\n') || others.contains(&c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_becomes_stars_and_nothing_else_does() {
        for (text, shown) in [
            ("redis = \"redis://:a@h\" -- @", "redis = \"redis://:*@h\" -- @"),
            ("'redis://u:ü/@b@h:1/0' 'x@y'", "'redis://u:*****@h:1/0' 'x@y'"),
            ("redis://a:b@c,d:1 http://e:f@g", "redis://a:*@c,d:1 http://e:*@g"),
            ("unix:/r.sock?db=1&pass=a&x=b", "unix:/r.sock?db=1&pass=*&x=b"),
            ("unix:/r.sock?pass=a\"", "unix:/r.sock?pass=*\""),
            ("http://h:80/@", "http://h:***@"),
        ] {
            assert_eq!(hidden(text), shown);
            assert_eq!(shown.len(), text.len());
        }
        for text in ["http://127.0.0.1:80/a", "a@b:c", "redis://user@host", "://", "@", ""] {
            assert!(matches!(hidden(text), Cow::Borrowed(_)), "{text}");
        }
    }
}
