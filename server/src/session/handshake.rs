//! The handshake of a WebSocket (RFC 6455 §4.2).

use crate::message::{Request, Response};

/// What a client asked for.
pub struct Handshake {}

impl Handshake {
    /// Reads it.
    ///
    /// # Errors
    /// The answer to one that is wrong: 400, 405 or 426.
    pub fn read(request: &Request) -> Result<Self, Box<Response>> {
        let _ = request;
        Ok(Self {})
    }
}
