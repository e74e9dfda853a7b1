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
use rustix::fs::{Gid, Uid};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::inherited::{Heirloom, Inherited};
use crate::stream::KEEPALIVE;

/// The sockets of one `listen`.
pub struct Bound {
    /// As configured.
    pub spec: Listener,
    /// Where it is: the port is the real one.
    pub address: Address,
    /// One a worker at least; what are more go round, so that every queue is accepted from.
    pub shares: Vec<Share>,
    /// Every accept queue once, held open for a successor.
    pub sockets: Vec<OwnedFd>,
    /// Whether a socket file is ours to remove.
    pub ours: bool,
    /// Whether the sockets were open before this process began.
    pub inherited: bool,
}

/// One worker's listening socket.
pub enum Share {
    /// Each worker has a socket of its own; the kernel spreads the connections.
    Tcp(std::net::TcpListener),
    /// All workers accept from one socket.
    Unix(UnixListener),
}

impl Share {
    fn of(address: &Address, socket: OwnedFd) -> Self {
        match address {
            Address::Tcp(_) => Self::Tcp(socket.into()),
            Address::Unix(_) => Self::Unix(socket.into()),
        }
    }
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

/// Takes an address over if its sockets are `inherited`, or binds it, for `workers` workers.
pub fn bind(spec: &Listener, workers: usize, inherited: &mut Inherited) -> Result<Bound, BindError> {
    let failed = |cause| BindError { address: spec.address.clone(), cause };
    if let Some(Heirloom { sockets, ours, .. }) = inherited.take(&spec.address) {
        let address = local_address(&spec.address, &sockets);
        return spread(spec, address, sockets, workers)
            .map(|bound| Bound { ours, inherited: true, ..bound })
            .map_err(failed);
    }
    let bound = match &spec.address {
        Address::Tcp(address) => bind_tcp(*address, spec.backlog, workers),
        Address::Unix(path) => bind_unix(path, spec),
    };
    let (address, sockets) = bound.map_err(failed)?;
    spread(spec, address, sockets, workers).map_err(failed)
}

/// Binds all of them, or none.
pub fn bind_all<'a>(
    specs: impl Iterator<Item = &'a Listener>,
    workers: usize,
    inherited: &mut Inherited,
) -> Result<Vec<Bound>, BindError> {
    let mut all = Vec::new();
    for spec in specs {
        match bind(spec, workers, inherited) {
            Ok(bound) => all.push(bound),
            Err(e) => {
                discard(all);
                return Err(e);
            }
        }
    }
    Ok(all)
}

/// Every worker has a queue and every queue a worker, whatever their numbers.
fn spread(spec: &Listener, address: Address, sockets: Vec<OwnedFd>, workers: usize) -> io::Result<Bound> {
    let all = sockets.iter().cycle().take(sockets.len().max(workers));
    let shares = all.map(|socket| Ok(Share::of(&address, socket.try_clone()?))).collect::<io::Result<_>>()?;
    Ok(Bound { spec: spec.clone(), address, shares, sockets, ours: true, inherited: false })
}

/// The port is the real one.
fn local_address(configured: &Address, sockets: &[OwnedFd]) -> Address {
    let local = sockets.first().and_then(|socket| socket2::SockRef::from(socket).local_addr().ok());
    match (configured, local.and_then(|local| local.as_socket())) {
        (Address::Tcp(_), Some(local)) => Address::Tcp(local),
        _ => configured.clone(),
    }
}

/// Closes what was bound and will not be used; who was here before goes on with its sockets.
pub fn discard(bound: Vec<Bound>) {
    bound.iter().filter(|bound| !bound.inherited).for_each(|bound| remove_socket(&bound.address));
}

/// Gives the socket file to whom rsp runs as from now on.
pub fn give_socket(address: &Address, user: u32, group: u32) -> io::Result<()> {
    match address {
        Address::Tcp(_) => Ok(()),
        Address::Unix(path) => Ok(rustix::fs::chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?),
    }
}

/// Removes the socket file of an address that is listened on no more.
pub fn remove_socket(address: &Address) {
    if let Address::Unix(path) = address {
        // Gone already is as good.
        let _ = fs::remove_file(path);
    }
}

fn bind_tcp(address: SocketAddr, backlog: u32, workers: usize) -> io::Result<(Address, Vec<OwnedFd>)> {
    // Without SO_REUSEPORT first: it fails where somebody listens already.
    let probe = match tcp_socket(address, false) {
        Err(e) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&e) => {
            return bind_tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), backlog, workers);
        }
        probe => probe?,
    };
    let local = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let sockets = (0..workers).map(|_| {
        let socket = tcp_socket(local, true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    });
    Ok((Address::Tcp(local), sockets.collect::<io::Result<_>>()?))
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
    // Accepted connections inherit these, which spares each one the system calls. Urgent data stays where it was sent
    // (RFC 6093 §6), so that looks and reads of it find the same bytes.
    socket.set_out_of_band_inline(true)?;
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

fn bind_unix(path: &Path, spec: &Listener) -> io::Result<(Address, Vec<OwnedFd>)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens, so that nobody gets in by the permissions it was made with.
    fs::set_permissions(path, fs::Permissions::from_mode(spec.mode))?;
    socket.listen(i32::try_from(spec.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok((Address::Unix(path.to_owned()), vec![socket.into()]))
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

    fn bind(spec: &Listener, workers: usize) -> Result<Bound, BindError> {
        super::bind(spec, workers, &mut Inherited::default())
    }

    fn listener(address: Address) -> Listener {
        Listener { backlog: 16, ..Listener::plain(address) }
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

    #[test]
    fn every_inherited_queue_has_a_worker_and_every_worker_a_queue() {
        for (before, now) in [(3, 1), (1, 3), (2, 2), (2, 3)] {
            let spec = listener(Address::Tcp("127.0.0.1:0".parse().unwrap()));
            let first = bind(&spec, before).unwrap();
            let mut inherited = Inherited::default();
            inherited.keep(Heirloom { address: spec.address.clone(), sockets: first.sockets, ours: true });
            let second = super::bind(&spec, now, &mut inherited).unwrap();
            assert_eq!((second.address, second.sockets.len()), (first.address, before));
            assert_eq!(second.shares.len(), before.max(now));
            assert!(inherited.waiting().is_empty());
        }
    }

    #[test]
    fn giving_up_leaves_an_inherited_socket_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let spec = listener(Address::Unix(folder.path().join("x.sock")));
        let first = bind(&spec, 1).unwrap();
        let mut inherited = Inherited::default();
        inherited.keep(Heirloom { address: spec.address.clone(), sockets: first.sockets, ours: true });
        discard(vec![super::bind(&spec, 1, &mut inherited).unwrap()]);
        assert!(folder.path().join("x.sock").exists());
        discard(vec![Bound { sockets: Vec::new(), ..first }]);
        assert!(!folder.path().join("x.sock").exists());
    }
}
