//! `channel`: one URL at which every client subscribes and publishes, told apart by the request.
//!
//! | request | is |
//! |---|---|
//! | `GET` with `Upgrade: websocket` | a WebSocket |
//! | `GET`, `Accept: text/event-stream` | an event stream |
//! | `GET`, `Accept: application/x-ndjson` | an object a line, without end |
//! | `GET` otherwise | a poll: it is held until there is a message |
//! | `GET ?history=N`, `GET ?presence` | objects |
//! | `POST` | a publication |
//! | `DELETE` | the end of the history, where a function allows it |
//!
//! **Invariant:** a subscriber sees every message of an epoch after its position once and in order, or is told that some
//! are lost; one that does not read costs its queue, and nobody waits for it.

mod access;
mod encode;
mod gate;
mod hub;
mod json;
mod look_back;
mod operate;
mod poll;
mod post;
mod publish;
mod query;
mod stream;
mod subscriber;
mod websocket;
mod wheel;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use rsp_core::{
    channel::{Member, Position, Who},
    config,
};

use self::{
    access::Standing,
    encode::Format,
    hub::{LOOK_MAX, Place, Seat},
    look_back::Start,
    query::{Wanted, accepted, since, wanted},
    subscriber::Subscriber,
    websocket::Offer,
};
pub use self::{hub::Hub, operate::operate};
use super::Context;
use crate::{
    broker::{self, Look, Name, Refused},
    error::{Fault, Kind},
    message::{Request, RequestId, Response},
    observe::Transport,
    session::{refusal, wants_websocket},
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
    serve(spec, name, request, context).await
}

/// Answers one request at a channel whose name is known.
async fn serve(
    spec: &Arc<config::Channel>,
    name: Name,
    request: Box<Request>,
    context: &Context<'_>,
) -> Result<Box<Response>, Fault> {
    let standing = Standing::of(spec, &request);
    let id = request.id;
    let mut answer = match standing.refuse(&request) {
        Some(refusal) => refusal,
        None if request.head.method == Method::OPTIONS => standing.options(spec),
        None => match Visitor::new(request, spec, name, context).answer().await {
            Ok(answer) => answer,
            Err(fault) => shown(fault, &standing, id)?,
        },
    };
    standing.write(spec, &mut answer.headers);
    Ok(answer)
}

/// A page of a listed origin can read no error page, so it gets an answer of ours; all others get theirs of dispatch.
fn shown(fault: Fault, standing: &Standing, id: RequestId) -> Result<Box<Response>, Fault> {
    if !matches!(standing, Standing::Listed(_)) || matches!(fault.kind, Kind::Script | Kind::ClientGone) {
        return Err(fault);
    }
    fault.log(id);
    let status = fault.kind.status();
    let mut answer = refusal(status, &format!("request {id}"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(answer)
}

impl<'a> Visitor<'a> {
    fn new(request: Box<Request>, spec: &'a Arc<config::Channel>, name: Name, context: &'a Context<'a>) -> Self {
        // As `auth` knows it; a `subscribe` function may say otherwise.
        let who = request.user.as_ref().map(|user| {
            let name = Some(&user.name).filter(|name| !name.is_empty());
            Arc::new(Who { user: name.cloned(), info: user.info.clone() })
        });
        Self { request, spec, name, context, who }
    }

    async fn answer(mut self) -> Result<Box<Response>, Fault> {
        if matches!(self.request.head.method, Method::GET | Method::HEAD) {
            self.admit().await?;
        }
        match self.request.head.method {
            Method::GET if wants_websocket(&self.request) => self.websocket().await,
            Method::GET | Method::HEAD => self.get().await,
            Method::POST => self.post().await,
            Method::DELETE if self.spec.delete.is_some() => self.delete().await,
            _ => {
                let answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "not at a channel, or not at this one");
                Ok(Box::new(answer.with(header::ALLOW, access::methods(self.spec))))
            }
        }
    }

    async fn get(self) -> Result<Box<Response>, Fault> {
        match (wanted(&self.request), accepted(&self.request)) {
            (Ok(Wanted::History(count)), _) => self.history(count).await,
            (Ok(Wanted::Presence), _) => self.presence().await,
            (Ok(Wanted::Live), Some(transport)) if self.request.head.method == Method::HEAD => {
                Ok(stream::head(transport))
            }
            (Ok(Wanted::Live), Some(transport)) => self.stream(transport).await,
            (Ok(Wanted::Live), None) => self.poll().await,
            (Err(why), _) => Ok(refusal(StatusCode::BAD_REQUEST, why)),
        }
    }

    async fn websocket(self) -> Result<Box<Response>, Fault> {
        let offer = match Offer::read(&self.request) {
            Ok(offer) => offer,
            Err(refusal) => return Ok(refusal),
        };
        let Ok(since) = since(&self.request) else { return Ok(no_position()) };
        let (seat, start) = match self.join(offer.format, Transport::WebSocket, since).await? {
            Some(joined) => joined,
            None => return Err(Fault::new(Kind::Malformed, "no connection to take over")),
        };
        if start.past.is_lost && matches!(offer.format, Format::Plain(_)) {
            let why = format!("what came after that position is lost; now it is {}", start.past.end);
            return Ok(refusal(StatusCode::GONE, &why));
        }
        Ok(offer.answer(seat, start, self.publisher()?))
    }

    async fn stream(self, transport: Transport) -> Result<Box<Response>, Fault> {
        let is_chunked = self.request.head.version == http::Version::HTTP_11;
        let (format, since) = match (transport, since(&self.request)) {
            (Transport::EventStream, since) => (Format::Events { is_chunked }, since.ok()),
            (_, Ok(since)) => (Format::Lines { is_chunked }, Some(since)),
            (_, Err(_)) => return Ok(no_position()),
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
        let (seat, past) = joined.map_err(not_now)?;
        let member = (self.spec.presence || self.spec.join_leave).then(|| Member {
            id: self.request.id.to_string().into(),
            who: self.who.clone(),
            since: broker::now(),
        });
        Ok(Some((seat, Start { past, member })))
    }

    fn place(&self) -> Place<'_> {
        Place { hub: self.context.hub, name: &self.name, spec: self.spec }
    }
}

fn no_position() -> Box<Response> {
    refusal(StatusCode::BAD_REQUEST, "`since` or `Last-Event-ID` is no position")
}

/// The broker did not do what a subscriber or a look back needs.
fn not_now(refused: Refused) -> Fault {
    let cause = match refused {
        Refused::Full => "there are as many channels as `limits.channels` allows",
        Refused::Away => "the broker is away",
        Refused::Unknown => "the broker did not answer",
    };
    Fault::new(kind(refused), cause)
}

/// What a client is told of a broker that did not do something.
fn kind(refused: Refused) -> Kind {
    match refused {
        Refused::Full => Kind::Full,
        Refused::Away => Kind::BrokerAway,
        Refused::Unknown => Kind::BrokerSlow,
    }
}

/// `X-Accel-Buffering: no`, for a proxy in front of us.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
