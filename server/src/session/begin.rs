//! How a talk begins: what a request wants of it, and the answer that opens it.

use std::rc::Rc;

use http::{Method, StatusCode};
use rsp_core::config;

use super::{
    Brought, Far, Handshake, Sessions, accept::takes_events, brought::Speech, handshake::wants_websocket,
    incoming::Incoming, near::Near, pulse::Pulse, refusal, talk::Talk,
};
use crate::message::{Lead, Line, Request, Response};

/// What a request wants of a handler that talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A WebSocket.
    WebSocket,
    /// An event stream.
    Events,
    /// The head of an event stream: nothing begins.
    Head,
    /// To post to the session of an event stream.
    Post,
    /// Nothing that it answers.
    Other,
}

/// What a request wants.
pub fn asked(request: &Request) -> Asked {
    match request.head.method {
        Method::GET if wants_websocket(request) => Asked::WebSocket,
        Method::GET if takes_events(request) => Asked::Events,
        Method::HEAD if takes_events(request) => Asked::Head,
        Method::POST if super::posts::names_session(request) => Asked::Post,
        _ => Asked::Other,
    }
}

/// The answer with which the talk begins: a WebSocket or an event stream.
pub fn talk(request: &Request, talk: &config::Talk, sessions: &Rc<Sessions>, far: impl Far) -> Box<Response> {
    let Some(wire) = request.interim.wire() else {
        return refusal(StatusCode::BAD_REQUEST, "no connection to take over");
    };
    if !wants_websocket(request) {
        return super::stream::answer(request, talk, sessions, (wire, far));
    }
    let handshake = match Handshake::read(request) {
        Ok(handshake) => handshake,
        Err(refusal) => return refusal,
    };
    let compression = handshake.deflate().map(|deflate| (deflate.window, Rc::clone(&sessions.deflaters)));
    let incoming = Incoming::new(talk.message_max, handshake.deflate());
    let (seat, ping, seed) = (sessions.sit(), talk.ping, request.id.seed());
    handshake.accept(move |Line { early, write_timeout }| -> Lead {
        if ping.is_none() {
            // Else nobody would find out that it is gone.
            wire.probe_peer();
        }
        let talk = Talk {
            wire,
            near: Near::socket(incoming, early),
            far,
            brought: Brought::new(Speech::Frames(compression)),
            pulse: Pulse::new(ping, true, seed),
            seat,
            write_timeout,
            sent: 0,
        };
        Box::pin(talk.lead())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn a_request_is_told_by_its_method_and_what_it_takes() {
        let of = |method, target, accept| asked(&Request::example(method, target).with(header::ACCEPT, accept));
        for (method, target, accept, wanted) in [
            (Method::GET, "/", "text/event-stream", Asked::Events),
            (Method::GET, "/", "text/html, text/event-stream;q=0", Asked::Other),
            (Method::GET, "/", "*/*", Asked::Other),
            (Method::HEAD, "/", "text/event-stream", Asked::Head),
            (Method::HEAD, "/", "*/*", Asked::Other),
            (Method::POST, "/?session=", "*/*", Asked::Post),
            (Method::POST, "/?a=session", "text/event-stream", Asked::Other),
            (Method::DELETE, "/?session=", "text/event-stream", Asked::Other),
        ] {
            assert_eq!(of(method.clone(), target, accept), wanted, "{method} {target} {accept}");
        }
        let mut request = Request::example(Method::GET, "/").with(header::ACCEPT, "text/event-stream");
        request.head.upgrade = Some(HeaderValue::from_static("WebSocket"));
        assert_eq!(asked(&request), Asked::WebSocket);
    }
}
