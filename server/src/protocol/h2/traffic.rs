//! The bytes of a connection on their way between its socket and h2, each way in as few system calls as can be.
//!
//! h2 flushes behind every frame that it does not copy; here what it writes waits until it has had its turn, so that the
//! answers of many streams leave in one write.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rsp_core::frame::http2::{Meter, Misuse};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::stream::{Buffer, Wire};

/// Bytes that may wait for the kernel: four records of TLS, a write of a plain socket.
const OUT: usize = 64 << 10;

/// Bytes that are read in a turn: a client that never stops sending does not keep the worker from others.
const TURN: usize = 64 << 10;

/// What h2 and whoever drives it share.
pub(super) struct Traffic {
    wire: Rc<Wire>,
    /// What was written and is not with the kernel.
    out: RefCell<Buffer>,
    /// Bytes that may still be read in this turn.
    turn: Cell<usize>,
    meter: RefCell<Meter>,
    misuse: Cell<Option<Misuse>>,
    began: Instant,
    /// Bytes that are with the kernel.
    written: Cell<u64>,
    write_timeout: Duration,
}

impl Traffic {
    pub fn new(wire: Rc<Wire>, write_timeout: Duration) -> Self {
        Self {
            wire,
            out: RefCell::default(),
            turn: Cell::new(TURN),
            meter: RefCell::default(),
            misuse: Cell::new(None),
            began: Instant::now(),
            written: Cell::new(0),
            write_timeout,
        }
    }

    /// Lets h2 read again.
    pub fn begin_turn(&self) {
        self.turn.set(TURN);
    }

    /// Why nothing more of the client is read.
    pub fn misuse(&self) -> Option<Misuse> {
        self.misuse.get()
    }

    /// The number of a head that has begun and is not whole.
    pub fn unfinished_head(&self) -> Option<u32> {
        self.meter.borrow().unfinished_head()
    }

    /// Bytes that are with the kernel.
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// A request was answered.
    pub fn answered(&self) {
        self.meter.borrow_mut().answered();
    }

    /// Writes what waits; ready when nothing does.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.out.borrow_mut();
        while !out.is_empty() {
            let n = ready!(self.wire.poll_write(cx, &[IoSlice::new(out.filled())], Some(self.write_timeout)))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.meter.borrow_mut().sent(n);
            self.written.set(self.written.get() + n as u64);
            out.consume(n);
        }
        // An idle connection holds no buffer.
        *out = Buffer::default();
        self.wire.poll_flush(cx, Some(self.write_timeout))
    }

    fn poll_read(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.misuse.get().is_some() {
            return Poll::Pending;
        }
        if self.turn.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = into.remaining().min(self.turn.get());
        let room = &mut into.initialize_unfilled()[..most];
        let n = ready!(self.wire.poll_read_into(cx, room))?;
        self.turn.set(self.turn.get() - n);
        let counted = self.meter.borrow_mut().read(&room[..n], || self.began.elapsed());
        if let Err(misuse) = counted {
            self.misuse.set(Some(misuse));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        into.advance(n);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.out.borrow().is_full() {
            ready!(self.poll_flush(cx))?;
        }
        let mut out = self.out.borrow_mut();
        if out.is_empty() {
            *out = Buffer::take(OUT);
        }
        let room = out.spare();
        let n = bytes.len().min(room.len());
        room[..n].copy_from_slice(&bytes[..n]);
        out.commit(n);
        Poll::Ready(Ok(n))
    }
}

/// The socket as h2 sees it.
pub(super) struct Io(pub Rc<Traffic>);

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, into)
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    /// At the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The end of our direction is for whoever drives the connection.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }
}
