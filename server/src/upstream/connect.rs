//! A new connection to an endpoint; its name is resolved on the way.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rsp_core::config::EndpointAddress;
use tokio::net::{TcpStream, UnixStream};

use super::Endpoint;
use crate::stream::{Peer, Security, Socket, Wire};

/// Addresses of one name that are tried for one connection.
const ADDRESSES_MAX: usize = 16;

/// After a look-up that failed the last known addresses stand so long.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The addresses of a name, 16 at most; the last known ones stand while they are looked up again, and when that fails.
#[derive(Default)]
pub struct Resolved(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Until when they hold; None: never looked up.
    found: Option<(Instant, Arc<[SocketAddr]>)>,
    refreshing: bool,
}

/// A connection before anything was said on it, a TLS handshake excepted.
pub struct Opened {
    pub socket: Socket,
    pub peer: Peer,
    /// What the handshake agreed on; None: no TLS.
    pub security: Option<Security>,
}

impl Opened {
    /// For one who reads and writes bytes.
    pub fn wire(self) -> Rc<Wire> {
        Rc::new(match self.security {
            None => Wire::new(self.socket, self.peer),
            Some(security) => Wire::secured(self.socket, self.peer, None, security),
        })
    }
}

/// Connects within `timeout`, trying each address of the name in turn; each gets an equal share of the time. Where the
/// endpoint has TLS, the introduction goes before it; else it is the caller's to write, with what it says next.
pub async fn connect(endpoint: &Arc<Endpoint>, introduction: &[u8], timeout: Duration) -> io::Result<Rc<Wire>> {
    if endpoint.tls.is_some() {
        // Boxed, as a handshake is large and most endpoints have none.
        return Ok(Box::pin(open(endpoint, introduction, false, timeout)).await?.wire());
    }
    match tokio::time::timeout(timeout, connect_any(endpoint, timeout)).await {
        Ok(connected) => connected.map(|(socket, peer)| Rc::new(Wire::new(socket, peer))),
        Err(_) => Err(too_late()),
    }
}

/// Connects, introduces and secures within `timeout`. `http2`: whether HTTP/2 is offered by ALPN.
pub async fn open(endpoint: &Arc<Endpoint>, introduction: &[u8], http2: bool, timeout: Duration) -> io::Result<Opened> {
    let opening = async {
        let (mut socket, peer) = connect_any(endpoint, timeout).await?;
        // A connection on which nothing was written has room for it.
        if !introduction.is_empty() && socket.write_now(introduction)? != introduction.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let Some(tls) = &endpoint.tls else { return Ok(Opened { socket, peer, security: None }) };
        let (socket, security) = tls.handshake(socket, &endpoint.address, http2).await?;
        Ok(Opened { socket, peer, security: Some(security) })
    };
    tokio::time::timeout(timeout, opening).await.unwrap_or_else(|_| Err(too_late()))
}

async fn connect_any(endpoint: &Arc<Endpoint>, timeout: Duration) -> io::Result<(Socket, Peer)> {
    match &endpoint.address {
        EndpointAddress::Unix(path) => return Ok((Socket::Unix(UnixStream::connect(path).await?), Peer::Unix)),
        EndpointAddress::Host(host, port) => {
            if let Ok(ip) = host.parse() {
                return connect_tcp(SocketAddr::new(ip, *port)).await;
            }
        }
        EndpointAddress::Found(_, address) => return connect_tcp(*address).await,
        EndpointAddress::Service(_) => {}
    }
    let addresses = addresses(endpoint).await?;
    let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.iter() {
        last = match tokio::time::timeout(share, connect_tcp(*address)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(e)) => e,
            Err(_) => too_late(),
        };
    }
    Err(last)
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection in time")
}

async fn connect_tcp(address: SocketAddr) -> io::Result<(Socket, Peer)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok((Socket::Tcp(stream), Peer::Ip(address)))
}

/// What the name stands for. Only the first request waits for the resolver; later ones find the last known addresses
/// and at most start one look-up beside them.
async fn addresses(endpoint: &Arc<Endpoint>) -> io::Result<Arc<[SocketAddr]>> {
    let known = {
        let mut known = endpoint.resolved.lock();
        let found = known.found.clone();
        let stale = found.as_ref().is_some_and(|(until, _)| *until <= Instant::now());
        if stale && !std::mem::replace(&mut known.refreshing, true) {
            let endpoint = Arc::clone(endpoint);
            tokio::task::spawn_local(async move {
                if let Err(e) = look_up(&endpoint).await {
                    tracing::warn!("{}: {e}; its last known addresses stand", endpoint.address);
                }
            });
        }
        found
    };
    match known {
        Some((_, addresses)) => Ok(addresses),
        None => look_up(endpoint).await,
    }
}

async fn look_up(endpoint: &Endpoint) -> io::Result<Arc<[SocketAddr]>> {
    let answer = endpoint.resolver.look_up(&endpoint.address).await;
    let mut known = endpoint.resolved.lock();
    known.refreshing = false;
    let answer = answer.inspect_err(|_| {
        if let Some((until, _)) = &mut known.found {
            *until = Instant::now() + AFTER_FAILURE;
        }
    })?;
    let addresses: Arc<[_]> = answer.targets.iter().map(|target| target.address).take(ADDRESSES_MAX).collect();
    known.found = Some((Instant::now() + answer.valid, Arc::clone(&addresses)));
    Ok(addresses)
}

impl Resolved {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
