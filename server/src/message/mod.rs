//! A request, its response and their bodies, whatever protocol carries them.
//!
//! **Invariant:** a body is pulled chunk by chunk; nobody pulls faster than the other side writes, so at most one
//! buffer, or as much in a pipe, is in flight a direction.
//! **Invariant:** a body that did not end cleanly is a [`Fault`](crate::error::Fault), never a clean end.

mod body;
mod file;
mod parts;
mod records;
mod request;
mod response;
mod send;
mod stream_body;
mod stream_sender;
pub mod variables;
mod wire_body;

pub use body::{Body, Source};
pub use file::FileBody;
pub use parts::{Part, PartsBody};
pub use records::Records;
pub use request::{Client, Interim, Request, RequestId, User};
pub use response::{Answered, Lead, Line, Names, Response, Session, Takeover, Tunnel};
pub use send::{SendFault, Sender};
pub use stream_body::{StreamBody, StreamLease};
pub use stream_sender::StreamSender;
pub use wire_body::{Lease, Slot, WireBody};
