//! Chunked bodies (RFC 9112 §7.1): chunks in any split become plain bytes, in place.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::{
    HeadLimits,
    fields::{Copied, read_trailers},
    head::lines_end_in_crlf,
};

/// Bytes of one chunk's extensions; nobody sends any.
const EXTENSION_MAX: usize = 256;

/// Bytes of all chunks' extensions in a body, so that a peer can't make us read forever for nothing.
const EXTENSIONS_MAX: usize = 16 << 10;

/// Digits of a chunk size: as many as fit.
const DIGITS_MAX: u8 = 16;

/// Why a chunked body was refused; where it ends is not known, so the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkError(&'static str);

impl std::fmt::Display for ChunkError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "malformed chunked body: {}", self.0)
    }
}

impl std::error::Error for ChunkError {}

/// What one call of [`ChunkedDecoder::decode`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of input that are done with; at least `data`.
    pub consumed: usize,
    /// Bytes of body that now stand at the front of the buffer.
    pub data: usize,
    /// The body and its trailers are complete.
    pub done: bool,
}

/// Reads one chunked body; any split of the input gives the same bytes.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of all extensions so far.
    extensions: usize,
    /// The trailer section so far; empty while there are no trailers.
    section: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// What may not come out of the trailer section.
    withheld: Withheld,
    limits: HeadLimits,
}

#[derive(Debug)]
enum Withheld {
    Names(Vec<HeaderName>),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size {
        digits: u8,
        size: u64,
    },
    /// After the size, `;` included.
    Extension {
        length: usize,
        size: u64,
    },
    /// The line feed of a size line must follow.
    SizeEnd {
        size: u64,
    },
    /// So many bytes of data are left, never 0.
    Data {
        left: u64,
    },
    /// The line end after the data must follow.
    DataCr,
    DataLf,
    /// After the last chunk, at the given byte of a line.
    Trailers {
        column: usize,
    },
    Done,
}

impl ChunkedDecoder {
    /// A decoder at the start of a body. The trailer section has the bounds of a head.
    pub fn new(limits: &HeadLimits) -> Self {
        let state = State::Size { digits: 0, size: 0 };
        Self {
            state,
            extensions: 0,
            section: Vec::new(),
            trailers: None,
            withheld: Withheld::Names(Vec::new()),
            limits: *limits,
        }
    }

    /// Leaves trailers of this name out: somebody decided what the head says under it, and a reader that merges both
    /// would believe the sender instead.
    pub fn withhold(&mut self, name: &HeaderName) {
        if let Withheld::Names(names) = &mut self.withheld
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }

    /// Leaves all trailers out.
    pub fn withhold_all(&mut self) {
        self.withheld = Withheld::All;
    }

    /// Moves the data of all chunks in `buffer` to its front.
    ///
    /// What stands at `buffer[consumed..]` is untouched; it is the next message once `done`, and empty before that.
    /// Nothing moves while the buffer begins with data of a chunk that is open.
    ///
    /// # Errors
    /// At the first byte that RFC 9112 §7.1 doesn't have there, or over a limit. The decoder is of no use after it.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Result<Decoded, ChunkError> {
        let (mut consumed, mut data) = (0, 0);
        while consumed < buffer.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let available = buffer.len() - consumed;
                let length = usize::try_from(left).map_or(available, |left| left.min(available));
                if consumed != data {
                    buffer.copy_within(consumed..consumed + length, data);
                }
                consumed += length;
                data += length;
                self.state = match left - length as u64 {
                    0 => State::DataCr,
                    left => State::Data { left },
                };
                continue;
            }
            self.state = self.step(buffer[consumed])?;
            consumed += 1;
        }
        Ok(Decoded { consumed, data, done: self.state == State::Done })
    }

    /// The trailers, once; None if the body is not complete or had none that may be kept.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        let mut trailers = self.trailers.take()?;
        match &self.withheld {
            Withheld::Names(names) => names.iter().for_each(|name| drop(trailers.remove(name))),
            Withheld::All => return None,
        }
        Some(trailers).filter(|trailers| !trailers.is_empty())
    }

    /// Takes one byte outside of data.
    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        Ok(match (self.state, byte) {
            (State::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == DIGITS_MAX {
                    return Err(ChunkError("a size of too many digits"));
                }
                State::Size { digits: digits + 1, size: size << 4 | u64::from(hex(byte)) }
            }
            (State::Size { digits: 1.., size }, b'\r') => State::SizeEnd { size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { length: 0, size },
            (State::Size { .. }, _) => return Err(ChunkError("a size that is no number")),
            (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
            (State::Extension { length, size }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extensions += 1;
                if length == EXTENSION_MAX || self.extensions > EXTENSIONS_MAX {
                    return Err(ChunkError("extensions too long"));
                }
                State::Extension { length: length + 1, size }
            }
            (State::Extension { .. }, _) => return Err(ChunkError("a control character in an extension")),
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers { column: 0 },
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
            (State::SizeEnd { .. }, _) => return Err(ChunkError("a bare CR after a size")),
            (State::DataCr | State::DataLf, _) => return Err(ChunkError("no line end after a chunk")),
            (State::Trailers { column }, _) => self.trailer_byte(column, byte)?,
            (State::Data { .. } | State::Done, _) => self.state,
        })
    }

    fn trailer_byte(&mut self, column: usize, byte: u8) -> Result<State, ChunkError> {
        if self.section.len() >= self.limits.head {
            return Err(ChunkError("trailers too large"));
        }
        self.section.push(byte);
        let line_ends = byte == b'\n';
        if !line_ends {
            return Ok(State::Trailers { column: column + 1 });
        }
        if column == 1 && self.section.ends_with(b"\r\n") {
            self.read_section()?;
            return Ok(State::Done);
        }
        if !self.section.ends_with(b"\r\n") {
            return Err(ChunkError("a bare LF in the trailers"));
        }
        Ok(State::Trailers { column: 0 })
    }

    fn read_section(&mut self) -> Result<(), ChunkError> {
        let read = std::mem::take(&mut self.section);
        if read.len() == 2 {
            return Ok(());
        }
        lines_end_in_crlf(&read).map_err(|_| ChunkError("a bare LF in the trailers"))?;
        let mut slots = vec![httparse::EMPTY_HEADER; self.limits.headers.min(read.len() / 4)];
        let fields = match httparse::parse_headers(&read, &mut slots) {
            Ok(httparse::Status::Complete((length, fields))) if length == read.len() => fields,
            Err(httparse::Error::TooManyHeaders) => return Err(ChunkError("too many trailers")),
            _ => return Err(ChunkError("a malformed trailer")),
        };
        let copied = Copied { read: &read, kept: Bytes::copy_from_slice(&read) };
        let trailers = read_trailers(fields, &copied).map_err(|_| ChunkError("a malformed trailer"))?;
        self.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        Ok(())
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
