//! Sockets that accept: bound once, shared out to the workers, and emptied before they close.
//!
//! **Invariant:** an address that another process listens on is an error, never half of the traffic.
//! **Invariant:** running out of descriptors stops accepting for a moment, and nothing else.

mod accept;
mod bind;

pub use accept::accept;
pub use bind::{BindError, Bound, Share, bind, bind_all, discard, remove_socket};
