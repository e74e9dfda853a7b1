//! The channel between a running rsp and its successor: packets of JSON, and descriptors beside them.
//!
//! The running one says what it hands over (`listen`, with the sockets; then `all`). The successor answers `prepared`
//! with what it takes, or `refused` with the diagnostic. After `go` both accept; after `ready` only the successor does.
//! `end` in place of what the successor waits for: the running one was told to end, and both do.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rsp_core::config::Address;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};
use serde_json::{Value, json};

/// Descriptors of one packet; the kernel takes 253.
pub const DESCRIPTORS_MAX: usize = 128;

/// Bytes of one packet; a diagnostic is cut to half of it, since JSON may double it.
const PACKET_MAX: usize = 128 << 10;

/// What the two must agree on; a change of the packets is another number.
pub const VERSION: u64 = 1;

/// One end.
pub struct Channel {
    socket: OwnedFd,
}

/// What came in one packet.
pub struct Packet {
    /// An object.
    pub said: Value,
    /// Close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Both ends; the second one is for the successor.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { socket: ours }, theirs))
    }

    /// The end that `socket` is; an error if it is none.
    pub fn over(socket: OwnedFd) -> io::Result<Self> {
        match sockopt::socket_type(&socket)? {
            SocketType::SEQPACKET => Ok(Self { socket }),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Another handle of the same end.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()? })
    }

    /// Lets every wait end at this time.
    pub fn wait_until(&self, deadline: Instant) -> io::Result<()> {
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        let left = left.ok_or(io::ErrorKind::TimedOut)?;
        sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, Some(left))?;
        Ok(sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Send, Some(left))?)
    }

    /// Sends one packet with at most [`DESCRIPTORS_MAX`] descriptors.
    pub fn send(&self, said: &Value, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = said.to_string();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(text.as_bytes())], &mut beside, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next packet; None when the other end is closed.
    pub fn receive(&self) -> io::Result<Option<Packet>> {
        let mut bytes = vec![0; PACKET_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = match rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, flags)
        {
            Ok(received) if received.bytes == 0 => return Ok(None),
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        let rights = beside.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let descriptors = rights.flatten().collect();
        let said = serde_json::from_slice(&bytes[..received.bytes])?;
        Ok(Some(Packet { said, descriptors }))
    }

    /// Wakes whoever waits on this end; both ends see the other one gone.
    pub fn hang_up(&self) {
        // One that is gone already is as good.
        let _ = rustix::net::shutdown(self.socket.as_fd(), Shutdown::Both);
    }
}

/// A text for a packet.
pub fn fitting(text: &str) -> &str {
    let end = (0..=text.len().min(PACKET_MAX / 4)).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

/// An address for a packet; None for a path that JSON can't say.
pub fn written(address: &Address) -> Option<Value> {
    Some(match address {
        Address::Tcp(address) => json!({ "tcp": address.to_string() }),
        Address::Unix(path) => json!({ "unix": path.to_str()? }),
    })
}

/// An address from a packet.
pub fn read(value: &Value) -> Option<Address> {
    match (value.get("tcp"), value.get("unix")) {
        (Some(tcp), None) => tcp.as_str()?.parse().ok().map(Address::Tcp),
        (None, Some(path)) => path.as_str().map(|path| Address::Unix(path.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::over(theirs).unwrap();
        let descriptors: Vec<_> =
            (0..DESCRIPTORS_MAX).map(|_| OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap())).collect();
        let lent: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let long = fitting(&"\n".repeat(PACKET_MAX)).to_owned();
        ours.send(&json!({ "a": 1 }), &lent).unwrap();
        ours.send(&json!({ "b": long }), &[]).unwrap();
        drop(ours);
        let first = theirs.receive().unwrap().unwrap();
        assert_eq!((&first.said, first.descriptors.len()), (&json!({ "a": 1 }), DESCRIPTORS_MAX));
        for descriptor in &first.descriptors {
            let flags = rustix::io::fcntl_getfd(descriptor).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        assert_eq!(theirs.receive().unwrap().unwrap().said, json!({ "b": long }));
        assert!(theirs.receive().unwrap().is_none());
    }

    #[test]
    fn a_wait_ends_at_its_deadline_or_when_somebody_hangs_up() {
        let (ours, _theirs) = Channel::pair().unwrap();
        ours.wait_until(Instant::now() + Duration::from_millis(10)).unwrap();
        assert_eq!(ours.receive().map(|_| ()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(ours.wait_until(Instant::now()).is_err());
        ours.hang_up();
        assert!(ours.receive().unwrap().is_none());
    }

    #[test]
    fn an_address_reads_as_it_was_written() {
        for address in [
            Address::Tcp("[::]:80".parse().unwrap()),
            Address::Tcp("10.0.0.1:0".parse().unwrap()),
            Address::Unix("/a b".into()),
        ] {
            assert_eq!(read(&written(&address).unwrap()), Some(address));
        }
        assert_eq!(read(&json!({ "tcp": "nonsense" })), None);
    }
}
