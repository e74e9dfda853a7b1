//! One HTTP/2 connection to an endpoint, and the task that moves its frames.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{self, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::Instant,
};

use super::super::Endpoint;
use crate::stream::{Places, Socket, Timer};

/// Streams of a connection at once, whatever the peer would take: another connection costs less than the wait of the hundredth.
const STREAMS_MAX: usize = 128;

/// What an endpoint may send of one answer before it is read.
const STREAM_WINDOW: u32 = 128 << 10;

/// So much that answers which nobody reads never hold up another one.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 128;

/// Heads as of HTTP/1.1 upstreams.
const HEAD_MAX: u32 = 64 << 10;

/// What waits of one request's body for the connection.
const SEND_BUFFER: usize = 64 << 10;

/// After so long without a byte a connection with requests in flight is asked whether it is alive.
const PING_AFTER: Duration = Duration::from_secs(10);

/// How long its answer takes at most.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Pings in a row without anything else from the peer: servers of gRPC take more for an attack.
const PINGS_MAX: u32 = 2;

/// A connection that takes requests.
pub struct Connection {
    send: SendRequest<Bytes>,
    /// The streams in use.
    places: Rc<Places>,
    life: Rc<Life>,
    idle_sweeps: Cell<u32>,
}

/// What the task of a connection tells of it.
#[derive(Default)]
struct Life {
    ended: Cell<bool>,
    /// Bytes that came in.
    received: Cell<u64>,
    /// The first of the peer's frames, its settings, was read.
    settled: Notify,
    is_settled: Cell<bool>,
}

impl Connection {
    /// Begins one over a connected socket. `freed` is told of every stream that ends.
    pub async fn begin(socket: Socket, endpoint: &Endpoint, freed: &Rc<Notify>) -> io::Result<Self> {
        let life = Rc::<Life>::default();
        let stream = Stream { socket, life: Rc::clone(&life) };
        let begun = client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_MAX)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(stream)
            .await;
        let (send, connection) = begun.map_err(io::Error::other)?;
        let places = Rc::new(Places::new(Rc::clone(freed)));
        let name = endpoint.names.clone();
        let (driven, freed) = ((Rc::clone(&life), Rc::clone(&places)), Rc::clone(freed));
        tokio::task::spawn_local(async move {
            let (life, places) = driven;
            if let Err(why) = drive(connection, &life, &places).await {
                tracing::debug!("HTTP/2 with {} of {} ended: {why}", name.endpoint, name.upstream);
            }
            life.ended.set(true);
            life.settled.notify_waiters();
            freed.notify_waiters();
        });
        Ok(Self { send, places, life, idle_sweeps: Cell::new(0) })
    }

    /// Whether new streams may begin: it has neither ended nor said that it will.
    pub fn is_open(&self) -> bool {
        let ready = self.sender().poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.life.ended.get() && !matches!(ready, Poll::Ready(Err(_)))
    }

    /// How many streams the peer allows; None: its settings are not here yet.
    pub fn allowed(&self) -> Option<usize> {
        self.life.is_settled.get().then(|| self.send.current_max_send_streams())
    }

    /// Whether one stream more is within what both sides allow; `otherwise` goes for a peer that has not said yet.
    pub fn has_room(&self, otherwise: usize) -> bool {
        self.places.taken() < self.allowed().unwrap_or(otherwise).min(STREAMS_MAX)
    }

    pub fn is_idle(&self) -> bool {
        self.places.taken() == 0
    }

    /// For how many sweeps it has been idle.
    pub fn sweep(&self) -> u32 {
        self.idle_sweeps.set(if self.is_idle() { self.idle_sweeps.get().saturating_add(1) } else { 0 });
        self.idle_sweeps.get()
    }

    /// What begins a stream.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.send.clone()
    }

    /// The streams in use.
    pub fn places(&self) -> &Rc<Places> {
        &self.places
    }

    /// Whether WebSockets may be begun on it (RFC 8441 §3), once the peer's settings are here: `timeout` at most.
    pub async fn takes_websockets(&self, timeout: Duration) -> bool {
        let settled = self.life.settled.notified();
        if !self.life.is_settled.get() && !self.life.ended.get() {
            // Without settings in time there is no such connection.
            let _ = tokio::time::timeout(timeout, settled).await;
        }
        self.send.is_extended_connect_protocol_enabled()
    }
}

/// Moves frames until the connection ends, or is found dead: then its streams break.
async fn drive(
    mut connection: client::Connection<Stream, Bytes>,
    life: &Life,
    places: &Places,
) -> Result<(), std::borrow::Cow<'static, str>> {
    let mut pings = connection.ping_pong();
    let mut watch = Watch::new();
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(ended.map_err(|e| e.to_string().into()));
        }
        if life.received.get() > 0 && !life.is_settled.replace(true) {
            life.settled.notify_waiters();
        }
        match &mut pings {
            Some(pings) => watch.poll(cx, pings, life.received.get(), places.taken() > 0).map(Err),
            None => Poll::Pending,
        }
    })
    .await
}

/// Finds out whether a silent peer is still there.
struct Watch {
    seen: u64,
    silent_since: Instant,
    /// When the ping that is not answered yet was sent.
    pinged: Option<Instant>,
    pings: u32,
    was_busy: bool,
    timer: Timer,
}

impl Watch {
    fn new() -> Self {
        let silent_since = Instant::now();
        Self { seen: 0, silent_since, pinged: None, pings: 0, was_busy: false, timer: Timer::default() }
    }

    /// Ready when no answer came to a ping.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pings: &mut PingPong,
        received: u64,
        is_busy: bool,
    ) -> Poll<std::borrow::Cow<'static, str>> {
        let answered = self.pinged.is_some() && matches!(pings.poll_pong(cx), Poll::Ready(Ok(_)));
        if answered {
            self.pinged = None;
        }
        if received > self.seen {
            (self.seen, self.silent_since) = (received, Instant::now());
            if !answered {
                self.pings = 0;
            }
        }
        if !std::mem::replace(&mut self.was_busy, is_busy) {
            self.silent_since = Instant::now();
        }
        if !is_busy {
            // The next request finds out.
            self.pinged = None;
            return Poll::Pending;
        }
        let until = match self.pinged {
            Some(at) => at + PONG_WITHIN,
            None if self.pings < PINGS_MAX => self.silent_since + PING_AFTER,
            None => return Poll::Pending,
        };
        ready!(self.timer.poll(cx, until));
        if self.pinged.is_some() {
            return Poll::Ready("no answer to a ping".into());
        }
        if pings.send_ping(Ping::opaque()).is_ok() {
            self.pinged = Some(Instant::now());
        }
        self.pings += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The socket as the library wants it.
struct Stream {
    socket: Socket,
    life: Rc<Life>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = ready!(self.socket.poll_read(cx, into.initialize_unfilled()))?;
        into.advance(n);
        self.life.received.set(self.life.received.get() + n as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_flush(cx))?;
        Poll::Ready(self.socket.shutdown_write())
    }
}
