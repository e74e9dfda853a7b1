//! One request on a connection of its own, and its answer, read as it comes.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use http::Method;
use rsp_core::frame::http1::{ChunkedDecoder, Framing, HeadLimits, parse_response};

use super::call::CallError;

/// As generous as the admin API itself.
const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

/// What is read at once.
const PIECE: usize = 64 << 10;

/// A connection to an admin API.
pub enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// An answer whose head has come.
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    socket: Socket,
    /// What has been read behind the head.
    early: Vec<u8>,
    rest: Rest,
}

/// What is left of the body.
enum Rest {
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    Nothing,
}

impl Socket {
    /// How long each read and write may take; None: for ever.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.set_read_timeout(patience).and_then(|()| socket.set_write_timeout(patience)),
            Self::Tcp(socket) => socket.set_read_timeout(patience).and_then(|()| socket.set_write_timeout(patience)),
        }
    }

    /// Sends a request and awaits the head of its answer.
    pub fn ask(mut self, method: &Method, head: &[u8], body: &[u8]) -> Result<Reply, CallError> {
        // One that refuses early may have answered before it closed.
        let sent = self.write(head).and_then(|()| self.write(body));
        let mut bytes = Vec::new();
        loop {
            match parse_response(&bytes, method, &LIMITS) {
                Ok(Some((head, length))) => {
                    bytes.drain(..length);
                    let rest = match head.framing {
                        Framing::Empty => Rest::Nothing,
                        Framing::Length(length) => Rest::Length(length),
                        Framing::Chunked => Rest::Chunked(ChunkedDecoder::new(&LIMITS)),
                        Framing::UntilClose => Rest::UntilClose,
                    };
                    return Ok(Reply { status: head.status.as_u16(), socket: self, early: bytes, rest });
                }
                Ok(None) => {}
                Err(e) => return Err(broken(format!("not HTTP: {e:?}"))),
            }
            match self.read() {
                Ok(piece) if piece.is_empty() && bytes.is_empty() => return Err(CallError::Ended),
                Ok(piece) if piece.is_empty() => return Err(broken(CUT)),
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(e) if bytes.is_empty() && (sent.is_err() || e.kind() == io::ErrorKind::ConnectionReset) => {
                    return Err(CallError::Ended);
                }
                Err(e) => return Err(failed(e)),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.write_all(bytes),
            Self::Tcp(socket) => socket.write_all(bytes),
        }
    }

    /// Empty at the end.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; PIECE];
        loop {
            let read = match self {
                Self::Unix(socket) => socket.read(&mut piece),
                Self::Tcp(socket) => socket.read(&mut piece),
            };
            match read {
                Ok(n) => piece.truncate(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            return Ok(piece);
        }
    }
}

impl Reply {
    /// The next piece of the body, as soon as there is one; None at its clean end.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        loop {
            if matches!(self.rest, Rest::Nothing | Rest::Length(0)) {
                return Ok(None);
            }
            let mut piece = match std::mem::take(&mut self.early) {
                early if early.is_empty() => self.socket.read().map_err(failed)?,
                early => early,
            };
            if piece.is_empty() {
                return if matches!(self.rest, Rest::UntilClose) { Ok(None) } else { Err(broken(CUT)) };
            }
            match &mut self.rest {
                Rest::Length(left) => {
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= piece.len() as u64;
                }
                Rest::Chunked(decoder) => {
                    let decoded = decoder.decode(&mut piece).map_err(|e| broken(e.to_string()))?;
                    piece.truncate(decoded.data);
                    if decoded.done {
                        self.rest = Rest::Nothing;
                    }
                }
                Rest::UntilClose | Rest::Nothing => {}
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// The rest of the body, so many bytes at most.
    pub fn text(mut self, max: usize) -> Result<String, CallError> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece()? {
            if all.len() + piece.len() > max {
                return Err(broken("the answer is too long"));
            }
            all.extend_from_slice(&piece);
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    /// How long each read may take from now on; None: for ever.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.socket.set_patience(patience)
    }

    /// Whether something has been read that [`piece`](Self::piece) gives without waiting.
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }
}

impl AsFd for Reply {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
        }
    }
}

const CUT: &str = "the answer is cut short";

fn broken(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CallError {
    CallError::Broken(io::Error::new(io::ErrorKind::InvalidData, why))
}

fn failed(e: io::Error) -> CallError {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            CallError::Broken(io::Error::new(io::ErrorKind::TimedOut, "it took too long"))
        }
        _ => CallError::Broken(e),
    }
}
