//! The closed set of filters: what happens to a request before its handler and to the answer after it.

use std::sync::Arc;

use rsp_core::{
    config::{self, FunctionId, HeaderEdits, Networks},
    head,
};

use crate::{
    error::{Fault, Kind},
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

    /// On the way in; a fault ends the request.
    pub fn inward(&self, request: &mut Request) -> Result<(), Fault> {
        match self {
            Self::Allow(networks) if !networks.contains(request.client.ip) => {
                Err(Fault::new(Kind::Forbidden, "not in allow"))
            }
            Self::Deny(networks) if networks.contains(request.client.ip) => Err(Fault::new(Kind::Forbidden, "in deny")),
            Self::Headers(edits) => {
                head::edit(&mut request.head.headers, &edits.request);
                Ok(())
            }
            Self::Allow(_) | Self::Deny(_) | Self::Function(_) => Ok(()),
        }
    }

    /// On the way out.
    pub fn outward(&self, response: &mut Response) {
        if let Self::Headers(edits) = self {
            head::edit(&mut response.headers, &edits.response);
        }
    }
}
