//! A connection becomes requests, responses become bytes; a file for each protocol.
//!
//! **Invariant:** answers leave in the order of their requests.
//! **Invariant:** what follows a body whose end is not certain is never read as a request.

mod connection;
mod h1;

pub use connection::{Connection, Origin};
pub use h1::serve;
