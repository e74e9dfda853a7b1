//! Listening sockets that this process was started with: from the service manager, or from the rsp it takes over from.

use std::{
    io,
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use rsp_core::config::Address;
use rustix::net::{AddressFamily, SocketType, sockopt};
use socket2::{SockAddr, SockRef};

use crate::stream::KEEPALIVE;

/// Sockets that wait for a `listen` of their address.
#[derive(Default)]
pub struct Inherited {
    waiting: Vec<Heirloom>,
}

/// One address and its open sockets.
pub struct Heirloom {
    /// As the config names it.
    pub address: Address,
    /// Each is an accept queue of its own; at least one.
    pub sockets: Vec<OwnedFd>,
    /// Whether a socket file is ours to remove; the service manager keeps its own.
    pub ours: bool,
}

impl Inherited {
    /// What the service manager passed (`LISTEN_FDS`, sd_listen_fds(3)), and what of it can't be used, as warnings.
    ///
    /// # Errors
    /// The variables make no sense, or a descriptor that they promise is not there.
    pub fn from_service_manager() -> io::Result<(Self, Vec<String>)> {
        let mut inherited = Self::default();
        let mut warnings = Vec::new();
        for number in sd_notify::listen_fds()? {
            #[allow(
                unsafe_code,
                reason = "the variables say that it is ours, it is open, and nobody else has taken it"
            )]
            // SAFETY: `listen_fds` found LISTEN_PID to be this process and the descriptor open; this runs once.
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            match listening_address(&socket).and_then(|address| made_ready(&socket).map(|()| address)) {
                Ok(address) => inherited.add(address, socket),
                Err(e) => warnings.push(format!("the inherited descriptor {number} is not used: {e}")),
            }
        }
        Ok((inherited, warnings))
    }

    fn add(&mut self, address: Address, socket: OwnedFd) {
        match self.waiting.iter_mut().find(|one| one.address == address) {
            Some(one) => one.sockets.push(socket),
            None => self.waiting.push(Heirloom { address, sockets: vec![socket], ours: false }),
        }
    }

    /// Keeps sockets for a later `listen`.
    pub fn keep(&mut self, heirloom: Heirloom) {
        if !heirloom.sockets.is_empty() {
            self.waiting.push(heirloom);
        }
    }

    /// The sockets of an address.
    pub fn take(&mut self, address: &Address) -> Option<Heirloom> {
        let index = self.waiting.iter().position(|one| one.address == *address)?;
        Some(self.waiting.remove(index))
    }

    /// Lets go of the sockets that are ours, and returns their addresses.
    pub fn close_ours(&mut self) -> Vec<Address> {
        self.waiting.extract_if(.., |one| one.ours).map(|one| one.address).collect()
    }

    /// What nobody has asked for.
    pub fn waiting(&self) -> &[Heirloom] {
        &self.waiting
    }
}

/// Where a socket of somebody else's making listens.
fn listening_address(socket: &OwnedFd) -> io::Result<Address> {
    let is = |right: bool, what: &str| if right { Ok(()) } else { Err(io::Error::other(what.to_owned())) };
    is(sockopt::socket_type(socket)? == SocketType::STREAM, "it is no stream socket")?;
    is(sockopt::socket_acceptconn(socket)?, "it does not listen")?;
    let local = SockRef::from(socket).local_addr()?;
    match sockopt::socket_domain(socket)? {
        AddressFamily::INET | AddressFamily::INET6 => {
            local.as_socket().map(Address::Tcp).ok_or_else(|| io::Error::other("it has no address"))
        }
        AddressFamily::UNIX => path_of(&local).map(Address::Unix).ok_or_else(|| io::Error::other("it has no path")),
        _ => Err(io::Error::other("it is neither TCP nor a unix socket")),
    }
}

fn path_of(address: &SockAddr) -> Option<PathBuf> {
    let path = address.as_pathname()?;
    (!path.as_os_str().as_bytes().is_empty()).then(|| path.to_owned())
}

/// The same options as on our own sockets; what is accepted inherits them.
fn made_ready(socket: &OwnedFd) -> io::Result<()> {
    let options = SockRef::from(socket);
    options.set_nonblocking(true)?;
    if sockopt::socket_domain(socket.as_fd())? != AddressFamily::UNIX {
        options.set_tcp_nodelay(true)?;
        options.set_tcp_keepalive(&KEEPALIVE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn only_a_stream_socket_that_listens_is_of_use() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(listening_address(&listener.into()).unwrap(), address);
        assert!(listening_address(&client.into()).unwrap_err().to_string().contains("does not listen"));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(listening_address(&udp.into()).unwrap_err().to_string().contains("no stream"));
    }

    #[test]
    fn two_sockets_of_one_address_are_taken_together() {
        let mut inherited = Inherited::default();
        let address = Address::Unix("/run/x.sock".into());
        let socket = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        inherited.add(address.clone(), socket());
        inherited.add(address.clone(), socket());
        assert_eq!(inherited.take(&address).unwrap().sockets.len(), 2);
        assert!(inherited.take(&address).is_none());
    }
}
