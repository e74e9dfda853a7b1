//! What a client of a listener with TLS begins with: looked at with the kernel, so that whoever opens it finds it whole.
//!
//! **Invariant:** nothing of it is taken, and a client that waits with the rest of it costs no buffer.

use std::{
    fmt,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    os::fd::BorrowedFd,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use rsp_core::frame::client_hello::{self, ClientHello, NotTls, WIRE_MAX};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionread,
    net::{RecvFlags, recv},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    shutdown::Guard,
    stream::{Buffer, Wire},
};

/// How long a drain waits for the rest of a handshake, its hello counted.
pub(super) const LAST_HANDSHAKE: Duration = Duration::from_secs(1);

/// How long the client has to take its last words, and how much of its own is let go meanwhile.
pub(super) const LINGER: Duration = Duration::from_secs(2);
pub(super) const LINGER_BYTES: usize = 256 << 10;

/// Why a client is not served.
#[derive(Debug)]
pub enum NoHello {
    /// It began with something else.
    Wrong(NotTls),
    /// Nothing whole came in time, or before the worker's end.
    Late,
    /// It went away.
    Gone(io::Error),
}

impl fmt::Display for NoHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(not) => not.fmt(f),
            Self::Late => f.write_str("no whole ClientHello in time"),
            Self::Gone(e) => e.fmt(f),
        }
    }
}

/// Waits for a whole hello, `until` then at most, and a moment in a drain.
///
/// # Errors
/// As [`NoHello`] says; the client may have to be told.
pub async fn hello(wire: &Wire, guard: &Guard, until: Instant) -> Result<ClientHello, NoHello> {
    let mut looking = pin!(look(wire));
    let begun = timeout_at(
        until,
        poll_fn(|cx| match looking.as_mut().poll(cx) {
            Poll::Ready(looked) => Poll::Ready(Some(looked)),
            Poll::Pending => guard.poll_begun(cx).map(|()| None),
        }),
    );
    let until = match begun.await {
        Ok(Some(looked)) => return looked,
        Ok(None) => until.min(Instant::now() + LAST_HANDSHAKE),
        Err(_) => return Err(NoHello::Late),
    };
    timeout_at(until, looking).await.unwrap_or(Err(NoHello::Late))
}

/// Looks at what has come whenever that may be enough.
async fn look(wire: &Wire) -> Result<ClientHello, NoHello> {
    // One byte tells whether it may become a hello at all.
    let mut enough = 1;
    let mut found = None;
    let looked = poll_fn(|cx| {
        wire.poll_read_with(
            cx,
            |socket| {
                while found.is_none() {
                    // The kernel counts for less than it copies, and looks at many small pieces would cost their square.
                    await_bytes(socket, enough)?;
                    (found, enough) = peek(socket)?;
                }
                Ok(0)
            },
            None,
        )
    });
    looked.await.map_err(NoHello::Gone)?;
    found.unwrap_or(Err(NotTls::Garbage)).map_err(NoHello::Wrong)
}

/// `WouldBlock` while there are fewer bytes than this and more may come. Who only says so would be asked again for ever
/// behind an end of input, which the runtime takes for something to read.
pub(super) fn await_bytes(socket: BorrowedFd<'_>, enough: usize) -> io::Result<()> {
    let is_short = || Ok::<_, io::Error>(ioctl_fionread(socket)? < enough as u64);
    if !is_short()? {
        return Ok(());
    }
    let mut asked = [PollFd::new(&socket, PollFlags::RDHUP)];
    if poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // What came before the end counts.
    if is_short()? { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// What is there reads as; None: not whole. And how many bytes must be there before another look is of use.
fn peek(socket: BorrowedFd<'_>) -> io::Result<(Option<Result<ClientHello, NotTls>>, usize)> {
    let mut buffer = Buffer::take(WIRE_MAX);
    let (n, _) = recv(socket, &mut buffer.spare()[..WIRE_MAX], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    buffer.commit(n);
    let bytes = buffer.filled();
    Ok(match client_hello::missing(bytes) {
        Ok(0) => (client_hello::read(bytes).transpose(), 0),
        Ok(missing) => (None, n + missing),
        Err(not) => (Some(Err(not)), 0),
    })
}

/// The last words to a client that has no keys, after which its own are let go: a close with bytes unread is a reset, which
/// could take the words with it. Two seconds at most.
pub async fn part(wire: &Wire, words: &[u8]) {
    let parting = poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(words)], None));
    let until = Instant::now() + LINGER;
    if let Ok(Ok(_)) = timeout_at(until, parting).await
        && wire.shutdown_write().is_ok()
    {
        let mut left = LINGER_BYTES;
        let _ = timeout_at(until, poll_fn(|cx| let_go(cx, wire, &mut left))).await;
    }
}

/// Ready when the client has ended, or said too much.
pub(super) fn let_go(cx: &mut Context<'_>, wire: &Wire, left: &mut usize) -> Poll<()> {
    loop {
        let mut buffer = Buffer::take(WIRE_MAX);
        match wire.poll_read(cx, &mut buffer, None) {
            Poll::Ready(Ok(n)) if n > 0 && n < *left => *left -= n,
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}
