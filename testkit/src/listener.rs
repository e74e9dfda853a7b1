//! A raw server: it takes connections, and the test says what is said on them.

use std::{io, net::TcpListener, os::unix::net::UnixListener, path::Path, time::Duration};

use crate::{Client, Socket, wait::eventually};

/// How long a connection may take to come, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// On a port of its own.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
}

impl Listener {
    /// On a free port of 127.0.0.1.
    #[track_caller]
    pub fn start() -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        Listener::Tcp(listener)
    }

    /// On a unix socket.
    #[track_caller]
    pub fn start_unix(path: &Path) -> Listener {
        let listener = UnixListener::bind(path).expect("a path that is free");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        Listener::Unix(listener)
    }

    /// `127.0.0.1:port`; of a unix socket nothing.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            Listener::Unix(_) => String::new(),
        }
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> Client {
        let mut accepted = None;
        eventually(PATIENCE, || {
            accepted = self.try_accept().ok();
            accepted.is_some()
        });
        accepted.and_then(|socket| Client::over(socket).ok()).expect("waited for")
    }

    /// The next connection, if one has come.
    pub fn try_accept(&self) -> io::Result<Socket> {
        let socket = match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(false)?;
                Socket::Tcp(stream)
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Socket::Unix(stream)
            }
        };
        Ok(socket)
    }
}
