//! `cgi`: each request is answered by a program of a folder (RFC 3875).

use std::sync::Arc;

use rsp_core::config;

use super::{Context, Handler, Unanswered};
use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
};

/// A `cgi` that is ready to run.
pub struct Cgi {
    /// The checked options.
    pub spec: Arc<config::Cgi>,
    /// What answers where there is no such program.
    pub otherwise: Option<Box<Handler>>,
}

impl Cgi {
    /// Answers a request.
    pub async fn run(&self, request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        match &self.otherwise {
            Some(handler) => Box::pin(handler.run(request, context)).await,
            None => {
                Err(Fault::new(Kind::NotFound, format!("no such program below {}", self.spec.folder.display())).into())
            }
        }
    }
}
