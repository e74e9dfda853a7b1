//! Heads of HTTP/2 towards upstreams: the request is what HTTP/1.1 would be sent, the answer becomes what it would have sent.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::frame::http1::{
    Framing, HeadError, HeadLimits, RequestHead, ResponseHead, is_connection_field, parse_request,
};

/// What was received within the bounds of a client has at most a few fields more when it is sent on.
const RENDERED: HeadLimits = HeadLimits { head: 4 << 20, headers: 2048, uri: 4 << 20 };

/// Reads a rendered HTTP/1.1 head as a request for HTTP/2 (RFC 9113 §8.3.1), and says which protocol it offers to upgrade to.
///
/// It has no field of an HTTP/1.1 connection, and `te: trailers`, as trailers are always passed on. `authority`: who is
/// asked where the head names nobody.
///
/// # Errors
/// A head that is none, or names a host that is none.
pub fn http2_request(
    rendered: &[u8],
    scheme: Scheme,
    authority: &HeaderValue,
) -> Result<(Request<()>, Option<HeaderValue>), HeadError> {
    let head = match parse_request(rendered, &RENDERED)? {
        Some((head, length)) if length == rendered.len() => head,
        _ => return Err(HeadError::Malformed("not one head")),
    };
    let RequestHead { method, target, mut headers, framing, upgrade, expect_continue, .. } = head;
    let host = headers.remove(header::HOST).filter(|host| !host.is_empty()).unwrap_or_else(|| authority.clone());
    let host =
        Authority::try_from(host.as_bytes()).map_err(|_| HeadError::Malformed("no host that can be asked for"))?;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(scheme);
    uri.authority = Some(host);
    uri.path_and_query = Some(path(target.as_bytes())?);
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| HeadError::Malformed("no target that can be asked for"))?;
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_2;
    if let Framing::Length(length) = framing {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if expect_continue {
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    *request.headers_mut() = headers;
    Ok((request, upgrade))
}

/// The same for a WebSocket over HTTP/2 (RFC 8441 §5): what belongs to the handshake of HTTP/1.1 only is left out.
pub fn as_extended_connect(request: &mut Request<()>) {
    *request.method_mut() = Method::CONNECT;
    for name in [header::SEC_WEBSOCKET_KEY, header::CONTENT_LENGTH, header::TE] {
        request.headers_mut().remove(name);
    }
}

/// A target as the library takes it: the few characters that no URI has (RFC 3986 §2) are escaped.
fn path(target: &[u8]) -> Result<PathAndQuery, HeadError> {
    const BAD: HeadError = HeadError::Malformed("no target that can be asked for");
    if let Ok(path) = PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(target)) {
        return Ok(path);
    }
    let mut escaped = Vec::with_capacity(target.len() + 16);
    for &byte in target {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                escaped.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => escaped.push(byte),
        }
    }
    PathAndQuery::from_maybe_shared(Bytes::from(escaped)).map_err(|_| BAD)
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'A' + value - 10 }
}

/// What an answer by HTTP/2 says. `is_over`: nothing follows its head.
///
/// # Errors
/// Lengths that contradict each other, or a 101, which HTTP/2 has not (RFC 9113 §8.6).
pub fn http2_response(
    (status, headers): (StatusCode, HeaderMap),
    method: &Method,
    is_over: bool,
) -> Result<ResponseHead, HeadError> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadError::Malformed("a 101 by HTTP/2"));
    }
    let content_length = length(&headers)?;
    let headers = http2_interim(headers);
    let is_bare = method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match content_length {
        _ if is_bare => Framing::Empty,
        Some(stated) if is_over && stated > 0 => return Err(HeadError::Malformed("a length, and no body")),
        Some(stated) => Framing::Length(stated),
        None if is_over => Framing::Empty,
        None => Framing::Chunked,
    };
    let version = Version::HTTP_2;
    Ok(ResponseHead { status, version, headers, framing, content_length, keep_alive: true, upgrade: None })
}

/// The fields of a 1xx answer by HTTP/2 that go on: whoever believed a length there would wait for content (RFC 9110 §8.6).
pub fn http2_interim(mut headers: HeaderMap) -> HeaderMap {
    let foreign: Vec<HeaderName> = headers.keys().filter(|name| is_connection_field(name)).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    headers
}

fn length(headers: &HeaderMap) -> Result<Option<u64>, HeadError> {
    const BAD: HeadError = HeadError::Malformed("a length that is none");
    let mut found = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| BAD)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length: u64 = text.parse().ok().filter(|_| digits).ok_or(BAD)?;
        if found.is_some_and(|other| other != length) {
            return Err(BAD);
        }
        found = Some(length);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(rendered: &str) -> Result<(Request<()>, Option<HeaderValue>), HeadError> {
        let rendered = rendered.replace('\n', "\r\n");
        http2_request(rendered.as_bytes(), Scheme::HTTPS, &HeaderValue::from_static("app:8443"))
    }

    #[test]
    fn a_rendered_head_is_a_request_without_fields_of_a_connection() {
        let head = "POST /a?b HTTP/1.1\nhost: example.com\nx: 1\nx: 2\nte: gzip\ntransfer-encoding: chunked\n\n";
        let (request, upgrade) = request(head).unwrap();
        assert_eq!(request.uri(), "https://example.com/a?b");
        assert_eq!(request.method(), Method::POST);
        let fields: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("x", &b"1"[..]), ("x", b"2"), ("te", b"trailers")]);
        assert_eq!(upgrade, None);
    }

    #[test]
    fn a_length_and_an_expectation_go_on() {
        let (request, _) = request("PUT / HTTP/1.1\nhost: a\ncontent-length: 3\nexpect: 100-continue\n\n").unwrap();
        assert_eq!(request.headers()[header::CONTENT_LENGTH], "3");
        assert_eq!(request.headers()[header::EXPECT], "100-continue");
    }

    #[test]
    fn who_names_nobody_asks_the_endpoint() {
        let (request, _) = request("GET / HTTP/1.1\nhost: \n\n").unwrap();
        assert_eq!(request.uri(), "https://app:8443/");
    }

    #[test]
    fn characters_that_no_uri_has_are_escaped() {
        let (request, _) = request("GET /<a>?`{\"^|\\} HTTP/1.1\nhost: a\n\n").unwrap();
        let target = request.uri().path_and_query().unwrap().as_str();
        assert!(target.starts_with("/%3Ca%3E?"), "{target}");
        assert!(!target.contains(['<', '>', '`', '^', '\\']), "{target}");
    }

    #[test]
    fn an_upgrade_is_told_and_becomes_an_extended_connect() {
        let head = "GET /chat HTTP/1.1\nhost: a\nsec-websocket-key: abc\nsec-websocket-version: 13\n\
                    connection: upgrade\nupgrade: websocket\n\n";
        let (mut request, upgrade) = request(head).unwrap();
        assert_eq!(upgrade.unwrap(), "websocket");
        as_extended_connect(&mut request);
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["sec-websocket-version"]);
    }

    #[test]
    fn the_asterisk_is_asked_for_as_such() {
        let (request, _) = request("OPTIONS * HTTP/1.1\nhost: a\n\n").unwrap();
        assert_eq!(request.uri().path(), "*");
    }

    fn answer(
        fields: &[(&'static str, &'static str)],
        method: Method,
        is_over: bool,
    ) -> Result<ResponseHead, HeadError> {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers: Vec<_> = fields.collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        http2_response((StatusCode::OK, map), &method, is_over)
    }

    #[test]
    fn an_answers_length_is_its_framing_and_no_field() {
        let head = answer(&[("content-length", "3"), ("a", "b"), ("keep-alive", "1")], Method::GET, false).unwrap();
        assert_eq!((head.framing, head.content_length), (Framing::Length(3), Some(3)));
        assert_eq!(head.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(answer(&[], Method::GET, false).unwrap().framing, Framing::Chunked);
        assert_eq!(answer(&[], Method::GET, true).unwrap().framing, Framing::Empty);
        let head = answer(&[("content-length", "3")], Method::HEAD, true).unwrap();
        assert_eq!((head.framing, head.content_length), (Framing::Empty, Some(3)));
    }

    #[test]
    fn lengths_that_contradict_are_refused() {
        for fields in [
            &[("content-length", "3"), ("content-length", "4")][..],
            &[("content-length", "+3")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
        ] {
            assert!(answer(fields, Method::GET, false).is_err(), "{fields:?}");
        }
        assert!(answer(&[("content-length", "3")], Method::GET, true).is_err());
        assert!(http2_response((StatusCode::SWITCHING_PROTOCOLS, HeaderMap::new()), &Method::GET, true).is_err());
    }
}
