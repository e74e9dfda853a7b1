//! A talk by event stream: messages come down it, and are posted up.

use std::rc::Rc;

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use rsp_core::config;

use super::{Brought, Far, Sessions, brought::Speech, near::Near, pages, pulse::Pulse, refusal, talk::Talk};
use crate::{
    message::{Body, Lead, Line, Request, Response, Session, Takeover},
    stream::Wire,
};

/// For a proxy in front of us.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer without events, to HEAD.
pub fn head(request: &Request, talk: &config::Talk) -> Box<Response> {
    let mut response = Response::new(StatusCode::OK, Body::Empty)
        .with(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"))
        .with(UNBUFFERED, HeaderValue::from_static("no"));
    pages::show(&talk.pages, request, &mut response.headers);
    Box::new(response)
}

/// The answer whose body are the events: first the one that names the session.
pub(super) fn answer(
    request: &Request,
    talk: &config::Talk,
    sessions: &Rc<Sessions>,
    (wire, far): (Rc<Wire>, impl Far),
) -> Box<Response> {
    let Some(posted) = sessions.posts.open(request) else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "no random bytes for a session");
    };
    let is_chunked = request.head.version == Version::HTTP_11;
    let (seat, ping, seed) = (sessions.sit(), talk.ping, request.id.seed());
    let lead = move |Line { write_timeout, .. }: Line| -> Lead {
        wire.probe_peer();
        let mut brought = Brought::new(Speech::Events { is_chunked });
        brought.event(Some("session"), &format!("{{\"session\":\"{}\"}}", posted.token()));
        let near = Near::Stream(Box::new(posted));
        let pulse = Pulse::new(ping, false, seed);
        Box::pin(Talk { wire, near, far, brought, pulse, seat, write_timeout, sent: 0 }.lead())
    };
    let mut response = head(request, talk);
    response.takeover = Some(Box::new(Takeover::Session(Session { protocol: None, lead: Box::new(lead) })));
    response
}
