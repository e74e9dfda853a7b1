//! The far side of a talk.

use std::task::{Context, Poll};

pub use super::brought::Brought;

/// What a client talks with.
pub trait Far: 'static {
    /// Ready when it takes another message; drives what it was given before on its way, if that must be for there to be
    /// room. One that takes nothing any more is ready, and drops what it is given.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes a client's message; only after [`poll_room`](Self::poll_room) was ready.
    fn give(&mut self, message: &[u8], is_text: bool);

    /// Drives what it was given on its way; ready when all of it is out, or can't be any more. It is asked once after
    /// several messages were given, so that they may leave together.
    fn poll_given(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Brings messages for the client, at least one, until there are no more or `brought` is full.
    ///
    /// # Errors
    /// Its end; nothing more will come. What it brought before still goes to the client.
    fn poll_bring(&mut self, cx: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>>;

    /// Ready when it ends even though the client has not taken yet what it was brought.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let _ = cx;
        Poll::Pending
    }
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
    /// It is not there any more: 1001.
    Away,
}

impl End {
    /// The code and the reason that a client is told.
    pub(super) fn said(self) -> (u16, &'static str) {
        match self {
            Self::Done => (1000, ""),
            Self::TooLong => (1009, "a line or message that is too long"),
            Self::Failed => (1011, "it broke off"),
            Self::Slow => (1013, "too slow"),
            Self::Away => (1001, "gone"),
        }
    }
}
