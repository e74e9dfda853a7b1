//! HTTP/1.1 towards clients, RFC 9112.

mod answer;

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use http::{Method, Version};
use rsp_core::frame::http1::{self, Framing, RequestHead};
use tokio::time::Instant;

use self::answer::send;
use super::{
    Connection,
    connection::LAST_REQUEST,
    request::{kind_of, request},
};
use crate::{
    error::{Fault, Kind},
    message::{Body, Slot, WireBody},
    stream::Buffer,
};

/// How long input is discarded after an answer that closes, so that a reset can't destroy it; and how much.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_SILENCE: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 20;

/// What becomes of the connection after one request.
enum After {
    /// The next request, of which some bytes may be here.
    Next(Option<Buffer>),
    /// Another one's, whose whole life this is.
    Taken(Pin<Box<dyn Future<Output = ()>>>),
    /// The end, with input that may be unread.
    Linger,
    /// The end.
    Close,
    /// No request had come after all.
    Nothing,
}

/// How long a connection keeps the state of a busy one after a request.
const WARM: Duration = Duration::from_millis(100);

/// Serves a connection until it ends.
pub async fn serve(connection: Connection) {
    let mut served = 0;
    let mut patience = connection.worker.current().snapshot.config.limits.head_timeout;
    while await_request(&connection, served, patience).await == Waited::Readable {
        // Boxed, so that an idle connection does not pay for the state of a busy one.
        match Box::pin(busy(&connection, &mut served)).await {
            After::Nothing if served == 0 => continue,
            After::Next(_) | After::Nothing => {}
            After::Taken(life) => {
                // On a task of its own, so that it does not pay for the state of this one.
                tokio::task::spawn_local(async move {
                    life.await;
                    drop(connection);
                });
                return;
            }
            After::Linger => return Box::pin(linger(&connection)).await,
            After::Close => return,
        }
        let idle_timeout = connection.worker.current().snapshot.config.limits.idle_timeout;
        patience = idle_timeout.saturating_sub(WARM);
    }
}

/// Serves requests for as long as the next one comes soon.
async fn busy(connection: &Connection, served: &mut u64) -> After {
    let mut leftover = None;
    let warm = connection.worker.current().snapshot.config.limits.idle_timeout.min(WARM);
    loop {
        match one_request(connection, leftover.take(), *served).await {
            After::Next(buffer) => leftover = buffer,
            end => return end,
        }
        *served += 1;
        if leftover.is_some() {
            continue;
        }
        match await_request(connection, *served, warm).await {
            Waited::Readable => {}
            Waited::InVain => return After::Next(None),
            Waited::Ended => return After::Close,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Waited {
    Readable,
    /// For the whole time.
    InVain,
    /// The connection broke, or the worker drains.
    Ended,
}

/// Waits for the first byte of a request without holding a buffer.
async fn await_request(connection: &Connection, served: u64, patience: Duration) -> Waited {
    let mut drained_at = None;
    poll_fn(|cx| match connection.wire.poll_readable(cx, Some(patience)) {
        Poll::Ready(Ok(())) => Poll::Ready(Waited::Readable),
        Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::TimedOut => Poll::Ready(Waited::InVain),
        Poll::Ready(Err(_)) => Poll::Ready(Waited::Ended),
        Poll::Pending if drained_at.is_none() && connection.guard.poll_begun(cx).is_pending() => Poll::Pending,
        Poll::Pending if served > 0 => Poll::Ready(Waited::Ended),
        // A new connection in a drain is served: its request may be on the way already.
        Poll::Pending => {
            let at = *drained_at.get_or_insert_with(|| Instant::now() + LAST_REQUEST);
            connection.wire.poll_readable_until(cx, at).map(|_| Waited::Ended)
        }
    })
    .await
}

async fn one_request(connection: &Connection, leftover: Option<Buffer>, served: u64) -> After {
    let (mut buffer, head) = match read_head(connection, leftover).await {
        Ok(read) => read,
        Err(NoHead::Nothing) => return After::Nothing,
        Err(NoHead::End) => return After::Close,
        Err(NoHead::Fault(fault)) => {
            let answer = connection.worker.refuse(fault, connection.wire.peer());
            return send(connection, answer, &Asked::UNKNOWN, None).await;
        }
    };
    let Head { head, bytes } = head;
    let _counted = connection.worker.metrics.begin_request();
    let slot = Rc::new(Slot::default());
    let wants_next = head.keep_alive && !is_last(connection, served + 1);
    let is_last = !head.keep_alive && head.framing == Framing::Empty;
    let asked = Asked { method: head.method.clone(), version: head.version, keep_alive: wants_next, is_last };
    if matches!(head.method, Method::TRACE | Method::CONNECT) {
        let fault = Fault::new(Kind::MethodNotAllowed, "TRACE or CONNECT");
        let answer = connection.worker.refuse(fault, connection.wire.peer());
        return send(connection, answer, &Asked { keep_alive: false, ..asked }, None).await;
    }
    let body = match head.framing {
        Framing::Empty | Framing::Length(0) => {
            slot.done.set(true);
            Body::Empty
        }
        framing => {
            let taken = std::mem::take(&mut buffer);
            let awaits_continue = head.expect_continue && taken.is_empty();
            let wire = Rc::clone(&connection.wire);
            Body::Wire(Box::new(WireBody::request(wire, taken, framing, (Rc::clone(&slot), awaits_continue))))
        }
    };
    if !buffer.is_empty() {
        *slot.leftover.borrow_mut() = Some(buffer);
    }
    let request = request(&connection.worker, &connection.wire, (head, bytes), body);
    let answer = connection.worker.serve(&connection.origin.address, request).await;
    send(connection, answer, &asked, Some(slot)).await
}

/// Whether the connection must close after its `n`th request.
fn is_last(connection: &Connection, n: u64) -> bool {
    let max = connection.worker.current().snapshot.config.limits.requests_per_connection;
    connection.worker.drain.has_begun() || max.is_some_and(|max| n >= max)
}

struct Head {
    head: RequestHead,
    bytes: usize,
}

/// What of the request decides how its answer is written.
#[derive(Clone)]
struct Asked {
    method: Method,
    version: Version,
    keep_alive: bool,
    /// The client has said, if only by its version, that nothing follows (RFC 9112 §9.6), and there is no body that
    /// it could have miscounted.
    is_last: bool,
}

impl Asked {
    const UNKNOWN: Self = Self { method: Method::GET, version: Version::HTTP_11, keep_alive: false, is_last: false };
}

/// Why there is no head.
enum NoHead {
    /// Not a byte has come yet.
    Nothing,
    /// The connection ended before a byte.
    End,
    /// What came is no head, or not in time.
    Fault(Fault),
}

impl From<Fault> for NoHead {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads one head.
async fn read_head(connection: &Connection, leftover: Option<Buffer>) -> Result<(Buffer, Head), NoHead> {
    let current = connection.worker.current();
    let limits = current.snapshot.head_limits;
    let timeout = current.snapshot.config.limits.head_timeout;
    drop(current);
    let mut buffer = leftover.unwrap_or_default();
    if buffer.is_empty() {
        buffer = Buffer::take(limits.head);
    }
    let mut arrival = http1::Arrival::default();
    let mut deadline = None;
    let mut has_more = false;
    loop {
        if !buffer.is_empty() && arrival.is_due(buffer.filled(), &limits) {
            match http1::parse_request(buffer.filled(), &limits) {
                Ok(Some((head, bytes))) => {
                    buffer.consume(bytes);
                    return Ok((buffer, Head { head, bytes }));
                }
                Ok(None) => {}
                Err(e) => return Err(Fault::new(kind_of(e), e.to_string()).into()),
            }
        }
        if has_more {
            deadline.get_or_insert_with(|| Instant::now() + timeout);
        }
        if buffer.is_full() {
            buffer = grown(buffer, limits.head);
        }
        let read = match deadline {
            // A new socket is only assumed to be readable. If it isn't, the wait goes on without a buffer.
            None if buffer.is_empty() => {
                match poll_fn(|cx| Poll::Ready(connection.wire.poll_read(cx, &mut buffer, None))).await {
                    Poll::Ready(read) => read,
                    Poll::Pending => return Err(NoHead::Nothing),
                }
            }
            // There is something to read already, so this wait mostly costs no look at the clock.
            None => poll_fn(|cx| connection.wire.poll_read(cx, &mut buffer, Some(timeout))).await,
            Some(at) => poll_fn(|cx| connection.wire.poll_read_until(cx, &mut buffer, at)).await,
        };
        match read {
            Ok(0) if buffer.is_empty() => return Err(NoHead::End),
            Ok(0) => return Err(Fault::new(Kind::Malformed, "the connection ended inside a head").into()),
            Ok(_) => has_more = true,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                return Err(Fault::new(Kind::ClientSlow, "no whole head in time").into());
            }
            Err(_) => return Err(NoHead::End),
        }
    }
}

/// A pipelined request may have begun in a buffer smaller than the largest head.
fn grown(buffer: Buffer, head_max: usize) -> Buffer {
    let mut larger = Buffer::take(head_max.max(buffer.filled().len()) + 1);
    let filled = buffer.filled();
    larger.spare()[..filled.len()].copy_from_slice(filled);
    larger.commit(filled.len());
    larger
}

/// Ends our side first and discards input for a while.
pub(super) async fn linger(connection: &Connection) {
    if connection.wire.shutdown_write().is_err() {
        return;
    }
    let end = Instant::now() + LINGER;
    let mut discarded = 0;
    while discarded < LINGER_BYTES {
        let until = end.min(Instant::now() + LINGER_SILENCE);
        if poll_fn(|cx| connection.wire.poll_readable_until(cx, until)).await.is_err() {
            return;
        }
        let mut buffer = Buffer::take(64 << 10);
        match poll_fn(|cx| connection.wire.poll_read_until(cx, &mut buffer, until)).await {
            Ok(n) if n > 0 => discarded += n as u64,
            _ => return,
        }
    }
}
