//! WebSocket framing (RFC 6455) with per-message compression (RFC 7692), strict, without sockets.
//!
//! **Invariant:** a message that comes out of [`Receiver`] is whole, within its bound, and text is UTF-8; the first fault
//! ends the connection with the close code it names.
//! **Invariant:** between two messages a [`Receiver`] holds no buffer.

mod close;
mod deflate;
mod handshake;
mod header;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use close::{Close, CloseCode};
pub use deflate::{Deflate, Deflater, Inflater, negotiate};
pub use handshake::accept_key;
pub use header::{Header, Opcode, Role, unmask};
pub use receive::{Event, Receiver, Rules};
pub use send::{close_frame, control_frame, message_frame};

use std::fmt;

/// Payload of a control frame at most (RFC 6455 §5.5).
pub const CONTROL_MAX: usize = 125;

/// Why a connection must end; nothing after it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What the peer is told.
    pub code: CloseCode,
    /// For the log and the close frame; at most 123 bytes.
    pub reason: &'static str,
}

impl Fault {
    const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL, reason }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.reason, self.code)
    }
}

impl std::error::Error for Fault {}
