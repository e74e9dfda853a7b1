//! Sockets that accept: bound once, shared out to the workers, and emptied before they close.
//!
//! **Invariant:** an address that another process listens on is an error, never half of the traffic.
//! **Invariant:** an accept queue ends with its last connection accepted, or goes on in a successor; whatever the
//! numbers of workers before and after, every inherited queue is accepted from.
//! **Invariant:** running out of descriptors stops accepting for a moment, and nothing else.

mod accept;
mod bind;
mod hello;
mod inherited;
mod introduction;
mod passage;
mod secure;

pub use accept::{HandedOver, accept};
pub use bind::{BindError, Bound, Share, bind, bind_all, discard, give_socket, remove_socket};
pub use inherited::{Heirloom, Inherited};
