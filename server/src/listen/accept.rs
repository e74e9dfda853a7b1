//! Accepts connections for one worker until it is told to stop.

use std::{
    future::Future,
    io::{self, IoSlice},
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rsp_core::frame::client_hello::Alert;
use rustix::net::SocketFlags;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::oneshot,
    time::Instant,
};

use super::{Share, introduction::introduced, passage, secure::secure};
use crate::{
    dispatch::Worker,
    limit::{Connections, Permit},
    protocol::{self, Connection, Origin},
    stream::{Peer, Socket, Wire},
};

/// Pause when the process has no descriptor left; what is open goes on.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What a client over a limit gets; it fits any empty socket buffer.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A successor accepts from the same queue: what is in it is no longer this process's business.
pub struct HandedOver;

/// Accepts until `stop` is sent, and closes at once; or until it is dropped, and takes what the kernel has queued first.
pub async fn accept(
    share: Share,
    origin: Rc<Origin>,
    worker: Rc<Worker>,
    connections: Arc<Connections>,
    mut stop: oneshot::Receiver<HandedOver>,
) -> io::Result<()> {
    let acceptor = match share {
        Share::Tcp(listener) => Acceptor::Tcp(TcpListener::from_std(listener)?),
        Share::Unix(listener) => Acceptor::Unix(UnixListener::from_std(listener)?),
    };
    let mut stopping = false;
    let mut exhausted = false;
    loop {
        let accepted = std::future::poll_fn(|cx| {
            if !stopping {
                match std::pin::Pin::new(&mut stop).poll(cx) {
                    Poll::Ready(Ok(HandedOver)) => return Poll::Ready(None),
                    Poll::Ready(Err(_)) => stopping = true,
                    Poll::Pending => {}
                }
            }
            match acceptor.poll_accept(cx) {
                Poll::Pending if stopping => Poll::Ready(None),
                accepted => accepted.map(Some),
            }
        });
        match accepted.await {
            None if !stopping => return Ok(()),
            None => break,
            Some(Ok((socket, peer))) => {
                exhausted = false;
                welcome(socket, peer, &origin, &worker, &connections);
            }
            Some(Err(e)) if is_of_one_connection(&e) => {}
            Some(Err(e)) => {
                worker.metrics.accept_backoffs.inc();
                // Said once: what follows ten times a second is in the metrics.
                if !std::mem::replace(&mut exhausted, true) {
                    tracing::warn!("accept on {}: {e}; trying again every {BACK_OFF:?}", origin.address);
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
    // What came since the runtime last looked would be reset by the close.
    while let Ok((socket, peer)) = acceptor.accept_now() {
        welcome(socket, peer, &origin, &worker, &connections);
    }
    Ok(())
}

fn welcome(socket: Socket, peer: Peer, origin: &Rc<Origin>, worker: &Rc<Worker>, connections: &Arc<Connections>) {
    let current = worker.current();
    let limits = &current.snapshot.config.limits;
    let Some(permit) = connections.admit(limits.connections) else {
        return refuse(&Wire::new(socket, peer), origin);
    };
    if origin.spec().proxy_protocol {
        let introduction = introduce((socket, peer), Rc::clone(origin), Rc::clone(worker), permit);
        tokio::task::spawn_local(introduction);
    } else {
        begin(Wire::new(socket, peer), origin, worker, permit, None);
    }
}

/// Goes on with a connection of which it is known whose it is. Where that took a while, a handshake has the rest of its time
/// only, until `until`.
fn begin(wire: Wire, origin: &Rc<Origin>, worker: &Rc<Worker>, mut permit: Permit, until: Option<Instant>) {
    let most = worker.current().snapshot.config.limits.connections_per_client;
    if let (Peer::Ip(client), Some(most)) = (wire.peer(), most)
        && !permit.is_one_of(client.ip(), most)
    {
        return refuse(&wire, origin);
    }
    origin.counts.accepted.inc();
    let spec = origin.spec();
    if spec.tcp.is_some() {
        tokio::task::spawn_local(passage::tunnel(connection(wire, origin, worker, permit)));
    } else if spec.tls.is_some() {
        tokio::task::spawn_local(secure(wire, Rc::clone(origin), Rc::clone(worker), permit, until));
    } else {
        serve(wire, origin, worker, permit);
    }
}

/// Serves the requests of a connection.
pub(super) fn serve(wire: Wire, origin: &Rc<Origin>, worker: &Rc<Worker>, permit: Permit) {
    protocol::serve(connection(wire, origin, worker, permit));
}

/// From now on it counts as open.
pub(super) fn connection(wire: Wire, origin: &Rc<Origin>, worker: &Rc<Worker>, permit: Permit) -> Connection {
    Connection::new(Rc::new(wire), Rc::clone(origin), Rc::clone(worker), permit)
}

/// Finds out whose a connection is that is passed on to us; one that doesn't say is closed.
async fn introduce((socket, peer): (Socket, Peer), origin: Rc<Origin>, worker: Rc<Worker>, permit: Permit) {
    let _guard = worker.drain.guard();
    let current = worker.current();
    let config = &current.snapshot.config;
    let (is_trusted, within) = (config.trust.contains(peer.ip()), config.limits.head_timeout);
    drop(current);
    let until = Instant::now() + within;
    let wire = match is_trusted {
        true => introduced(socket, peer, within).await,
        false => Err("it is not in `trust`".to_owned()),
    };
    match wire {
        Ok(wire) => begin(wire, &origin, &worker, permit, Some(until)),
        Err(why) => {
            origin.counts.refused.inc();
            tracing::debug!("{} closes a connection of {peer:?}: {why}", origin.address);
        }
    }
}

/// One write that can't wait; the client is told, or finds the connection closed.
fn refuse(wire: &Wire, origin: &Origin) {
    origin.counts.refused.inc();
    let spec = origin.spec();
    let words = match (&spec.tls, &spec.tcp) {
        (_, Some(_)) => return,
        (Some(_), None) => &Alert::InternalError.record()[..],
        (None, None) => FULL,
    };
    let _ = wire.poll_write(&mut Context::from_waker(std::task::Waker::noop()), &[IoSlice::new(words)], None);
}

/// Errors that concern the connection that was about to be accepted, not the listener.
fn is_of_one_connection(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

fn tcp(stream: TcpStream) -> io::Result<(Socket, Peer)> {
    let peer = Peer::from(stream.peer_addr()?);
    Ok((Socket::Tcp(stream), peer))
}

impl Acceptor {
    /// Asks the kernel, whatever the runtime knows.
    fn accept_now(&self) -> io::Result<(Socket, Peer)> {
        let listener = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        let accepted = rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        match self {
            Self::Tcp(_) => tcp(TcpStream::from_std(accepted.into())?),
            Self::Unix(_) => Ok((Socket::Unix(UnixStream::from_std(accepted.into())?), Peer::Unix)),
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Peer)>> {
        match self {
            Self::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Socket::Tcp(stream), Peer::from(peer)))
            }
            Self::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| (Socket::Unix(stream), Peer::Unix)),
        }
    }
}
