//! HTTP/2's heads (RFC 9113 §8), as requests and answers know them whatever protocol carries them.
//!
//! **Invariant:** a request that is read has one host, one target and one length, and no field of a connection: rendered as
//! HTTP/1.1 it re-parses to the same request.
//!
//! Frames and HPACK are h2's; what it lets pass and RFC 9113 does not is refused here.

mod meter;
mod request;
mod response;

pub use meter::{Meter, Misuse};
pub use request::{Asked, Refusal, request};
pub use response::{Answered, response};
