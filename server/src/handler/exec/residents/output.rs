//! What a resident process says.

use std::io;

use bytes::{Buf, BytesMut};
use rsp_core::{config::Talk, frame::messages::Cutter};
use tokio::{io::AsyncReadExt, net::unix::pipe};

/// Bytes that are read at once: as much as a pipe holds.
const PIECE: usize = 64 << 10;

/// What a process says, cut into messages.
pub struct Output {
    pipe: pipe::Receiver,
    held: BytesMut,
    cutter: Cutter,
    line_max: usize,
}

impl Output {
    /// With the framing and the bound of `talk`.
    pub fn new(pipe: pipe::Receiver, talk: &Talk) -> Self {
        Self { pipe, held: BytesMut::new(), cutter: Cutter::new(talk.framing, talk.line_max), line_max: talk.line_max }
    }

    /// Waits for more; false: there is no more.
    pub async fn more(&mut self) -> io::Result<bool> {
        self.held.reserve(PIECE);
        Ok(self.pipe.read_buf(&mut self.held).await? > 0)
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// It is too long, for a person.
    pub fn next(&mut self) -> Result<Option<Box<[u8]>>, String> {
        match self.cutter.next(&self.held) {
            Ok(None) => Ok(None),
            Ok(Some((message, taken))) => {
                let message = message.into();
                self.held.advance(taken);
                Ok(Some(message))
            }
            Err(_) => Err(format!("said a message of more than {} bytes", self.line_max)),
        }
    }
}
