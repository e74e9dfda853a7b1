//! The closed set of transports; nothing above this room names one.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags},
};
use socket2::TcpKeepalive;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{Http2, Secure};

/// A peer that vanished is noticed after two minutes, also where no time-out of ours runs: in a tunnel.
pub const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(6);

/// A connected byte stream.
pub enum Socket {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A unix stream socket.
    Unix(UnixStream),
    /// TLS over one of the two.
    Tls(Box<Secure>),
    /// One stream of a client's HTTP/2 connection.
    Http2(Box<Http2>),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address; v4 addresses that came mapped into v6 stand here as v4.
    Ip(SocketAddr),
    /// A process of this machine.
    Unix,
}

impl Peer {
    /// Its address; None: a process of this machine.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

/// v4 addresses in v6 stand as v4.
impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

/// What is known of a peer from whom nothing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Nothing came.
    Quiet,
    /// Bytes came, and as yet no end.
    Unread,
    /// It ended its direction, or the connection broke.
    Ended,
}

impl Socket {
    /// Our end, v4 addresses as such; None on a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => {
                let address = stream.local_addr().ok()?;
                Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
            }
            Self::Unix(_) | Self::Http2(_) => None,
            Self::Tls(secure) => secure.local_address(),
        }
    }

    /// Whether what is read and written are the kernel's own bytes.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// Reads once; a short read leaves the socket marked as drained, which spares a system call.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut filled = ReadBuf::new(into);
        let read = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut filled),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, &mut filled),
            Self::Tls(secure) => return secure.poll_read(cx, into),
            Self::Http2(stream) => return stream.poll_read(cx, into),
        };
        ready!(read)?;
        Poll::Ready(Ok(filled.filled().len()))
    }

    /// Writes once, as much as the kernel takes, or TLS accepts: then [`poll_flush`](Self::poll_flush) tells when it is out.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, parts) {
            (Self::Tcp(stream), [one]) => Pin::new(stream).poll_write(cx, one),
            (Self::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(cx, parts),
            (Self::Unix(stream), _) => Pin::new(stream).poll_write_vectored(cx, parts),
            (Self::Tls(secure), _) => secure.poll_write(cx, parts),
            (Self::Http2(stream), _) => stream.poll_write(cx, parts),
        }
    }

    /// As [`poll_write`](Self::poll_write), for bytes that the end of our direction follows at once: the kernel holds them
    /// back, 200 ms at most, to send both in one segment.
    pub fn poll_write_last(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tls(secure) => return secure.poll_write_last(cx, parts),
            Self::Http2(stream) => return stream.poll_write(cx, parts),
            Self::Tcp(_) | Self::Unix(_) => {}
        }
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        self.poll_write_with(cx, |socket| {
            Ok(rustix::net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags)?)
        })
    }

    /// Ready when nothing that was written waits on our side for the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // What waits with the connection of a stream is the connection's.
            Self::Tcp(_) | Self::Unix(_) | Self::Http2(_) => Poll::Ready(Ok(())),
            Self::Tls(secure) => secure.poll_flush(cx),
        }
    }

    /// Bytes that were accepted and wait on our side for the kernel.
    pub fn unflushed(&self) -> usize {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Http2(_) => 0,
            Self::Tls(secure) => secure.unflushed(),
        }
    }

    /// As [`Wire::write_now`](super::Wire::write_now) says.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tls(secure) => secure.write_now(bytes),
            Self::Http2(stream) => stream.write_now(bytes),
            plain => Ok(rustix::net::send(plain.descriptor()?, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?),
        }
    }

    /// Ready when a read would not wait: bytes, the end, or an error.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(secure) => secure.poll_readable(cx),
            Self::Http2(stream) => stream.poll_readable(cx),
            plain => plain.poll_ready(cx),
        }
    }

    /// Ready when the kernel has something to read.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tls(secure) => secure.socket().poll_ready(cx),
            Self::Http2(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Runs `read` on the raw descriptor when it is readable: for system calls that bypass user memory. Not for TLS.
    pub fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_ready(cx))?;
            match self.try_io(Interest::READABLE, &mut read) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Runs `write` on the raw descriptor when it is writable: for system calls that bypass user memory. Not for TLS.
    pub fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self {
                Self::Tcp(stream) => ready!(stream.poll_write_ready(cx))?,
                Self::Unix(stream) => ready!(stream.poll_write_ready(cx))?,
                Self::Tls(_) | Self::Http2(_) => return Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            }
            match self.try_io(Interest::WRITABLE, &mut write) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// `WouldBlock` makes the runtime wait for the next event.
    fn try_io(
        &self,
        interest: Interest,
        run: &mut impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, || run(stream.as_fd())),
            Self::Unix(stream) => stream.try_io(interest, || run(stream.as_fd())),
            Self::Tls(_) | Self::Http2(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Ends our direction; the other one stays open. Behind all that was accepted, if TLS has something left.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(secure) => secure.shutdown_write(),
            Self::Http2(stream) => stream.shutdown_write(),
            plain => Ok(rustix::net::shutdown(plain.descriptor()?, rustix::net::Shutdown::Write)?),
        }
    }

    /// Whether bytes wait to be read; asks the kernel, which may know of more than the runtime.
    pub fn has_unread(&self) -> bool {
        let descriptor = match self {
            Self::Tls(secure) => return secure.has_unread(),
            Self::Http2(stream) => return stream.has_unread(),
            plain => plain.descriptor(),
        };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        descriptor.is_ok_and(|socket| rustix::net::recv(socket, &mut [0; 1], flags).is_ok_and(|(n, _)| n > 0))
    }

    /// Lets the runtime know whether everything was read, where reads were not short enough to tell: only then does it
    /// wait for the next byte, and only then is the connection silent.
    pub fn settle(&self) {
        if !self.is_plain() {
            return;
        }
        let mut peek = |socket: BorrowedFd<'_>| {
            let (n, _) = rustix::net::recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
            Ok(n)
        };
        // A byte, an end or an error: whoever reads next finds it.
        let _ = self.try_io(Interest::READABLE, &mut peek);
    }

    /// A stream of a connection has none of its own.
    fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Tcp(stream) => Ok(stream.as_fd()),
            Self::Unix(stream) => Ok(stream.as_fd()),
            Self::Tls(secure) => secure.socket().descriptor(),
            Self::Http2(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes the close that follows a reset, so that the peer can't take a cut for an end.
    pub fn reset_on_close(&mut self) {
        match self {
            Self::Tcp(stream) => {
                // A socket that is gone already needs no reset.
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
            }
            Self::Unix(_) => {}
            Self::Tls(secure) => secure.reset_on_close(),
            Self::Http2(stream) => stream.reset_on_close(),
        }
    }

    /// Lets the kernel find out whether the peer is still there, for as long as nothing else does.
    pub fn probe_peer(&self) {
        match self {
            Self::Tcp(stream) => {
                // A socket that can't be probed is only noticed later.
                let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE);
            }
            Self::Unix(_) | Self::Http2(_) => {}
            Self::Tls(secure) => secure.socket().probe_peer(),
        }
    }

    /// From now on urgent data of TCP stays where it was sent (RFC 6093 §6), as on what was accepted.
    pub fn keep_urgent(&self) {
        if let Self::Tcp(stream) = self {
            // Without it a byte is lost that hardly anybody sends.
            let _ = socket2::SockRef::from(stream).set_out_of_band_inline(true);
        }
    }

    /// As [`Wire::watch`](super::Wire::watch) says.
    pub fn watch(&mut self, cx: &mut Context<'_>) -> Watched {
        match self {
            Self::Tls(secure) => return secure.watch(cx),
            Self::Http2(stream) => return stream.watch(cx),
            Self::Tcp(_) | Self::Unix(_) => {}
        }
        if self.poll_ready(cx).is_pending() {
            return Watched::Quiet;
        }
        let Ok(descriptor) = self.descriptor() else { return Watched::Ended };
        let mut asked = [PollFd::new(&descriptor, PollFlags::RDHUP)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut asked, Some(&now)) {
            Ok(0) | Err(_) => Watched::Unread,
            Ok(_) => Watched::Ended,
        }
    }

    /// Ready when the connection broke, unless there are unread bytes before the break; asks the kernel only when there was an event.
    pub fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Http2(stream) = self {
            return stream.poll_broken(cx);
        }
        if self.poll_ready(cx).is_pending() {
            return Poll::Pending;
        }
        let error = match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
            Self::Tls(secure) => return secure.poll_broken(cx),
            Self::Http2(_) => return Poll::Pending,
        };
        if matches!(error, Ok(None)) { Poll::Pending } else { Poll::Ready(()) }
    }
}
