//! The closed set of filters: what happens to a request before its handler and to the answer after it.
//!
//! **Invariant:** an answer meets, in reverse, exactly the filters that let its request pass.

mod allow;
pub mod auth;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use rsp_core::{
    config::{self, FunctionId, HeaderEdits, Networks},
    head,
};

use crate::{
    error::Fault,
    handler::Context,
    message::{Request, Response},
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
    /// A function that may answer; dispatch runs it.
    Function(FunctionId),
}

/// What filters share, and what outlives them.
pub struct Shared<'a> {
    /// Upstreams by name.
    pub registry: &'a Registry,
    /// Who was let pass.
    pub auth: &'a Arc<auth::Known>,
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
}

impl Filter {
    /// A declared filter of the site of that name.
    pub fn declared(filter: &config::Filter, site: &str, shared: &Shared<'_>) -> Self {
        match filter {
            config::Filter::Allow(networks) => Self::Allow(networks.clone()),
            config::Filter::Deny(networks) => Self::Deny(networks.clone()),
            config::Filter::Auth(spec) => {
                Self::Auth(Box::new(auth::Auth::declared(spec, site, shared.auth, shared.registry)))
            }
            config::Filter::Headers(edits) => Self::Headers(Arc::clone(edits)),
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
    pub fn inward(&self, request: &mut Request, _context: &Context<'_>) -> Result<Pass, Fault> {
        match self {
            Self::Allow(networks) => allow::allow(networks, request),
            Self::Deny(networks) => allow::deny(networks, request),
            Self::Headers(edits) => {
                head::edit(&mut request.head.headers, &edits.request);
                Ok(())
            }
            Self::Auth(_) | Self::Function(_) => Ok(()),
        }
        .map(|()| Pass::Go)
    }

    /// On the way out.
    pub fn outward(&self, response: &mut Response) {
        if let Self::Headers(edits) = self {
            head::edit(&mut response.headers, &edits.response);
        }
    }
}
