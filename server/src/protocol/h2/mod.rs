//! HTTP/2 towards clients, RFC 9113: one task drives a connection, and one each of its streams.
//!
//! **Invariant:** a client that sends faster than we answer, or takes less than we send, waits or is told to calm down: what a
//! connection can make us hold and do is bounded, whatever its frames are.

mod answer;
mod calm;
mod preface;
mod request;
mod traffic;

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use rsp_core::{config::Limits, frame::http2::Misuse};
use tokio::time::Instant;

pub(super) use self::preface::is_spoken;
use self::traffic::{Io, Traffic};
use super::{Connection, connection::LAST_REQUEST};
use crate::stream::{Timer, Wires};

/// Requests of a connection at once: browsers ask for a hundred at most, and each may hold two times `buffer`.
const STREAMS_MAX: u32 = 128;

/// Windows of streams that make up the connection's: what a client may have sent that nobody has read, and as one upload
/// that is not read leaves room for others.
const WINDOWS: u32 = 16;

/// Streams that were reset before they were seen, and those that we reset: h2 gives up a connection at so many at once
/// (CVE-2023-44487, CVE-2025-8671).
const RESETS_UNSEEN_MAX: usize = 32;
const RESETS_OWN_MAX: usize = 256;

/// What h2 remembers of streams that we reset: frames that are still on their way to one are no error for a while.
const RESET_REMEMBERED: Duration = Duration::from_secs(1);

/// How long a client that floods us is left unread after it was told, and its new connections are closed.
const CALM: Duration = Duration::from_secs(1);

/// What the tasks of one connection share.
struct Shared {
    connection: Connection,
    traffic: Rc<Traffic>,
    /// What the wires of streams state.
    wires: Wires,
    /// Streams in work.
    open: Cell<usize>,
    /// When the last of them ended.
    idle_since: Cell<Instant>,
    /// Calls the task of the connection when none is in work any more.
    waker: RefCell<Option<Waker>>,
}

/// One stream in work; the connection is idle when all are dropped.
struct Open(Rc<Shared>);

impl Open {
    fn new(shared: &Rc<Shared>) -> Self {
        shared.open.set(shared.open.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.0.open.get() - 1;
        self.0.open.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
            if let Some(waker) = self.0.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(connection: Connection) {
    if calm::is_left_alone(&connection) {
        return connection.wire.reset_on_close();
    }
    let current = connection.worker.current();
    let limits = current.snapshot.config.limits.clone();
    drop(current);
    let traffic = Rc::new(Traffic::new(Rc::clone(&connection.wire), limits.write_timeout));
    let Some(h2) = handshake(&connection, &limits, &traffic).await else { return };
    let shared = Rc::new(Shared {
        wires: Wires::of(&connection.wire),
        connection,
        traffic,
        open: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        waker: RefCell::default(),
    });
    let mut driver = Driver {
        h2,
        shared: Rc::clone(&shared),
        served: 0,
        end: End::None,
        timer: Timer::default(),
        slow: None,
        stalled: None,
    };
    let ended = poll_fn(|cx| driver.poll(cx)).await;
    let flooded = driver.end == End::Flood;
    drop(driver);
    if let Err(e) = ended {
        tracing::debug!("a connection of {:?} by HTTP/2 ends: {e}", shared.connection.wire.peer());
    }
    if flooded {
        calm::remember(&shared.connection);
    }
    part(&shared.connection, flooded).await;
}

/// Exchanges the prefaces, within `head_timeout`; in a drain, within a second.
async fn handshake(
    connection: &Connection,
    limits: &Limits,
    traffic: &Rc<Traffic>,
) -> Option<h2::server::Connection<Io, Bytes>> {
    let window = u32::try_from(limits.buffer).unwrap_or(u32::MAX).clamp(16 << 10, 16 << 20);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(window)
        .initial_connection_window_size(window * WINDOWS)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buffer_size(limits.buffer)
        .max_pending_accept_reset_streams(RESETS_UNSEEN_MAX)
        .max_local_error_reset_streams(Some(RESETS_OWN_MAX))
        .max_concurrent_reset_streams(STREAMS_MAX as usize)
        .reset_stream_duration(RESET_REMEMBERED)
        .enable_connect_protocol();
    let mut handshake = pin!(builder.handshake(Io(Rc::clone(traffic))));
    let both = poll_fn(|cx| {
        traffic.begin_turn();
        let shaken = handshake.as_mut().poll(cx);
        if let Poll::Ready(Err(_)) = traffic.poll_flush(cx) {
            return Poll::Ready(None);
        }
        shaken.map(Result::ok)
    });
    let drained = async {
        poll_fn(|cx| connection.guard.poll_begun(cx)).await;
        tokio::time::sleep(LAST_REQUEST).await;
    };
    tokio::select! {
        h2 = tokio::time::timeout(limits.head_timeout, both) => h2.ok().flatten(),
        () = drained => None,
    }
}

/// Drives one connection.
struct Driver {
    h2: h2::server::Connection<Io, Bytes>,
    shared: Rc<Shared>,
    served: u64,
    end: End,
    timer: Timer,
    /// A head that is not whole: its number, and since when.
    slow: Option<(u32, Instant)>,
    /// Answers that wait for the client with nobody behind them: what was written before, and since when.
    stalled: Option<(u64, Instant)>,
}

/// How far the connection's end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    None,
    /// No new streams; those in work go on.
    Graceful,
    /// Whatever is in work.
    Now,
    /// The same, for a client that floods us.
    Flood,
}

impl Driver {
    /// Ready when the connection has ended and all was said.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.traffic.begin_turn();
        let ended = self.poll_frames(cx);
        let flushed = self.shared.traffic.poll_flush(cx);
        if let Poll::Ready(Err(e)) = flushed {
            return Poll::Ready(Err(e));
        }
        if let Poll::Ready(end) = ended {
            ready!(flushed)?;
            return Poll::Ready(end);
        }
        self.look_for_end(cx);
        self.register(cx);
        self.poll_timers(cx)
    }

    /// Lets h2 read and write, and begins what came.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.end < End::Flood
                && let Some(misuse) = self.shared.traffic.misuse()
            {
                tracing::debug!("{:?} misuses a connection: {misuse:?}", self.shared.connection.wire.peer());
                let reason = match misuse {
                    Misuse::FrameSize => Reason::FRAME_SIZE_ERROR,
                    Misuse::Resets | Misuse::Controls => Reason::ENHANCE_YOUR_CALM,
                };
                self.end(End::Flood, reason);
            }
            match ready!(self.h2.poll_accept(cx)) {
                Some(Ok((asked, answer))) => {
                    self.served += 1;
                    request::begin(&self.shared, asked, answer);
                }
                Some(Err(e)) => {
                    if e.is_library() && e.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                        self.end = End::Flood;
                    }
                    return Poll::Ready(Err(io::Error::other(e)));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// A drain, or as many requests as the connection may have. It ends behind the answer of the last one: some clients take
    /// nothing behind a GOAWAY. Who never stops asking is told while some are in work.
    fn look_for_end(&mut self, cx: &mut Context<'_>) {
        if self.end > End::None {
            return;
        }
        let drains = self.shared.connection.guard.poll_begun(cx).is_ready();
        let current = self.shared.connection.worker.current();
        let max = current.snapshot.config.limits.requests_per_connection.unwrap_or(u64::MAX);
        if drains || self.served >= max.saturating_add(u64::from(STREAMS_MAX)) {
            self.leave();
            cx.waker().wake_by_ref();
        } else if self.served >= max && self.shared.open.get() == 0 && !self.h2.has_streams() {
            self.end(End::Now, Reason::NO_ERROR);
            cx.waker().wake_by_ref();
        }
    }

    /// Takes no new streams but those that are on their way; the others go on to their end.
    fn leave(&mut self) {
        self.end = End::Graceful;
        self.shared.idle_since.set(Instant::now());
        self.h2.graceful_shutdown();
    }

    fn register(&self, cx: &mut Context<'_>) {
        let mut waker = self.shared.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Ends a connection that is waited for in vain.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(at) = self.deadline() else { return Poll::Pending };
        ready!(self.timer.poll(cx, at));
        // Told once; who doesn't take even that is cut.
        if self.end >= End::Now {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.end(End::Now, Reason::NO_ERROR);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn end(&mut self, end: End, reason: Reason) {
        if end == End::Flood {
            calm::remember(&self.shared.connection);
        }
        self.end = end;
        self.shared.idle_since.set(Instant::now());
        self.h2.abrupt_shutdown(reason);
    }

    /// When the present wait ends; None: streams are in work, and have time-outs of their own.
    fn deadline(&mut self) -> Option<Instant> {
        let current = self.shared.connection.worker.current();
        let limits = &current.snapshot.config.limits;
        self.slow = self.shared.traffic.unfinished_head().map(|number| match self.slow {
            Some((same, since)) if same == number => (same, since),
            _ => (number, Instant::now()),
        });
        let slow = self.slow.map(|(_, since)| since + limits.head_timeout);
        let is_over = self.shared.open.get() == 0 && self.end < End::Now;
        let written = self.shared.traffic.written();
        self.stalled = (is_over && self.h2.has_streams()).then(|| match self.stalled {
            Some((same, since)) if same == written => (same, since),
            _ => (written, Instant::now()),
        });
        if let Some((_, since)) = self.stalled {
            return slow.into_iter().chain([since + limits.write_timeout]).min();
        }
        let patience = match self.end {
            End::Now | End::Flood => limits.write_timeout,
            End::Graceful => LAST_REQUEST,
            End::None if self.served == 0 => limits.head_timeout,
            End::None => limits.idle_timeout,
        };
        let idle =
            (self.shared.open.get() == 0 || self.end >= End::Now).then(|| self.shared.idle_since.get() + patience);
        slow.into_iter().chain(idle).min()
    }
}

/// Ends our side first, so that a reset for input that nobody read doesn't overtake the last word.
async fn part(connection: &Connection, flooded: bool) {
    if !flooded {
        return super::h1::linger(connection).await;
    }
    if connection.wire.shutdown_write().is_ok() {
        tokio::time::sleep(CALM).await;
    }
}
