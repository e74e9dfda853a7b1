//! Messages over a stream of bytes, as programs write them: lines, bytes as they come, or each behind its length.
//!
//! **Invariant:** what a stream is cut into depends on its bytes alone, unless it is [`Framing::Raw`]; nothing is looked
//! at twice, and nothing longer than its bound is waited for.

use std::fmt;

use memchr::memchr;

use crate::config::Framing;

/// Bytes of a length.
const LENGTH: usize = 4;

/// Cuts one stream.
#[derive(Debug, Clone)]
pub struct Cutter {
    framing: Framing,
    max: usize,
    /// Bytes from the front that are known to hold no end of a line.
    searched: usize,
}

/// A message that is longer than it may be; nothing after it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Cutter {
    /// `max`: bytes of a message.
    pub fn new(framing: Framing, max: usize) -> Self {
        Self { framing, max, searched: 0 }
    }

    /// The message at the front of `bytes`, and how many of them it takes with what frames it; they are not to be given
    /// again. None: more is needed, and what is there must be given again with it.
    ///
    /// # Errors
    /// It is too long, as far as can be told.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, TooLong> {
        match self.framing {
            Framing::Lines => self.line(bytes),
            Framing::Raw if bytes.is_empty() => Ok(None),
            Framing::Raw => {
                let piece = &bytes[..bytes.len().min(self.max)];
                Ok(Some((piece, piece.len())))
            }
            Framing::Length => self.measured(bytes),
        }
    }

    /// Bytes that there must be room for, so that each message of the right length can be given whole.
    pub fn room(&self) -> usize {
        match self.framing {
            Framing::Lines => self.max.saturating_add(2),
            Framing::Raw => 1,
            Framing::Length => self.max.saturating_add(LENGTH),
        }
    }

    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, TooLong> {
        let from = self.searched.min(bytes.len());
        let Some(end) = memchr(b'\n', &bytes[from..]) else {
            self.searched = bytes.len();
            // A carriage return may be part of the end.
            let is_whole = bytes.len() > self.max && (bytes.len() > self.max + 1 || bytes[self.max] != b'\r');
            return if is_whole { Err(TooLong) } else { Ok(None) };
        };
        self.searched = 0;
        let end = from + end;
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        if line.len() > self.max { Err(TooLong) } else { Ok(Some((line, end + 1))) }
    }

    fn measured<'a>(&self, bytes: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, TooLong> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        match rest.get(..length) {
            _ if length > self.max => Err(TooLong),
            Some(message) => Ok(Some((message, LENGTH + length))),
            None => Ok(None),
        }
    }
}

/// Puts a message onto a stream. A message behind its length has 2^32 - 1 bytes at most; one that has more is left out.
pub fn write(framing: Framing, message: &[u8], out: &mut Vec<u8>) {
    match framing {
        Framing::Lines => {
            out.reserve(message.len() + 1);
            out.extend_from_slice(message);
            out.push(b'\n');
        }
        Framing::Raw => out.extend_from_slice(message),
        Framing::Length => {
            let Ok(length) = u32::try_from(message.len()) else { return };
            out.reserve(message.len() + LENGTH);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(message);
        }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a message longer than allowed")
    }
}

impl std::error::Error for TooLong {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a stream is cut into that arrives in these pieces, and whether it breaks.
    fn cut(framing: Framing, max: usize, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
        let (mut cutter, mut held, mut messages) = (Cutter::new(framing, max), Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            loop {
                match cutter.next(&held) {
                    Ok(Some((message, taken))) => {
                        messages.push(message.to_vec());
                        held.drain(..taken);
                    }
                    Ok(None) => break,
                    Err(TooLong) => return (messages, true),
                }
            }
            assert!(held.len() < cutter.room(), "{} bytes are held back", held.len());
        }
        (messages, false)
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be_without_its_end() {
        for (stream, cut_into) in [
            ("abc\n", Ok(vec!["abc"])),
            ("abc\r\n", Ok(vec!["abc"])),
            ("\n\r\n\r\r\n", Ok(vec!["", "", "\r"])),
            ("a\rb\nc", Ok(vec!["a\rb"])),
            ("abc\r", Ok(vec![])),
            ("abcd", Err(vec![])),
            ("abc\rd", Err(vec![])),
            ("ab\nabcd\n", Err(vec!["ab"])),
        ] {
            let (messages, is_too_long) = cut(Framing::Lines, 3, &[stream.as_bytes()]);
            let messages: Vec<_> = messages.iter().map(|message| str::from_utf8(message).unwrap()).collect();
            assert_eq!(if is_too_long { Err(messages) } else { Ok(messages) }, cut_into, "{stream:?}");
        }
    }

    #[test]
    fn a_length_that_is_too_long_is_refused_when_it_is_read() {
        assert_eq!(Cutter::new(Framing::Length, 3).next(b"\0\0\0\x04"), Err(TooLong));
        assert_eq!(Cutter::new(Framing::Length, usize::MAX).next(b"\xff\xff\xff\xff1"), Ok(None));
        assert_eq!(Cutter::new(Framing::Length, 3).next(b"\0\0\0\x00"), Ok(Some((&b""[..], 4))));
    }

    #[test]
    fn bytes_come_as_they_are_in_pieces_of_their_bound() {
        assert_eq!(cut(Framing::Raw, 2, &[b"abc", b"", b"d\n"]).0, [&b"ab"[..], b"c", b"d\n"]);
    }

    fn framing() -> impl Strategy<Value = Framing> {
        prop_oneof![Just(Framing::Lines), Just(Framing::Length)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(framing in framing(), messages: Vec<Vec<u8>>) {
            let legal = |message: &Vec<u8>| framing == Framing::Length || !message.contains(&b'\n') && !message.ends_with(b"\r");
            let messages: Vec<_> = messages.into_iter().filter(legal).collect();
            let mut stream = Vec::new();
            messages.iter().for_each(|message| write(framing, message, &mut stream));
            prop_assert_eq!(cut(framing, 1000, &[&stream]), (messages, false));
        }
    }
}
