//! A client and a far side, and what they say to each other.

use rsp_core::config;

use super::{Far, Sessions};
use crate::{
    error::Fault,
    message::{Request, Response},
};

/// What a request wants of a handler that talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A WebSocket.
    WebSocket,
    /// An event stream.
    Events,
    /// To post to the session of an event stream.
    Post,
    /// Nothing that it answers.
    Other,
}

/// What a request wants.
pub fn asked(request: &Request) -> Asked {
    let _ = request;
    Asked::Other
}

/// Posts a message to a session, and answers.
pub async fn post(request: Box<Request>, talk: &config::Talk, sessions: &Sessions) -> Result<Box<Response>, Fault> {
    let _ = (request, talk, sessions);
    Err(Fault::new(crate::error::Kind::NotFound, "no such session"))
}

/// The answer with which the talk begins: a WebSocket or an event stream.
pub fn talk(request: &Request, talk: &config::Talk, sessions: &std::rc::Rc<Sessions>, far: impl Far) -> Box<Response> {
    let _ = (request, talk, sessions, far);
    Box::new(Response::text(http::StatusCode::NOT_IMPLEMENTED, "no talk\n"))
}
