//! What a request asks for: the request target in its four forms, and the host that goes with it.

use std::net::Ipv6Addr;

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;

use super::HeadError;

/// A path with an optional query, exactly as received; `*` for `OPTIONS`, `host:port` for `CONNECT`.
///
/// Visible ASCII without `#`, never empty. A clone shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    raw: Bytes,
    /// Bytes before the `?`, or all.
    path: usize,
}

impl Target {
    /// Checks the characters only, not the form.
    ///
    /// # Errors
    /// `Malformed` if it is empty or holds a space, a control character, `#` or a byte outside ASCII. Those are no
    /// URI (RFC 3986), and servers differ in where such a target ends.
    pub fn new(raw: Bytes) -> Result<Self, HeadError> {
        if raw.is_empty() || !raw.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(HeadError::Malformed("illegal character in the request target"));
        }
        let path = memchr::memchr(b'?', &raw).unwrap_or(raw.len());
        Ok(Self { raw, path })
    }

    /// All of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.raw).unwrap_or_default()
    }

    /// What stands before the `?`, not decoded.
    pub fn path(&self) -> &[u8] {
        &self.raw[..self.path]
    }

    /// The same with a slash behind its path, to send a client to.
    pub fn with_slash(&self) -> Vec<u8> {
        let path = self.path();
        // `//host/` would be another site's address to a browser.
        let leading = path.iter().take_while(|&&byte| byte == b'/').count();
        let path = &path[leading.saturating_sub(1)..];
        match self.query() {
            Some(query) => [path, b"/?", query].concat(),
            None => [path, b"/"].concat(),
        }
    }

    /// What stands after the `?`, not decoded; None without a `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.raw.get(self.path + 1..)
    }
}

/// Reads a request target (RFC 9112 §3.2); an absolute-form one also yields its authority, which wins over `Host`.
pub(super) fn read_target(method: &Method, raw: Bytes) -> Result<(Target, Option<Bytes>), HeadError> {
    if raw.first() == Some(&b'/') || (raw[..] == *b"*" && method == Method::OPTIONS) {
        return Ok((Target::new(raw)?, None));
    }
    if method == Method::CONNECT {
        return match is_authority(&raw) && memchr::memrchr(b':', &raw).is_some() {
            true => Ok((Target::new(raw)?, None)),
            false => Err(HeadError::Malformed("CONNECT wants host:port")),
        };
    }
    absolute_form(method, raw)
}

fn absolute_form(method: &Method, raw: Bytes) -> Result<(Target, Option<Bytes>), HeadError> {
    const BAD: HeadError = HeadError::Malformed("the request target is neither a path nor a URL");
    let scheme = memchr::memchr(b':', &raw).ok_or(BAD)?;
    let known = raw[..scheme].eq_ignore_ascii_case(b"http") || raw[..scheme].eq_ignore_ascii_case(b"https");
    if !known || !raw[scheme..].starts_with(b"://") {
        return Err(BAD);
    }
    let start = scheme + 3;
    let end = memchr::memchr2(b'/', b'?', &raw[start..]).map_or(raw.len(), |length| start + length);
    let authority = raw.slice(start..end);
    if authority.is_empty() || authority[0] == b':' || !is_authority(&authority) {
        return Err(HeadError::Malformed("illegal host in the request target"));
    }
    let target = match raw.get(end) {
        Some(b'/') => raw.slice(end..),
        Some(_) => rooted(&raw[end..]),
        // RFC 9112 §3.2.4: a URL without a path asks for the server as a whole.
        None if method == Method::OPTIONS => Bytes::from_static(b"*"),
        None => Bytes::from_static(b"/"),
    };
    Ok((Target::new(target)?, Some(authority)))
}

fn rooted(query: &[u8]) -> Bytes {
    let mut target = BytesMut::with_capacity(query.len() + 1);
    target.put_u8(b'/');
    target.put_slice(query);
    target.freeze()
}

/// Whether this is a host with an optional port, as `Host` and URLs have it (RFC 3986 §3.2.2, §3.2.3), or nothing.
///
/// A comma would be legal there; it is what two `Host` fields merged by somebody before us look like.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let (host_is_legal, port) = match text.first() {
        Some(b'[') => match memchr::memchr(b']', text) {
            Some(end) => (is_ipv6(&text[1..end]), &text[end + 1..]),
            None => return false,
        },
        _ => {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            (is_name(&text[..end]), &text[end..])
        }
    };
    host_is_legal && is_port(port)
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_name(text: &[u8]) -> bool {
    if text.iter().all(|byte| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.')) {
        return true;
    }
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => after,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=' => after,
            b'%' if after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit) => &after[2..],
            _ => return false,
        };
    }
    true
}

/// Nothing, or a colon and up to 65535 in up to five digits.
fn is_port(text: &[u8]) -> bool {
    let Some((colon, digits)) = text.split_first() else { return true };
    let number = digits.iter().fold(0_u32, |sum, &digit| sum.saturating_mul(10).saturating_add(u32::from(digit & 15)));
    *colon == b':' && digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) && number <= 65_535
}
