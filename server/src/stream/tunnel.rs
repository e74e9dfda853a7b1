//! Bytes both ways between two wires until both directions have ended.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::{Buffer, Timer, Wire};

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
/// An end of one side is passed on as an end of the other's input only, so half-closed tunnels go on.
/// A direction holds a buffer of `capacity` bytes only while there are bytes in flight.
pub async fn tunnel(
    (a, from_a): (&Wire, Buffer),
    (b, from_b): (&Wire, Buffer),
    capacity: usize,
    silence: Option<Duration>,
) -> TunnelEnd {
    let mut forth = Direction::new(from_a, capacity);
    let mut back = Direction::new(from_b, capacity);
    let mut timer = Timer::default();
    let mut last = Instant::now();
    poll_fn(|cx| {
        let before = forth.moved + back.moved;
        let ends = [forth.poll(cx, a, b), back.poll(cx, b, a)];
        if ends.iter().any(|end| matches!(end, Poll::Ready(Err(_)))) || ends.iter().all(Poll::is_ready) {
            return Poll::Ready(());
        }
        let Some(silence) = silence else { return Poll::Pending };
        if forth.moved + back.moved > before {
            last = Instant::now();
        }
        timer.poll(cx, last + silence)
    })
    .await;
    TunnelEnd { forth: forth.moved, back: back.moved }
}

struct Direction {
    buffer: Option<Buffer>,
    capacity: usize,
    moved: u64,
    ended: bool,
}

impl Direction {
    fn new(buffer: Buffer, capacity: usize) -> Self {
        Self { buffer: Some(buffer), capacity, moved: 0, ended: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>, from: &Wire, to: &Wire) -> Poll<io::Result<()>> {
        while !self.ended {
            if let Some(buffer) = &mut self.buffer {
                while !buffer.is_empty() {
                    let n = ready!(to.poll_write(cx, &[IoSlice::new(buffer.filled())], None))?;
                    buffer.consume(n);
                    self.moved += n as u64;
                }
                self.buffer = None;
            }
            ready!(from.poll_readable(cx, None))?;
            let mut buffer = Buffer::take(self.capacity);
            match from.poll_read(cx, &mut buffer, None) {
                Poll::Ready(Ok(0)) => {
                    self.ended = true;
                    to.shutdown_write()?;
                }
                Poll::Ready(Ok(_)) => self.buffer = Some(buffer),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
