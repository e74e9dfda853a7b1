//! A line between a thread of rsp and the spawner: packets, and descriptors beside them.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use smallvec::SmallVec;
use tokio::io::{Interest, unix::AsyncFd};

/// Standard input, output and error.
const DESCRIPTORS_MAX: usize = 3;

/// What came beside a packet; close-on-exec.
pub type Descriptors = SmallVec<[OwnedFd; DESCRIPTORS_MAX]>;

/// One end.
pub struct Line {
    /// Listens only: one that hears of room, too, would wake with every packet that the other end reads.
    socket: AsyncFd<OwnedFd>,
    /// What the socket did not take yet: three answers a process at most, or an end for each.
    waiting: RefCell<VecDeque<Vec<u8>>>,
}

/// Both ends of a new line; neither blocks.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends a packet at once, or not at all.
pub fn send(socket: BorrowedFd<'_>, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(packet)], &mut beside, flags)?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<(usize, Descriptors)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut beside, flags) {
        // No packet is empty.
        Ok(received) if received.bytes == 0 => return Ok(None),
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        received => received?,
    };
    let rights = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    Ok(Some((received.bytes, rights.flatten().collect())))
}

#[allow(unsafe_code, reason = "there is no safe name for it, also where the descriptor is owned")]
fn registered(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: what is owned stays open and is always the same descriptor.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

impl Line {
    /// The end that `socket` is; called inside of a runtime.
    pub fn over(socket: OwnedFd) -> io::Result<Rc<Self>> {
        let socket = registered(socket, Interest::READABLE)?;
        Ok(Rc::new(Self { socket, waiting: RefCell::default() }))
    }

    /// The next packet's length in `buffer`, and what came beside it; None when the other end is closed.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Descriptors)>> {
        self.socket.async_io(Interest::READABLE, |socket| receive(socket.as_fd(), buffer)).await
    }

    /// Sends a packet; resolves when the socket took it.
    pub async fn send(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        match send(self.socket.as_fd(), packet, descriptors) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
        let socket = registered(self.socket.as_fd().try_clone_to_owned()?, Interest::WRITABLE)?;
        socket.async_io(Interest::WRITABLE, |socket| send(socket.as_fd(), packet, descriptors)).await
    }

    /// Sends a packet as soon as the socket takes it; one whose other end is gone needs none.
    pub fn post(self: &Rc<Self>, packet: Vec<u8>) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            match send(self.socket.as_fd(), &packet, &[]) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
            let line = Rc::clone(self);
            tokio::task::spawn_local(async move { line.send_waiting().await });
        }
        waiting.push_back(packet);
    }

    async fn send_waiting(&self) {
        loop {
            let Some(packet) = self.waiting.borrow().front().cloned() else { return };
            let sent = self.send(&packet, &[]).await;
            let mut waiting = self.waiting.borrow_mut();
            waiting.pop_front();
            if sent.is_err() {
                return waiting.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::LocalRuntime::new().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn a_packet_arrives_whole_with_what_stands_beside_it() {
        run(async {
            let (one, other) = pair().unwrap();
            let (one, other) = (Line::over(one).unwrap(), Line::over(other).unwrap());
            let null = std::fs::File::open("/dev/null").unwrap();
            one.send(b"first", &[null.as_fd(); 3]).await.unwrap();
            one.post(b"second".to_vec());
            let mut buffer = [0; 64];
            let (length, descriptors) = other.receive(&mut buffer).await.unwrap().unwrap();
            assert_eq!((&buffer[..length], descriptors.len()), (&b"first"[..], 3));
            let (length, descriptors) = other.receive(&mut buffer).await.unwrap().unwrap();
            assert_eq!((&buffer[..length], descriptors.len()), (&b"second"[..], 0));
            drop(one);
            assert!(other.receive(&mut buffer).await.unwrap().is_none());
            other.post(b"to nobody".to_vec());
            assert!(other.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn what_the_socket_does_not_take_waits_in_its_order() {
        run(async {
            let (one, other) = pair().unwrap();
            let (one, other) = (Line::over(one).unwrap(), Line::over(other).unwrap());
            let numbers = 0..20_000_u32;
            numbers.clone().for_each(|number| one.post(number.to_ne_bytes().to_vec()));
            assert!(!one.waiting.borrow().is_empty(), "the socket took them all");
            for number in numbers {
                let mut buffer = [0; 4];
                assert_eq!(other.receive(&mut buffer).await.unwrap().unwrap().0, 4);
                assert_eq!(u32::from_ne_bytes(buffer), number);
            }
        });
    }
}
