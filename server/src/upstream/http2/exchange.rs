//! One request to an endpoint of HTTP/2, with what makes the same again allowed.

use std::{io, rc::Rc, sync::Arc};

use h2::{RecvStream, ext::Protocol};
use http::{HeaderValue, StatusCode, header};
use rsp_core::{
    balance::{InFlight, Outcome},
    frame::{
        http1::{Framing, ResponseHead},
        websocket::accept_key,
    },
    head::as_extended_connect,
};
use tokio::time::Instant;

use super::{
    super::{
        Group, Outgoing, Pools,
        exchange::{Given, introduce},
        failed::{Failed, Retryable, classify, is_good, not_connected},
    },
    Connection, Line,
    flight::{self, Flight, Stopped},
};
use crate::{
    error::{Fault, Kind},
    message::{Answered, Body, Response, StreamBody, StreamLease, Takeover, Tunnel},
    stream::{Buffer, Http2, Peer, Socket, Wire},
};

/// A place on an endpoint.
type Held<'a> = (&'a Arc<Group>, usize, InFlight);

/// How often a request is sent again that the endpoint did not look at, as connections that end just now come in rows.
const UNSEEN_MAX: u32 = 9;

/// As how many of those a refusal counts: it may have no room at all.
const REFUSAL: u32 = 3;

/// Sends a request to an endpoint and awaits the head of the answer; again, on another connection, where the peer did not
/// look at it.
pub async fn ask(
    pools: &Pools,
    (group, index, mut held): Held<'_>,
    outgoing: &mut Outgoing<'_>,
) -> Result<Box<Response>, Failed> {
    let mut unseen = 0;
    loop {
        let mut failed = match once(pools, (group, index, held), outgoing).await {
            Err(failed) if failed.retry == Retryable::Afresh => failed,
            other => return other,
        };
        unseen += if failed.fault.kind == Kind::UpstreamFull { REFUSAL } else { 1 };
        match failed.held.take() {
            Some(still) if unseen <= UNSEEN_MAX => held = still,
            _ => return Err(Failed { retry: Retryable::Elsewhere, ..failed }),
        }
    }
}

async fn once(
    pools: &Pools,
    (group, index, held): Held<'_>,
    outgoing: &mut Outgoing<'_>,
) -> Result<Box<Response>, Failed> {
    let endpoint = &group.endpoints[index];
    let timeout = group.spec.connect_timeout;
    let lines = pools.lines(group, endpoint);
    let line = match group.spec.proxy_protocol {
        None => lines.line(endpoint, timeout).await,
        // A connection that begins with a client is that client's.
        introduction @ Some(_) => {
            let mut first = Vec::new();
            introduce(introduction, outgoing, &mut first);
            Line::of_its_own(endpoint, &first, timeout).await
        }
    };
    match line {
        Ok(Line::Stream(connection, is_reused)) => {
            let counts = &group.counts;
            if is_reused {
                counts.reused.inc()
            } else {
                counts.opened.inc()
            };
            on_stream(pools, (&connection, is_reused), (group, index, held), outgoing).await
        }
        Ok(Line::Http1(opened)) => {
            let idle = pools.idle(group, endpoint, false);
            let given = match opened {
                Some(opened) => Some(Given::Fresh(opened.wire())),
                None => idle.take().await.map(Given::Idle),
            };
            pools.attempt((group, index, held), &idle, given, outgoing).await
        }
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
            let fault = Fault::new(Kind::Full, format!("every stream to it is in use; {e} in {timeout:?}"));
            Err(Failed { fault, outcome: None, retry: Retryable::Elsewhere, held: None })
        }
        Err(e) => Err(not_connected(e)),
    }
}

async fn on_stream(
    pools: &Pools,
    (connection, is_reused): (&Rc<Connection>, bool),
    (group, index, held): Held<'_>,
    outgoing: &mut Outgoing<'_>,
) -> Result<Box<Response>, Failed> {
    let endpoint = &group.endpoints[index];
    let never = |fault| Failed { fault, outcome: None, retry: Retryable::Never, held: None };
    let (mut request, offered) = flight::request(endpoint, outgoing).map_err(never)?;
    let mut key = None;
    // Of other protocols than this one HTTP/2 has no upgrade, and a server may ignore any.
    if outgoing.upgrade && offered.is_some_and(|offered| offered.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        if connection.takes_websockets(group.spec.connect_timeout).await {
            key = request.headers().get(header::SEC_WEBSOCKET_KEY).and_then(|key| accept_key(key.as_bytes()));
            as_extended_connect(&mut request);
            request.extensions_mut().insert(Protocol::from_static("websocket"));
        } else if endpoint.tls.is_some() {
            // By TLS the endpoint can be asked for HTTP/1.1 as well.
            return pools.attempt((group, index, held), &pools.idle(group, endpoint, false), None, outgoing).await;
        } else {
            let cause = "it takes no WebSockets by HTTP/2 (RFC 8441)";
            return Err(never(Fault::new(Kind::UpstreamMalformed, cause)));
        }
    }
    let started = Instant::now();
    let mut flight = match Flight::begin(connection, request, outgoing) {
        Ok(flight) => flight,
        Err(stopped) => return Err(failed(stopped, held, true)),
    };
    match flight.answer(outgoing).await {
        Ok(answer) => {
            let at = Instant::now();
            let good = is_good(&answer.0, at - started, group);
            if !good || group.queues() {
                group.note(index, if good { Outcome::Ok } else { Outcome::BadAnswer }, at);
            }
            let (sending, place, ours) = flight.into_parts();
            let mut response = match ours {
                Some(ours) if answer.0.status.is_success() => {
                    let stream = Http2::agreed(ours, answer.1, place);
                    tunnel(answer.0, (stream, key), held, outgoing)
                }
                _ => {
                    let lease = StreamLease { sending, good, in_flight: held, place: Some(place) };
                    respond(answer, lease, outgoing)
                }
            };
            response.upstream = Some(Answered { by: Arc::clone(&endpoint.names), took: at - started });
            Ok(response)
        }
        Err(stopped) => {
            let (body, sent) = flight.into_body();
            let is_whole = body.is_some() || matches!(outgoing.framing, Framing::Empty | Framing::Length(0));
            outgoing.body = body.unwrap_or(Body::Empty);
            let is_untouched = is_whole && sent == 0;
            if stopped.unseen {
                return Err(failed(stopped, held, is_untouched));
            }
            let repeatable = is_untouched && outgoing.method.is_idempotent();
            let idle_ended = is_reused && stopped.broke;
            Err(Failed { held: Some(held), ..classify(stopped.fault, repeatable, idle_ended) })
        }
    }
}

/// What the peer did not look at is no failure of its, and free to be sent again as long as all of it is here.
fn failed(stopped: Stopped, held: InFlight, is_untouched: bool) -> Failed {
    let retry = if is_untouched { Retryable::Afresh } else { Retryable::Never };
    Failed { fault: stopped.fault, outcome: None, retry, held: Some(held) }
}

/// A WebSocket on a stream, as it would have been answered by HTTP/1.1 (RFC 8441 §5).
fn tunnel(
    head: ResponseHead,
    (stream, key): (Http2, Option<String>),
    in_flight: InFlight,
    outgoing: &Outgoing<'_>,
) -> Box<Response> {
    let mut response = Box::new(Response::new(StatusCode::SWITCHING_PROTOCOLS, Body::Empty));
    response.headers = head.headers;
    response.via = Some(head.version);
    if let Some(key) = key.and_then(|key| HeaderValue::try_from(key).ok()) {
        response.headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    // A tunnel has no end that would say so.
    in_flight.succeed();
    response.takeover = Some(Box::new(Takeover::Tunnel(Tunnel {
        protocol: HeaderValue::from_static("websocket"),
        wire: Rc::new(Wire::new(Socket::Http2(Box::new(stream)), Peer::Unix)),
        leftover: Buffer::default(),
        silence: outgoing.silence,
        capacity: outgoing.capacity,
        in_flight,
    })));
    response
}

/// Makes a response of a head and of the stream on which its body comes.
fn respond((head, stream): (ResponseHead, RecvStream), lease: StreamLease, outgoing: &Outgoing<'_>) -> Box<Response> {
    let mut response = Box::new(Response::new(head.status, Body::Empty));
    response.headers = head.headers;
    response.via = Some(head.version);
    response.stated_length = head.content_length;
    let length = match head.framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    if stream.is_end_stream() && lease.sending.is_none() {
        if lease.good {
            lease.in_flight.succeed();
        }
        return response;
    }
    response.body = Body::Stream(Box::new(StreamBody::response(stream, length, outgoing.body_timeout, lease)));
    response
}
