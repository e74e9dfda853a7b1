//! The part of a body that the kernel moves from socket to socket, because nobody here needs to see it.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{Decode, Side, WireBody, malformed};
use crate::{
    error::Fault,
    stream::{Buffer, Pipe, Wire},
};

/// Less than this at once is copied: two system calls more are dearer than the copy.
pub const SPLICE_MIN: u64 = 64 << 10;

/// The way of a body's bytes.
#[derive(Default)]
pub(super) struct Passage {
    way: Way,
    /// Borrowed only while bytes are in flight.
    pipe: Option<Pipe>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the kernel once it is worth it.
    #[default]
    Open,
    /// Through the kernel to the end: its last bytes are no reason to change.
    Kernel,
    /// Through a buffer: there was no pipe, or a socket that can't do it.
    Buffer,
}

impl WireBody {
    /// Whether the kernel should move what comes next, by [`poll_pass`](Self::poll_pass).
    pub fn wants_pass(&self) -> bool {
        let Decode::Length(left) = self.decode else { return false };
        let awaits_continue = matches!(self.side, Side::Request { awaits_continue: true, .. });
        if !self.buffer.as_ref().is_none_or(Buffer::is_empty) || self.fault.is_some() || awaits_continue {
            return false;
        }
        match self.passage.way {
            Way::Open => left.min(self.capacity as u64) >= SPLICE_MIN && self.wire.is_plain(),
            Way::Kernel => left > 0,
            Way::Buffer => false,
        }
    }

    /// Moves bytes on to `sink` once; 0: they must be pulled after all. `timeout` is that of the sink.
    ///
    /// The inner error is the sink's. At most one buffer's worth is in flight here, too.
    pub fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Wire,
        timeout: Duration,
    ) -> Poll<Result<io::Result<usize>, Fault>> {
        if let Err(fault) = self.drive_sending(cx) {
            self.break_off(fault.clone());
            return Poll::Ready(Err(fault));
        }
        if self.passage.pipe.as_ref().is_none_or(|pipe| pipe.filled() == 0) && !ready!(self.poll_fill(cx))? {
            return Poll::Ready(Ok(Ok(0)));
        }
        let Some(pipe) = &mut self.passage.pipe else { return Poll::Ready(Ok(Ok(0))) };
        match ready!(pipe.poll_drain(cx, sink, Some(timeout))) {
            Ok(0) => Poll::Ready(Ok(Err(io::ErrorKind::WriteZero.into()))),
            Ok(n) => {
                self.count(n);
                if self.is_finished() {
                    self.give_back();
                    self.wire.settle();
                }
                Poll::Ready(Ok(Ok(n)))
            }
            Err(e) if Pipe::must_copy(&e) => {
                self.passage.way = Way::Buffer;
                Poll::Ready(Ok(Ok(0)))
            }
            Err(e) => Poll::Ready(Ok(Err(e))),
        }
    }

    /// Fills the pipe; false when there is none for these bytes.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        let Decode::Length(left) = self.decode else { return Poll::Ready(Ok(false)) };
        let Some(mut pipe) = self.passage.pipe.take().or_else(Pipe::take) else {
            self.passage.way = Way::Buffer;
            return Poll::Ready(Ok(false));
        };
        self.passage.way = Way::Kernel;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.capacity);
        let filled = pipe.poll_fill(cx, &self.wire, most, Some(self.timeout));
        match filled {
            Poll::Ready(Ok(n)) if n > 0 => {
                self.passage.pipe = Some(pipe);
                return Poll::Ready(Ok(true));
            }
            _ => pipe.give_back(),
        }
        match ready!(filled) {
            Err(e) if Pipe::must_copy(&e) => {
                self.passage.way = Way::Buffer;
                Poll::Ready(Ok(false))
            }
            end => {
                let noted = self.note_read(end).map(|()| false);
                if let Err(fault) = &noted {
                    self.break_off(fault.clone());
                }
                Poll::Ready(noted)
            }
        }
    }

    /// Takes what is left in the pipe into a buffer; false when there is nothing.
    #[inline]
    pub(super) fn unpipe(&mut self) -> Result<bool, Fault> {
        match self.passage.pipe.take() {
            None => Ok(false),
            Some(pipe) => self.read_out(pipe),
        }
    }

    #[cold]
    fn read_out(&mut self, mut pipe: Pipe) -> Result<bool, Fault> {
        if pipe.filled() == 0 {
            pipe.give_back();
            return Ok(false);
        }
        let buffer = pipe.read_out().map_err(|e| malformed(&self.side, e.to_string()))?;
        pipe.give_back();
        self.buffer = Some(buffer);
        Ok(true)
    }

    fn give_back(&mut self) {
        if let Some(pipe) = self.passage.pipe.take() {
            pipe.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, rc::Rc};

    use rsp_core::frame::http1::Framing;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
    };

    use super::*;
    use crate::{
        message::{Body, SendFault, Sender, Slot},
        stream::{Peer, Socket},
    };

    const SOON: Duration = Duration::from_secs(10);

    fn pair() -> (Rc<Wire>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Rc::new(Wire::new(Socket::Unix(ours), Peer::Unix)), theirs)
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    /// An upload of `sent` to a first upstream that is gone, and then by `framing` to a second; what that one received.
    fn sent_twice(sent: &[u8], framing: Framing) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, mut uploader) = pair();
            let slot = Rc::new(Slot::default());
            let length = Framing::Length(sent.len() as u64);
            let body = WireBody::request(client, Buffer::default(), length, (Rc::clone(&slot), false));
            let (dead, gone) = pair();
            drop(gone);
            let upload = async { uploader.write_all(sent).await.unwrap() };
            let forward = async {
                let mut first = Sender::new(dead, Vec::new(), Body::Wire(Box::new(body)), length, SOON);
                let failed = poll_fn(|cx| first.poll(cx)).await;
                assert!(matches!(failed, Err(SendFault::Sink(_))));
                assert_eq!(first.body_sent(), 0);
                let (wire, mut upstream) = pair();
                let mut second = Sender::new(wire, Vec::new(), first.into_body(), framing, SOON);
                let mut received = Vec::new();
                let send = async {
                    poll_fn(|cx| second.poll(cx)).await.unwrap();
                    drop(second);
                };
                let (_, read) = tokio::join!(send, upstream.read_to_end(&mut received));
                read.unwrap();
                received
            };
            let (_, received) = tokio::join!(upload, forward);
            assert_eq!(slot.bytes.get(), sent.len() as u64);
            assert!(slot.done.get());
            received
        })
    }

    #[test]
    fn bytes_in_the_pipe_when_an_attempt_failed_are_the_next_one_s() {
        let sent = bytes(1 << 20);
        assert!(sent_twice(&sent, Framing::Length(sent.len() as u64)) == sent);
    }

    #[test]
    fn a_body_that_waits_for_its_source_holds_no_pipe_and_one_that_waits_for_its_sink_does() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ((client, mut uploader), (sink, _upstream)) = (pair(), pair());
            let slot = (Rc::new(Slot::default()), false);
            let mut body = WireBody::request(client, Buffer::default(), Framing::Length(1 << 30), slot);
            assert!(poll_fn(|cx| Poll::Ready(body.poll_pass(cx, &sink, SOON).is_pending())).await);
            assert!(body.passage.pipe.is_none());
            let upload = async { while uploader.write_all(&[0; 1 << 16]).await.is_ok() {} };
            let fill = poll_fn(|cx| {
                while body.poll_pass(cx, &sink, SOON).is_ready() {}
                if body.passage.pipe.is_some() { Poll::Ready(()) } else { Poll::Pending }
            });
            tokio::select! { () = upload => {}, () = fill => {} }
            assert!(body.passage.pipe.as_ref().is_some_and(|pipe| pipe.filled() > 0));
        });
    }

    #[test]
    fn bytes_in_the_pipe_can_be_pulled_after_all() {
        let sent = bytes(300_000);
        let received = sent_twice(&sent, Framing::Chunked);
        let mut decoder = rsp_core::frame::http1::ChunkedDecoder::new(&super::super::TRAILERS);
        let (mut rest, mut decoded) = (received, Vec::new());
        loop {
            let part = decoder.decode(&mut rest).unwrap();
            decoded.extend_from_slice(&rest[..part.data]);
            rest.drain(..part.consumed);
            if part.done {
                break;
            }
        }
        assert!(decoded == sent);
    }
}
