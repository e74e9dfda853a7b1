//! Reading HTTP/1 off a socket, leniently: heads, and bodies by their framing. What is judged is judged by the test.

use std::{
    fmt,
    io::{self, Read},
};

use crate::Socket;

/// A start line and its header fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// `GET / HTTP/1.1` or `HTTP/1.1 200 OK`
    pub start: String,
    /// In the order received.
    pub headers: Headers,
}

/// Header or trailer fields in the order received; look-ups ignore case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.0.iter().map(|(name, value)| (name, value))).finish()
    }
}

impl Head {
    /// Splits at line ends and first colons; what has no colon is left out.
    pub(crate) fn parse(raw: &[u8]) -> Head {
        let text = String::from_utf8_lossy(raw);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        Head { start, headers: Headers(fields.map(|(name, value)| (name.into(), value.trim().into())).collect()) }
    }

    /// The word of the start line at `index`, or nothing.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// How the body of a message with this head ends, if it has one.
    pub(crate) fn framing(&self, without: Framing) -> Framing {
        let chunked = self.headers.all("transfer-encoding").last().is_some_and(|codings| codings.ends_with("chunked"));
        if chunked {
            return Framing::Chunked;
        }
        self.headers.get("content-length").and_then(|length| length.parse().ok()).map_or(without, Framing::Length)
    }
}

/// How a body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A socket and what was read beyond the last message.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) socket: Socket,
    buffer: Vec<u8>,
}

/// Takes the raw bytes of a body and, of those, the decoded ones.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

impl Wire {
    pub(crate) fn new(socket: Socket) -> Wire {
        Wire { socket, buffer: Vec::new() }
    }

    /// A head with its empty line as it came; none if the peer ended before its first byte.
    pub(crate) fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(Some(self.take(at + 4)));
            }
            if !self.fill()? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// A whole body, piece by piece, and its trailers. `UnexpectedEof` if it was cut short.
    pub(crate) fn body(&mut self, framing: Framing, sink: Sink<'_>) -> io::Result<Headers> {
        match framing {
            Framing::Length(length) => self.exactly(length, sink)?,
            Framing::UntilClose => while self.some(u64::MAX, sink)? > 0 {},
            Framing::Chunked => return self.chunks(sink),
        }
        Ok(Headers::default())
    }

    /// Up to `limit` bytes that are there or come next; 0 at the end.
    pub(crate) fn some(&mut self, limit: u64, sink: Sink<'_>) -> io::Result<u64> {
        if limit == 0 || (self.buffer.is_empty() && !self.fill()?) {
            return Ok(0);
        }
        let taken = self.take(self.buffer.len().min(usize::try_from(limit).unwrap_or(usize::MAX)));
        sink(&taken, &taken);
        Ok(taken.len() as u64)
    }

    /// Exactly `length` bytes.
    pub(crate) fn exactly(&mut self, mut length: u64, sink: Sink<'_>) -> io::Result<()> {
        while length > 0 {
            match self.some(length, sink)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => length -= got,
            }
        }
        Ok(())
    }

    /// The next chunk of a chunked body; none at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = chunk_size(&self.line()?)?;
        if size == 0 {
            return self.trailers(&mut |_, _| ()).map(|_| None);
        }
        let mut chunk = Vec::new();
        self.exactly(size, &mut |_, data| chunk.extend_from_slice(data))?;
        self.line()?;
        Ok(Some(chunk))
    }

    fn chunks(&mut self, sink: Sink<'_>) -> io::Result<Headers> {
        loop {
            let line = self.line()?;
            sink(&line, b"");
            let size = chunk_size(&line)?;
            if size == 0 {
                return self.trailers(sink);
            }
            self.exactly(size, sink)?;
            let end = self.line()?;
            sink(&end, b"");
        }
    }

    fn trailers(&mut self, sink: Sink<'_>) -> io::Result<Headers> {
        let mut all = b"\r\n".to_vec();
        loop {
            let line = self.line()?;
            sink(&line, b"");
            all.extend_from_slice(&line);
            if line == b"\r\n" {
                return Ok(Head::parse(&all).headers);
            }
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Ok(self.take(at + 1));
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 * 1024];
        let got = (&self.socket).read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..got]);
        Ok(got > 0)
    }
}

fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let text = String::from_utf8_lossy(line);
    let digits = text.trim_end().split(';').next().unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| io::Error::other(format!("chunk size {text:?}")))
}
