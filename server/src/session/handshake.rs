//! The handshake of a WebSocket (RFC 6455 §4.2).

use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use rsp_core::frame::websocket::{Deflate, accept_key, negotiate};

use super::refusal;
use crate::message::{Body, Lead, Line, Request, Response, Session, Takeover};

/// What a client asked for.
pub struct Handshake {
    accept: String,
    /// The subprotocol that is echoed.
    protocol: Option<HeaderValue>,
    deflate: Option<Deflate>,
}

impl Handshake {
    /// Reads it. The first subprotocol that is offered is echoed.
    ///
    /// # Errors
    /// The answer to one that is wrong: 400 or 426.
    pub fn read(request: &Request) -> Result<Self, Box<Response>> {
        let fields = &request.head.headers;
        if request.head.method != Method::GET || request.head.version == Version::HTTP_10 {
            return Err(refusal(StatusCode::BAD_REQUEST, "a WebSocket begins with a GET of HTTP/1.1"));
        }
        if !matches!(request.body, Body::Empty) {
            return Err(refusal(StatusCode::BAD_REQUEST, "a WebSocket begins with a GET without a body"));
        }
        if fields.get("sec-websocket-version").is_none_or(|version| version != "13") {
            let answer = refusal(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken here");
            return Err(Box::new(
                answer.with(HeaderName::from_static("sec-websocket-version"), HeaderValue::from_static("13")),
            ));
        }
        let mut keys = fields.get_all("sec-websocket-key").iter();
        let accept = match (keys.next(), keys.next()) {
            (Some(key), None) => accept_key(key.as_bytes()),
            _ => None,
        };
        let Some(accept) = accept else {
            return Err(refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64"));
        };
        let extensions = fields.get_all("sec-websocket-extensions").iter().filter_map(|value| value.to_str().ok());
        let deflate = negotiate(extensions);
        let first = offered(request).next().filter(|name| !name.is_empty());
        let protocol = first.and_then(|name| HeaderValue::from_str(name).ok());
        Ok(Self { accept, protocol, deflate })
    }

    /// Chooses a subprotocol of ours, if it was offered.
    pub fn choose(&mut self, name: &'static str, request: &Request) -> bool {
        let is_offered = offered(request).any(|offered| offered == name);
        if is_offered {
            self.protocol = Some(HeaderValue::from_static(name));
        }
        is_offered
    }

    /// The compression that is agreed on; None: none.
    pub fn deflate(&self) -> Option<&Deflate> {
        self.deflate.as_ref()
    }

    /// Accepts it; `lead` leads the conversation.
    pub fn accept(self, lead: impl FnOnce(Line) -> Lead + 'static) -> Box<Response> {
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS, Body::Empty);
        let mut set = |name, value: Option<HeaderValue>| value.map(|value| response.headers.insert(name, value));
        set("sec-websocket-accept", HeaderValue::from_str(&self.accept).ok());
        set("sec-websocket-protocol", self.protocol);
        let extensions = self.deflate.as_ref().and_then(|deflate| HeaderValue::from_str(&deflate.answer()).ok());
        set("sec-websocket-extensions", extensions);
        let session = Session { protocol: Some(HeaderValue::from_static("websocket")), lead: Box::new(lead) };
        response.takeover = Some(Box::new(Takeover::Session(session)));
        Box::new(response)
    }
}

/// Whether a request asks for a WebSocket, right or wrong.
pub fn wants_websocket(request: &Request) -> bool {
    request.head.upgrade.as_ref().is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn offered(request: &Request) -> impl Iterator<Item = &str> {
    let fields = request.head.headers.get_all("sec-websocket-protocol").iter();
    fields.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}
