//! A far side that speaks in messages over a stream of bytes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rsp_core::{
    config::{self, Framing},
    frame::messages::{self, Cutter, TooLong},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::unix::pipe,
};

use super::far::{Brought, End, Far};
use crate::stream::{Buffer, Wire};

/// Bytes that wait on their way to it before there is no room for another message: as many as a pipe takes.
const GIVEN_MAX: usize = 64 << 10;

/// The two directions of a stream of bytes.
pub enum Ends {
    /// A process's.
    Pipes {
        /// Where messages go; None: it was closed.
        input: Option<pipe::Sender>,
        /// Where they come from.
        output: pipe::Receiver,
    },
    /// A connection's.
    Wire(Rc<Wire>),
}

/// Cuts a stream into messages, and puts messages onto it. It holds no buffer while nothing is on its way.
pub struct Framed {
    ends: Ends,
    framing: Framing,
    cutter: Cutter,
    /// What came and is not cut yet.
    came: Buffer,
    given: Vec<u8>,
    /// How much of it is out.
    sent: usize,
    /// Whether the client's last message was bytes: where that can't be said on a stream, it is answered in kind.
    speaks_bytes: bool,
    /// What the client is told that its messages are of, each in an object; None: they go as they are.
    stream: Option<&'static str>,
}

impl Framed {
    /// With the framing and the bounds of `talk`.
    pub fn new(ends: Ends, talk: &config::Talk) -> Self {
        Self {
            ends,
            framing: talk.framing,
            cutter: Cutter::new(talk.framing, talk.line_max),
            came: Buffer::default(),
            given: Vec::new(),
            sent: 0,
            speaks_bytes: false,
            stream: None,
        }
    }

    /// The same, each message in an object that says which stream it is of: `{"stream":"stdout","data":"…"}`.
    pub fn of_stream(self, name: &'static str) -> Self {
        Self { stream: Some(name), ..self }
    }

    /// Adds the messages that came whole.
    fn bring(&mut self, brought: &mut Brought) -> Result<(), TooLong> {
        while !brought.is_full() {
            let Some((message, taken)) = self.cutter.next(self.came.filled())? else { break };
            let is_text = match self.framing {
                Framing::Lines => true,
                Framing::Raw => false,
                Framing::Length => !self.speaks_bytes,
            };
            match self.stream {
                None => brought.message(message, is_text),
                Some(stream) => brought.message(object(stream, message).as_bytes(), true),
            }
            self.came.consume(taken);
        }
        Ok(())
    }

    /// Reads more; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.ends.poll_readable(cx))?;
        if self.came.is_empty() {
            self.came = Buffer::take(16 << 10);
        } else if self.came.is_full() {
            // Twice as much each time, so that a long line is moved a few times only. The cutter would have said so if it
            // were too long.
            let mut larger = Buffer::take(self.came.filled().len().saturating_mul(2));
            larger.spare()[..self.came.filled().len()].copy_from_slice(self.came.filled());
            larger.commit(self.came.filled().len());
            self.came = larger;
        }
        let read = self.ends.poll_read(cx, &mut self.came);
        if self.came.is_empty() {
            self.came = Buffer::default();
        }
        read
    }
}

/// As websocketd's `--passstderr` has it. What is no UTF-8 can't be in JSON.
fn object(stream: &'static str, data: &[u8]) -> String {
    let data = serde_json::Value::from(String::from_utf8_lossy(data));
    format!("{{\"stream\":\"{stream}\",\"data\":{data}}}")
}

impl Far for Framed {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.given.len() - self.sent >= GIVEN_MAX {
            // Less than all may be room enough.
            let _ = self.poll_given(cx);
        }
        if self.given.len() - self.sent < GIVEN_MAX { Poll::Ready(()) } else { Poll::Pending }
    }

    fn give(&mut self, message: &[u8], is_text: bool) {
        self.speaks_bytes = !is_text;
        let is_meant = match self.framing {
            Framing::Lines => is_text,
            Framing::Raw => !is_text,
            Framing::Length => true,
        };
        if is_meant && self.ends.take_more() {
            messages::write(self.framing, message, &mut self.given);
        }
    }

    fn poll_given(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sent < self.given.len() {
            match ready!(self.ends.poll_write(cx, &self.given[self.sent..])) {
                Ok(n) if n > 0 => self.sent += n,
                // It takes nothing any more, but may still have something to say.
                _ => {
                    self.ends.close_input();
                    break;
                }
            }
        }
        ready!(self.ends.poll_flush(cx));
        self.given = Vec::new();
        self.sent = 0;
        Poll::Ready(())
    }

    fn poll_bring(&mut self, cx: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>> {
        loop {
            if !self.came.is_empty() && self.bring(brought).is_err() {
                return Poll::Ready(Err(End::TooLong));
            }
            if self.came.is_empty() {
                self.came = Buffer::default();
            }
            if brought.is_full() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(End::Done)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Failed)),
                Poll::Pending if brought.unsent().is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Ends {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Pipes { output, .. } => output.poll_read_ready(cx),
            Self::Wire(wire) => wire.poll_readable(cx, None),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        match self {
            Self::Pipes { output, .. } => {
                let mut into = ReadBuf::new(buffer.spare());
                ready!(Pin::new(output).poll_read(cx, &mut into))?;
                let n = into.filled().len();
                buffer.commit(n);
                Poll::Ready(Ok(n))
            }
            Self::Wire(wire) => wire.poll_read(cx, buffer, None),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Pipes { input: Some(input), .. } => Pin::new(input).poll_write(cx, bytes),
            Self::Pipes { input: None, .. } => Poll::Ready(Ok(0)),
            Self::Wire(wire) => wire.poll_write(cx, &[IoSlice::new(bytes)], None),
        }
    }

    /// Ready when nothing of what was written waits on our side; a connection that broke is found by the next read.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Pipes { .. } => Poll::Ready(()),
            Self::Wire(wire) => wire.poll_flush(cx, None).map(drop),
        }
    }

    /// Whether it takes anything yet.
    fn take_more(&self) -> bool {
        !matches!(self, Self::Pipes { input: None, .. })
    }

    fn close_input(&mut self) {
        if let Self::Pipes { input, .. } = self {
            *input = None;
        }
    }
}
