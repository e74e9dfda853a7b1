//! `channel`: one URL at which every client subscribes and publishes, told apart by the request.
//!
//! | request | is |
//! |---|---|
//! | `GET` with `Upgrade: websocket` | a WebSocket |
//! | `GET`, `Accept: text/event-stream` | an event stream |
//! | `GET`, `Accept: application/x-ndjson` | an object a line, without end |
//! | `POST` | a publication |
//!
//! **Invariant:** a subscriber sees every message of an epoch after its position once and in order, or is told that some
//! are lost; one that does not read costs its queue, and nobody waits for it.

mod encode;
mod hub;
mod look_back;
mod post;
mod publish;
mod stream;
mod subscriber;
mod websocket;
mod wheel;

use std::{str::FromStr, sync::Arc};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use rsp_core::{
    channel::{Member, Position, Who},
    config,
};

pub use self::hub::Hub;
use self::{
    encode::Format,
    hub::{LOOK_MAX, Place, Seat},
    look_back::Start,
    publish::{NotPublished, Publisher},
    subscriber::Subscriber,
    websocket::Offer,
};
use super::Context;
use crate::{
    broker::{self, Look, Name},
    error::{Fault, Kind},
    message::{Request, Response},
    observe::Transport,
};

/// One request at a channel.
struct Visitor<'a> {
    request: Box<Request>,
    spec: &'a Arc<config::Channel>,
    name: Name,
    context: &'a Context<'a>,
    /// Who sent it.
    who: Option<Arc<Who>>,
}

/// Answers one request.
pub async fn run(
    spec: &Arc<config::Channel>,
    request: Box<Request>,
    context: &Context<'_>,
) -> Result<Box<Response>, Fault> {
    let name = spec.name.fill(context.params);
    let name = name.map_err(|e| Fault::new(Kind::Malformed, e.to_string()))?;
    let visitor = Visitor { request, spec, name, context, who: None };
    match visitor.request.head.method {
        Method::GET if wants_websocket(&visitor.request) => visitor.websocket().await,
        Method::GET if accepts(&visitor.request, "text/event-stream") => visitor.stream(Transport::EventStream).await,
        Method::GET if accepts(&visitor.request, "application/x-ndjson") => visitor.stream(Transport::Lines).await,
        Method::POST => visitor.post().await,
        _ => Err(Fault::new(Kind::MethodNotAllowed, "not at a channel")),
    }
}

impl Visitor<'_> {
    async fn websocket(self) -> Result<Box<Response>, Fault> {
        let offer = match Offer::read(&self.request) {
            Ok(offer) => offer,
            Err(refusal) => return Ok(refusal),
        };
        let since = match self.since() {
            Ok(since) => since,
            Err(_) => {
                return Ok(Box::new(Response::text(
                    StatusCode::BAD_REQUEST,
                    "400 Bad Request: `since` is no position\n",
                )));
            }
        };
        let (seat, start) = match self.join(offer.format, Transport::WebSocket, since).await? {
            Some(joined) => joined,
            None => return Err(Fault::new(Kind::Malformed, "no connection to take over")),
        };
        if start.past.is_lost && matches!(offer.format, Format::Plain(_)) {
            let gone = format!("410 Gone: what came after that position is lost; now it is {}\n", start.past.end);
            return Ok(Box::new(Response::text(StatusCode::GONE, gone)));
        }
        Ok(offer.answer(seat, start, Publisher { who: self.who.clone() }))
    }

    async fn stream(self, transport: Transport) -> Result<Box<Response>, Fault> {
        let is_chunked = self.request.head.version == http::Version::HTTP_11;
        let (format, since) = match (transport, self.since()) {
            (Transport::EventStream, since) => (Format::Events { is_chunked }, since.ok()),
            (_, Ok(since)) => (Format::Lines { is_chunked }, Some(since)),
            (_, Err(_)) => {
                let text = "400 Bad Request: `since` is no position\n";
                return Ok(Box::new(Response::text(StatusCode::BAD_REQUEST, text)));
            }
        };
        // A browser gives up on a 400, so it is told that it missed something.
        let is_nonsense = since.is_none();
        let Some((seat, mut start)) = self.join(format, transport, since.flatten()).await? else {
            return Err(Fault::new(Kind::Malformed, "no connection to take over"));
        };
        start.past.is_lost |= is_nonsense;
        Ok(stream::answer(transport, seat, start))
    }

    /// Takes a seat and looks back. None: there is no connection of the client's own.
    async fn join(
        &self,
        format: Format,
        transport: Transport,
        since: Option<Position>,
    ) -> Result<Option<(Seat, Start)>, Fault> {
        let Some(wire) = self.request.interim.wire() else { return Ok(None) };
        let subscriber = Subscriber::stream(Arc::clone(self.spec), format, wire);
        let look = match since {
            Some(position) => Look::Since(position, LOOK_MAX),
            None => Look::Latest(0),
        };
        let joined = self.context.hub.join(&self.name, subscriber, transport, look).await;
        let (seat, past) = joined.map_err(|refused| NotPublished::Broker(refused).fault())?;
        let member = (self.spec.presence || self.spec.join_leave).then(|| Member {
            id: self.request.id.to_string().into(),
            who: self.who.clone(),
            since: broker::now(),
        });
        Ok(Some((seat, Start { past, member })))
    }

    /// Where the client was: `?since=`, `Last-Event-ID`; None: it begins at the end.
    fn since(&self) -> Result<Option<Position>, rsp_core::channel::NotAPosition> {
        let query = str::from_utf8(self.request.head.target.query().unwrap_or_default()).unwrap_or_default();
        let parameter = query.split('&').find_map(|pair| pair.strip_prefix("since="));
        let field = || self.request.head.headers.get("last-event-id").and_then(|value| value.to_str().ok());
        match field().filter(|id| !id.is_empty()).or(parameter) {
            None => Ok(None),
            Some(text) => Position::from_str(text).map(Some),
        }
    }

    fn place(&self) -> Place<'_> {
        Place { hub: self.context.hub, name: &self.name, spec: self.spec }
    }
}

fn wants_websocket(request: &Request) -> bool {
    request.head.upgrade.as_ref().is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn accepts(request: &Request, kind: &str) -> bool {
    let accepts = request.head.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|accepted| {
        let named = accepted.split(';').next().unwrap_or_default().trim();
        named.eq_ignore_ascii_case(kind)
    })
}

/// `X-Accel-Buffering: no`, for a proxy in front of us.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
