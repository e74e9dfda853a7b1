//! A new connection to an endpoint; its name is resolved on the way.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rsp_core::config::EndpointAddress;
use tokio::net::{TcpStream, UnixStream};

use super::Endpoint;
use crate::stream::{Peer, Socket, Wire};

/// Age after which a name is resolved again at the next connect.
const RESOLVED_MAX_AGE: Duration = Duration::from_secs(30);

/// The addresses of a name, 16 at most; the last known ones stand when the resolver fails.
#[derive(Default)]
pub struct Resolved(Mutex<Option<(Instant, Vec<SocketAddr>)>>);

/// Connects within `timeout`, trying each address of the name in turn.
pub async fn connect(endpoint: &Endpoint, timeout: Duration) -> io::Result<Rc<Wire>> {
    match tokio::time::timeout(timeout, connect_any(endpoint)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
    }
}

async fn connect_any(endpoint: &Endpoint) -> io::Result<Rc<Wire>> {
    let (host, port) = match &endpoint.address {
        EndpointAddress::Unix(path) => {
            return Ok(Rc::new(Wire::new(Socket::Unix(UnixStream::connect(path).await?), Peer::Unix)));
        }
        EndpointAddress::Host(host, port) => (host.as_str(), *port),
    };
    if let Ok(ip) = host.parse() {
        return connect_tcp(SocketAddr::new(ip, port)).await;
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in endpoint.resolved.addresses(host, port).await? {
        match connect_tcp(address).await {
            Ok(wire) => return Ok(wire),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn connect_tcp(address: SocketAddr) -> io::Result<Rc<Wire>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Rc::new(Wire::new(Socket::Tcp(stream), Peer::Ip(address))))
}

impl Resolved {
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some((at, addresses)) = &*self.lock()
            && at.elapsed() < RESOLVED_MAX_AGE
        {
            return Ok(addresses.clone());
        }
        match tokio::net::lookup_host((host, port)).await {
            Ok(found) => {
                let addresses: Vec<_> = found.take(16).collect();
                *self.lock() = Some((Instant::now(), addresses.clone()));
                Ok(addresses)
            }
            Err(e) => match &*self.lock() {
                Some((_, last_known)) => Ok(last_known.clone()),
                None => Err(e),
            },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Vec<SocketAddr>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
