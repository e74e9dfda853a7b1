//! Sockets, pooled buffers, lazy timers and sets of idle connections: everything that moves bytes and knows no message.
//!
//! **Invariant:** an idle connection holds no buffer; one is borrowed only while there is something to read or write.
//! **Invariant:** nothing here crosses threads: a wire, its timers and its buffers belong to one worker.

mod buffer;
mod idle;
mod socket;
mod timer;
mod tunnel;
mod wire;

pub use buffer::Buffer;
pub use idle::IdleSet;
pub use socket::{KEEPALIVE, Peer, Socket, Watched};
pub use timer::Timer;
pub use tunnel::tunnel;
pub use wire::Wire;
