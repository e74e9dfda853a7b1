//! Sessions: conversations that take a client's connection over, whatever is at the other side.
//!
//! A *talk* has a client on its near side, by WebSocket or by event stream and POST, and on its *far* side something that
//! takes messages and brings others: a program, a socket, a place at a shared program.
//!
//! **Invariant:** neither side is read faster than the other one takes; a talk holds at most one buffer a direction.
//! **Invariant:** whichever side ends, the other one is told in its own words, and nothing of the talk is left.

mod accept;
mod begin;
mod brought;
mod compress;
mod far;
mod framed;
mod goodbye;
mod handshake;
mod incoming;
mod near;
mod pages;
mod posts;
mod pulse;
mod sessions;
mod stream;
mod talk;

use http::StatusCode;

pub use self::{
    accept::preferred,
    begin::{Asked, asked, talk, talk_soon},
    compress::Deflaters,
    far::{Brought, End, Far},
    framed::{Ends, Framed},
    goodbye::{CLOSING, DISCARDED_MAX, part},
    handshake::{Handshake, wants_websocket},
    incoming::Incoming,
    pages::{is_own, refused},
    posts::post,
    sessions::{Sessions, Shared},
    stream::head,
};
use crate::message::Response;

/// A short answer to what can't be done, with its reason.
pub fn refusal(status: StatusCode, why: &str) -> Box<Response> {
    Box::new(Response::text(status, format!("{status}: {why}\n")))
}
