//! Content that an HTTP/1 connection brings in: the client's request body or the upstream's response body.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::RecvStream;
use http::{HeaderMap, HeaderName};
use rsp_core::{
    balance::InFlight,
    config::Limits,
    frame::http1::{ChunkedDecoder, Framing, HeadLimits},
};

mod kernel;

use self::kernel::Passage;
use super::{Records, SendFault, Sender};
use crate::{
    error::{Fault, Kind},
    stream::{Buffer, IdleSet, Wire},
};

/// Trailers are small by nature: the bounds of a default head.
const TRAILERS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 0 };

/// A body that is read from a wire as it is pulled.
pub struct WireBody {
    wire: Rc<Wire>,
    buffer: Option<Buffer>,
    /// Decoded bytes at the front of the buffer.
    ready: usize,
    /// Bytes behind them that the decoder is done with.
    spent: usize,
    decode: Decode,
    /// Boxed, because few bodies have any.
    trailers: Option<Box<HeaderMap>>,
    capacity: usize,
    timeout: Duration,
    /// Why it broke off: what stands in the buffer then is no longer what was received.
    fault: Option<Fault>,
    /// How the kernel moves what needn't be seen.
    passage: Passage,
    side: Side,
}

enum Decode {
    Length(u64),
    Chunked { decoder: Box<ChunkedDecoder>, done: bool },
    UntilClose,
    Records(Box<Records>),
    Done,
}

enum Side {
    Request { slot: Rc<Slot>, left: u64, awaits_continue: bool },
    Response(Lease),
}

/// Where a request body leaves what came behind it, so that the connection can go on.
#[derive(Default)]
pub struct Slot {
    /// The first bytes of the next request.
    pub leftover: RefCell<Option<Buffer>>,
    /// Whether the body was read to its clean end.
    pub done: Cell<bool>,
    /// Bytes of the body that were taken.
    pub bytes: Cell<u64>,
    /// A stream of HTTP/2 whose body nobody read to its end.
    pub unread: Cell<Option<Box<RecvStream>>>,
}

/// What an upstream connection is held with while its response is read.
pub struct Lease {
    /// The request body that is still being sent.
    pub sending: Option<Box<Sender>>,
    /// Where the connection goes after a clean end; None: it is closed.
    pub keep: Option<Rc<IdleSet>>,
    /// Whether the head was that of a good answer.
    pub good: bool,
    /// Counts the request as work of its endpoint.
    pub in_flight: InFlight,
}

impl WireBody {
    /// A request body, with the default bounds until [`bound`](Self::bound) sets the site's. `awaits_continue`: the
    /// client waits for a 100 before it sends.
    pub fn request(
        wire: Rc<Wire>,
        buffer: Buffer,
        framing: Framing,
        (slot, awaits_continue): (Rc<Slot>, bool),
    ) -> Self {
        let Limits { buffer: capacity, body_timeout, .. } = Limits::default();
        let side = Side::Request { slot, left: u64::MAX, awaits_continue };
        Self::new(wire, buffer, framing, (capacity, body_timeout), side)
    }

    /// A response body.
    pub fn response(
        wire: Rc<Wire>,
        buffer: Buffer,
        framing: Framing,
        (capacity, timeout): (usize, Duration),
        lease: Lease,
    ) -> Self {
        Self::new(wire, buffer, framing, (capacity, timeout), Side::Response(lease))
    }

    /// The response body of a FastCGI application; what `buffer` holds of it is decoded.
    pub fn records(
        wire: Rc<Wire>,
        buffer: Buffer,
        records: Box<Records>,
        settings: (usize, Duration),
        lease: Lease,
    ) -> Self {
        let ready = buffer.filled().len();
        let mut body = Self::new(wire, buffer, Framing::Empty, settings, Side::Response(lease));
        (body.ready, body.decode) = (ready, Decode::Records(records));
        body
    }

    /// Leaves a content that nobody may have; the connection can be kept only if all of it is here.
    pub fn discard(mut self) {
        if self.is_finished() {
            self.ready = 0;
            self.buffer = None;
            self.finish();
        }
    }

    fn new(
        wire: Rc<Wire>,
        buffer: Buffer,
        framing: Framing,
        (capacity, timeout): (usize, Duration),
        side: Side,
    ) -> Self {
        let decode = match framing {
            Framing::Empty => Decode::Length(0),
            Framing::Length(n) => Decode::Length(n),
            Framing::Chunked => Decode::Chunked { decoder: Box::new(ChunkedDecoder::new(&TRAILERS)), done: false },
            Framing::UntilClose => Decode::UntilClose,
        };
        let buffer = (!buffer.is_empty()).then_some(buffer);
        Self {
            wire,
            buffer,
            ready: 0,
            spent: 0,
            decode,
            trailers: None,
            capacity,
            timeout,
            fault: None,
            passage: Passage::default(),
            side,
        }
    }

    /// The bounds of the request's site, set before the first pull: buffer, wait, and bytes of a chunked body.
    pub fn bound(&mut self, capacity: usize, timeout: Duration, limit: Option<u64>) {
        self.capacity = capacity;
        self.timeout = timeout;
        if let Side::Request { left, .. } = &mut self.side {
            *left = limit.unwrap_or(u64::MAX);
        }
    }

    /// Ends a response without content at once, which frees its connection; false when there is more to do.
    pub fn end_if_empty(&mut self) -> bool {
        let waits = matches!(&self.side, Side::Response(lease) if lease.sending.is_some());
        let empty = !waits && matches!(self.decode, Decode::Length(0));
        if empty {
            self.finish();
        }
        empty
    }

    /// The 100 is the handler's to forward, not ours to send.
    pub fn leave_continue_to_upstream(&mut self) {
        if let Side::Request { awaits_continue, .. } = &mut self.side {
            *awaits_continue = false;
        }
    }

    /// Length still to come, if it is known.
    pub fn framing(&self) -> Framing {
        match &self.decode {
            Decode::Length(0) | Decode::Done => Framing::Empty,
            Decode::Length(n) => Framing::Length(*n),
            Decode::Chunked { .. } => Framing::Chunked,
            Decode::UntilClose => Framing::UntilClose,
            Decode::Records(records) => records.framing(self.ready),
        }
    }

    /// The trailers, once the end was reached.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }

    /// Leaves out trailers of this name.
    pub fn withhold_trailer(&mut self, name: &HeaderName) {
        if let Decode::Chunked { decoder, .. } = &mut self.decode {
            decoder.withhold(name);
        }
        if let Some(trailers) = &mut self.trailers {
            trailers.remove(name);
        }
    }

    /// Leaves out all trailers.
    pub fn withhold_trailers(&mut self) {
        if let Decode::Chunked { decoder, .. } = &mut self.decode {
            decoder.withhold_all();
        }
        self.trailers = None;
    }

    /// The decoded bytes.
    pub fn chunk(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.filled()[..self.ready])
    }

    /// Forgets the first `n` bytes of the chunk.
    pub fn consume(&mut self, n: usize) {
        let Some(buffer) = &mut self.buffer else { return };
        buffer.consume(n);
        self.ready -= n;
        if self.ready == 0 {
            buffer.consume(std::mem::take(&mut self.spent));
        }
        self.count(n);
    }

    /// Counts bytes that are passed on.
    fn count(&mut self, n: usize) {
        if let Side::Request { slot, .. } = &self.side {
            slot.bytes.set(slot.bytes.get() + n as u64);
        }
        if let Decode::Length(left) = &mut self.decode {
            *left -= n as u64;
        }
    }

    /// Ready with true when there is a chunk, with false at the clean end. A fault stays.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        if let Some(fault) = &self.fault {
            return Poll::Ready(Err(fault.clone()));
        }
        let pulled = self.poll_pull(cx);
        if let Poll::Ready(Err(fault)) = &pulled {
            self.break_off(fault.clone());
        }
        pulled
    }

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        loop {
            if self.ready > 0 {
                return Poll::Ready(Ok(true));
            }
            if let Decode::Done = self.decode {
                return Poll::Ready(Ok(false));
            }
            if self.is_finished() {
                self.drive_sending(cx)?;
                self.finish();
                return Poll::Ready(Ok(false));
            }
            if self.decode_buffered()? || self.unpipe()? {
                continue;
            }
            self.drive_sending(cx)?;
            ready!(self.poll_continue(cx))?;
            let read = ready!(self.poll_read(cx));
            self.note_read(read)?;
        }
    }

    /// Drives the request body that is still being sent, while the response waits for its reader.
    pub fn poll_background(&mut self, cx: &mut Context<'_>) {
        if let Err(fault) = self.drive_sending(cx) {
            self.fault.get_or_insert(fault);
        }
    }

    fn break_off(&mut self, fault: Fault) {
        self.ready = 0;
        self.fault = Some(fault);
    }

    fn is_finished(&self) -> bool {
        match &self.decode {
            Decode::Length(left) => *left == 0,
            Decode::Chunked { done, .. } => *done,
            Decode::Records(records) => records.is_over(),
            Decode::UntilClose | Decode::Done => false,
        }
    }

    /// Turns buffered bytes into a chunk or an end; false when more must be read.
    fn decode_buffered(&mut self) -> Result<bool, Fault> {
        let Some(buffer) = self.buffer.as_mut().filter(|buffer| !buffer.is_empty()) else { return Ok(false) };
        let have = buffer.filled().len();
        match &mut self.decode {
            Decode::Length(left) => self.ready = usize::try_from(*left).unwrap_or(have).min(have),
            Decode::UntilClose => self.ready = have,
            Decode::Done => return Ok(false),
            Decode::Records(records) => {
                let data = records.decode(buffer.filled_mut())?.data;
                buffer.truncate(data);
                self.ready = data;
                return Ok(data > 0 || records.is_over());
            }
            Decode::Chunked { decoder, done } => {
                let decoded = decoder.decode(buffer.filled_mut()).map_err(|e| malformed(&self.side, e.to_string()))?;
                *done = decoded.done;
                self.ready = decoded.data;
                self.spent = decoded.consumed - decoded.data;
                if decoded.data == 0 {
                    buffer.consume(std::mem::take(&mut self.spent));
                }
                if let Side::Request { left, .. } = &mut self.side {
                    *left = left.checked_sub(decoded.data as u64).ok_or_else(too_large)?;
                }
                return Ok(decoded.data > 0 || decoded.done);
            }
        }
        Ok(self.ready > 0)
    }

    /// Borrows a buffer only once there is something to read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.as_ref().is_some_and(Buffer::is_empty) {
            self.buffer = None;
        }
        ready!(self.wire.poll_readable(cx, Some(self.timeout)))?;
        let mut buffer = self.buffer.take().unwrap_or_else(|| Buffer::take(self.capacity));
        let read = self.wire.poll_read(cx, &mut buffer, Some(self.timeout));
        self.buffer = (!buffer.is_empty()).then_some(buffer);
        read
    }

    fn note_read(&mut self, read: io::Result<usize>) -> Result<(), Fault> {
        let (cut, slow) = match self.side {
            Side::Request { .. } => (Kind::ClientGone, Kind::ClientSlow),
            Side::Response(_) => (Kind::UpstreamCut, Kind::UpstreamSlow),
        };
        match read {
            Ok(0) if matches!(self.decode, Decode::UntilClose) => {
                self.finish();
                Ok(())
            }
            Ok(0) => Err(Fault::new(cut, "the connection ended before the body did")),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(Fault::new(slow, "no more of the body came in time")),
            Err(e) => Err(Fault::new(cut, e.to_string())),
        }
    }

    /// Tells a waiting client to go on, when the body is read here.
    fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let Side::Request { awaits_continue, .. } = &mut self.side else { return Poll::Ready(Ok(())) };
        if !*awaits_continue {
            return Poll::Ready(Ok(()));
        }
        let written = ready!(self.wire.poll_write(cx, &[IoSlice::new(CONTINUE)], Some(self.timeout)));
        *awaits_continue = false;
        // 25 bytes into an idle connection's empty socket buffer go at once or never.
        match written {
            Ok(n) if n == CONTINUE.len() => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(Fault::new(Kind::ClientGone, "the client did not take a 100 Continue"))),
        }
    }

    /// Drives the request body; a client that fails to send it fails the exchange.
    fn drive_sending(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Side::Response(lease) = &mut self.side else { return Ok(()) };
        let Some(sending) = &mut lease.sending else { return Ok(()) };
        match sending.poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                lease.sending = None;
                Ok(())
            }
            Poll::Ready(Err(SendFault::Source(fault))) => {
                lease.keep = None;
                Err(fault)
            }
            // The upstream answers without wanting the rest: its answer counts, the connection does not.
            Poll::Ready(Err(SendFault::Sink(_))) => {
                lease.sending = None;
                lease.keep = None;
                Ok(())
            }
        }
    }

    fn finish(&mut self) {
        let until_close = matches!(self.decode, Decode::UntilClose);
        if let Decode::Chunked { mut decoder, .. } = std::mem::replace(&mut self.decode, Decode::Done) {
            self.trailers = decoder.take_trailers().map(Box::new);
        }
        match &mut self.side {
            Side::Request { slot, .. } => {
                *slot.leftover.borrow_mut() = self.buffer.take().filter(|buffer| !buffer.is_empty());
                slot.done.set(true);
            }
            Side::Response(lease) => {
                let silent = self.buffer.as_ref().is_none_or(Buffer::is_empty);
                let unsent = lease.sending.take().is_some();
                if let Some(idle) = lease.keep.take().filter(|_| silent && !unsent && !until_close) {
                    idle.put(Rc::clone(&self.wire));
                }
                self.buffer = None;
                if lease.good {
                    lease.in_flight.succeed();
                }
            }
        }
    }
}

impl Drop for WireBody {
    /// A request body that nobody read, but that is here already, does not cost the connection.
    fn drop(&mut self) {
        let is_over = matches!(self.decode, Decode::Done) || self.fault.is_some();
        if is_over || !matches!(self.side, Side::Request { .. }) {
            return;
        }
        loop {
            let rest = self.ready;
            self.consume(rest);
            if self.is_finished() {
                return self.finish();
            }
            // After a fault the buffer holds no beginning of a request.
            if !self.decode_buffered().unwrap_or(false) {
                return;
            }
        }
    }
}

fn malformed(side: &Side, cause: String) -> Fault {
    match side {
        Side::Request { .. } => Fault::new(Kind::Malformed, cause),
        Side::Response(_) => Fault::new(Kind::UpstreamMalformed, cause),
    }
}

fn too_large() -> Fault {
    Fault::new(Kind::BodyTooLarge, "the chunked body is larger than the limit")
}
