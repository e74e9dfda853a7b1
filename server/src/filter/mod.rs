//! The closed set of filters: what happens to a request before its handler and to the answer after it.
//!
//! **Invariant:** an answer meets, in reverse, exactly the filters that let its request pass.

mod allow;

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
};

/// A filter that is ready to run.
pub enum Filter {
    /// 403 for everybody else.
    Allow(Networks),
    /// 403 for these.
    Deny(Networks),
    /// Edits of heads.
    Headers(Arc<HeaderEdits>),
    /// A function that may answer; dispatch runs it.
    Function(FunctionId),
}

/// What becomes of a request on its way in; a [`Fault`] in its place ends it with the page of its kind.
#[allow(dead_code, reason = "the filters that answer come next")]
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
    /// A declared filter.
    pub fn declared(filter: &config::Filter) -> Self {
        match filter {
            config::Filter::Allow(networks) => Self::Allow(networks.clone()),
            config::Filter::Deny(networks) => Self::Deny(networks.clone()),
            config::Filter::Headers(edits) => Self::Headers(Arc::clone(edits)),
            config::Filter::Function(id) => Self::Function(*id),
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
            Self::Function(_) => Ok(()),
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
