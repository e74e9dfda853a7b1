//! A raw-socket HTTP/1 client: it sends the bytes it is given and tells exactly how the answer ended.

use std::{
    io::{self, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use crate::{
    Pattern, Socket,
    wait::pause,
    wire::{Framing, Head, Headers, Wire},
};

/// A `Sec-WebSocket-Key` like any other (RFC 6455 §1.3).
pub(crate) const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// One connection. Reads and writes that make no progress for ten seconds fail.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

/// An answer, whole or as far as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// The final one's.
    pub status: u16,
    /// Status line and headers.
    pub head: Head,
    /// Decoded of its framing.
    pub body: Vec<u8>,
    /// After a chunked body.
    pub trailers: Headers,
    /// The 1xx heads that came before it.
    pub informational: Vec<Head>,
    /// How its end was told.
    pub end: End,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By its length or its last chunk; the connection may go on.
    Framed,
    /// By the close of the connection, which had to tell it.
    Closed,
    /// The connection ended or was reset before the framing said so.
    Cut,
}

/// What is left of a body that is read piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pieces(Framing);

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects to `host:port` or `unix:/path`.
    #[track_caller]
    pub fn connect(address: &str) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(address: &str) -> io::Result<Client> {
        Client::over(Socket::connect(address)?)
    }

    /// The same on a connection that is there.
    pub fn over(socket: Socket) -> io::Result<Client> {
        socket.set_timeout(Some(Duration::from_secs(10)))?;
        Ok(Client { wire: Wire::new(socket) })
    }

    /// One `GET` and its answer, keeping the connection.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Sends these bytes, whose first word is the method, and reads one answer.
    #[track_caller]
    pub fn request(&mut self, bytes: &str) -> Response {
        self.send(bytes);
        self.read_response(bytes.split(' ').next().unwrap_or_default())
    }

    /// Sends all of it.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("send");
    }

    /// Sends all of it, or says why not; for peers that may close early.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        (&self.wire.socket).write_all(bytes.as_ref())
    }

    /// Sends `piece` bytes at a time with a pause between them.
    #[track_caller]
    pub fn send_in_pieces(&mut self, bytes: impl AsRef<[u8]>, piece: usize, between: Duration) {
        for part in bytes.as_ref().chunks(piece) {
            self.send(part);
            pause(between);
        }
    }

    /// Sends the next `length` bytes of the pattern.
    pub fn send_pattern(&mut self, pattern: &mut Pattern, mut length: u64) -> io::Result<()> {
        let mut piece = vec![0; 64 * 1024];
        while length > 0 {
            let part = usize::try_from(length).unwrap_or(usize::MAX).min(piece.len());
            pattern.fill(&mut piece[..part]);
            self.try_send(&piece[..part])?;
            length -= part as u64;
        }
        Ok(())
    }

    /// One answer to a request of `method` (a `HEAD` has no body). Panics if no head comes.
    #[track_caller]
    pub fn read_response(&mut self, method: &str) -> Response {
        self.try_read_response(method).unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// One answer, or why none came: `UnexpectedEof` for a close, `ConnectionReset`, or `WouldBlock` after ten seconds.
    pub fn try_read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut informational = Vec::new();
        loop {
            let head = self.try_read_head()?;
            let status = head.word(1).parse().map_err(|_| io::Error::other(format!("status line {:?}", head.start)))?;
            if (100..200).contains(&status) && status != 101 {
                informational.push(head);
                continue;
            }
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let framing = if bodiless { Framing::Length(0) } else { head.framing(Framing::UntilClose) };
            let (body, trailers, end) = self.read_body(framing);
            return Ok(Response { status, head, body, trailers, informational, end });
        }
    }

    /// The next final head, and how its body is to be read: piece by piece. An answer that is no 200 is read whole.
    #[track_caller]
    pub(crate) fn read_begun(&mut self) -> (Response, Pieces) {
        let head = self.read_head();
        let status = head.word(1).parse().unwrap_or_default();
        let framing = head.framing(Framing::UntilClose);
        let (body, trailers, end) = match status {
            200 => (Vec::new(), Headers::default(), End::Cut),
            _ => self.read_body(framing),
        };
        (Response { status, head, body, trailers, informational: Vec::new(), end }, Pieces(framing))
    }

    /// The next piece of a body, a chunk where there are chunks. None: its end.
    pub(crate) fn read_piece(&mut self, Pieces(framing): &mut Pieces) -> io::Result<Option<Vec<u8>>> {
        match framing {
            Framing::Chunked => self.wire.chunk(),
            Framing::UntilClose => Ok(Some(self.read_some()?).filter(|piece| !piece.is_empty())),
            Framing::Length(left) => {
                let mut piece = Vec::new();
                *left -= self.wire.some(*left, &mut |_, data| piece.extend_from_slice(data))?;
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
        }
    }

    /// What is there or comes next; nothing at the end.
    pub(crate) fn read_some(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        self.wire.some(u64::MAX, &mut |_, data| piece.extend_from_slice(data))?;
        Ok(piece)
    }

    /// The next head alone, leaving its body to be read at the test's pace.
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        self.try_read_head().unwrap_or_else(|error| panic!("no head: {error}"))
    }

    /// Exactly `length` raw bytes.
    #[track_caller]
    pub fn read_exactly(&mut self, length: u64) -> Vec<u8> {
        let mut all = Vec::new();
        let read = self.wire.exactly(length, &mut |_, data| all.extend_from_slice(data));
        read.unwrap_or_else(|error| panic!("{} of {length} bytes, then {error}", all.len()));
        all
    }

    /// Everything until the peer ends, and whether that was a clean end.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let (body, _, end) = self.read_body(Framing::UntilClose);
        (body, end)
    }

    /// Reads a byte at a time, `bytes_per_second`, for `time`; checks them against the pattern.
    #[track_caller]
    pub fn read_slowly(&mut self, pattern: &mut Pattern, bytes_per_second: u32, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.read_pattern(pattern, 1);
            pause(Duration::from_secs(1) / bytes_per_second);
        }
    }

    /// Reads the next `length` bytes and panics at the first piece that is not the pattern.
    #[track_caller]
    pub fn read_pattern(&mut self, pattern: &mut Pattern, length: u64) {
        let mut wrong = None;
        let read = self.wire.exactly(length, &mut |_, data| {
            let at = pattern.position();
            if !pattern.matches(data) {
                wrong.get_or_insert(at);
            }
        });
        read.unwrap_or_else(|error| panic!("after {} bytes: {error}", pattern.position()));
        assert_eq!(wrong, None, "bytes differ from the pattern in the piece at this position");
    }

    /// Ends our direction and goes on reading.
    pub fn half_close(&self) {
        let _ = self.wire.socket.shutdown(Shutdown::Write);
    }

    /// Drops the connection with a reset.
    pub fn reset(self) {
        let _ = self.wire.socket.reset_on_close();
    }

    /// Whether the peer ends the connection, cleanly or by reset, within `deadline`, without another byte.
    pub fn is_closed_within(&mut self, deadline: Duration) -> bool {
        let _ = self.wire.socket.set_timeout(Some(deadline));
        let outcome = self.wire.some(1, &mut |_, _| ());
        let _ = self.wire.socket.set_timeout(Some(Duration::from_secs(10)));
        match outcome {
            Ok(got) => got == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    /// The connection itself, for buffers, time-outs and second handles.
    pub fn socket(&self) -> &Socket {
        &self.wire.socket
    }

    fn try_read_head(&mut self) -> io::Result<Head> {
        self.wire.head()?.map(|raw| Head::parse(&raw)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn read_body(&mut self, framing: Framing) -> (Vec<u8>, Headers, End) {
        let mut body = Vec::new();
        let read = self.wire.body(framing, &mut |_, data| body.extend_from_slice(data));
        match read {
            Ok(trailers) if framing == Framing::UntilClose => (body, trailers, End::Closed),
            Ok(trailers) => (body, trailers, End::Framed),
            Err(_) => (body, Headers::default(), End::Cut),
        }
    }
}
