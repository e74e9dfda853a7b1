//! Content of an open file: read in pieces, or sent by the kernel.

use std::{
    fs::File,
    io,
    os::{fd::BorrowedFd, unix::fs::FileExt},
    rc::Rc,
};

use crate::{
    error::{Fault, Kind},
    stream::Buffer,
};

/// Below this a read and one write with the head cost less than the extra system call of sendfile.
const SENDFILE_MIN: u64 = 64 << 10;

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// A range of a file.
pub struct FileBody {
    file: Rc<File>,
    offset: u64,
    remaining: u64,
    buffer: Option<Buffer>,
}

impl FileBody {
    /// `length` bytes of `file` from `offset`.
    pub fn new(file: Rc<File>, offset: u64, length: u64) -> Self {
        Self { file, offset, remaining: length, buffer: None }
    }

    /// Bytes not yet consumed.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the kernel should send what is left.
    pub fn wants_sendfile(&self) -> bool {
        self.buffer.is_none() && self.remaining >= SENDFILE_MIN
    }

    /// Sends once from the file to `socket`; 0 means that the file has become shorter.
    pub fn sendfile(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let n = rustix::fs::sendfile(socket, &*self.file, Some(&mut self.offset), most)?;
        self.remaining -= n as u64;
        Ok(n)
    }

    /// Makes sure that there is a chunk; false at the end.
    pub fn fill(&mut self) -> Result<bool, Fault> {
        if self.buffer.as_ref().is_some_and(|buffer| !buffer.is_empty()) {
            return Ok(true);
        }
        if self.remaining == 0 {
            return Ok(false);
        }
        let most = usize::try_from(self.remaining).unwrap_or(PIECE).min(PIECE);
        let mut buffer = self.buffer.take().unwrap_or_else(|| Buffer::take(most));
        let room = buffer.spare();
        let most = most.min(room.len());
        match self.file.read_at(&mut room[..most], self.offset) {
            Ok(0) => Err(Fault::new(Kind::File, "the file became shorter while it was sent")),
            Ok(n) => {
                buffer.commit(n);
                self.offset += n as u64;
                self.buffer = Some(buffer);
                Ok(true)
            }
            Err(e) => Err(Fault::new(Kind::File, e.to_string())),
        }
    }

    /// The bytes read and not yet consumed.
    pub fn chunk(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::filled)
    }

    /// Forgets the first `n` bytes of the chunk.
    pub fn consume(&mut self, n: usize) {
        self.remaining -= n as u64;
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(n);
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
    }
}
