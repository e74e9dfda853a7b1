//! A socket shared by the reader and the writer of one connection, with a time-out on every wait.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::BorrowedFd,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{Buffer, Http2, Peer, Security, Socket, Timer, Watched};

/// A connection's socket; its request body, response writer and tunnel share it by `Rc`.
///
/// Reads and writes wait on timers of their own. A wait past its deadline is `ErrorKind::TimedOut`.
pub struct Wire {
    socket: RefCell<Socket>,
    peer: Peer,
    /// Whether the kernel may move its bytes, and takes them before a write returns.
    plain: bool,
    /// What somebody who passes the connection on states beside the peer.
    stated: Option<Rc<Stated>>,
    reading: RefCell<Side>,
    writing: RefCell<Side>,
}

struct Stated {
    local: Option<SocketAddr>,
    is_tls: bool,
    security: Option<Rc<Security>>,
}

#[derive(Default)]
struct Side {
    timer: Timer,
    /// When the present wait ends; set at its beginning.
    deadline: Option<Instant>,
}

impl Wire {
    /// Wraps a connected socket.
    pub fn new(socket: Socket, peer: Peer) -> Self {
        Self {
            plain: socket.is_plain(),
            socket: RefCell::new(socket),
            peer,
            stated: None,
            reading: RefCell::new(Side::default()),
            writing: RefCell::new(Side::default()),
        }
    }

    /// The same for a connection that is passed on to us: `peer`, the address that it came to and whether by TLS are
    /// what was stated.
    pub fn introduced(socket: Socket, peer: Peer, (local, is_tls): (Option<SocketAddr>, bool)) -> Self {
        Self { stated: Some(Rc::new(Stated { local, is_tls, security: None })), ..Self::new(socket, peer) }
    }

    /// The same once TLS was begun: `socket` speaks it.
    pub fn secured(socket: Socket, peer: Peer, local: Option<SocketAddr>, security: Security) -> Self {
        let stated = Stated { local, is_tls: true, security: Some(Rc::new(security)) };
        Self { stated: Some(Rc::new(stated)), ..Self::new(socket, peer) }
    }

    /// The socket again, who is at its other end and what is stated of ours, for who makes something else of it.
    pub fn into_parts(self) -> (Socket, Peer, Option<SocketAddr>) {
        (self.socket.into_inner(), self.peer, self.stated.and_then(|stated| stated.local))
    }

    /// What the handshake found out, where TLS ends here.
    pub fn security(&self) -> Option<&Rc<Security>> {
        self.stated.as_ref().and_then(|stated| stated.security.as_ref())
    }

    /// How the client came, as it sees it.
    pub fn scheme(&self) -> &'static str {
        if self.stated.as_ref().is_some_and(|stated| stated.is_tls) { "https" } else { "http" }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The other end and ours; None on a unix socket of which nothing else is stated.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.peer {
            Peer::Ip(peer) => Some((peer, self.local_address()?)),
            Peer::Unix => None,
        }
    }

    /// Our end; None on a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        let stated = self.stated.as_ref().and_then(|stated| stated.local);
        stated.or_else(|| self.socket.borrow().local_address())
    }

    /// Reads into `room` what is there; 0 is the peer's end. Waits for ever.
    pub fn poll_read_into(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.borrow_mut().poll_read(cx, room)
    }

    /// Reads into the spare room of `buffer`; 0 is the peer's end. Waits for `timeout` at most; None waits for ever.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
        timeout: Option<Duration>,
    ) -> Poll<io::Result<usize>> {
        let read = self.socket.borrow_mut().poll_read(cx, buffer.spare());
        if let Poll::Ready(Ok(n)) = &read {
            buffer.commit(*n);
        }
        self.reading.borrow_mut().bound(cx, read, timeout)
    }

    /// As [`poll_read`](Self::poll_read), for a wait that several reads share.
    pub fn poll_read_until(&self, cx: &mut Context<'_>, buffer: &mut Buffer, at: Instant) -> Poll<io::Result<usize>> {
        let read = self.socket.borrow_mut().poll_read(cx, buffer.spare());
        match read {
            Poll::Ready(Ok(n)) => buffer.commit(n),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.reading.borrow_mut().timer.poll(cx, at).map(|()| Err(timed_out())),
        }
        read
    }

    /// Ready when a read would not wait. Waits for `timeout` at most.
    pub fn poll_readable(&self, cx: &mut Context<'_>, timeout: Option<Duration>) -> Poll<io::Result<()>> {
        let ready = self.socket.borrow_mut().poll_readable(cx);
        self.reading.borrow_mut().bound(cx, ready, timeout)
    }

    /// As [`poll_readable`](Self::poll_readable), for a wait with an end of its own.
    pub fn poll_readable_until(&self, cx: &mut Context<'_>, at: Instant) -> Poll<io::Result<()>> {
        let ready = self.socket.borrow_mut().poll_readable(cx);
        if ready.is_ready() {
            return ready;
        }
        self.reading.borrow_mut().timer.poll(cx, at).map(|()| Err(timed_out()))
    }

    /// Writes once. Waits for `timeout` at most.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        timeout: Option<Duration>,
    ) -> Poll<io::Result<usize>> {
        let written = self.socket.borrow_mut().poll_write(cx, parts);
        self.writing.borrow_mut().bound(cx, written, timeout)
    }

    /// As [`poll_write`](Self::poll_write), for bytes that the close or the end of our direction follows at once.
    pub fn poll_write_last(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        timeout: Option<Duration>,
    ) -> Poll<io::Result<usize>> {
        let written = self.socket.borrow_mut().poll_write_last(cx, parts);
        self.writing.borrow_mut().bound(cx, written, timeout)
    }

    /// Whether what is read and written are the kernel's own bytes, so that it may move them; else callers copy.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Bytes that were accepted and wait on our side for the kernel.
    pub fn unflushed(&self) -> usize {
        if self.plain { 0 } else { self.socket.borrow().unflushed() }
    }

    /// Ready when nothing that was written waits on our side for the kernel. Waits for `timeout` at most.
    pub fn poll_flush(&self, cx: &mut Context<'_>, timeout: Option<Duration>) -> Poll<io::Result<()>> {
        if self.plain {
            return Poll::Ready(Ok(()));
        }
        let flushed = self.socket.borrow_mut().poll_flush(cx);
        self.writing.borrow_mut().bound(cx, flushed, timeout)
    }

    /// Writes at once what the kernel takes (or TLS accepts), whatever the runtime knows: `WouldBlock` when that is nothing.
    pub fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.borrow_mut().write_now(bytes)
    }

    /// Does something to the stream of an HTTP/2 connection; None: this is none.
    pub fn on_stream<T>(&self, act: impl FnOnce(&mut Http2) -> T) -> Option<T> {
        match &mut *self.socket.borrow_mut() {
            Socket::Http2(stream) => Some(act(stream)),
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Tls(_) => None,
        }
    }

    /// Runs `read` on the descriptor when it is readable: splice. Waits for `timeout` at most.
    pub fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
        timeout: Option<Duration>,
    ) -> Poll<io::Result<usize>> {
        let read = self.socket.borrow().poll_read_with(cx, read);
        self.reading.borrow_mut().bound(cx, read, timeout)
    }

    /// Runs `write` on the descriptor when it is writable: sendfile, splice. Waits for `timeout` at most.
    pub fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
        timeout: Option<Duration>,
    ) -> Poll<io::Result<usize>> {
        let written = self.socket.borrow().poll_write_with(cx, write);
        self.writing.borrow_mut().bound(cx, written, timeout)
    }

    /// Finds out whether everything was read, after reads that bypassed user memory.
    pub fn settle(&self) {
        self.socket.borrow().settle();
    }

    /// Gives up the timers of past waits, for one who will wait without.
    pub fn disarm(&self) {
        self.reading.take();
        self.writing.take();
    }

    /// Lets the kernel find out whether the peer is still there.
    pub fn probe_peer(&self) {
        self.socket.borrow().probe_peer();
    }

    /// As [`Socket::keep_urgent`] says.
    pub fn keep_urgent(&self) {
        self.socket.borrow().keep_urgent();
    }

    /// Ends our direction; the other one stays open.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.socket.borrow_mut().shutdown_write()
    }

    /// Whether bytes of the peer wait with the kernel.
    pub fn has_unread(&self) -> bool {
        self.socket.borrow().has_unread()
    }

    /// Makes the close that follows a reset, so that the peer can't take a cut for an end.
    pub fn reset_on_close(&self) {
        self.socket.borrow_mut().reset_on_close();
    }

    /// Whether the peer has ended its direction or the connection broke, for one who reads nothing meanwhile. Calls the
    /// task at the next event, unless bytes are unread: then nobody calls, and who wants to know asks again.
    pub fn watch(&self, cx: &mut Context<'_>) -> Watched {
        self.socket.borrow_mut().watch(cx)
    }

    /// Ready when the connection broke (a reset), without reading from it. An end of input only is no break.
    pub fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.borrow_mut().poll_broken(cx)
    }
}

impl Side {
    /// Gives `outcome` a deadline: the first wait after progress starts the clock.
    fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        timeout: Option<Duration>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.deadline = None;
            return outcome;
        }
        let Some(timeout) = timeout else { return Poll::Pending };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + timeout);
        if self.timer.poll(cx, deadline).is_pending() {
            return Poll::Pending;
        }
        self.deadline = None;
        Poll::Ready(Err(timed_out()))
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// Makes wires of the streams of one connection, which all have its ends and its security.
pub struct Wires {
    peer: Peer,
    stated: Rc<Stated>,
}

impl Wires {
    /// For the streams of `wire`.
    pub fn of(wire: &Wire) -> Self {
        let stated = wire
            .stated
            .clone()
            .unwrap_or_else(|| Rc::new(Stated { local: wire.local_address(), is_tls: false, security: None }));
        Self { peer: wire.peer, stated }
    }

    /// The wire of one of them.
    pub fn wire(&self, stream: Http2) -> Wire {
        Wire { stated: Some(Rc::clone(&self.stated)), ..Wire::new(Socket::Http2(Box::new(stream)), self.peer) }
    }
}
