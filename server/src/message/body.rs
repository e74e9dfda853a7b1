//! The closed set of bodies.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName};
use rsp_core::frame::http1::Framing;

use super::{FileBody, PartsBody, StreamBody, WireBody};
use crate::error::Fault;

/// A message's content, pulled by whoever writes it out.
pub enum Body {
    /// No content.
    Empty,
    /// Content that is in memory; what is left of it.
    Full(Bytes),
    /// Content that a connection brings in.
    Wire(Box<WireBody>),
    /// Content that one stream of a connection brings in.
    Stream(Box<StreamBody>),
    /// Content of a file.
    File(Box<FileBody>),
    /// Several ranges of a file.
    Parts(Box<PartsBody>),
    /// Content that its handler makes.
    Source(Box<dyn Source>),
}

/// Content that a handler makes as it is pulled; what the functions of [`Body`] of the same name say holds for it.
pub trait Source {
    /// Ready with true when there is a chunk, with false at the clean end. A fault stays.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>>;
    /// The bytes that were pulled and not yet consumed.
    fn chunk(&self) -> &[u8];
    /// Forgets the first `n` bytes of the chunk.
    fn consume(&mut self, n: usize);
    /// How the length of what is left is known.
    fn framing(&self) -> Framing;
    /// Lets work go on that must not wait for the chunk at hand.
    fn poll_background(&mut self, cx: &mut Context<'_>);
}

impl Body {
    /// Ready with true when [`chunk`](Self::chunk) has bytes, with false at the clean end.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        match self {
            Self::Empty => Poll::Ready(Ok(false)),
            Self::Full(bytes) => Poll::Ready(Ok(!bytes.is_empty())),
            Self::Wire(body) => body.poll_chunk(cx),
            Self::Stream(body) => body.poll_chunk(cx),
            Self::File(body) => Poll::Ready(body.fill()),
            Self::Parts(body) => Poll::Ready(body.fill()),
            Self::Source(body) => body.poll_chunk(cx),
        }
    }

    /// The bytes that were pulled and not yet consumed.
    pub fn chunk(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Full(bytes) => bytes,
            Self::Wire(body) => body.chunk(),
            Self::Stream(body) => body.chunk(),
            Self::File(body) => body.chunk(),
            Self::Parts(body) => body.chunk(),
            Self::Source(body) => body.chunk(),
        }
    }

    /// Forgets the first `n` bytes of the chunk.
    pub fn consume(&mut self, n: usize) {
        match self {
            Self::Empty => {}
            Self::Full(bytes) => bytes.advance(n.min(bytes.len())),
            Self::Wire(body) => body.consume(n),
            Self::Stream(body) => body.consume(n),
            Self::File(body) => body.consume(n),
            Self::Parts(body) => body.consume(n),
            Self::Source(body) => body.consume(n),
        }
    }

    /// Takes the first `n` bytes of the chunk, without a copy where they can be shared.
    pub fn take(&mut self, n: usize) -> Bytes {
        match self {
            Self::Full(bytes) => bytes.split_to(n),
            Self::Stream(body) => body.take(n),
            body => {
                let taken = Bytes::copy_from_slice(&body.chunk()[..n]);
                body.consume(n);
                taken
            }
        }
    }

    /// The bounds of a request's site, set before the first pull: bytes in flight, the wait for more of them, and bytes of
    /// a body whose length is not stated. An HTTP/2 stream's window was told to the client before the site was known.
    pub fn bound(&mut self, capacity: usize, timeout: Duration, limit: Option<u64>) {
        match self {
            Self::Wire(body) => body.bound(capacity, timeout, limit),
            Self::Stream(body) => body.bound(timeout, limit),
            _ => {}
        }
    }

    /// The 100 that a client waits for is the handler's to forward.
    pub fn leave_continue_to_upstream(&mut self) {
        match self {
            Self::Wire(body) => body.leave_continue_to_upstream(),
            Self::Stream(body) => body.leave_continue_to_upstream(),
            _ => {}
        }
    }

    /// How the body's length is known.
    pub fn framing(&self) -> Framing {
        match self {
            Self::Empty => Framing::Empty,
            Self::Full(bytes) => Framing::Length(bytes.len() as u64),
            Self::Wire(body) => body.framing(),
            Self::Stream(body) => body.framing(),
            Self::File(body) => Framing::Length(body.remaining()),
            Self::Parts(body) => Framing::Length(body.remaining()),
            Self::Source(body) => body.framing(),
        }
    }

    /// The trailers, once the end was reached.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Self::Wire(body) => body.take_trailers(),
            Self::Stream(body) => body.take_trailers(),
            _ => None,
        }
    }

    /// Leaves out trailers of a name about which the head has the last word.
    pub fn withhold_trailer(&mut self, name: &HeaderName) {
        match self {
            Self::Wire(body) => body.withhold_trailer(name),
            Self::Stream(body) => body.withhold_trailer(name),
            _ => {}
        }
    }

    /// Leaves out all trailers, because the whole head was replaced.
    pub fn withhold_trailers(&mut self) {
        match self {
            Self::Wire(body) => body.withhold_trailers(),
            Self::Stream(body) => body.withhold_trailers(),
            _ => {}
        }
    }

    /// Lets work go on that must not wait for the chunk at hand: a request body that is still on its way.
    pub fn poll_background(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Wire(body) => body.poll_background(cx),
            Self::Stream(body) => body.poll_background(cx),
            Self::Source(body) => body.poll_background(cx),
            Self::Empty | Self::Full(_) | Self::File(_) | Self::Parts(_) => {}
        }
    }

    /// Gathers the whole body, `limit` bytes at most; more is `BodyTooLarge`.
    pub async fn gather(&mut self, limit: usize) -> Result<Bytes, Fault> {
        let mut all = Vec::new();
        std::future::poll_fn(|cx| self.poll_gather(cx, &mut all, limit)).await?;
        Ok(all.into())
    }

    fn poll_gather(&mut self, cx: &mut Context<'_>, all: &mut Vec<u8>, limit: usize) -> Poll<Result<(), Fault>> {
        while ready!(self.poll_chunk(cx))? {
            let chunk = self.chunk();
            if all.len() + chunk.len() > limit {
                let cause = format!("body of more than {limit} bytes");
                return Poll::Ready(Err(Fault::new(crate::error::Kind::BodyTooLarge, cause)));
            }
            all.extend_from_slice(chunk);
            let n = chunk.len();
            self.consume(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Full(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}
