//! A request's pseudo-header fields and fields, read as one head.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::frame::http1::{Framing, HeadError, HeadLimits, RequestHead, Role, Target, decimal, is_authority, role};

/// What RFC 7541 §4.1 counts a field for beside its name and value; here it is two separators, as in HTTP/1.
const SEPARATORS: usize = 4;

/// A request as a HEADERS frame has it, decoded.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// `:method`
    pub method: Method,
    /// `:scheme`
    pub scheme: Option<&'a str>,
    /// `:authority`
    pub authority: Option<&'a str>,
    /// `:path`
    pub path: Option<&'a str>,
    /// `:protocol` of an extended CONNECT (RFC 8441 §4).
    pub protocol: Option<&'a str>,
    /// All others.
    pub headers: HeaderMap,
    /// Whether the stream ended with the head.
    pub ended: bool,
}

/// Why a head is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Malformed (RFC 9113 §8.1.1): a stream error of type PROTOCOL_ERROR; says which rule.
    Malformed(&'static str),
    /// Understood, and answered: by [`HeadError::status`], or 405 for a method that nobody serves here.
    Refused(HeadError),
    /// A method that is for proxies which a client chose: CONNECT and TRACE.
    Method,
}

impl From<HeadError> for Refusal {
    fn from(e: HeadError) -> Self {
        match e {
            HeadError::Malformed(rule) => Self::Malformed(rule),
            e => Self::Refused(e),
        }
    }
}

/// Reads a request: its head, and as how many bytes it counts.
///
/// An extended CONNECT for a WebSocket becomes the GET that would ask for it in HTTP/1.1, with the `Sec-WebSocket-Key` that
/// `key` makes up: 16 bytes in base64.
///
/// # Errors
/// [`Refusal`]; nothing of the request may be forwarded.
pub fn request(
    asked: Asked<'_>,
    limits: &HeadLimits,
    key: impl FnOnce() -> HeaderValue,
) -> Result<(RequestHead, usize), Refusal> {
    let Asked { method, scheme, authority, path, protocol, mut headers, ended } = asked;
    let is_websocket = method == Method::CONNECT && protocol.is_some();
    if method == Method::TRACE || (method == Method::CONNECT && !is_websocket) {
        return Err(Refusal::Method);
    }
    if protocol.is_some_and(|protocol| protocol != "websocket") {
        return Err(Refusal::Refused(HeadError::TransferCoding));
    }
    let scheme = scheme.ok_or(Refusal::Malformed("no :scheme"))?;
    let path = path.ok_or(Refusal::Malformed("no :path"))?;
    if path.len() > limits.uri {
        return Err(Refusal::Refused(HeadError::UriTooLong));
    }
    let target = target(&method, path)?;
    let fields = sort(&mut headers)?;
    let length = fields.bytes + path.len() + authority.map_or(0, str::len) + 2 * SEPARATORS;
    if headers.len() > limits.headers || length > limits.head {
        return Err(Refusal::Refused(HeadError::TooLarge));
    }
    set_host(&mut headers, authority, scheme)?;
    join_cookies(&mut headers)?;
    let framing = match fields.content_length {
        Some(1..) if ended => return Err(Refusal::Malformed("a Content-Length, and no content")),
        Some(_) if is_websocket => return Err(Refusal::Malformed("a Content-Length of a CONNECT")),
        _ if is_websocket => Framing::Empty,
        Some(length) => Framing::Length(length),
        None if ended => Framing::Empty,
        None => Framing::Chunked,
    };
    let head = RequestHead {
        method,
        target,
        version: Version::HTTP_2,
        headers,
        framing,
        keep_alive: true,
        upgrade: None,
        expect_continue: fields.expect_continue && framing != Framing::Empty,
    };
    Ok((if is_websocket { as_upgrade(head, ended, key)? } else { head }, length))
}

/// `*` is for OPTIONS only, and all else begins with a slash (RFC 9113 §8.3.1).
fn target(method: &Method, path: &str) -> Result<Target, Refusal> {
    let is_of_the_server = path == "*" && method == Method::OPTIONS;
    if !path.starts_with('/') && !is_of_the_server {
        return Err(Refusal::Malformed(":path is no path"));
    }
    Ok(Target::new(Bytes::copy_from_slice(path.as_bytes()))?)
}

/// What the fields of a head say.
#[derive(Default)]
struct Sorted {
    bytes: usize,
    content_length: Option<u64>,
    expect_continue: bool,
}

/// Checks the fields and leaves those that are end-to-end.
fn sort(headers: &mut HeaderMap) -> Result<Sorted, Refusal> {
    let mut found = Sorted::default();
    let (mut has_length, mut has_expect, mut has_te, mut has_ambiguous) = (false, false, false, false);
    for (name, value) in headers.iter() {
        let (text, value) = (name.as_str().as_bytes(), value.as_bytes());
        found.bytes += text.len() + value.len() + SEPARATORS;
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if is_blank(value.first()) || is_blank(value.last()) {
            return Err(Refusal::Malformed("a field value with blanks around it"));
        }
        has_ambiguous |= memchr::memchr(b'_', text).is_some();
        match role(text) {
            Role::EndToEnd | Role::Host => {}
            Role::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                (has_expect, found.expect_continue) = (true, true);
            }
            Role::Expect => return Err(Refusal::Refused(HeadError::Expectation)),
            Role::ContentLength if has_length => return Err(Refusal::Malformed("several Content-Length fields")),
            Role::ContentLength => {
                has_length = true;
                let length = decimal(value).ok_or(Refusal::Malformed("Content-Length is no number"))?;
                found.content_length = Some(length);
            }
            Role::Dropped if name == header::TE && value.eq_ignore_ascii_case(b"trailers") => has_te = true,
            Role::Dropped | Role::Connection | Role::TransferEncoding | Role::Upgrade => {
                return Err(Refusal::Malformed("a field of a connection of HTTP/1"));
            }
        }
    }
    for (name, is_there) in [(header::CONTENT_LENGTH, has_length), (header::EXPECT, has_expect), (header::TE, has_te)] {
        if is_there {
            headers.remove(name);
        }
    }
    if has_ambiguous {
        remove_ambiguous(headers);
    }
    Ok(found)
}

/// `X_Forwarded_For` and `X-Forwarded-For` are one variable to a CGI-like program.
#[cold]
fn remove_ambiguous(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// One host, whichever of the two fields said it (RFC 9113 §8.3.1).
fn set_host(headers: &mut HeaderMap, authority: Option<&str>, scheme: &str) -> Result<(), Refusal> {
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return Err(Refusal::Malformed(":scheme is neither http nor https")),
    };
    let mut stated = headers.get_all(header::HOST).iter();
    let host = stated.next();
    if stated.next().is_some() {
        return Err(Refusal::Malformed("several Host fields"));
    }
    match (authority, host) {
        (None, None) => Err(Refusal::Malformed("neither :authority nor Host")),
        (None, Some(host)) if is_authority(host.as_bytes()) => Ok(()),
        (None, Some(_)) => Err(Refusal::Malformed("illegal character in Host")),
        (Some(authority), _) if authority.is_empty() || !is_authority(authority.as_bytes()) => {
            Err(Refusal::Malformed("illegal :authority"))
        }
        (Some(authority), Some(host)) if !is_same(authority.as_bytes(), host.as_bytes(), port.as_bytes()) => {
            Err(Refusal::Malformed("Host is another one than :authority"))
        }
        (Some(authority), _) => {
            let host = HeaderValue::from_str(authority).map_err(|_| Refusal::Malformed("illegal :authority"))?;
            headers.try_insert(header::HOST, host).map_err(|_| HeadError::TooLarge)?;
            Ok(())
        }
    }
}

fn is_same(authority: &[u8], host: &[u8], port: &[u8]) -> bool {
    let bare = |text| <[u8]>::strip_suffix(text, port).unwrap_or(text);
    bare(authority).eq_ignore_ascii_case(bare(host))
}

/// Cookies that came in pieces for the sake of compression are one field again (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return Ok(()) };
    let mut all = BytesMut::with_capacity(first.len() + second.len() + 64);
    all.put_slice(first.as_bytes());
    for crumb in std::iter::once(second).chain(cookies) {
        all.put_slice(b"; ");
        all.put_slice(crumb.as_bytes());
    }
    let joined = HeaderValue::from_maybe_shared(all.freeze());
    let joined = joined.map_err(|_| Refusal::Malformed("control character in a field value"))?;
    headers.insert(header::COOKIE, joined);
    Ok(())
}

/// The handshake of HTTP/1.1 that an extended CONNECT stands for (RFC 8441 §5).
fn as_upgrade(mut head: RequestHead, ended: bool, key: impl FnOnce() -> HeaderValue) -> Result<RequestHead, Refusal> {
    if ended {
        return Err(Refusal::Malformed("an extended CONNECT that has ended"));
    }
    head.headers.try_insert("sec-websocket-key", key()).map_err(|_| HeadError::TooLarge)?;
    head.method = Method::GET;
    head.upgrade = Some(HeaderValue::from_static("websocket"));
    Ok(head)
}

#[cfg(test)]
mod tests;
