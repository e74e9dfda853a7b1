//! A connected TCP or unix stream as one type, with the endings a test needs: half-close, close, reset.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

/// A connected stream; reading and writing go through `&Socket` too, so that two threads can share one.
#[derive(Debug)]
pub enum Socket {
    /// TCP, with Nagle's algorithm off.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Connects to `host:port` or `unix:/path`.
    pub fn connect(address: &str) -> io::Result<Socket> {
        if let Some(path) = address.strip_prefix("unix:") {
            return Ok(Socket::Unix(UnixStream::connect(path)?));
        }
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Socket::Tcp(stream))
    }

    /// A second handle on the same connection.
    pub fn share(&self) -> io::Result<Socket> {
        match self {
            Socket::Tcp(stream) => stream.try_clone().map(Socket::Tcp),
            Socket::Unix(stream) => stream.try_clone().map(Socket::Unix),
        }
    }

    /// How long one read or write may take before it fails; none waits for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_read_timeout(timeout).and(stream.set_write_timeout(timeout)),
            Socket::Unix(stream) => stream.set_read_timeout(timeout).and(stream.set_write_timeout(timeout)),
        }
    }

    /// Ends one direction or both, for every handle.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(how),
            Socket::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Makes the coming close a reset (SO_LINGER 0); only TCP knows resets.
    pub fn reset_on_close(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => Ok(rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Asks the kernel for a receive buffer of `bytes`, so that a slow reader is felt early; only before much was read.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => Ok(rustix::net::sockopt::set_socket_recv_buffer_size(stream, bytes)?),
            Socket::Unix(stream) => Ok(rustix::net::sockopt::set_socket_recv_buffer_size(stream, bytes)?),
        }
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).read(buffer),
            Socket::Unix(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).write(bytes),
            Socket::Unix(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
