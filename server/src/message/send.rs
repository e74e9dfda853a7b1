//! Writes one HTTP/1 message onto a wire: its head, then its body as it is pulled.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rsp_core::frame::{
    fastcgi,
    http1::{self, Framing},
};

use super::Body;
use crate::{error::Fault, stream::Wire};

/// Room for most heads.
const HEAD_CAPACITY: usize = 2 << 10;

/// The shortest body that may bypass user memory; a body knows when it is worth it for the rest of it.
const BYPASS_MIN: u64 = 64 << 10;

/// Head buffers a worker keeps; a larger one than usual is freed.
const HEADS_KEPT: usize = 64;

thread_local! {
    static HEADS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A message on its way out. Head and first bytes of the body leave in one write where both are there.
pub struct Sender {
    wire: Rc<Wire>,
    body: Body,
    framing: Framing,
    coding: Coding,
    /// Whether the kernel may move the body: one of known length, and long enough.
    bypass: bool,
    /// Whether our direction ends with the message.
    closes: bool,
    timeout: Duration,
    /// Head, chunk sizes and trailers that go before the next bytes of the body.
    prefix: Vec<u8>,
    /// Bytes of `prefix` that are out.
    prefix_sent: usize,
    /// Whether the chunk at hand has its size line in `prefix`.
    chunk_open: bool,
    /// Bytes of the chunk at hand that belong to the record whose header is in `prefix`, or was.
    record: u16,
    /// What closes the chunk.
    tail: &'static [u8],
    ended: bool,
    sent: u64,
    body_sent: u64,
}

/// What stands between the bytes of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Nothing,
    /// Chunk sizes (RFC 9112 §7.1).
    Chunks,
    /// Headers of FastCGI records; an empty record is the end.
    Records,
}

/// Why a message could not be sent whole.
#[derive(Debug)]
pub enum SendFault {
    /// The body could not be pulled to its end.
    Source(Fault),
    /// The wire broke, or took nothing in time.
    Sink(io::Error),
}

impl Sender {
    /// An empty buffer to render a head into; it is lent again after use.
    pub fn head_buffer() -> Vec<u8> {
        let lent = HEADS.try_with(|heads| heads.borrow_mut().pop()).ok().flatten();
        lent.unwrap_or_else(|| Vec::with_capacity(HEAD_CAPACITY))
    }

    /// `head` is rendered already and announces `framing`; `body` must keep to it.
    pub fn new(wire: Rc<Wire>, head: Vec<u8>, body: Body, framing: Framing, timeout: Duration) -> Self {
        let ended = matches!(framing, Framing::Empty);
        let coding = if framing == Framing::Chunked { Coding::Chunks } else { Coding::Nothing };
        Self {
            body,
            framing,
            coding,
            bypass: matches!(framing, Framing::Length(n) if n >= BYPASS_MIN && wire.is_plain()),
            closes: false,
            timeout,
            prefix: head,
            prefix_sent: 0,
            chunk_open: false,
            record: 0,
            tail: b"",
            ended,
            sent: 0,
            body_sent: 0,
            wire,
        }
    }

    /// A FastCGI request: `head` begins it, and `body` follows in records, to an empty one.
    pub fn records(wire: Rc<Wire>, head: Vec<u8>, body: Body, timeout: Duration) -> Self {
        let mut sender = Self::new(wire, head, body, Framing::Empty, timeout);
        (sender.coding, sender.ended) = (Coding::Records, false);
        sender
    }

    /// The connection's last message: whoever sends it must end the wire's direction as soon as it is sent.
    pub fn closing(mut self, closes: bool) -> Self {
        self.closes = closes;
        self
    }

    /// Bytes that went out, the head counted.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes of the body that went out.
    pub fn body_sent(&self) -> u64 {
        self.body_sent
    }

    /// Gives the body back.
    pub fn into_body(mut self) -> Body {
        std::mem::replace(&mut self.body, Body::Empty)
    }

    /// Ready when the last byte is with the kernel.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFault>> {
        loop {
            let bypass = self.bypass && self.wants_bypass();
            if bypass && self.prefix_sent == self.prefix.len() {
                ready!(self.poll_bypass(cx))?;
                continue;
            }
            let waits = !bypass && !self.ended && !self.has_chunk() && self.poll_pull(cx)?.is_pending();
            if !self.has_chunk() && self.prefix_sent == self.prefix.len() {
                if !self.wire.is_plain() {
                    return self.poll_flush(cx, waits);
                }
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            if self.poll_write(cx)?.is_pending() {
                self.body.poll_background(cx);
                return Poll::Pending;
            }
        }
    }

    /// Nothing stays on our side while the body's source is awaited, or behind the end.
    #[cold]
    fn poll_flush(&mut self, cx: &mut Context<'_>, waits: bool) -> Poll<Result<(), SendFault>> {
        ready!(self.wire.poll_flush(cx, Some(self.timeout))).map_err(SendFault::Sink)?;
        if waits { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// A chunk that another attempt pulled still needs its size line.
    fn has_chunk(&self) -> bool {
        match self.coding {
            Coding::Chunks => self.chunk_open,
            Coding::Records => self.record > 0,
            Coding::Nothing => !self.ended && !self.body.chunk().is_empty(),
        }
    }

    /// Pulls the next chunk and opens it.
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SendFault> {
        let Poll::Ready(more) = self.body.poll_chunk(cx) else { return Ok(Poll::Pending) };
        let more = more.map_err(SendFault::Source)?;
        self.ended = !more;
        if self.coding == Coding::Nothing {
            return Ok(Poll::Ready(()));
        }
        self.drop_sent_prefix();
        if self.coding == Coding::Records {
            self.record = u16::try_from(self.body.chunk().len()).unwrap_or(u16::MAX);
            let header = if more { fastcgi::record_header(self.record) } else { fastcgi::LAST_STDIN };
            self.prefix.extend_from_slice(&header);
        } else if more {
            self.prefix.extend_from_slice(http1::chunk_header(self.body.chunk().len()).as_ref());
            self.chunk_open = true;
            self.tail = b"\r\n";
        } else {
            match self.body.take_trailers() {
                Some(trailers) => http1::write_trailers(&mut self.prefix, &trailers),
                None => self.prefix.extend_from_slice(http1::LAST_CHUNK),
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SendFault> {
        let chunk = match self.coding {
            _ if self.ended => &[][..],
            Coding::Records => &self.body.chunk()[..usize::from(self.record)],
            _ => self.body.chunk(),
        };
        let prefix = &self.prefix[self.prefix_sent..];
        let parts = [IoSlice::new(prefix), IoSlice::new(chunk), IoSlice::new(self.tail)];
        let parts = match (prefix.is_empty(), chunk.is_empty() && self.tail.is_empty()) {
            (false, true) => &parts[..1],
            (true, false) if self.tail.is_empty() => &parts[1..2],
            (true, _) => &parts[1..],
            (false, false) => &parts[..],
        };
        let written = if self.closes && self.is_last(chunk) {
            self.wire.poll_write_last(cx, parts, Some(self.timeout))
        } else {
            self.wire.poll_write(cx, parts, Some(self.timeout))
        };
        let Poll::Ready(written) = written else { return Ok(Poll::Pending) };
        let written = match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            other => other,
        };
        let mut n = written.map_err(SendFault::Sink)?;
        self.sent += n as u64;
        let of_prefix = n.min(prefix.len());
        let of_chunk = (n - of_prefix).min(chunk.len());
        n -= of_prefix + of_chunk;
        self.prefix_sent += of_prefix;
        self.body.consume(of_chunk);
        self.body_sent += of_chunk as u64;
        self.record = self.record.saturating_sub(u16::try_from(of_chunk).unwrap_or(u16::MAX));
        self.tail = &self.tail[n..];
        if self.chunk_open && self.tail.is_empty() {
            self.chunk_open = false;
        }
        self.drop_sent_prefix();
        Ok(Poll::Ready(()))
    }

    /// Whether the message ends with this chunk. A chunked one may have more, so that its end is told by itself.
    fn is_last(&self, chunk: &[u8]) -> bool {
        match self.framing {
            Framing::Empty => true,
            Framing::Length(length) => self.body_sent + chunk.len() as u64 == length,
            Framing::Chunked | Framing::UntilClose => false,
        }
    }

    fn drop_sent_prefix(&mut self) {
        if self.prefix_sent == self.prefix.len() {
            self.prefix.clear();
            self.prefix_sent = 0;
        }
    }

    fn wants_bypass(&self) -> bool {
        match &self.body {
            Body::File(file) => file.wants_sendfile(),
            Body::Wire(body) => body.wants_pass(),
            Body::Empty | Body::Full(_) | Body::Stream(_) | Body::Parts(_) | Body::Source(_) => false,
        }
    }

    /// Lets the kernel move bytes of the body once.
    fn poll_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFault>> {
        let moved = match &mut self.body {
            Body::File(file) => {
                let sent = ready!(self.wire.poll_write_with(cx, |socket| file.sendfile(socket), Some(self.timeout)));
                if matches!(sent, Ok(0)) {
                    let fault = Fault::new(crate::error::Kind::File, "the file became shorter while it was sent");
                    return Poll::Ready(Err(SendFault::Source(fault)));
                }
                sent
            }
            Body::Wire(body) => ready!(body.poll_pass(cx, &self.wire, self.timeout)).map_err(SendFault::Source)?,
            Body::Empty | Body::Full(_) | Body::Stream(_) | Body::Parts(_) | Body::Source(_) => Ok(0),
        };
        let n = moved.map_err(SendFault::Sink)? as u64;
        self.sent += n;
        self.body_sent += n;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut head = std::mem::take(&mut self.prefix);
        if head.capacity() != HEAD_CAPACITY {
            return;
        }
        head.clear();
        // A worker that is ending lends nothing any more.
        let _ = HEADS.try_with(|heads| {
            let mut heads = heads.borrow_mut();
            if heads.len() < HEADS_KEPT {
                heads.push(head);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{io::AsyncReadExt, net::UnixStream};

    use super::*;
    use crate::stream::{Peer, Socket};

    /// Chunks until the kernel takes no more; then an end, or nothing for ever.
    struct Fills {
        wire: Rc<Wire>,
        chunk: Vec<u8>,
        ends: bool,
        pulled: Rc<std::cell::Cell<usize>>,
    }

    impl crate::message::Source for Fills {
        fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
            match (self.wire.unflushed() > 0, self.ends) {
                (true, true) => Poll::Ready(Ok(false)),
                (true, false) => Poll::Pending,
                (false, _) => {
                    self.chunk.resize(10_000, 7);
                    self.pulled.set(self.pulled.get() + self.chunk.len());
                    Poll::Ready(Ok(true))
                }
            }
        }
        fn chunk(&self) -> &[u8] {
            &self.chunk
        }
        fn consume(&mut self, n: usize) {
            self.chunk.drain(..n);
        }
        fn framing(&self) -> Framing {
            Framing::UntilClose
        }
        fn poll_background(&mut self, _: &mut Context<'_>) {}
    }

    /// A sender by TLS, whose client reads only when the kernel takes no more; whether all arrived.
    fn arrives_by_tls(ends: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pair = crate::stream::connected().await;
            let (wire, mut client) = (Wire::new(Socket::Tls(Box::new(pair.server)), Peer::Unix), pair.client);
            let (wire, pulled) = (Rc::new(wire), Rc::default());
            poll_fn(|cx| wire.poll_flush(cx, None)).await.unwrap();
            let body = Fills { wire: Rc::clone(&wire), chunk: Vec::new(), ends, pulled: Rc::clone(&pulled) };
            let (body, timeout) = (Body::Source(Box::new(body)), Duration::from_secs(60));
            let mut sender = Sender::new(Rc::clone(&wire), Vec::new(), body, Framing::UntilClose, timeout);
            let is_pending = poll_fn(|cx| Poll::Ready(sender.poll(cx).is_pending())).await;
            assert!(is_pending && wire.unflushed() > 0, "records wait here");
            let (mut all, mut got) = (vec![0; pulled.get()], 0);
            let read = async {
                while got < all.len() {
                    got += poll_fn(|cx| client.poll_read(cx, &mut all[got..])).await.unwrap();
                }
            };
            let sent = poll_fn(|cx| match sender.poll(cx) {
                Poll::Pending if !ends && wire.unflushed() == 0 => Poll::Ready(Ok(())),
                sent => sent,
            });
            let both = async { tokio::join!(sent, read) };
            let (sent, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("bytes stay here");
            sent.unwrap();
            assert_eq!(wire.unflushed(), 0);
        });
    }

    #[test]
    fn by_tls_too_no_byte_stays_here_while_the_source_is_silent() {
        arrives_by_tls(false);
    }

    #[test]
    fn a_message_by_tls_is_sent_when_its_last_record_is_with_the_kernel() {
        arrives_by_tls(true);
    }

    /// As after an attempt that failed before its first byte was out.
    #[test]
    fn a_chunk_that_is_here_from_the_start_gets_its_size_line() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let wire = Rc::new(Wire::new(Socket::Unix(ours), Peer::Unix));
            let body = Body::from("chunk");
            let timeout = Duration::from_secs(10);
            let mut sender = Sender::new(wire, b"head\r\n\r\n".to_vec(), body, Framing::Chunked, timeout);
            poll_fn(|cx| sender.poll(cx)).await.unwrap();
            drop(sender);
            let mut received = String::new();
            theirs.read_to_string(&mut received).await.unwrap();
            assert_eq!(received, "head\r\n\r\n5\r\nchunk\r\n0\r\n\r\n");
        });
    }
}
