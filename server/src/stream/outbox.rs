//! Frames on their way to one client: out at once where the kernel takes them, else in a bounded queue.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};

use super::Wire;

/// Frames that one system call takes.
const PARTS: usize = 16;

/// What a frame that waits costs beside its bytes.
const FRAME: usize = 128;

/// The writing side of a connection that many write to, each frame as a whole.
///
/// Frames are shared: a queue of them costs their references.
pub struct Outbox {
    wire: Rc<Wire>,
    queue: RefCell<Queue>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Bytes that are out.
    sent: u64,
    /// Whether part of the first frame is out.
    begun: bool,
    /// The connection broke.
    broken: bool,
    /// Called when a frame, or records of one, have to wait, and when the connection broke.
    waker: Option<Waker>,
}

struct Frame {
    bytes: Bytes,
    /// Whether a slow client may miss it.
    may_miss: bool,
}

/// A frame found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Outbox {
    /// That of a connection.
    pub fn new(wire: Rc<Wire>) -> Self {
        Self { wire, queue: RefCell::default() }
    }

    /// Sends a frame that the client must get; a queue of `max` bytes takes no more, but an empty one takes any frame.
    pub fn send(&self, frame: &Bytes, max: usize) -> Result<(), Full> {
        self.push(frame, max, false)
    }

    /// Sends a frame that may be dropped for later ones.
    pub fn offer(&self, frame: &Bytes, max: usize) -> Result<(), Full> {
        self.push(frame, max, true)
    }

    fn push(&self, frame: &Bytes, max: usize, may_miss: bool) -> Result<(), Full> {
        let mut queue = self.queue.borrow_mut();
        if queue.broken {
            return Ok(());
        }
        let mut out = 0;
        if queue.frames.is_empty() {
            match self.wire.write_now(frame) {
                Ok(n) => out = n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    queue.broken = true;
                    queue.wake();
                    return Ok(());
                }
            }
            queue.sent += out as u64;
            if out == frame.len() {
                if self.wire.unflushed() > 0 {
                    queue.wake();
                }
                return Ok(());
            }
            queue.begun = out > 0;
        } else if queue.bytes + frame.len() + FRAME > max {
            return Err(Full);
        }
        let rest = frame.slice(out..);
        queue.bytes += rest.len() + FRAME;
        queue.frames.push_back(Frame { bytes: rest, may_miss });
        queue.wake();
        Ok(())
    }

    /// Drops the oldest frames that may be missed and have not begun, until `bytes` find room; returns how many.
    pub fn make_room(&self, bytes: usize, max: usize) -> usize {
        let mut queue = self.queue.borrow_mut();
        let mut over = (queue.bytes + bytes + FRAME).saturating_sub(max);
        let (before, mut index) = (queue.frames.len(), usize::from(queue.begun));
        while over > 0 && index < queue.frames.len() {
            if !queue.frames[index].may_miss {
                index += 1;
                continue;
            }
            let Some(frame) = queue.frames.remove(index) else { break };
            queue.bytes -= frame.bytes.len() + FRAME;
            over = over.saturating_sub(frame.bytes.len() + FRAME);
        }
        before - queue.frames.len()
    }

    /// Bytes that wait, with what it costs to keep them.
    pub fn waiting(&self) -> usize {
        self.queue.borrow().bytes + self.wire.unflushed()
    }

    /// Bytes that are out.
    pub fn sent(&self) -> u64 {
        self.queue.borrow().sent
    }

    /// The connection.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Calls the task that flushes, if it waits.
    pub fn wake(&self) {
        self.queue.borrow_mut().wake();
    }

    /// Writes what waits; ready when nothing does, or the connection broke. A wait without progress of `timeout` is an
    /// error, too.
    pub fn poll_flush(&self, cx: &mut Context<'_>, timeout: Duration) -> Poll<io::Result<()>> {
        let mut queue = self.queue.borrow_mut();
        while !queue.frames.is_empty() && !queue.broken {
            let mut parts = [IoSlice::new(&[]); PARTS];
            let count = queue.frames.len().min(PARTS);
            for (part, frame) in parts.iter_mut().zip(&queue.frames) {
                *part = IoSlice::new(&frame.bytes);
            }
            match self.wire.poll_write(cx, &parts[..count], Some(timeout)) {
                Poll::Ready(Ok(n)) => queue.forget(n),
                Poll::Ready(Err(e)) => {
                    queue.broken = true;
                    return Poll::Ready(Err(e));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if queue.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let flushed = self.wire.poll_flush(cx, Some(timeout));
        queue.broken = matches!(flushed, Poll::Ready(Err(_)));
        flushed
    }

    /// Lets the task be called at the next frame that has to wait, and when the connection broke.
    pub fn register(&self, cx: &Context<'_>) {
        let mut queue = self.queue.borrow_mut();
        if queue.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
    }
}

impl Queue {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// `n` bytes more are out.
    fn forget(&mut self, mut n: usize) {
        self.sent += n as u64;
        self.bytes -= n;
        while let Some(first) = self.frames.front_mut() {
            if n < first.bytes.len() {
                first.bytes.advance(n);
                self.begun |= n > 0;
                return;
            }
            n -= first.bytes.len();
            self.bytes -= FRAME;
            self.frames.pop_front();
            self.begun = false;
        }
        // An idle connection holds no room for a queue.
        self.frames = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{io::AsyncReadExt, net::UnixStream};

    use super::*;
    use crate::stream::{Peer, Socket};

    #[test]
    fn records_that_wait_are_counted_and_flushed_for_a_slow_reader() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pair = crate::stream::connected().await;
            let outbox = Outbox::new(Rc::new(Wire::new(Socket::Tls(Box::new(pair.server)), Peer::Unix)));
            let mut client = pair.client;
            assert!(poll_fn(|cx| outbox.poll_flush(cx, Duration::from_secs(60))).await.is_ok());
            let (woken, waker) = a_flag();
            outbox.register(&Context::from_waker(&waker));
            let frame = Bytes::from(vec![b'x'; 10_000]);
            // Frames are accepted whole until the kernel is full: then records of the last one wait.
            let mut frames = 0;
            while outbox.waiting() == 0 {
                assert_eq!(outbox.send(&frame, 1 << 20), Ok(()));
                frames += 1;
            }
            assert!(outbox.queue.borrow().frames.is_empty(), "only records wait");
            assert!(woken.load(std::sync::atomic::Ordering::Relaxed), "who flushes is called");
            assert_eq!(outbox.send(&frame, 1 << 20), Ok(()), "the next one waits as a frame");
            let mut all = vec![0; frame.len() * (frames + 1)];
            let mut got = 0;
            let flush = poll_fn(|cx| outbox.poll_flush(cx, Duration::from_secs(60)));
            let read = async {
                while got < all.len() {
                    got += poll_fn(|cx| client.poll_read(cx, &mut all[got..])).await.unwrap();
                }
            };
            let (flushed, ()) = tokio::join!(flush, read);
            assert!(flushed.is_ok() && outbox.waiting() == 0);
        });
    }

    fn a_flag() -> (std::sync::Arc<std::sync::atomic::AtomicBool>, Waker) {
        struct Woken(std::sync::Arc<std::sync::atomic::AtomicBool>);
        impl std::task::Wake for Woken {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let flag = std::sync::Arc::default();
        (std::sync::Arc::clone(&flag), std::sync::Arc::new(Woken(flag)).into())
    }

    const TINY: Bytes = Bytes::from_static(b"..");

    #[test]
    fn tiny_frames_that_wait_cost_what_it_takes_to_keep_them() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut client) = UnixStream::pair().unwrap();
            let outbox = Outbox::new(Rc::new(Wire::new(Socket::Unix(ours), Peer::Unix)));
            let max = 16 << 10;
            while outbox.waiting() == 0 {
                assert_eq!(outbox.offer(&TINY, max), Ok(()));
            }
            let mut waiting = 1;
            while outbox.offer(&TINY, max).is_ok() {
                waiting += 1;
                assert!(waiting <= max / FRAME, "more wait than there is room for");
            }
            assert!(waiting > max / FRAME / 2, "only {waiting} found room");
            assert_eq!(outbox.make_room(TINY.len(), max), 1, "the oldest makes room for one");
            assert_eq!(outbox.offer(&TINY, max), Ok(()));
            let mut all = vec![0; usize::try_from(outbox.sent()).unwrap() + waiting * TINY.len()];
            let flush = poll_fn(|cx| outbox.poll_flush(cx, Duration::from_secs(60)));
            let (flushed, read) = tokio::join!(flush, client.read_exact(&mut all));
            assert!(flushed.is_ok() && read.is_ok(), "{flushed:?}, {read:?}");
            assert_eq!(outbox.waiting(), 0, "what is out costs nothing");
        });
    }
}
