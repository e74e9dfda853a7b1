//! `auth { … }` as it was checked: who may pass, and who is asked.

use std::{sync::Arc, time::Duration};

use http::HeaderName;

use super::Upstream;
use crate::{
    auth::{Tokens, Users},
    frame::http1::Target,
};

/// `auth { … }`
#[derive(Debug, Clone)]
pub enum Auth {
    /// `basic`: these users, by name and password (RFC 7617).
    Basic(Users),
    /// `jwt`: whoever has a signed token (RFC 7519).
    Jwt(Box<Tokens>),
    /// `forward`: whom another server lets pass.
    Forward(ForwardAuth),
}

/// `auth { forward = { … } }`
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardAuth {
    /// Who is asked.
    pub upstream: Arc<Upstream>,
    /// What is asked for, with its query.
    pub path: Target,
    /// Request sent to the head of the answer.
    pub timeout: Duration,
    /// How long a yes may be used again for the very same question; zero: every request is asked about.
    pub cache: Duration,
    /// Fields of the answer that go onto the request, in place of what the client sent under these names.
    pub copy: Vec<HeaderName>,
}
