//! The beginning of a stream: its head becomes a request, which a task of its own answers.

use std::rc::Rc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use h2::{Reason, RecvStream, ext::Protocol, server::SendResponse};
use http::{HeaderValue, Method};
use rsp_core::frame::{
    http1::{Framing, RequestHead},
    http2::{self, Asked, Refusal},
};

use super::{Open, Shared, answer};
use crate::{
    error::{Fault, Kind},
    message::{Body, Request, RequestId, Slot, StreamBody},
    protocol::{
        Connection,
        request::{kind_of, request},
    },
    stream::{Http2, Wire},
};

/// One stream in work.
pub(super) struct Stream {
    /// Its connection.
    pub open: Open,
    /// The stream as a connection of its own.
    pub wire: Rc<Wire>,
    /// As asked, CONNECT too.
    pub method: Method,
    /// The body that came; None: there was none.
    pub slot: Option<Rc<Slot>>,
}

/// Begins to answer a request.
pub(super) fn begin(shared: &Rc<Shared>, asked: http::Request<RecvStream>, mut answer: SendResponse<Bytes>) {
    let (parts, receiving) = asked.into_parts();
    let connection = &shared.connection;
    let limits = connection.worker.current().snapshot.head_limits;
    let method = parts.method.clone();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let head = http2::request(
        Asked {
            method: parts.method,
            // Without an authority h2 looks at the scheme and drops it: proxies that got HTTP/1.1 name the host by its field.
            scheme: if authority.is_some() { parts.uri.scheme_str() } else { Some(connection.wire.scheme()) },
            authority,
            path: parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
            protocol: parts.extensions.get::<Protocol>().map(Protocol::as_str),
            headers: parts.headers,
            ended: receiving.is_end_stream(),
        },
        &limits,
        made_up_key,
    );
    match head {
        Ok((head, bytes)) => {
            let (stream, request) = accept(shared, (head, bytes), method, (answer, receiving));
            // Boxed, as the runtime moves what it is given several times.
            tokio::task::spawn_local(Box::pin(serve(stream, request)));
        }
        Err(Refusal::Malformed(rule)) => {
            let refused = connection.worker.refuse(Fault::new(Kind::Malformed, rule), connection.wire.peer());
            answer.send_reset(Reason::PROTOCOL_ERROR);
            refused.ticket.finish(refused.response.status, 0);
        }
        Err(Refusal::Method) => {
            let fault = Fault::new(Kind::MethodNotAllowed, "TRACE or CONNECT");
            refuse(shared, (answer, receiving), method, fault);
        }
        Err(Refusal::Refused(e)) => {
            refuse(shared, (answer, receiving), method, Fault::new(kind_of(e), e.to_string()));
        }
    }
}

/// Answers what is understood and not served.
fn refuse(shared: &Rc<Shared>, (answer, receiving): (SendResponse<Bytes>, RecvStream), method: Method, fault: Fault) {
    let refused = shared.connection.worker.refuse(fault, shared.connection.wire.peer());
    let wire = Rc::new(shared.wires.wire(Http2::new(answer, None)));
    let stream = Stream { open: Open::new(shared), wire, method, slot: None };
    tokio::task::spawn_local(async move {
        answer::send(stream, refused).await;
        drop(receiving);
    });
}

/// The request of a head, and the stream to answer it on.
fn accept(
    shared: &Rc<Shared>,
    (head, bytes): (RequestHead, usize),
    method: Method,
    (answer, receiving): (SendResponse<Bytes>, RecvStream),
) -> (Stream, Box<Request>) {
    // What a client says to a WebSocket is no body.
    let (taken, body) = if head.upgrade.is_some() { (Some(receiving), None) } else { (None, Some(receiving)) };
    let wire = Rc::new(shared.wires.wire(Http2::new(answer, taken)));
    let (slot, body) = match (body, head.framing) {
        (None, _) | (_, Framing::Empty | Framing::Length(0)) => (None, Body::Empty),
        (Some(receiving), framing) => {
            let length = if let Framing::Length(length) = framing { Some(length) } else { None };
            let slot = Rc::new(Slot::default());
            let awaits_continue = head.expect_continue.then(|| Rc::clone(&wire));
            let body = StreamBody::request(receiving, length, (Rc::clone(&slot), awaits_continue));
            (Some(slot), Body::Stream(Box::new(body)))
        }
    };
    let request = request(&shared.connection.worker, &wire, (head, bytes), body);
    (Stream { open: Open::new(shared), wire, method, slot }, request)
}

async fn serve(stream: Stream, request: Box<Request>) {
    let shared = Rc::clone(&stream.open.0);
    let Connection { worker, origin, .. } = &shared.connection;
    let _counted = worker.metrics.begin_request();
    let answer = worker.serve(&origin.address, request).await;
    answer::send(stream, answer).await;
}

/// Sixteen bytes that nobody checks: a stream is no cache that could be fooled (RFC 8441 §5).
fn made_up_key() -> HeaderValue {
    let bytes = [RequestId::next().seed().to_be_bytes(), RequestId::next().seed().to_be_bytes()].concat();
    HeaderValue::try_from(STANDARD.encode(bytes)).unwrap_or(HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}
