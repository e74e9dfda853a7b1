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
use crate::stream::{Peer, Socket, Wire};

/// Age after which a name is looked up again at the next connect.
const RESOLVED_MAX_AGE: Duration = Duration::from_secs(30);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// The addresses of a name, 16 at most; the last known ones stand while they are looked up again, and when that fails.
#[derive(Default)]
pub struct Resolved(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// None: never looked up.
    found: Option<(Instant, Arc<[SocketAddr]>)>,
    refreshing: bool,
}

/// Connects within `timeout`, trying each address of the name in turn; each gets an equal share of the time.
pub async fn connect(endpoint: &Arc<Endpoint>, timeout: Duration) -> io::Result<Rc<Wire>> {
    match tokio::time::timeout(timeout, connect_any(endpoint, timeout)).await {
        Ok(connected) => connected,
        Err(_) => Err(too_late()),
    }
}

async fn connect_any(endpoint: &Arc<Endpoint>, timeout: Duration) -> io::Result<Rc<Wire>> {
    let (host, port) = match &endpoint.address {
        EndpointAddress::Unix(path) => {
            return Ok(Rc::new(Wire::new(Socket::Unix(UnixStream::connect(path).await?), Peer::Unix)));
        }
        EndpointAddress::Host(host, port) => (host.as_str(), *port),
    };
    if let Ok(ip) = host.parse() {
        return connect_tcp(SocketAddr::new(ip, port)).await;
    }
    let addresses = addresses(endpoint, host, port).await?;
    let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.iter() {
        last = match tokio::time::timeout(share, connect_tcp(*address)).await {
            Ok(Ok(wire)) => return Ok(wire),
            Ok(Err(e)) => e,
            Err(_) => too_late(),
        };
    }
    Err(last)
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection in time")
}

async fn connect_tcp(address: SocketAddr) -> io::Result<Rc<Wire>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Rc::new(Wire::new(Socket::Tcp(stream), Peer::Ip(address))))
}

/// What the name stands for. Only the first request waits for the resolver; later ones find the last known addresses
/// and at most start one look-up beside them.
async fn addresses(endpoint: &Arc<Endpoint>, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
    let known = {
        let mut known = endpoint.resolved.lock();
        let found = known.found.clone();
        let stale = found.as_ref().is_some_and(|(at, _)| at.elapsed() >= RESOLVED_MAX_AGE);
        if stale && !std::mem::replace(&mut known.refreshing, true) {
            let (endpoint, host) = (Arc::clone(endpoint), host.to_owned());
            tokio::task::spawn_local(async move {
                if let Err(e) = look_up(&endpoint, &host, port).await {
                    tracing::warn!("{host}: {e}; its last known addresses stand");
                }
            });
        }
        found
    };
    match known {
        Some((_, addresses)) => Ok(addresses),
        None => look_up(endpoint, host, port).await,
    }
}

async fn look_up(endpoint: &Endpoint, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
    let found = tokio::net::lookup_host((host, port)).await;
    let mut known = endpoint.resolved.lock();
    known.refreshing = false;
    let addresses: Arc<[_]> = found?.take(ADDRESSES_MAX).collect();
    known.found = Some((Instant::now(), Arc::clone(&addresses)));
    Ok(addresses)
}

impl Resolved {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
