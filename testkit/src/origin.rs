//! An HTTP/1.1 origin inside the test, doing exactly what its script says and remembering every byte it got.

mod answer;
mod connection;
mod received;

use std::{
    collections::HashMap,
    io,
    net::{Shutdown, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use answer::{Answer, Step};
pub use received::{Received, RequestHead};

use crate::Socket;
use received::Journal;

/// A listening origin. It can be stopped, so that it refuses, and restarted at the same address.
#[derive(Debug)]
pub struct Origin {
    address: Address,
    listening: Option<Arc<Listener>>,
    shared: Arc<Shared>,
}

type Script = dyn Fn(&RequestHead) -> Answer + Send + Sync;

/// What the connections of an origin share, over its restarts.
struct Shared {
    script: Box<Script>,
    journal: Journal,
    opened: AtomicU64,
    open: Mutex<HashMap<u64, Socket>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").field("opened", &self.opened).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Origin {
    /// Listens on a free port of 127.0.0.1; `script` chooses the answer when a request's head is there.
    pub fn start(script: impl Fn(&RequestHead) -> Answer + Send + Sync + 'static) -> Origin {
        Origin::listen(Address::Tcp(([127, 0, 0, 1], 0).into()), Box::new(script))
    }

    /// Listens on this `ip:port`, and answers everything with 200 and this body.
    pub fn replying_at(address: &str, body: &str) -> Origin {
        let address = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
        let answer = Answer::ok(body);
        Origin::listen(Address::Tcp(address), Box::new(move |_| answer.clone()))
    }

    /// Listens on a unix socket.
    pub fn start_unix(path: PathBuf, script: impl Fn(&RequestHead) -> Answer + Send + Sync + 'static) -> Origin {
        Origin::listen(Address::Unix(path), Box::new(script))
    }

    /// Answers everything with 200 and this body.
    pub fn replying(body: &str) -> Origin {
        let answer = Answer::ok(body);
        Origin::start(move |_| answer.clone())
    }

    /// Answers everything with 200 and the request's own bytes as the body.
    pub fn echoing() -> Origin {
        Origin::start(|_| Answer::echo())
    }

    /// `127.0.0.1:port` or `unix:/path`, as an upstream's endpoint is written.
    pub fn address(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The requests so far in the order their heads came, unfinished ones too.
    pub fn received(&self) -> Vec<Received> {
        self.shared.journal.all()
    }

    /// Waits until `count` requests have arrived whole and returns all; panics at the deadline.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize, deadline: Duration) -> Vec<Received> {
        self.shared.journal.wait_for(deadline, |all| all.iter().filter(|one| one.complete).count() >= count)
    }

    /// Waits until `count` heads have arrived, their bodies or not; panics at the deadline.
    #[track_caller]
    pub fn wait_for_heads(&self, count: usize, deadline: Duration) -> Vec<Received> {
        self.shared.journal.wait_for(deadline, |all| all.len() >= count)
    }

    /// How many connections were ever accepted.
    pub fn connections_opened(&self) -> u64 {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// How many are open now.
    pub fn connections_open(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }

    /// Ends every open connection, idle or busy, and goes on listening.
    pub fn close_connections(&self) {
        for socket in self.shared.open.lock().unwrap().values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Stops listening, so that connects are refused, and ends every connection.
    pub fn stop(&mut self) {
        if let Some(listener) = self.listening.take() {
            listener.wake();
        }
        self.close_connections();
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Listens again where it was.
    pub fn restart(&mut self) {
        self.stop();
        *self = Origin::accepting(self.address.clone(), Arc::clone(&self.shared));
    }

    fn listen(address: Address, script: Box<Script>) -> Origin {
        let journal = Journal::default();
        let shared = Shared { script, journal, opened: AtomicU64::new(0), open: Mutex::default() };
        Origin::accepting(address, Arc::new(shared))
    }

    fn accepting(address: Address, shared: Arc<Shared>) -> Origin {
        let listener = Arc::new(Listener::bind(&address).unwrap_or_else(|error| panic!("bind {address:?}: {error}")));
        let address = match &*listener {
            Listener::Tcp(socket) => Address::Tcp(socket.local_addr().expect("bound address")),
            Listener::Unix(_) => address,
        };
        let (accepting, origin) = (Arc::clone(&listener), Arc::clone(&shared));
        std::thread::spawn(move || accept_all(&accepting, &origin));
        Origin { address, listening: Some(listener), shared }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept_all(listener: &Listener, origin: &Arc<Shared>) {
    while let Ok(socket) = listener.accept() {
        let number = origin.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let Ok(handle) = socket.share() else { continue };
        origin.open.lock().unwrap().insert(number, handle);
        let origin = Arc::clone(origin);
        std::thread::spawn(move || {
            let served = connection::serve(socket, number, &origin);
            // Every handle must be gone for the close, or the reset, to happen.
            origin.open.lock().unwrap().remove(&number);
            drop(served);
        });
    }
}

impl Listener {
    fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
            Address::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
        }
    }

    fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
        }
    }

    /// Makes a waiting `accept` fail and every later connect be refused.
    fn wake(&self) {
        let _ = match self {
            Listener::Tcp(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
            Listener::Unix(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
        };
    }
}
