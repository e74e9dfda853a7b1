//! Whose pages may come to a channel: those of its own origin, and those of `origins`.
//!
//! A browser sends a page's `Origin` with every WebSocket, POST and DELETE, and no page can forge it. Who sends none is
//! no browser, and could send any.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rsp_core::config::{self, Origins};

use crate::{
    message::{Body, Request, Response},
    session::{is_own, refusal, wants_websocket},
};

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
