//! Writes an answer into its stream, or lets the stream be taken over.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use h2::Reason;
use http::{Method, StatusCode, header};
use rsp_core::frame::{
    http1::Framing,
    http2::{self, Answered},
};

use super::request::Stream;
use crate::{
    dispatch::{Answer, Ticket},
    error::{Fault, Kind},
    message::{Body, Line, Response, SendFault, StreamSender, Takeover, Tunnel},
    observe::http_date,
    protocol::request::on_the_wire,
    stream::{self, Buffer, Http2},
};

/// How long a stream takes what its client still sends behind a complete answer.
const LINGER: Duration = Duration::from_secs(1);

/// Writes an answer.
pub(super) async fn send(stream: Stream, answer: Answer) {
    let Answer { mut response, mut ticket, write_timeout } = answer;
    if promises_a_tunnel(&response, &stream.method) {
        let fault = Fault::new(Kind::MethodNotAllowed, "a WebSocket was asked for, and the answer is none");
        *response = Response::new(fault.kind.status(), Body::Empty);
        ticket.failed(fault);
    }
    let mut body = std::mem::replace(&mut response.body, Body::Empty);
    let takeover = response.takeover.take();
    // Nothing is out yet, so the client can still be told.
    if let Poll::Ready(Err(fault)) = poll_fn(|cx| Poll::Ready(body.poll_chunk(cx))).await {
        let answer = Box::pin(stream.open.0.connection.worker.fail(ticket, fault)).await;
        return Box::pin(send(stream, answer)).await;
    }
    let status = as_asked(on_the_wire(response.status), &stream.method);
    let received = if takeover.is_some() { Framing::Chunked } else { body.framing() };
    let answered = Answered {
        status,
        framing: received,
        content_length: response.stated_length,
        method: &stream.method,
        via: response.via,
        date: http_date(),
    };
    let framing = http2::response(&mut response.headers, answered);
    if status != response.status {
        response.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    let has_body = takeover.is_some() || !matches!(framing, Framing::Empty | Framing::Length(0));
    let headers = std::mem::take(&mut response.headers);
    let responded = stream.wire.on_stream(|stream| stream.respond(status, headers, !has_body));
    if let Some(Err(e)) = responded {
        return cut(&stream, SendFault::Sink(e), (ticket, status, 0));
    }
    match takeover {
        Some(takeover) => hand_over(stream, *takeover, write_timeout, (ticket, status)),
        None if has_body => send_body(stream, body, write_timeout, (ticket, status)).await,
        None => {
            ticket.read(taken(&stream));
            stream.open.0.traffic.answered();
            ticket.finish(status, 0);
            linger(&stream).await;
        }
    }
}

/// Whether a client would take content for what a WebSocket says: any 2xx to a CONNECT lets it begin (RFC 9110 §9.3.6).
fn promises_a_tunnel(response: &Response, method: &Method) -> bool {
    *method == Method::CONNECT && response.takeover.is_none() && response.status.is_success()
}

/// A stream that is taken over was asked for by CONNECT, and a 2xx says yes to that (RFC 8441 §5).
fn as_asked(status: StatusCode, method: &Method) -> StatusCode {
    if *method == Method::CONNECT && status == StatusCode::SWITCHING_PROTOCOLS { StatusCode::OK } else { status }
}

/// Bytes of the request's body that were read since this was asked last.
fn taken(stream: &Stream) -> u64 {
    stream.slot.as_ref().map_or(0, |slot| slot.bytes.take())
}

async fn send_body(stream: Stream, body: Body, write_timeout: Duration, (mut ticket, status): (Ticket, StatusCode)) {
    let Some(sink) = stream.wire.on_stream(Http2::take_body).flatten() else {
        let gone = SendFault::Sink(io::ErrorKind::ConnectionReset.into());
        return cut(&stream, gone, (ticket, status, 0));
    };
    let mut sender = StreamSender::new(sink, body, write_timeout);
    let sent = poll_fn(|cx| sender.poll(cx)).await;
    let bytes = sender.sent();
    ticket.read(taken(&stream));
    match sent {
        Ok(()) => {
            stream.open.0.traffic.answered();
            ticket.finish(status, bytes);
            linger(&stream).await;
        }
        Err(fault) => {
            let (body, mut sink) = sender.into_parts();
            drop(body);
            // A reset takes along what the connection has not written yet: head and content that came before go first.
            tokio::task::yield_now().await;
            sink.send_reset(reason(&fault));
            cut(&stream, fault, (ticket, status, bytes));
        }
    }
}

/// Waits for the end of a request that was answered before, as far as the window lets it come: there are clients that take the
/// reset of its stream for a failure of the answer (RFC 9113 §8.1 asks them not to).
async fn linger(stream: &Stream) {
    let Some(mut unread) = stream.slot.as_ref().and_then(|slot| slot.unread.take()) else { return };
    // What they are is no matter, and no window is opened for more.
    let _ = tokio::time::timeout(LINGER, async { while let Some(Ok(_)) = unread.data().await {} }).await;
}

/// What a client is told of an answer that broke off, so that it never takes it for a whole one (RFC 9113 §7).
fn reason(fault: &SendFault) -> Reason {
    match fault {
        SendFault::Source(_) => Reason::INTERNAL_ERROR,
        SendFault::Sink(_) => Reason::CANCEL,
    }
}

/// Counts an answer that broke off.
fn cut(stream: &Stream, e: SendFault, (mut ticket, status, bytes): (Ticket, StatusCode, u64)) {
    stream.wire.on_stream(|stream| stream.reset(reason(&e)));
    let fault = match e {
        SendFault::Source(fault) => {
            stream.open.0.connection.worker.broke_off(&ticket, &fault);
            fault.log(ticket.id());
            fault
        }
        SendFault::Sink(e) if e.kind() == io::ErrorKind::TimedOut => {
            Fault::new(Kind::ClientSlow, "the client did not read in time")
        }
        SendFault::Sink(e) => Fault::new(Kind::ClientGone, e.to_string()),
    };
    ticket.failed(fault);
    ticket.finish(status, bytes);
}

/// Lets the stream be taken over, by a task that does not pay for the state of a request's.
fn hand_over(stream: Stream, takeover: Takeover, write_timeout: Duration, (ticket, status): (Ticket, StatusCode)) {
    let Stream { open, wire, .. } = stream;
    match takeover {
        Takeover::Tunnel(tunnel) => {
            tokio::task::spawn_local(async move {
                let Tunnel { wire: upstream, leftover, silence, capacity, in_flight, .. } = tunnel;
                let _counted = open.0.connection.worker.metrics.begin_tunnel();
                upstream.probe_peer();
                let end = stream::tunnel((&wire, Buffer::default()), (&upstream, leftover), capacity, silence).await;
                drop(in_flight);
                ticket.finish(status, end.back);
            });
        }
        Takeover::Session(session) => {
            let ticket = ticket.lasting(status, 0);
            let life = (session.lead)(Line { early: Buffer::default(), write_timeout });
            tokio::task::spawn_local(async move {
                ticket.finish(status, life.await);
                // Whoever led it says so where this is no clean end.
                let _ = wire.shutdown_write();
                drop((wire, open));
            });
        }
    }
}
