//! An attempt that failed: what it says of the endpoint, and what may follow it.

use std::{io, time::Duration};

use rsp_core::{
    balance::{InFlight, Outcome},
    frame::http1::ResponseHead,
};

use super::Group;
use crate::error::{Fault, Kind};

/// What may follow a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryable {
    /// Nothing.
    Never,
    /// The same on a fresh connection: an idle one had ended before it answered. No failure of the endpoint.
    Afresh,
    /// Another endpoint.
    Elsewhere,
}

/// An attempt without an answer.
pub struct Failed {
    /// What the client is told, if nothing follows.
    pub fault: Fault,
    /// What it says of the endpoint; None: nothing.
    pub outcome: Option<Outcome>,
    /// What may follow.
    pub retry: Retryable,
    /// The request's place on the endpoint, for the same again.
    pub held: Option<InFlight>,
}

/// What an answer's head says about the endpoint: gateway errors are its own, a 503 with Retry-After is maintenance.
pub fn is_good(head: &ResponseHead, took: Duration, group: &Group) -> bool {
    if group.spec.outlier.slow.is_some_and(|slow| took > slow) {
        return false;
    }
    match head.status.as_u16() {
        503 => head.headers.contains_key(http::header::RETRY_AFTER),
        502 | 504 => false,
        _ => true,
    }
}

/// What a fault means for what may follow. `idle_ended`: the connection was an idle one that ended before the first byte of an answer, which is nobody's fault.
pub fn classify(fault: Fault, repeatable: bool, idle_ended: bool) -> Failed {
    match fault.kind {
        kind if kind.may_retry() && idle_ended => {
            let retry = if repeatable { Retryable::Afresh } else { Retryable::Never };
            Failed { fault, outcome: None, retry, held: None }
        }
        kind if kind.may_retry() && repeatable => {
            Failed { fault, outcome: Some(Outcome::BadAnswer), retry: Retryable::Elsewhere, held: None }
        }
        Kind::UpstreamDead | Kind::UpstreamMalformed | Kind::UpstreamSlow | Kind::UpstreamCut => bad_answer(fault),
        _ => Failed { fault, outcome: None, retry: Retryable::Never, held: None },
    }
}

/// A fault of the endpoint that nothing follows.
pub fn bad_answer(fault: Fault) -> Failed {
    Failed { fault, outcome: Some(Outcome::BadAnswer), retry: Retryable::Never, held: None }
}

/// What it means that there is no connection.
pub fn not_connected(e: io::Error) -> Failed {
    if is_of_this_process(&e) {
        // No endpoint is to be ejected for it, and another one would fail alike.
        return Failed {
            fault: Fault::new(Kind::Full, format!("connect: {e}")),
            outcome: None,
            retry: Retryable::Never,
            held: None,
        };
    }
    let kind = if e.kind() == io::ErrorKind::TimedOut { Kind::UpstreamSlow } else { Kind::UpstreamDead };
    let fault = Fault::new(kind, format!("connect: {e}"));
    Failed { fault, outcome: Some(Outcome::ConnectFailed), retry: Retryable::Elsewhere, held: None }
}

/// Whether descriptors or memory ran out here.
fn is_of_this_process(e: &io::Error) -> bool {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    e.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
}
