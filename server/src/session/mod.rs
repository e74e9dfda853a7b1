//! Sessions: conversations that take a client's connection over, whatever is at the other side.
//!
//! A *talk* has a client on its near side, by WebSocket or by event stream and POST, and on its *far* side something that
//! takes messages and brings others: a program, a socket, a place at a shared program.
//!
//! **Invariant:** neither side is read faster than the other one takes; a talk holds at most one buffer a direction.
//! **Invariant:** whichever side ends, the other one is told in its own words, and nothing of the talk is left.

mod far;
mod framed;
mod handshake;
mod pages;
mod posts;
mod sessions;
mod talk;

pub use self::{
    far::{Brought, End, Far},
    framed::{Ends, Framed},
    handshake::Handshake,
    pages::{is_own, refused},
    sessions::{Sessions, Shared},
    talk::{Asked, asked, post, talk},
};
