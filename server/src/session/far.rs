//! The far side of a talk.

use std::task::{Context, Poll};

/// What a client talks with.
pub trait Far: 'static {
    /// Ready when it takes another message; drives what it was given before on its way. One that takes nothing any more is
    /// ready, and drops what it is given.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes a client's message; only after [`poll_room`](Self::poll_room) was ready.
    fn give(&mut self, message: &[u8], is_text: bool);

    /// Brings messages for the client, at least one, until there are no more or `brought` is full.
    ///
    /// # Errors
    /// Its end; nothing more will come.
    fn poll_bring(&mut self, cx: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>>;
}

/// Why a far side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It said all it had to say: 1000.
    Done,
    /// A message was longer than it may be: 1009.
    TooLong,
    /// It broke off: 1011.
    Failed,
    /// The client was too slow for it: 1013.
    Slow,
}

/// Messages on their way to a client, encoded as it is spoken to.
pub struct Brought {
    frames: Vec<u8>,
}

impl Brought {
    /// Adds a message; text that is not UTF-8 goes as bytes.
    pub fn message(&mut self, message: &[u8], is_text: bool) {
        let _ = is_text;
        self.frames.extend_from_slice(message);
    }

    /// Whether it is enough for one write.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= 64 << 10
    }
}
