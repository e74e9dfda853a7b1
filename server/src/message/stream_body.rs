//! Content that one stream of an HTTP/2 connection brings in, at either end of it.
//!
//! The peer may send as much more as was consumed: the stream's window is the only buffer, and pulling is the backpressure.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use http::{HeaderMap, HeaderName, StatusCode};
use rsp_core::{
    balance::InFlight,
    config::Limits,
    frame::http1::{Framing, is_allowed_trailer},
};
use tokio::time::Instant;

use super::{SendFault, Slot, StreamSender};
use crate::{
    error::{Fault, Kind},
    stream::{StreamPlace, Timer, Wire},
};

/// A body that is read from a stream as it is pulled.
pub struct StreamBody {
    /// None once it was dropped.
    stream: Option<RecvStream>,
    chunk: Bytes,
    /// Bytes that were stated and not consumed yet; None: nothing was stated.
    left: Option<u64>,
    /// Whether the end was read, and all before it.
    ended: bool,
    trailers: Option<Box<HeaderMap>>,
    withheld: Withheld,
    timeout: Duration,
    timer: Timer,
    /// When the present wait ends; set at its beginning.
    deadline: Option<Instant>,
    fault: Option<Fault>,
    side: Side,
}

impl Drop for StreamBody {
    /// What of a request nobody read is left to whoever ends its stream.
    fn drop(&mut self) {
        if let (Side::Request { slot, .. }, false, None) = (&self.side, self.ended, &self.fault)
            && let Some(stream) = self.stream.take()
        {
            slot.unread.set(Some(Box::new(stream)));
        }
    }
}

/// Trailers about which the head has the last word.
enum Withheld {
    /// Mostly of no name at all.
    Names(Vec<HeaderName>),
    All,
}

enum Side {
    Request {
        slot: Rc<Slot>,
        /// Bytes that may still come.
        allowed: u64,
        /// The client waits for a 100 there before it sends.
        awaits_continue: Option<Rc<Wire>>,
    },
    Response(StreamLease),
}

/// What a stream of an upstream is held with while its response is read.
pub struct StreamLease {
    /// The request body that is still being sent.
    pub sending: Option<Box<StreamSender>>,
    /// Whether the head was that of a good answer.
    pub good: bool,
    /// Counts the request as work of its endpoint.
    pub in_flight: InFlight,
    /// Counts the stream among those of its connection.
    pub place: Option<StreamPlace>,
}

impl StreamBody {
    /// A request body of `length` bytes, if that was stated, with the default bounds until [`bound`](Self::bound) sets the
    /// site's. `awaits_continue`: where the client waits for a 100 before it sends.
    pub fn request(
        stream: RecvStream,
        length: Option<u64>,
        (slot, awaits_continue): (Rc<Slot>, Option<Rc<Wire>>),
    ) -> Self {
        let side = Side::Request { slot, allowed: u64::MAX, awaits_continue };
        Self::new(stream, length, Limits::default().body_timeout, side)
    }

    /// A response body of `length` bytes, if that was stated. `timeout`: between two pieces of it.
    pub fn response(stream: RecvStream, length: Option<u64>, timeout: Duration, lease: StreamLease) -> Self {
        Self::new(stream, length, timeout, Side::Response(lease))
    }

    fn new(stream: RecvStream, left: Option<u64>, timeout: Duration, side: Side) -> Self {
        Self {
            stream: Some(stream),
            chunk: Bytes::new(),
            left,
            ended: false,
            trailers: None,
            withheld: Withheld::Names(Vec::new()),
            timeout,
            timer: Timer::default(),
            deadline: None,
            fault: None,
            side,
        }
    }

    /// The bounds of the request's site, set before the first pull: wait, and bytes of a body whose length is not stated.
    pub fn bound(&mut self, timeout: Duration, limit: Option<u64>) {
        self.timeout = timeout;
        if let Side::Request { allowed, .. } = &mut self.side {
            *allowed = limit.unwrap_or(u64::MAX);
        }
    }

    /// The 100 is the handler's to forward, not ours to send.
    pub fn leave_continue_to_upstream(&mut self) {
        if let Side::Request { awaits_continue, .. } = &mut self.side {
            *awaits_continue = None;
        }
    }

    /// Length still to come, if it is known.
    pub fn framing(&self) -> Framing {
        match self.left {
            Some(0) => Framing::Empty,
            _ if self.ended && self.chunk.is_empty() => Framing::Empty,
            Some(left) => Framing::Length(left),
            None => Framing::Chunked,
        }
    }

    /// The trailers, once the end was reached.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }

    /// Leaves out trailers of this name.
    pub fn withhold_trailer(&mut self, name: &HeaderName) {
        if let Withheld::Names(names) = &mut self.withheld {
            names.push(name.clone());
        }
        if let Some(trailers) = &mut self.trailers {
            trailers.remove(name);
        }
    }

    /// Leaves out all trailers.
    pub fn withhold_trailers(&mut self) {
        self.withheld = Withheld::All;
        self.trailers = None;
    }

    /// The bytes that were pulled and not yet consumed.
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Forgets the first `n` bytes of the chunk: the peer may send as many more.
    pub fn consume(&mut self, n: usize) {
        self.chunk.advance(n);
        self.count(n);
    }

    /// Takes the first `n` bytes of the chunk without copying them.
    pub fn take(&mut self, n: usize) -> Bytes {
        let taken = self.chunk.split_to(n);
        self.count(n);
        taken
    }

    fn count(&mut self, n: usize) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(n as u64);
        }
        if let Side::Request { slot, .. } = &self.side {
            slot.bytes.set(slot.bytes.get() + n as u64);
        }
        // A stream that was reset needs no window.
        let _ = self.stream.as_mut().map(|stream| stream.flow_control().release_capacity(n));
    }

    /// Ready with true when there is a chunk, with false at the clean end. A fault stays.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        if let Some(fault) = &self.fault {
            return Poll::Ready(Err(fault.clone()));
        }
        let pulled = self.poll_pull(cx);
        if let Poll::Ready(Err(fault)) = &pulled {
            self.chunk = Bytes::new();
            self.fault = Some(fault.clone());
        }
        pulled
    }

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        loop {
            if !self.chunk.is_empty() {
                return Poll::Ready(Ok(true));
            }
            self.drive_sending(cx)?;
            if self.ended {
                self.finish();
                return Poll::Ready(Ok(false));
            }
            self.tell_to_go_on()?;
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(false)) };
            match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.deadline = None;
                    self.keep(chunk)?;
                }
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(self.broken(&e))),
                Poll::Ready(None) => ready!(self.poll_trailers(cx))?,
                Poll::Pending => return self.poll_deadline(cx),
            }
        }
    }

    fn keep(&mut self, chunk: Bytes) -> Result<(), Fault> {
        let length = chunk.len() as u64;
        if self.left.is_some_and(|left| length > left) {
            return Err(self.malformed("a body longer than its Content-Length"));
        }
        if let Side::Request { allowed, .. } = &mut self.side {
            let Some(left) = allowed.checked_sub(length) else {
                return Err(Fault::new(Kind::BodyTooLarge, "the body is larger than the limit"));
            };
            *allowed = left;
        }
        self.chunk = chunk;
        Ok(())
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let trailers = match stream.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => trailers,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(self.broken(&e))),
            Poll::Pending => return self.poll_deadline(cx).map_ok(|_| ()),
        };
        if self.left.is_some_and(|left| left > 0) {
            return Poll::Ready(Err(self.malformed("a body shorter than its Content-Length")));
        }
        self.ended = true;
        if let (Some(trailers), Withheld::Names(names)) = (trailers, &self.withheld) {
            let mut allowed = HeaderMap::new();
            for (name, value) in &trailers {
                if is_allowed_trailer(name) && !names.contains(name) {
                    allowed.append(name, value.clone());
                }
            }
            self.trailers = (!allowed.is_empty()).then(|| Box::new(allowed));
        }
        Poll::Ready(Ok(()))
    }

    /// The first wait after progress starts the clock.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.timeout);
        ready!(self.timer.poll(cx, deadline));
        let slow = match self.side {
            Side::Request { .. } => Kind::ClientSlow,
            Side::Response(_) => Kind::UpstreamSlow,
        };
        Poll::Ready(Err(Fault::new(slow, "no more of the body came in time")))
    }

    /// Tells a waiting client to go on, when the body is read here.
    fn tell_to_go_on(&mut self) -> Result<(), Fault> {
        let Side::Request { awaits_continue, .. } = &mut self.side else { return Ok(()) };
        let Some(client) = awaits_continue.take() else { return Ok(()) };
        match client.on_stream(|stream| stream.inform(StatusCode::CONTINUE, HeaderMap::new())) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(e)) => Err(Fault::new(Kind::ClientGone, e.to_string())),
        }
    }

    /// Drives the request body that is still being sent, while the response waits for its reader.
    pub fn poll_background(&mut self, cx: &mut Context<'_>) {
        if let Err(fault) = self.drive_sending(cx) {
            self.fault.get_or_insert(fault);
        }
    }

    /// A client that fails to send the request's body fails the exchange.
    fn drive_sending(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Side::Response(lease) = &mut self.side else { return Ok(()) };
        let Some(sending) = &mut lease.sending else { return Ok(()) };
        match sending.poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(SendFault::Source(fault))) => Err(fault),
            // An upstream that wants no more of it has answered all the same.
            Poll::Ready(Ok(()) | Err(SendFault::Sink(_))) => {
                lease.sending = None;
                Ok(())
            }
        }
    }

    fn finish(&mut self) {
        match &mut self.side {
            Side::Request { slot, .. } => slot.done.set(true),
            Side::Response(lease) => {
                lease.sending = None;
                lease.place = None;
                if lease.good {
                    lease.in_flight.succeed();
                }
            }
        }
    }

    /// Why the stream ended before the body did.
    fn broken(&self, e: &h2::Error) -> Fault {
        let own = e.is_library() && e.reason() == Some(h2::Reason::PROTOCOL_ERROR);
        match self.side {
            _ if own => self.malformed("the body breaks RFC 9113"),
            Side::Request { .. } => Fault::new(Kind::ClientGone, format!("the stream ended before the body did: {e}")),
            Side::Response(_) => Fault::new(Kind::UpstreamCut, format!("the stream ended before the body did: {e}")),
        }
    }

    fn malformed(&self, cause: &'static str) -> Fault {
        Fault::new(if matches!(self.side, Side::Request { .. }) { Kind::Malformed } else { Kind::UpstreamCut }, cause)
    }
}
