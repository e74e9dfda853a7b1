//! How a talk begins: what a request wants of it, and the answer that opens it.

use std::{
    future::Future,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, StatusCode};
use rsp_core::config;

use super::{
    Brought, Deflaters, End, Far, Handshake, Sessions, accept::takes_events, brought::Speech,
    handshake::wants_websocket, incoming::Incoming, near::Near, pulse::Pulse, refusal, sessions::Seat, talk::Talk,
};
use crate::{
    message::{Lead, Line, Request, Response},
    stream::Wire,
};

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
    if wants_websocket(request) {
        return by_websocket(request, talk, sessions, |opening, line| Box::pin(opening.talk(line, far).lead()));
    }
    match request.interim.wire() {
        Some(wire) => super::stream::answer(request, talk, sessions, (wire, far)),
        None => refusal(StatusCode::BAD_REQUEST, "no connection to take over"),
    }
}

/// The answer that begins a talk by WebSocket with a far side that is still on its way: what the client says meanwhile waits.
/// One that never comes has broken off.
pub fn talk_soon<F: Far>(
    request: &Request,
    talk: &config::Talk,
    sessions: &Rc<Sessions>,
    far: impl Future<Output = Option<F>> + 'static,
) -> Box<Response> {
    by_websocket(request, talk, sessions, |opening, line| {
        Box::pin(async move {
            match far.await {
                // A talk may last for days, and whatever it waited for does not.
                Some(far) => Box::pin(opening.talk(line, far).lead()).await,
                None => Box::pin(opening.talk(line, Nobody).lead()).await,
            }
        })
    })
}

fn by_websocket(
    request: &Request,
    talk: &config::Talk,
    sessions: &Rc<Sessions>,
    lead: impl FnOnce(Opening, Line) -> Lead + 'static,
) -> Box<Response> {
    let Some(wire) = request.interim.wire() else {
        return refusal(StatusCode::BAD_REQUEST, "no connection to take over");
    };
    let handshake = match Handshake::read(request) {
        Ok(handshake) => handshake,
        Err(refusal) => return refusal,
    };
    let opening = Opening {
        wire,
        compression: handshake.deflate().map(|deflate| (deflate.window, Rc::clone(&sessions.deflaters))),
        incoming: Incoming::new(talk.message_max, handshake.deflate()),
        seat: sessions.sit(),
        ping: talk.ping,
        seed: request.id.seed(),
    };
    handshake.accept(move |line| lead(opening, line))
}

/// A talk by WebSocket before its far side is there.
struct Opening {
    wire: Rc<Wire>,
    compression: Option<(u8, Rc<Deflaters>)>,
    incoming: Incoming,
    seat: Seat,
    ping: Option<Duration>,
    seed: u64,
}

impl Opening {
    fn talk<F: Far>(self, Line { early, write_timeout }: Line, far: F) -> Talk<F> {
        let Self { wire, compression, incoming, seat, ping, seed } = self;
        if ping.is_none() {
            // Else nobody would find out that it is gone.
            wire.probe_peer();
        }
        Talk {
            wire,
            near: Near::socket(incoming, early),
            far,
            brought: Brought::new(Speech::Frames(compression)),
            pulse: Pulse::new(ping, true, seed),
            seat,
            write_timeout,
            sent: 0,
        }
    }
}

/// A far side that never came.
struct Nobody;

impl Far for Nobody {
    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn give(&mut self, _: &[u8], _: bool) {}

    fn poll_bring(&mut self, _: &mut Context<'_>, _: &mut Brought) -> Poll<Result<(), End>> {
        Poll::Ready(Err(End::Failed))
    }
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
