//! Sockets, pooled buffers and pipes, lazy timers and sets of idle connections: everything that moves bytes and knows no message.
//!
//! **Invariant:** an idle connection holds no buffer and no pipe; they are borrowed only while bytes are in flight.
//! **Invariant:** nothing here crosses threads: a wire, its timers and its buffers belong to one worker.

pub mod beneath;
mod buffer;
mod http2;
mod idle;
mod outbox;
mod places;
mod secure;
mod security;
mod socket;
mod splice;
mod timer;
mod tunnel;
mod wire;

pub use buffer::Buffer;
pub use http2::Http2;
pub use idle::IdleSet;
pub use outbox::Outbox;
pub use places::{Places, StreamPlace};
pub use secure::Secure;
#[cfg(test)]
pub use secure::pair::connected;
pub use security::Security;
pub use socket::{KEEPALIVE, Peer, Socket, Watched};
pub use splice::Pipe;
pub use timer::Timer;
pub use tunnel::tunnel;
pub use wire::{Wire, Wires};
