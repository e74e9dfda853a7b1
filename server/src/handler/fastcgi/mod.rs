//! `fastcgi`: the request goes to an application as parameters and a body, its answer comes back.
//!
//! **Invariant:** where the scripts are here, only a regular file whose name ends as `split` says is ever asked for.
//! **Invariant:** no field of the request can become a parameter that is not its own: none but letters, digits and
//! hyphens in a name goes on.

mod params;
mod script;

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use rsp_core::{
    config,
    frame::{fastcgi, http1::Framing},
    route::Path,
};

use self::{params::params, script::Found};
use super::Context;
use crate::{
    error::{Fault, Kind},
    message::{Body, Request, Response},
    upstream::{self, Group, Outgoing, affinity},
};

/// An application with its running upstream.
pub struct Fastcgi {
    /// The checked options.
    pub spec: Arc<config::Fastcgi>,
    /// Shared with every other handler of the same upstream.
    pub group: Arc<Group>,
}

impl Fastcgi {
    /// Asks the application.
    ///
    /// # Errors
    /// `NotFound` for a script that is not there, `Forbidden` for one that can't be looked for, `LengthRequired` for a
    /// body of unknown length: the application is told the length before it, and ours is no place to gather it.
    pub async fn run(&self, mut request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Fault> {
        let spec = &*self.spec;
        let target = &request.head.target;
        let path = Path::new(target.path()).map_err(|e| Fault::new(Kind::Malformed, e.to_string()))?;
        let script = match script::find(spec, path.decoded())? {
            Found::Script(script) => script,
            Found::Folder => return Ok(Box::new(redirect(HeaderValue::from_bytes(&target.with_slash())))),
        };
        let length = match (request.head.framing, request.body.framing()) {
            // A body that was stated to be empty, or one that a function has read.
            (stated, Framing::Empty) => (stated != Framing::Empty).then_some(0),
            (_, Framing::Length(length)) => Some(length),
            _ => return Err(Fault::new(Kind::LengthRequired, "a body of unknown length for an application")),
        };
        let live = self.group.live();
        let group = live.as_ref().unwrap_or(&self.group);
        let affinity = affinity::read(group, &mut request);
        let before = affinity.as_ref().and_then(|affinity| affinity.before);
        let params = params(spec, &request, &script, length);
        let body = std::mem::replace(&mut request.body, Body::Empty);
        let spoken = upstream::Fastcgi { id: request.id, keep: spec.keepalive };
        let mut outgoing = Outgoing {
            render: &|_, out| fastcgi::begin(out, spec.keepalive, &params),
            method: &request.head.method,
            framing: body.framing(),
            body,
            fastcgi: Some(&spoken),
            upgrade: false,
            timeout: spec.timeout,
            body_timeout: spec.body_timeout,
            write_timeout: context.limits.write_timeout,
            capacity: context.limits.buffer,
            retry: self.group.spec.retry,
            silence: None,
            interim: request.interim.clone(),
            seed: request.id.seed(),
            affinity,
            now: request.received,
        };
        let mut response = context.pools.exchange(group, &mut outgoing).await?;
        affinity::bind(group, before, request.scheme, &mut response);
        Ok(response)
    }
}

/// Links on the page of a folder only work below its slash. 308, so that a form is sent again as it was.
fn redirect(to: Result<HeaderValue, header::InvalidHeaderValue>) -> Response {
    let response = Response::text(StatusCode::PERMANENT_REDIRECT, "308 Permanent Redirect\n");
    response.with(header::LOCATION, to.unwrap_or(HeaderValue::from_static("/")))
}

#[cfg(test)]
mod tests;
