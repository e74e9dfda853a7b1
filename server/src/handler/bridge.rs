//! `bridge`: a client talks with a TCP or unix socket.

use std::sync::Arc;

use rsp_core::config;

use super::{Context, Handler, Unanswered};
use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
    upstream::Group,
};

/// A `bridge` that is ready to run.
pub struct Bridge {
    /// The checked options.
    pub spec: Arc<config::Bridge>,
    /// Shared with every other handler of the same upstream.
    pub group: Arc<Group>,
    /// What answers other requests.
    pub otherwise: Option<Box<Handler>>,
}

impl Bridge {
    /// Answers a request.
    pub async fn run(&self, request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        match &self.otherwise {
            Some(handler) => Box::pin(handler.run(request, context)).await,
            None => Err(Fault::new(Kind::NotFound, format!("{} talks by WebSocket", self.spec.upstream.name)).into()),
        }
    }
}
