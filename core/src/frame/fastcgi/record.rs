//! Records, in: the output of an application, without what stands around it.

use std::fmt;

use super::{HEADER, REQUEST, VERSION, kind};

/// Bytes of the error stream that are kept for the log: a screenful.
const STDERR_KEPT: usize = 2 << 10;

/// Bytes of the error stream in a request, its records' headers and padding counted. An application that floods us with
/// them makes no progress, and keeps every time-out from noticing. A record of output brings a byte of it at least.
const ASIDE_MAX: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header { have: usize },
    Content { kind: u8, left: u16, padding: u8 },
    Padding { left: u8 },
    Done,
}

/// Why records were refused. The connection they came on cannot be used any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError(&'static str);

/// What one call of [`RecordDecoder::decode`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes taken from the front of the buffer: all of them, before the end.
    pub consumed: usize,
    /// Bytes of output, now at the front of the buffer.
    pub data: usize,
    /// How the request ended, once it has.
    pub end: Option<End>,
}

/// The application's last word (FastCGI 1.0 §5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It ran; what it returned.
    Complete(u32),
    /// It takes one request at a time, and has one.
    CannotMultiplex,
    /// It has no room; nothing of the request was looked at.
    Overloaded,
    /// It is no responder.
    UnknownRole,
}

/// Takes the records of one answer apart, however they were split.
#[derive(Debug)]
pub struct RecordDecoder {
    state: State,
    header: [u8; HEADER],
    /// The body of an end record, as far as it came.
    end_body: [u8; HEADER],
    end_have: usize,
    end: Option<End>,
    output_over: bool,
    stderr_over: bool,
    stderr: Vec<u8>,
    stderr_cut: bool,
    aside: u64,
}

impl Default for RecordDecoder {
    fn default() -> Self {
        Self {
            state: State::Header { have: 0 },
            header: [0; HEADER],
            end_body: [0; HEADER],
            end_have: 0,
            end: None,
            output_over: false,
            stderr_over: false,
            stderr: Vec::new(),
            stderr_cut: false,
            aside: 0,
        }
    }
}

impl RecordDecoder {
    /// Moves the output of all records in `buffer` to its front.
    ///
    /// What stands at `buffer[consumed..]` is untouched; nothing is there before the end, nothing should be after it.
    ///
    /// # Errors
    /// At the first record that an application may not send to a responder's request, or when 16 MiB were no output.
    /// The decoder is of no use after it.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Result<Decoded, RecordError> {
        let (mut consumed, mut data) = (0, 0);
        while consumed < buffer.len() && self.state != State::Done {
            let available = buffer.len() - consumed;
            match self.state {
                State::Header { have } => {
                    let n = available.min(HEADER - have);
                    self.header[have..have + n].copy_from_slice(&buffer[consumed..consumed + n]);
                    consumed += n;
                    self.state = match have + n {
                        HEADER => self.read_header()?,
                        have => State::Header { have },
                    };
                }
                State::Content { kind, left, padding } => {
                    let n = available.min(usize::from(left));
                    if kind == kind::STDOUT {
                        if consumed != data {
                            buffer.copy_within(consumed..consumed + n, data);
                        }
                        data += n;
                    } else {
                        self.read_aside(kind, &buffer[consumed..consumed + n])?;
                    }
                    consumed += n;
                    let left = left - u16::try_from(n).unwrap_or(left);
                    self.state = self.after(kind, left, padding);
                }
                State::Padding { left } => {
                    let n = u8::try_from(available).map_or(left, |available| available.min(left));
                    consumed += usize::from(n);
                    self.state = self.after(0, 0, left - n);
                }
                State::Done => {}
            }
        }
        let end = self.end.filter(|_| self.state == State::Done);
        Ok(Decoded { consumed, data, end })
    }

    /// What came of the error stream so far, 2 KiB at most, and whether there was more; both are forgotten here.
    pub fn take_stderr(&mut self) -> Option<(Vec<u8>, bool)> {
        let taken = (std::mem::take(&mut self.stderr), std::mem::take(&mut self.stderr_cut));
        (!taken.0.is_empty()).then_some(taken)
    }

    fn read_header(&mut self) -> Result<State, RecordError> {
        let [version, kind, id_high, id_low, high, low, padding, _reserved] = self.header;
        let (id, length) = (u16::from_be_bytes([id_high, id_low]), u16::from_be_bytes([high, low]));
        if version != VERSION {
            return Err(RecordError("a record of another version"));
        }
        if id != REQUEST {
            return Err(RecordError("a record of another request"));
        }
        let over = match kind {
            kind::STDOUT => &mut self.output_over,
            kind::STDERR => &mut self.stderr_over,
            kind::END_REQUEST if usize::from(length) == HEADER => return Ok(self.after(kind, length, padding)),
            kind::END_REQUEST => return Err(RecordError("an end of another length than 8")),
            _ => return Err(RecordError("a record of a type that no answer has")),
        };
        // An empty record is the end of its stream (FastCGI 1.0 §3.3).
        if std::mem::replace(over, length == 0) {
            return Err(RecordError("a record of a stream that had ended"));
        }
        if kind == kind::STDERR {
            self.count_aside(HEADER as u64 + u64::from(padding))?;
        }
        Ok(self.after(kind, length, padding))
    }

    /// What follows when `left` bytes of content and then `padding` are to come.
    fn after(&self, kind: u8, left: u16, padding: u8) -> State {
        match (left, padding) {
            (1.., _) => State::Content { kind, left, padding },
            (0, 1..) => State::Padding { left: padding },
            (0, 0) if self.end.is_some() => State::Done,
            (0, 0) => State::Header { have: 0 },
        }
    }

    fn read_aside(&mut self, kind: u8, content: &[u8]) -> Result<(), RecordError> {
        if kind == kind::STDERR {
            let room = STDERR_KEPT - self.stderr.len().min(STDERR_KEPT);
            self.stderr.extend_from_slice(&content[..content.len().min(room)]);
            self.stderr_cut |= content.len() > room;
            return self.count_aside(content.len() as u64);
        }
        for &byte in content {
            self.end_body[self.end_have] = byte;
            self.end_have += 1;
        }
        if self.end_have == HEADER {
            let [a, b, c, d, status, ..] = self.end_body;
            self.end = Some(match status {
                0 => End::Complete(u32::from_be_bytes([a, b, c, d])),
                1 => End::CannotMultiplex,
                2 => End::Overloaded,
                3 => End::UnknownRole,
                _ => return Err(RecordError("an end for a reason that nobody knows")),
            });
        }
        Ok(())
    }

    fn count_aside(&mut self, bytes: u64) -> Result<(), RecordError> {
        self.aside += bytes;
        if self.aside > ASIDE_MAX {
            return Err(RecordError("more on the error stream than anybody would read"));
        }
        Ok(())
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "malformed FastCGI: {}", self.0)
    }
}

impl std::error::Error for RecordError {}
