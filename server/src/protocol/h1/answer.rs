//! Writes an answer, and finds out what becomes of the connection.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::Poll,
};

use http::{Method, StatusCode};
use rsp_core::{
    frame::http1::Framing,
    head::{Clientward, client_framing, write_client_response},
};

use super::{After, Asked, Connection};
use crate::{
    dispatch::{Answer, Ticket},
    error::{Fault, Kind},
    message::{Body, Line, SendFault, Sender, Session, Slot, Takeover, Tunnel},
    observe::http_date,
    protocol::request::on_the_wire,
    stream::{self, Buffer},
};

/// Writes an answer. `slot` tells whether the request was read to its end; None: it was not understood.
pub(super) async fn send(connection: &Connection, answer: Answer, asked: &Asked, slot: Option<Rc<Slot>>) -> After {
    let Answer { mut response, mut ticket, write_timeout } = answer;
    let body = std::mem::replace(&mut response.body, Body::Empty);
    let takeover = response.takeover.take();
    // A session's answer ends when it likes.
    let received = match &takeover {
        Some(takeover) if takeover.protocol().is_none() => Framing::Chunked,
        _ => body.framing(),
    };
    let read_whole = slot.as_ref().is_some_and(|slot| slot.done.get());
    let framing = client_framing(received, response.status, &asked.method, asked.version);
    let may_go_on = read_whole && framing != Framing::UntilClose && takeover.is_none();
    let keep_alive = asked.keep_alive && may_go_on && !connection.worker.drain.has_begun();
    let mut head = Sender::head_buffer();
    write_client_response(
        &mut head,
        &Clientward {
            status: on_the_wire(response.status),
            headers: &response.headers,
            framing,
            content_length: response.stated_length.or_else(|| stated(&body, &asked.method)),
            method: &asked.method,
            version: asked.version,
            keep_alive,
            upgrade: takeover.as_ref().and_then(|takeover| takeover.protocol()),
            via: response.via,
            date: http_date().as_bytes(),
        },
    );
    let closes = !keep_alive && takeover.is_none();
    let written = if takeover.is_some() { Framing::Empty } else { framing };
    let mut sender = Sender::new(Rc::clone(&connection.wire), head, body, written, write_timeout).closing(closes);
    let sent = poll_fn(|cx| match sender.poll(cx) {
        // Else only the next bytes of a silent source would meet a client that is gone.
        Poll::Pending if connection.wire.poll_broken(cx).is_ready() => {
            Poll::Ready(Err(SendFault::Sink(io::ErrorKind::ConnectionReset.into())))
        }
        sent => sent,
    })
    .await;
    let bytes = sender.sent();
    ticket.read(slot.as_ref().map_or(0, |slot| slot.bytes.take()));
    match sent {
        Ok(()) => {}
        // Nothing is out yet, so the client can still be told.
        Err(SendFault::Source(fault)) if bytes == 0 => {
            let answer = Box::pin(connection.worker.fail(ticket, fault)).await;
            return Box::pin(send(connection, answer, &Asked { keep_alive: false, ..asked.clone() }, slot)).await;
        }
        Err(e) => return cut(connection, e, framing, (ticket, response.status, bytes)),
    }
    drop(sender);
    if let Some(takeover) = takeover {
        let early = slot.and_then(|slot| slot.leftover.take()).unwrap_or_default();
        let line = Line { early, write_timeout };
        return hand_over(connection, *takeover, line, (ticket, response.status, bytes)).await;
    }
    ticket.finish(response.status, bytes);
    let leftover = slot.and_then(|slot| slot.leftover.take());
    match read_whole {
        true if keep_alive => After::Next(leftover),
        // A close with input unread is a reset, which may overtake the answer.
        true if leftover.is_none() && (asked.is_last || !connection.wire.has_unread()) => After::Close,
        _ => After::Linger,
    }
}

/// The length that the answer to `HEAD` states for the body it leaves out.
fn stated(body: &Body, method: &Method) -> Option<u64> {
    match body.framing() {
        Framing::Length(length) if *method == Method::HEAD => Some(length),
        _ => None,
    }
}

/// An answer that broke off ends as a cut, never as a clean end.
fn cut(
    connection: &Connection,
    e: SendFault,
    framing: Framing,
    (mut ticket, status, bytes): (Ticket, StatusCode, u64),
) -> After {
    let fault = match e {
        SendFault::Source(fault) => {
            connection.worker.broke_off(&ticket, &fault);
            fault.log(ticket.id());
            fault
        }
        SendFault::Sink(e) if e.kind() == io::ErrorKind::TimedOut => {
            Fault::new(Kind::ClientSlow, "the client did not read in time")
        }
        SendFault::Sink(e) => Fault::new(Kind::ClientGone, e.to_string()),
    };
    let stalled = fault.kind == Kind::ClientSlow;
    ticket.failed(fault);
    ticket.finish(status, bytes);
    // Who reads nothing would leave megabytes with the kernel; who waits for a close would take it for the end.
    if framing == Framing::UntilClose || stalled {
        connection.wire.reset_on_close();
    }
    After::Close
}

/// Lets the connection be taken over; it serves no other request.
async fn hand_over(
    connection: &Connection,
    takeover: Takeover,
    line: Line,
    (ticket, status, bytes): (Ticket, StatusCode, u64),
) -> After {
    match takeover {
        Takeover::Tunnel(tunnel) => {
            let bytes = bytes + switch(connection, tunnel, line.early).await;
            ticket.finish(status, bytes);
            After::Close
        }
        Takeover::Session(session) => {
            connection.wire.disarm();
            After::Taken(lead(session, line, (ticket, status, bytes)))
        }
    }
}

/// The life of a session, without the state of the request it began as.
fn lead(
    session: Session,
    line: Line,
    (ticket, status, bytes): (Ticket, StatusCode, u64),
) -> Pin<Box<dyn Future<Output = ()>>> {
    let ticket = ticket.lasting(status, bytes);
    let life = (session.lead)(line);
    Box::pin(async move { ticket.finish(status, bytes + life.await) })
}

/// Becomes a tunnel; returns the bytes that went to the client.
async fn switch(connection: &Connection, tunnel: Tunnel, early: Buffer) -> u64 {
    let Tunnel { wire, leftover, silence, capacity, in_flight, .. } = tunnel;
    let _counted = connection.worker.metrics.begin_tunnel();
    wire.probe_peer();
    let end = stream::tunnel((&connection.wire, early), (&wire, leftover), capacity, silence).await;
    drop(in_flight);
    end.back
}
