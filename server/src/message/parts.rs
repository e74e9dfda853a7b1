//! Several ranges of a file in one body, each with its own head: `multipart/byteranges` (RFC 9110 §14.6).

use std::{fs::File, rc::Rc};

use bytes::{Buf, Bytes};

use super::FileBody;
use crate::error::Fault;

/// One range and the text in front of it: delimiter and fields.
pub struct Part {
    /// Sent before the bytes.
    pub head: Bytes,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// Parts that are read one after the other: one piece of one of them is in memory.
pub struct PartsBody {
    file: Rc<File>,
    left: std::vec::IntoIter<Part>,
    /// Text that goes before the bytes of `current`.
    text: Bytes,
    current: FileBody,
    closing: Bytes,
    remaining: u64,
}

impl PartsBody {
    /// `parts` of `file` in this order, then `closing`.
    pub fn new(file: Rc<File>, parts: Vec<Part>, closing: Bytes) -> Self {
        let bytes: u64 = parts.iter().map(|part| part.head.len() as u64 + part.length).sum();
        let remaining = bytes + closing.len() as u64;
        let current = FileBody::new(Rc::clone(&file), 0, 0);
        Self { file, left: parts.into_iter(), text: Bytes::new(), current, closing, remaining }
    }

    /// Bytes not yet consumed, heads counted.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Makes sure that there is a chunk; false at the end.
    pub fn fill(&mut self) -> Result<bool, Fault> {
        loop {
            if !self.text.is_empty() || self.current.fill()? {
                return Ok(true);
            }
            match self.left.next() {
                Some(part) => {
                    self.text = part.head;
                    self.current = FileBody::new(Rc::clone(&self.file), part.offset, part.length);
                }
                None if self.closing.is_empty() => return Ok(false),
                None => self.text = std::mem::take(&mut self.closing),
            }
        }
    }

    /// The bytes at hand.
    pub fn chunk(&self) -> &[u8] {
        if self.text.is_empty() { self.current.chunk() } else { &self.text }
    }

    /// Forgets the first `n` bytes of the chunk.
    pub fn consume(&mut self, n: usize) {
        self.remaining -= n as u64;
        match self.text.is_empty() {
            true => self.current.consume(n),
            false => self.text.advance(n),
        }
    }
}
