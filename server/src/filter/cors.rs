//! `cors`: what pages of other origins may read.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};
use rsp_core::{config, cors};

use super::{Kept, Pass};
use crate::message::{Body, Request, Response};

/// The decision for one request, until its answer is written: also if that is an error page.
pub struct Grant {
    spec: Arc<config::Cors>,
    origin: Option<HeaderValue>,
}

impl Grant {
    /// Writes the decision into an answer, over what it says itself.
    pub fn write(&self, answer: &mut HeaderMap) {
        cors::write(&self.spec, self.origin.as_ref(), answer);
    }
}

/// Answers a preflight; of other requests it keeps the decision.
pub fn inward(spec: &Arc<config::Cors>, request: &Request, kept: &mut Kept) -> Pass {
    let fields = &request.head.headers;
    if cors::preflighted(&request.head.method, fields).is_some() {
        let mut answer = Response::new(StatusCode::NO_CONTENT, Body::Empty);
        answer.headers = cors::preflight(spec, fields);
        return Pass::Answer(Box::new(answer));
    }
    let origin = cors::allowed_origin(spec, fields);
    kept.things().grant = Some(Grant { spec: Arc::clone(spec), origin });
    Pass::Go
}
