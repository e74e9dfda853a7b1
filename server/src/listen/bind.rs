//! An address becomes one listening socket a worker.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::Path,
};

use rsp_core::config::{Address, Listener};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::stream::KEEPALIVE;

/// The sockets of one `listen`.
pub struct Bound {
    /// As configured.
    pub spec: Listener,
    /// Where it is: the port is the real one.
    pub address: Address,
    /// One a worker.
    pub shares: Vec<Share>,
}

/// One worker's listening socket.
pub enum Share {
    /// Each worker has a socket of its own; the kernel spreads the connections.
    Tcp(std::net::TcpListener),
    /// All workers accept from one socket.
    Unix(UnixListener),
}

/// An address that can't be listened on.
#[derive(Debug)]
pub struct BindError {
    /// Which one.
    pub address: Address,
    /// Why.
    pub cause: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.cause)
    }
}

/// Binds an address for `workers` workers.
pub fn bind(spec: &Listener, workers: usize) -> Result<Bound, BindError> {
    let bound = match &spec.address {
        Address::Tcp(address) => bind_tcp(*address, spec.backlog, workers),
        Address::Unix(path) => bind_unix(path, spec, workers),
    };
    let (address, shares) = bound.map_err(|cause| BindError { address: spec.address.clone(), cause })?;
    Ok(Bound { spec: spec.clone(), address, shares })
}

/// Binds all of them, or none.
pub fn bind_all<'a>(specs: impl Iterator<Item = &'a Listener>, workers: usize) -> Result<Vec<Bound>, BindError> {
    let mut all = Vec::new();
    for spec in specs {
        match bind(spec, workers) {
            Ok(bound) => all.push(bound),
            Err(e) => {
                discard(all);
                return Err(e);
            }
        }
    }
    Ok(all)
}

/// Closes what was bound and will not be used.
pub fn discard(bound: Vec<Bound>) {
    bound.iter().for_each(|bound| remove_socket(&bound.address));
}

/// Removes the socket file of an address that is listened on no more.
pub fn remove_socket(address: &Address) {
    if let Address::Unix(path) = address {
        // Gone already is as good.
        let _ = fs::remove_file(path);
    }
}

fn bind_tcp(address: SocketAddr, backlog: u32, workers: usize) -> io::Result<(Address, Vec<Share>)> {
    // Without SO_REUSEPORT first: it fails where somebody listens already.
    let probe = match tcp_socket(address, false) {
        Err(e) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&e) => {
            return bind_tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), backlog, workers);
        }
        probe => probe?,
    };
    let local = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let shares = (0..workers).map(|_| {
        let socket = tcp_socket(local, true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(Share::Tcp(socket.into()))
    });
    Ok((Address::Tcp(local), shares.collect::<io::Result<_>>()?))
}

fn tcp_socket(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    // Accepted connections inherit these, which spares each one the system calls.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if !share {
        // A bind alone does not notice a listener that allows reuse; a listen does.
        socket.listen(1)?;
    }
    Ok(socket)
}

fn no_ipv6(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(code) if code == rustix::io::Errno::AFNOSUPPORT.raw_os_error()
        || code == rustix::io::Errno::ADDRNOTAVAIL.raw_os_error())
}

fn bind_unix(path: &Path, spec: &Listener, workers: usize) -> io::Result<(Address, Vec<Share>)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens, so that nobody gets in by the permissions it was made with.
    fs::set_permissions(path, fs::Permissions::from_mode(spec.mode))?;
    socket.listen(i32::try_from(spec.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from(OwnedFd::from(socket));
    let shares = (0..workers).map(|_| {
        let fd: OwnedFd = listener.try_clone()?.into();
        Ok(Share::Unix(fd.into()))
    });
    Ok((Address::Unix(path.to_owned()), shares.collect::<io::Result<_>>()?))
}

/// A socket file that nobody answers on was left behind by a process that ended.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: Address) -> Listener {
        Listener { address, mode: 0o660, backlog: 16 }
    }

    #[test]
    fn a_second_bind_of_the_same_port_is_refused() {
        let first = bind(&listener(Address::Tcp("127.0.0.1:0".parse().unwrap())), 2).unwrap();
        assert_eq!(first.shares.len(), 2);
        let second = bind(&listener(first.address.clone()), 1).map(|_| ()).unwrap_err();
        assert_eq!(second.cause.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        drop(UnixListener::bind(&path).unwrap());
        let live = bind(&listener(Address::Unix(path.clone())), 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let second = bind(&listener(Address::Unix(path)), 1).map(|_| ()).unwrap_err();
        assert_eq!(second.cause.kind(), io::ErrorKind::AddrInUse);
        drop(live);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(bind(&listener(Address::Unix(path.clone())), 1).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "data");
    }
}
