//! `exec`: a program talks with a client, or with all of them.

mod residents;

use std::sync::Arc;

use rsp_core::config;

pub use self::residents::Residents;
use super::{Context, Handler, Unanswered};
use crate::{
    error::{Fault, Kind},
    message::{Request, Response},
};

/// An `exec` that is ready to run.
pub struct Exec {
    /// The checked options.
    pub spec: Arc<config::Exec>,
    /// What answers other requests.
    pub otherwise: Option<Box<Handler>>,
}

impl Exec {
    /// Answers a request.
    pub async fn run(&self, request: Box<Request>, context: &Context<'_>) -> Result<Box<Response>, Unanswered> {
        match &self.otherwise {
            Some(handler) => Box::pin(handler.run(request, context)).await,
            None => Err(Fault::new(Kind::NotFound, format!("{} talks by WebSocket", self.spec.program)).into()),
        }
    }
}
