//! Messages that are posted to the session of an event stream, from whatever worker.

use std::task::Context;

use rsp_core::config;

use super::{Far, Sessions, talk::Ending};
use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
    stream::Wire,
};

/// The sessions that can be posted to, by their tokens.
#[derive(Default)]
pub struct Posts {}

/// The receiving side of one session.
pub(super) struct Posted {}

impl Posted {
    pub fn take(&mut self, cx: &mut Context<'_>, wire: &Wire, far: &mut impl Far) -> Result<bool, Ending> {
        let _ = (cx, wire, far);
        Ok(true)
    }
}

/// Whether a request names a session.
pub(super) fn names_session(request: &Request) -> bool {
    let query = request.head.target.query().unwrap_or_default();
    query.split(|&byte| byte == b'&').any(|pair| pair.starts_with(b"session="))
}

/// Posts a message to a session, and answers.
pub async fn post(request: Box<Request>, talk: &config::Talk, sessions: &Sessions) -> Result<Box<Response>, Fault> {
    let _ = (request, talk, &sessions.posts);
    Err(Fault::new(Kind::NotFound, "no such session"))
}
