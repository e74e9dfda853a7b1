//! A talk by event stream: messages come down it, and are posted up.

use std::rc::Rc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use rsp_core::config;

use super::{Far, Sessions, refusal};
use crate::{
    message::{Body, Request, Response},
    stream::Wire,
};

/// For a proxy in front of us.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The head of an event stream.
pub fn head(request: &Request, talk: &config::Talk) -> Box<Response> {
    let _ = (request, talk);
    let response = Response::new(StatusCode::OK, Body::Empty)
        .with(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"))
        .with(UNBUFFERED, HeaderValue::from_static("no"));
    Box::new(response)
}

pub(super) fn answer(
    request: &Request,
    talk: &config::Talk,
    sessions: &Rc<Sessions>,
    (wire, far): (Rc<Wire>, impl Far),
) -> Box<Response> {
    let _ = (request, talk, sessions, wire, far);
    refusal(StatusCode::NOT_IMPLEMENTED, "no event stream")
}
