//! A far side that speaks in messages over a stream of bytes.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use rsp_core::config;
use tokio::net::unix::pipe;

use super::far::{Brought, End, Far};
use crate::stream::Wire;

/// The two directions of a stream of bytes.
pub enum Ends {
    /// A process's.
    Pipes {
        /// Where messages go; None: it was closed.
        input: Option<pipe::Sender>,
        /// Where they come from.
        output: pipe::Receiver,
    },
    /// A connection's.
    Wire(Rc<Wire>),
}

/// Cuts a stream into messages, and puts messages onto it.
pub struct Framed {
    ends: Ends,
}

impl Framed {
    /// With the framing and the bounds of `talk`.
    pub fn new(ends: Ends, talk: &config::Talk) -> Self {
        let _ = talk;
        Self { ends }
    }
}

impl Far for Framed {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (cx, &self.ends);
        Poll::Pending
    }

    fn give(&mut self, message: &[u8], is_text: bool) {
        let _ = (message, is_text);
    }

    fn poll_bring(&mut self, cx: &mut Context<'_>, brought: &mut Brought) -> Poll<Result<(), End>> {
        let _ = (cx, brought);
        Poll::Pending
    }
}
