//! The closed set of filters: what happens to a request before its handler and to the answer after it.
//!
//! **Invariant:** an answer meets, in reverse, exactly the filters that let its request pass.

mod allow;
pub mod auth;
mod cors;
mod limit;
mod rewrite;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rsp_core::{
    config::{self, FunctionId, HeaderEdits, Networks},
    head,
    route::Rewrite,
};

use crate::{
    error::Fault,
    handler::Context,
    limit::{Limiters, Place},
    message::{Request, Response},
    observe::Metrics,
    upstream::{Group, Registry},
};

/// A filter that is ready to run.
pub enum Filter {
    /// 403 for everybody else.
    Allow(Networks),
    /// 403 for these.
    Deny(Networks),
    /// Who may pass; dispatch awaits it.
    Auth(Box<auth::Auth>),
    /// Edits of heads.
    Headers(Arc<HeaderEdits>),
    /// How often, and how many at once.
    Limit(limit::Limit),
    /// Pages of other origins.
    Cors(Arc<config::Cors>),
    /// Another path.
    Rewrite(Arc<Rewrite>),
    /// A function that may answer; dispatch runs it.
    Function(FunctionId),
}

/// What becomes of a request on its way in; a [`Fault`] in its place ends it with the page of its kind.
pub enum Pass {
    /// On to the next filter, then to the handler.
    Go,
    /// This is the answer; the filters before this one see it on the way out.
    Answer(Box<Response>),
    /// The page of this refusal is the answer.
    Refuse(Box<Refusal>),
}

/// A fault whose status the config chose, or whose answer says in a field what would help.
pub struct Refusal {
    /// For the log.
    pub fault: Fault,
    /// For the client.
    pub status: StatusCode,
    /// `Retry-After`, or a challenge.
    pub field: Option<(HeaderName, HeaderValue)>,
    /// For the person before the client, on the built-in page; visible ASCII without quotes and backslashes.
    pub says: Option<&'static str>,
}

/// What the filters of one request keep until the last byte of its answer is out: nothing, mostly, and then it is one
/// empty word of the request's ticket.
#[derive(Default)]
pub struct Kept(Option<Box<Things>>);

#[derive(Default)]
struct Things {
    /// Of `limit`: given back when the answer is out or cut.
    places: Vec<Place>,
    /// Of `cors`: for whatever becomes the answer.
    grant: Option<cors::Grant>,
    /// `Strict-Transport-Security`, in place of the handler's.
    hsts: Option<HeaderValue>,
}

impl Kept {
    fn things(&mut self) -> &mut Things {
        self.0.get_or_insert_default()
    }

    /// Writes into an answer what was decided for every answer of this request, an error page included.
    pub fn write(&self, answer: &mut HeaderMap) {
        let Some(things) = &self.0 else { return };
        if let Some(grant) = &things.grant {
            grant.write(answer);
        }
        self.insist(answer);
    }

    /// The same, of what no filter decided.
    pub fn insist(&self, answer: &mut HeaderMap) {
        if let Some(hsts) = self.0.as_ref().and_then(|things| things.hsts.as_ref()) {
            answer.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }

    /// Lets every answer of this request say for how long its site is asked by TLS only.
    pub fn insist_on_tls(&mut self, hsts: HeaderValue) {
        self.things().hsts = Some(hsts);
    }
}

/// What outlives the snapshot that a filter is built for.
pub struct Shared<'a> {
    /// Upstreams by name.
    pub registry: &'a Registry,
    /// Who was let pass by `auth`.
    pub auth: &'a Arc<auth::Known>,
    /// Limits by name.
    pub limiters: &'a Limiters,
    /// Counters by site.
    pub metrics: &'a Metrics,
}

impl Filter {
    /// A declared filter of a site.
    pub fn declared(filter: &config::Filter, site: &str, shared: &Shared<'_>) -> Self {
        match filter {
            config::Filter::Allow(networks) => Self::Allow(networks.clone()),
            config::Filter::Deny(networks) => Self::Deny(networks.clone()),
            config::Filter::Auth(spec) => {
                Self::Auth(Box::new(auth::Auth::declared(spec, site, shared.auth, shared.registry)))
            }
            config::Filter::Headers(edits) => Self::Headers(Arc::clone(edits)),
            config::Filter::Limit(spec) => Self::Limit(limit::Limit::declared(spec, site, shared)),
            config::Filter::Cors(spec) => Self::Cors(Arc::clone(spec)),
            config::Filter::Rewrite(rewrite) => Self::Rewrite(Arc::clone(rewrite)),
            config::Filter::Function(id) => Self::Function(*id),
        }
    }

    /// The running upstream that requests are sent to besides.
    pub fn upstream(&self) -> Option<&Arc<Group>> {
        match self {
            Self::Auth(auth) => auth.upstream(),
            _ => None,
        }
    }

    /// On the way in. A filter that has to wait is awaited by dispatch, in a box of its own, as functions are.
    pub fn inward(&self, request: &mut Request, context: &Context<'_>, kept: &mut Kept) -> Result<Pass, Fault> {
        match self {
            Self::Allow(networks) => allow::allow(networks, request)?,
            Self::Deny(networks) => allow::deny(networks, request)?,
            Self::Headers(edits) if edits.apply_to(request.head.upgrade.as_ref().is_some_and(is_websocket)) => {
                head::edit(&mut request.head.headers, &edits.request);
                edits.request.replaced().for_each(|name| request.body.withhold_trailer(name));
            }
            Self::Limit(limit) => return Ok(limit.inward(request, kept)),
            Self::Cors(spec) => return Ok(cors::inward(spec, request, kept)),
            Self::Rewrite(rewrite) => rewrite::inward(rewrite, request, context.limits.uri)?,
            Self::Headers(_) | Self::Auth(_) | Self::Function(_) => {}
        }
        Ok(Pass::Go)
    }

    /// On the way out; `kept` is what the filters kept on the way in.
    pub fn outward(&self, response: &mut Response, kept: &Kept) {
        match self {
            Self::Headers(edits) if edits.apply_to(opens_websocket(response)) => {
                head::edit(&mut response.headers, &edits.response);
                edits.response.replaced().for_each(|name| response.body.withhold_trailer(name));
            }
            Self::Cors(_) => kept.write(&mut response.headers),
            Self::Headers(_)
            | Self::Allow(_)
            | Self::Deny(_)
            | Self::Auth(_)
            | Self::Limit(_)
            | Self::Rewrite(_)
            | Self::Function(_) => {}
        }
    }

    /// Whether it answers preflights.
    pub fn answers_preflights(&self) -> bool {
        matches!(self, Self::Cors(_))
    }
}

/// Whether an `Upgrade` field is a WebSocket's (RFC 6455 §4.2.1).
fn is_websocket(protocols: &HeaderValue) -> bool {
    protocols.as_bytes().split(|&byte| byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

fn opens_websocket(response: &Response) -> bool {
    response.takeover.as_ref().and_then(|takeover| takeover.protocol()).is_some_and(is_websocket)
}
