//! Bytes both ways between two wires until both directions have ended.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::{Buffer, Pipe, Timer, Wire};

/// Bytes of a read that is copied. One that is full says that more than a message is coming, and the kernel moves the rest:
/// for less a pipe costs as much as the copy.
const COPY: usize = 16 << 10;

/// Less than this at once is a message, or the end of something long.
const KERNEL_MIN: usize = 4 << 10;

/// So many messages in a row are copied again: a pipe pins pages for the few bytes of each. Behind one alone the next long
/// thing may come, whose beginning would be copied.
const MESSAGES: u8 = 8;

/// What a direction may have in a pipe, as a multiple of its buffer: nothing is allocated for it, and each wake-up and
/// acknowledgement costs the same for a quarter of it.
const IN_KERNEL: usize = 4;

/// Bytes a direction moves before others have their turn: some hundred microseconds.
const TURN: usize = 1 << 20;

/// Bytes a tunnel moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelEnd {
    /// From the first wire to the second.
    pub forth: u64,
    /// From the second wire to the first.
    pub back: u64,
}

/// Moves bytes until both sides have ended, one breaks, or nothing moves for `silence`.
///
/// An end of one side is passed on as an end of the other's input only, so half-closed tunnels go on; what ends in any
/// other way is a reset to both. A direction holds a buffer of `capacity` bytes, or a pipe with four times as many, only
/// while there are bytes in flight.
pub async fn tunnel(
    (a, from_a): (&Wire, Buffer),
    (b, from_b): (&Wire, Buffer),
    capacity: usize,
    silence: Option<Duration>,
) -> TunnelEnd {
    let is_plain = a.is_plain() && b.is_plain();
    let mut forth = Direction::new(from_a, capacity, is_plain);
    let mut back = Direction::new(from_b, capacity, is_plain);
    let mut timer = Timer::default();
    let mut last = silence.map(|_| Instant::now());
    let mut cut = Cut { wires: [a, b], is_whole: false };
    cut.is_whole = poll_fn(|cx| {
        let before = forth.moved + back.moved;
        let ends = [forth.poll(cx, a, b), back.poll(cx, b, a)];
        if ends.iter().any(|end| matches!(end, Poll::Ready(Err(_)))) {
            return Poll::Ready(false);
        }
        if ends.iter().all(Poll::is_ready) {
            return Poll::Ready(true);
        }
        let (Some(silence), Some(last)) = (silence, &mut last) else { return Poll::Pending };
        if forth.moved + back.moved > before {
            *last = Instant::now();
        }
        timer.poll(cx, *last + silence).map(|()| false)
    })
    .await;
    TunnelEnd { forth: forth.moved, back: back.moved }
}

/// Nobody may take for an end what was cut: by the other side, by silence, or by our own end.
struct Cut<'a> {
    wires: [&'a Wire; 2],
    is_whole: bool,
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.wires.iter().for_each(|wire| wire.reset_on_close());
        }
    }
}

struct Direction {
    way: Way,
    /// Moved in the kernel since something long.
    messages: u8,
    buffer: Option<Buffer>,
    pipe: Option<Pipe>,
    capacity: usize,
    moved: u64,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through a buffer, until a full one says that much is coming.
    Copy,
    /// Through a pipe.
    Kernel,
    /// Through a buffer only: one of the sockets can't do it.
    Buffer,
}

impl Direction {
    fn new(buffer: Buffer, capacity: usize, is_plain: bool) -> Self {
        let way = if is_plain { Way::Copy } else { Way::Buffer };
        Self { way, messages: 0, buffer: Some(buffer), pipe: None, capacity, moved: 0, ended: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>, from: &Wire, to: &Wire) -> Poll<io::Result<()>> {
        let mut turn = TURN;
        loop {
            ready!(self.poll_out(cx, to))?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let n = match self.way {
                Way::Kernel => ready!(self.poll_fill(cx, from))?,
                Way::Copy | Way::Buffer => Some(ready!(self.poll_read(cx, from))?),
            };
            match n {
                Some(0) => {
                    self.ended = true;
                    to.shutdown_write()?;
                }
                Some(n) => turn = turn.saturating_sub(n),
                None => {}
            }
        }
    }

    /// Ready when nothing is in flight.
    fn poll_out(&mut self, cx: &mut Context<'_>, to: &Wire) -> Poll<io::Result<()>> {
        if let Some(buffer) = &mut self.buffer {
            while !buffer.is_empty() {
                let n = ready!(to.poll_write(cx, &[IoSlice::new(buffer.filled())], None))?;
                buffer.consume(n);
                self.moved += n as u64;
            }
            self.buffer = None;
        }
        if let Some(mut pipe) = self.pipe.take() {
            while pipe.filled() > 0 {
                match pipe.poll_drain(cx, to, None) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => self.moved += n as u64,
                    Poll::Ready(Err(e)) if Pipe::must_copy(&e) => {
                        self.way = Way::Buffer;
                        self.buffer = Some(pipe.read_out()?);
                        pipe.give_back();
                        return self.poll_out(cx, to);
                    }
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => {
                        self.pipe = Some(pipe);
                        return Poll::Pending;
                    }
                }
            }
            match self.way {
                Way::Kernel => self.pipe = Some(pipe),
                Way::Copy | Way::Buffer => pipe.give_back(),
            }
        }
        to.poll_flush(cx, None)
    }

    /// Bytes that were read into a buffer.
    fn poll_read(&mut self, cx: &mut Context<'_>, from: &Wire) -> Poll<io::Result<usize>> {
        ready!(from.poll_readable(cx, None))?;
        let most = if self.way == Way::Copy { self.capacity.min(COPY) } else { self.capacity };
        let mut buffer = Buffer::take(most);
        let n = ready!(from.poll_read(cx, &mut buffer, None))?;
        if n >= most && self.way == Way::Copy {
            self.way = Way::Kernel;
        }
        self.buffer = (n > 0).then_some(buffer);
        Poll::Ready(Ok(n))
    }

    /// Bytes that are in the pipe now; None: they must be copied.
    fn poll_fill(&mut self, cx: &mut Context<'_>, from: &Wire) -> Poll<io::Result<Option<usize>>> {
        let Some(mut pipe) = self.pipe.take().or_else(Pipe::take) else {
            self.way = Way::Copy;
            return Poll::Ready(Ok(None));
        };
        let filled = pipe.poll_fill(cx, from, self.capacity * IN_KERNEL, None);
        match filled {
            Poll::Ready(Ok(n)) if n > 0 => self.pipe = Some(pipe),
            _ => pipe.give_back(),
        }
        match ready!(filled) {
            // An end, or urgent data, before which the kernel stops just so: who copies is told which.
            Ok(0) => {
                self.way = Way::Copy;
                Poll::Ready(Ok(None))
            }
            Ok(n) => {
                self.messages = if n < KERNEL_MIN { self.messages + 1 } else { 0 };
                if self.messages >= MESSAGES {
                    (self.way, self.messages) = (Way::Copy, 0);
                }
                Poll::Ready(Ok(Some(n)))
            }
            Err(e) if Pipe::must_copy(&e) => {
                self.way = Way::Buffer;
                Poll::Ready(Ok(None))
            }
            Err(e) => Poll::Ready(Err(e)),
        }
    }
}
