//! Bytes from one socket to another through a pipe, which the kernel passes on by reference: they are never copied.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::OwnedFd,
    task::{Context, Poll},
    time::Duration,
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::{Buffer, Wire};

/// Empty pipes a worker keeps: as many as it keeps buffers of the size that they stand for.
const KEPT: usize = 64;

/// Pipes a worker lends at once. Each is two descriptors that connections may need more, and what slow readers leave in
/// it are pages that the kernel can't free; who comes when all are lent copies instead.
const LENT_MAX: usize = 256;

/// A slot of a pipe holds one fragment of what a network card received, 1,448 bytes at worst: as many slots as 64 KiB
/// arrive in. How many bytes are in flight is not the pipe's size, but what it is filled with.
const SLOTS: usize = 64;

/// The kernel counts slots in pages.
const PAGE: usize = 4 << 10;

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

thread_local! {
    static FREE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    static LENT: Cell<usize> = const { Cell::new(0) };
}

/// A pipe of the worker's, with the bytes that are on their way through it.
///
/// **Invariant:** only an empty one is lent again; one with bytes in it is closed.
pub struct Pipe {
    ends: Ends,
    filled: usize,
    _lent: Lent,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// One of [`LENT_MAX`].
struct Lent;

impl Pipe {
    /// An empty pipe; None when too many are lent, or the process has no descriptors left.
    pub fn take() -> Option<Self> {
        let lent = Lent::new()?;
        let kept = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten();
        Some(Self { ends: kept.map_or_else(Ends::open, Some)?, filled: 0, _lent: lent })
    }

    /// Lends it to others, if it is empty.
    pub fn give_back(self) {
        if self.filled > 0 {
            return;
        }
        // A worker that is ending has no pool any more; then the pipe is closed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(self.ends);
            }
        });
    }

    /// Whether the kernel can't move bytes between a pipe and a socket, but a copy would do.
    pub fn must_copy(e: &io::Error) -> bool {
        matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
    }

    /// Bytes in it.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Moves at most `most` bytes from `wire` into the pipe, which is empty; 0 is the peer's end. Waits for `timeout`
    /// at most. `InvalidInput` or `Unsupported`: these bytes must be copied.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Wire,
        most: usize,
        timeout: Option<Duration>,
    ) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.filled, 0, "a full pipe would be taken for a silent peer");
        let write = &self.ends.write;
        let moved = wire.poll_read_with(cx, |socket| Ok(splice(socket, None, write, None, most, FLAGS)?), timeout);
        if let Poll::Ready(Ok(n)) = moved {
            self.filled += n;
        }
        moved
    }

    /// Moves bytes from the pipe, which is not empty, to `wire`. Waits for `timeout` at most. `InvalidInput` or
    /// `Unsupported`: these bytes must be copied.
    pub fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Wire,
        timeout: Option<Duration>,
    ) -> Poll<io::Result<usize>> {
        let (read, most) = (&self.ends.read, self.filled);
        let moved = wire.poll_write_with(cx, |socket| Ok(splice(read, None, socket, None, most, FLAGS)?), timeout);
        if let Poll::Ready(Ok(n)) = moved {
            self.filled -= n;
        }
        moved
    }

    /// The bytes in it, for those who want to see them after all.
    pub fn read_out(&mut self) -> io::Result<Buffer> {
        let mut buffer = Buffer::take(self.filled);
        while self.filled > 0 {
            match rustix::io::read(&self.ends.read, &mut *buffer.spare())? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buffer.commit(n);
                    self.filled -= n;
                }
            }
        }
        Ok(buffer)
    }
}

impl Ends {
    fn open() -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A user who has many pipes may not enlarge them any more; a smaller one takes more system calls.
        let _ = fcntl_setpipe_size(&write, SLOTS * PAGE);
        Some(Self { read, write })
    }
}

impl Lent {
    fn new() -> Option<Self> {
        LENT.with(|lent| {
            let now = lent.get();
            (now < LENT_MAX).then(|| lent.set(now + 1))
        })?;
        Some(Self)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        LENT.with(|lent| lent.set(lent.get() - 1));
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, os::fd::AsRawFd};

    use tokio::{io::AsyncWriteExt, net::UnixStream};

    use super::*;
    use crate::stream::{Peer, Socket};

    #[test]
    fn an_empty_pipe_is_lent_again_and_one_with_bytes_in_it_never() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let first = Pipe::take().unwrap();
            let ends = (first.ends.read.as_raw_fd(), first.ends.write.as_raw_fd());
            first.give_back();
            let mut again = Pipe::take().unwrap();
            assert_eq!((again.ends.read.as_raw_fd(), again.ends.write.as_raw_fd()), ends);
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"of one client").await.unwrap();
            let wire = Wire::new(Socket::Unix(ours), Peer::Unix);
            assert_eq!(poll_fn(|cx| again.poll_fill(cx, &wire, 6, None)).await.unwrap(), 6);
            again.give_back();
            assert!(FREE.with(|free| free.borrow().is_empty()));
            let buffer = {
                let mut other = Pipe::take().unwrap();
                poll_fn(|cx| other.poll_fill(cx, &wire, 100, None)).await.unwrap();
                other.read_out().unwrap()
            };
            assert_eq!(buffer.filled(), b" client", "only what was moved is gone");
        });
    }

    #[test]
    fn no_more_pipes_are_lent_than_the_bound() {
        let mut lent: Vec<_> = std::iter::from_fn(Pipe::take).take(LENT_MAX + 1).collect();
        assert_eq!(lent.len(), LENT_MAX);
        assert!(Pipe::take().is_none());
        lent.pop();
        assert!(Pipe::take().is_some());
        lent.into_iter().for_each(Pipe::give_back);
        assert_eq!(FREE.with(|free| free.borrow().len()), KEPT);
    }
}
