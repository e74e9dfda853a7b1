//! Writes a body into one stream of an HTTP/2 connection, as much as the peer's windows take.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::SendStream;
use tokio::time::Instant;

use super::{Body, SendFault};
use crate::stream::Timer;

/// The longest piece that is given to a stream at once: two frames of the usual size.
const PIECE: usize = 32 << 10;

/// A body on its way into a stream whose head is sent.
///
/// What was given to the connection counts as sent: how much of it may wait there is the connection's bound.
pub struct StreamSender {
    stream: SendStream<Bytes>,
    body: Body,
    timeout: Duration,
    timer: Timer,
    /// When the present wait for the peer ends; set at its beginning.
    deadline: Option<Instant>,
    ended: bool,
    sent: u64,
}

impl StreamSender {
    /// `timeout`: without progress of a write. A stream whose head was its end needs none.
    pub fn new(stream: SendStream<Bytes>, body: Body, timeout: Duration) -> Self {
        Self { stream, body, timeout, timer: Timer::default(), deadline: None, ended: false, sent: 0 }
    }

    /// Bytes of the body that were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Gives body and stream back.
    pub fn into_parts(self) -> (Body, SendStream<Bytes>) {
        (self.body, self.stream)
    }

    /// Ready when the end was given to the connection. After an error the stream is still open: whoever sees it resets it,
    /// so that a cut is never taken for an end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFault>> {
        while !self.ended {
            if self.body.chunk().is_empty() {
                match self.body.poll_chunk(cx) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => self.end(Bytes::new())?,
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(SendFault::Source(fault))),
                    Poll::Pending => return self.poll_reset(cx),
                }
                continue;
            }
            let room = match self.poll_room(cx) {
                Poll::Ready(room) => room?,
                Poll::Pending => {
                    self.body.poll_background(cx);
                    return Poll::Pending;
                }
            };
            let piece = self.body.take(room);
            self.sent += piece.len() as u64;
            match self.body.poll_chunk(cx) {
                Poll::Ready(Ok(false)) => self.end(piece)?,
                // What broke off is told at the next turn, behind what came before.
                Poll::Ready(Ok(true) | Err(_)) | Poll::Pending => self.send(piece, false)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// How much of the chunk at hand the windows take.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, SendFault>> {
        let wanted = self.body.chunk().len().min(PIECE);
        if self.stream.capacity() < wanted {
            self.stream.reserve_capacity(wanted);
        }
        loop {
            let room = self.stream.capacity().min(wanted);
            if room > 0 {
                self.deadline = None;
                return Poll::Ready(Ok(room));
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(gone(&e))),
                Poll::Ready(None) => return Poll::Ready(Err(SendFault::Sink(io::ErrorKind::ConnectionReset.into()))),
                Poll::Pending => {
                    let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.timeout);
                    ready!(self.timer.poll(cx, deadline));
                    return Poll::Ready(Err(SendFault::Sink(io::ErrorKind::TimedOut.into())));
                }
            }
        }
    }

    /// Else only the next bytes of a silent source would meet a peer that is gone.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFault>> {
        match ready!(self.stream.poll_reset(cx)) {
            Ok(_) => Poll::Ready(Err(SendFault::Sink(io::ErrorKind::ConnectionReset.into()))),
            Err(e) => Poll::Ready(Err(gone(&e))),
        }
    }

    fn end(&mut self, last: Bytes) -> Result<(), SendFault> {
        self.ended = true;
        match self.body.take_trailers() {
            None => self.send(last, true),
            Some(trailers) => {
                if !last.is_empty() {
                    self.send(last, false)?;
                }
                self.stream.send_trailers(trailers).map_err(|e| gone(&e))
            }
        }
    }

    fn send(&mut self, piece: Bytes, is_last: bool) -> Result<(), SendFault> {
        self.stream.send_data(piece, is_last).map_err(|e| gone(&e))
    }
}

fn gone(e: &h2::Error) -> SendFault {
    SendFault::Sink(io::Error::new(io::ErrorKind::ConnectionReset, e.to_string()))
}
