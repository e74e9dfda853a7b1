//! What a far side brings, as the bytes that its client is spoken to in.

use std::{fmt::Write, rc::Rc};

use base64::{Engine, engine::general_purpose::STANDARD};
use rsp_core::frame::{
    event_stream,
    websocket::{Header, Opcode},
};

use super::compress::Deflaters;

/// Bytes that are enough for one write.
const FULL: usize = 64 << 10;

/// Messages on their way to a client, encoded as it is spoken to.
pub struct Brought {
    frames: Vec<u8>,
    /// How much of it is out.
    sent: usize,
    speech: Speech,
}

/// How a client is spoken to.
pub(super) enum Speech {
    /// Frames; with the bits of the window of the compression that was agreed on.
    Frames(Option<(u8, Rc<Deflaters>)>),
    /// Events, each a chunk if need be.
    Events { is_chunked: bool },
}

impl Brought {
    pub(super) fn new(speech: Speech) -> Self {
        Self { frames: Vec::new(), sent: 0, speech }
    }

    /// Adds a message; text that is not UTF-8 goes as bytes.
    pub fn message(&mut self, message: &[u8], is_text: bool) {
        let text = if is_text { str::from_utf8(message).ok() } else { None };
        match &self.speech {
            Speech::Frames(compression) => {
                let opcode = if text.is_some() { Opcode::Text } else { Opcode::Binary };
                let deflated = compression.as_ref().and_then(|(window, all)| all.deflate(*window, message));
                self.frame(opcode, deflated.as_deref().unwrap_or(message), deflated.is_some());
            }
            Speech::Events { .. } => match text {
                Some(text) => self.event(None, text),
                None => self.event(Some("binary"), &STANDARD.encode(message)),
            },
        }
    }

    /// Whether it is enough for one write.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= FULL
    }

    /// Adds a frame of a WebSocket.
    pub(super) fn frame(&mut self, opcode: Opcode, payload: &[u8], is_compressed: bool) {
        let length = payload.len() as u64;
        self.frames.reserve(payload.len() + 14);
        Header { is_final: true, is_compressed, opcode, length, mask: None }.write(&mut self.frames);
        self.frames.extend_from_slice(payload);
    }

    /// Adds an event of an event stream.
    pub(super) fn event(&mut self, name: Option<&str>, data: &str) {
        let mut event = String::with_capacity(data.len() + 16);
        event_stream::Event { id: None, name, data }.write(&mut event);
        self.piece(event.as_bytes());
    }

    /// Adds bytes of an event stream.
    pub(super) fn piece(&mut self, piece: &[u8]) {
        let is_chunked = matches!(self.speech, Speech::Events { is_chunked: true });
        if !is_chunked {
            return self.frames.extend_from_slice(piece);
        }
        let mut size = String::with_capacity(18);
        // Writing to a string can't fail.
        let _ = write!(size, "{:x}\r\n", piece.len());
        self.frames.reserve(size.len() + piece.len() + 2);
        for part in [size.as_bytes(), piece, b"\r\n"] {
            self.frames.extend_from_slice(part);
        }
    }

    /// Adds the end of the body.
    pub(super) fn last_piece(&mut self) {
        if let Speech::Events { is_chunked: true } = self.speech {
            self.frames.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// What is not out yet.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.frames[self.sent..]
    }

    /// Forgets what is out. Nothing is held when everything is.
    pub(super) fn forget(&mut self, n: usize) {
        self.sent += n;
        if self.sent == self.frames.len() {
            self.frames = Vec::new();
            self.sent = 0;
        }
    }
}
