//! `auth`: who may pass, by name and password, by a signed token, or because another server says so.
//!
//! **Invariant:** whatever fails, nobody passes because of it.
//! **Invariant:** no password is kept, and none is checked on a worker.

mod basic;
mod forward;
mod jwt;
mod kept;
mod pool;

use std::sync::Arc;

use rsp_core::config;

use self::{
    basic::Basic,
    forward::{Copied, Forward},
    jwt::Jwt,
    kept::{Kept, Secret},
    pool::Pool,
};
use super::Pass;
use crate::{
    error::{Fault, Kind},
    handler::Context,
    message::{Interim, Request},
    upstream::{Group, Registry},
};

/// Passwords that are known to be right; some 100 bytes each.
const PASSWORDS_MAX: usize = 4096;
/// Answers of auth servers that are known; some 300 bytes each, and the fields that are copied, 8 KiB at most.
const ANSWERS_MAX: usize = 16_384;

/// An `auth` that is ready to run.
pub enum Auth {
    /// By name and password.
    Basic(Basic),
    /// By a signed token.
    Jwt(Jwt),
    /// By another server.
    Forward(Forward),
}

/// What the process knows of who may pass; it lives across reloads, as its keys name all that an answer depends on.
pub struct Known {
    secret: Secret,
    passwords: Arc<Kept<()>>,
    answers: Arc<Kept<Copied>>,
    pool: Arc<Pool>,
}

impl Default for Known {
    fn default() -> Self {
        let (passwords, answers) = (Kept::new(PASSWORDS_MAX), Kept::new(ANSWERS_MAX));
        Self { secret: Secret::default(), passwords, answers, pool: Pool::new() }
    }
}

impl Auth {
    /// A declared `auth` of the site of that name.
    pub fn declared(spec: &Arc<config::Auth>, site: &str, known: &Arc<Known>, registry: &Registry) -> Self {
        match &**spec {
            config::Auth::Basic(_) => Self::Basic(Basic::new(Arc::clone(spec), site, Arc::clone(known))),
            config::Auth::Jwt(_) => Self::Jwt(Jwt::new(Arc::clone(spec), site)),
            config::Auth::Forward(forward) => {
                Self::Forward(Forward::new(forward, registry.declare(&forward.upstream), Arc::clone(known)))
            }
        }
    }

    /// The running upstream that is asked.
    pub fn upstream(&self) -> Option<&Arc<Group>> {
        match self {
            Self::Basic(_) | Self::Jwt(_) => None,
            Self::Forward(forward) => Some(forward.group()),
        }
    }

    /// Whether a request may pass; it gets the user who is known to have sent it.
    pub async fn inward(&self, request: &mut Request, context: &Context<'_>) -> Result<Pass, Fault> {
        let counts = &context.metrics.auth;
        let verdict = match self {
            Self::Basic(basic) => basic.inward(request, counts).await,
            Self::Jwt(jwt) => Ok(jwt.inward(request, counts)),
            Self::Forward(forward) => forward.inward(request, context).await,
        };
        match &verdict {
            Ok(Pass::Go) => {}
            Ok(Pass::Answer(_) | Pass::Refuse(_)) => _ = counts.refused.inc(),
            Err(fault) if fault.kind == Kind::Full => _ = counts.full.inc(),
            Err(fault) if fault.kind == Kind::AuthUnavailable => _ = counts.unavailable.inc(),
            Err(_) => {}
        }
        verdict
    }
}

/// Awaits something while the client is there; it is given up when the client goes away.
async fn while_client_waits<T>(interim: &Interim, awaited: impl Future<Output = T>) -> Result<T, Fault> {
    let mut awaited = std::pin::pin!(awaited);
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(outcome) = awaited.as_mut().poll(cx) {
            return std::task::Poll::Ready(Ok(outcome));
        }
        match interim.client() {
            Some(client) if client.poll_broken(cx).is_ready() => {
                std::task::Poll::Ready(Err(Fault::new(Kind::ClientGone, "the client went away before it could pass")))
            }
            _ => std::task::Poll::Pending,
        }
    })
    .await
}
