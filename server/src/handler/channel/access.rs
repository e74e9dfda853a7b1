//! Whose pages may come to a channel: those of its own origin, and those of `origins`.
//!
//! A browser sends a page's `Origin` with every WebSocket, POST and DELETE, and no page can forge it. Who sends none is
//! no browser, and could send any.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rsp_core::config::{self, Origins};

use super::{refusal, wants_websocket};
use crate::message::{Body, Request, Response};

/// What a preflight is told, and what a 405 says: everything but DELETE, which needs a function.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
pub const METHODS_AND_DELETE: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST, DELETE");

/// Fields of their own choice that pages may send.
const FIELDS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, if-none-match, last-event-id");

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// From a page of the same origin, or from no page.
    Own,
    /// From a page of an origin that is listed; this says so to the browser.
    Listed(HeaderValue),
    /// From another page.
    Foreign,
}

impl Standing {
    /// Where `request` comes from.
    pub fn of(spec: &config::Channel, request: &Request) -> Self {
        let mut stated = request.head.headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (stated.next(), stated.next()) else {
            return if request.head.headers.contains_key(header::ORIGIN) { Self::Foreign } else { Self::Own };
        };
        match &spec.origins {
            Some(Origins::Any) => Self::Listed(HeaderValue::from_static("*")),
            Some(listed) if listed.allow(origin.as_bytes()) => Self::Listed(origin.clone()),
            _ if is_own(origin.as_bytes(), request) => Self::Own,
            _ => Self::Foreign,
        }
    }

    /// The answer to a foreign page that would change or read something: for what else it asks it gets an answer that its
    /// browser keeps from it.
    pub fn refuse(&self, request: &Request) -> Option<Box<Response>> {
        let acts = matches!(request.head.method, Method::POST | Method::DELETE) || wants_websocket(request);
        (acts && *self == Self::Foreign).then(|| {
            refusal(
                StatusCode::FORBIDDEN,
                "the page is of another origin than this URL: list it in `origins`, or `trust` the proxy that says \
                 how the browser came here",
            )
        })
    }

    /// Writes what the browser must know into an answer.
    pub fn write(&self, spec: &config::Channel, answer: &mut HeaderMap) {
        if let Some(Origins::Listed(_)) = &spec.origins {
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Self::Listed(origin) = self else { return };
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Retry-After"));
        // Every page can make itself `null`.
        if origin != "*" && origin != "null" {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }

    /// The answer to OPTIONS, which is a preflight when a browser asks for its page (Fetch standard, §3.3.3).
    pub fn options(&self, spec: &config::Channel) -> Box<Response> {
        let mut answer = Response::new(StatusCode::NO_CONTENT, Body::Empty).with(header::ALLOW, methods(spec));
        if let Self::Listed(_) = self {
            answer.headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods(spec));
            answer.headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, FIELDS);
        }
        Box::new(answer)
    }
}

/// The methods that a channel knows.
pub fn methods(spec: &config::Channel) -> HeaderValue {
    if spec.delete.is_some() { METHODS_AND_DELETE } else { METHODS }
}

/// Whether an `Origin` is that of the URL as the browser sees it: scheme, host and port.
fn is_own(origin: &[u8], request: &Request) -> bool {
    let scheme = believed(request, "x-forwarded-proto").unwrap_or(request.scheme.as_bytes());
    let host = || request.head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let Some(host) = believed(request, "x-forwarded-host").or_else(host) else { return false };
    let Some(at) = origin.windows(3).position(|part| part == b"://") else { return false };
    let (stated, authority) = (&origin[..at], &origin[at + 3..]);
    let port: &[u8] = match scheme.to_ascii_lowercase().as_slice() {
        b"http" => b":80",
        b"https" => b":443",
        _ => return false,
    };
    let without = |authority: &'_ [u8]| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    !host.is_empty() && stated.eq_ignore_ascii_case(scheme) && without(authority) == without(host)
}

/// What a trusted proxy says, if it says one thing.
fn believed<'a>(request: &'a Request, name: &str) -> Option<&'a [u8]> {
    if !request.client.trusted {
        return None;
    }
    let mut stated = request.head.headers.get_all(name).iter();
    match (stated.next(), stated.next()) {
        (Some(one), None) if !one.as_bytes().contains(&b',') => Some(one.as_bytes().trim_ascii()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn asked(fields: &[(&'static str, &str)]) -> Request {
        let request = Request::example(Method::POST, "/a");
        fields.iter().fold(request, |request, (name, value)| request.with(HeaderName::from_static(name), value))
    }

    #[test]
    fn an_origin_is_the_urls_own_if_scheme_host_and_port_are() {
        for (origin, host) in [
            ("http://a.example", "a.example"),
            ("http://a.example", "A.example:80"),
            ("http://a.example:8080", "a.example:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_own(origin.as_bytes(), &asked(&[("host", host)])), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://a.example", "a.example"),
            ("http://a.example:8080", "a.example"),
            ("http://a.example", "a.example:443"),
            ("http://a.example.evil", "a.example"),
            ("http://b.example", "a.example"),
            ("null", "null"),
            ("http://", ""),
            ("", ""),
        ] {
            assert!(!is_own(origin.as_bytes(), &asked(&[("host", host)])), "{origin} {host}");
        }
        assert!(!is_own(b"http://a.example", &asked(&[])));
    }

    #[test]
    fn what_a_proxy_says_of_scheme_and_host_counts_if_it_is_trusted_and_clear() {
        let fields = [("host", "10.0.0.1:3000"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example")];
        let mut request = asked(&fields);
        assert!(!is_own(b"https://a.example", &request));
        request.client.trusted = true;
        assert!(is_own(b"https://a.example", &request));
        assert!(!is_own(b"http://10.0.0.1:3000", &request));
        let mut unclear = asked(&fields).with(HeaderName::from_static("x-forwarded-host"), "b.example");
        unclear.client.trusted = true;
        assert!(!is_own(b"https://a.example", &unclear) && !is_own(b"https://b.example", &unclear));
    }
}
