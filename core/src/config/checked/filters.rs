//! What filters are declared with.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::config::units::Rate;

/// `limit { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Site and route where it stands first, and which limit of that route it is; its state lives under it.
    pub name: String,
    /// How often, and how many at once after a pause; None: as often as one likes. One of this and
    /// [`Limit::concurrent`] is there.
    pub rate: Option<(Rate, u32)>,
    /// Requests at once, until their answers are out.
    pub concurrent: Option<u32>,
    /// What is counted together.
    pub key: LimitKey,
    /// For what is too much; 400 to 599.
    pub status: StatusCode,
}

/// What a limit counts together. A request without the field or cookie is counted by its client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address; of IPv6 the /64 that one customer has.
    ClientIp,
    /// All values of a field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// Path and query.
    Uri,
    /// The path, decoded.
    Path,
    /// The host, without port.
    Host,
}

/// `cors { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// None: every origin, and then no credentials.
    pub origins: Option<Vec<Origin>>,
    /// As the answer to a preflight lists them; None: any.
    pub methods: Option<HeaderValue>,
    /// As the answer to a preflight lists them; None: any.
    pub headers: Option<HeaderValue>,
    /// Whether cookies and the like may be sent along.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight, in whole seconds.
    pub max_age: Option<Duration>,
}

/// An origin as a browser writes it: scheme, host, and a port that is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This one, or `null`.
    Exact(String),
    /// `https://*.example.com:8443`: any depth, not the suffix itself.
    Below {
        /// With `://`.
        scheme: String,
        /// From the dot on.
        suffix: String,
    },
}

/// Edits of the request's and the response's head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// What the handler and upstream see.
    pub request: HeaderEdit,
    /// What the client sees.
    pub response: HeaderEdit,
    /// Which requests and answers; None: all.
    pub only: Option<Only>,
}

/// What `headers` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Requests that ask for a WebSocket, and answers that open one.
    Websocket,
    /// The others.
    Http,
}

impl HeaderEdits {
    /// Whether a request or an answer is edited; `is_websocket`: it asks for a WebSocket, or opens one.
    pub fn apply_to(&self, is_websocket: bool) -> bool {
        self.only.is_none_or(|only| (only == Only::Websocket) == is_websocket)
    }
}

/// Edits of one head: remove, then set, then add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdit {
    /// Replaces all values of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Adds one more.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Removes all values of the name.
    pub remove: Vec<HeaderName>,
}

impl HeaderEdit {
    /// The names under which nothing stays of what was there.
    pub fn replaced(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name))
    }
}
