//! One table of what can go wrong with a request: kind → whose fault, status, log level, retry.

mod diagnostic;
mod passwords;

use std::fmt;

use http::StatusCode;

#[cfg(test)]
pub use diagnostic::draw;
pub use diagnostic::render;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No site or route.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// For a site that is not answered over this connection.
    Misdirected,
    /// A head or body that breaks RFC 9112, or a path that could mean two routes.
    Malformed,
    /// A request head over a limit.
    HeadTooLarge,
    /// A request target over a limit.
    UriTooLong,
    /// A request body over a limit.
    BodyTooLarge,
    /// A request body without a length, for a handler that must know it before.
    LengthRequired,
    /// An expectation other than 100-continue.
    Expectation,
    /// A transfer coding that can neither be undone nor announced again.
    TransferCoding,
    /// What a program asks for, and rsp does not do.
    NoSuchFeature,
    /// The client took too long to send.
    ClientSlow,
    /// The client went away.
    ClientGone,
    /// Nobody who is known, or another password.
    Unauthorized,
    /// Refused by `allow`, `deny` or a token.
    Forbidden,
    /// More than `limit` allows; its status may be another one.
    Limited,
    /// A bound of rsp's own is reached.
    Full,
    /// The server that `auth` asks gave no answer, or none that decides.
    AuthUnavailable,
    /// No connection to any endpoint, or one that broke before it answered.
    UpstreamDead,
    /// An answer that breaks RFC 9112.
    UpstreamMalformed,
    /// An answer that ended before its announced end.
    UpstreamCut,
    /// No answer, or no more of it, in time.
    UpstreamSlow,
    /// An application that has no room for the request now.
    UpstreamFull,
    /// The broker can't be reached, or has no room.
    BrokerAway,
    /// The broker did not answer: what was asked for may have been done.
    BrokerSlow,
    /// A function in the config failed.
    Script,
    /// A file that should be readable is not.
    File,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The client's.
    Client,
    /// The upstream's.
    Upstream,
    /// Ours, or the operator's.
    Ours,
}

/// A failed request: its kind, and the cause in words for the log, never for the client.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What went wrong.
    pub kind: Kind,
    /// Why, for the log.
    pub cause: std::borrow::Cow<'static, str>,
}

impl Kind {
    /// The table: status for the client, whose fault, and whether another endpoint may be tried.
    const fn row(self) -> (u16, Whose, bool) {
        use Whose::{Client, Ours, Upstream};
        match self {
            Self::NotFound => (404, Client, false),
            Self::MethodNotAllowed => (405, Client, false),
            Self::Misdirected => (421, Client, false),
            Self::Malformed => (400, Client, false),
            Self::HeadTooLarge => (431, Client, false),
            Self::UriTooLong => (414, Client, false),
            Self::BodyTooLarge => (413, Client, false),
            Self::LengthRequired => (411, Client, false),
            Self::Expectation => (417, Client, false),
            Self::TransferCoding => (501, Client, false),
            Self::NoSuchFeature => (501, Ours, false),
            Self::ClientSlow => (408, Client, false),
            Self::ClientGone => (499, Client, false),
            Self::Unauthorized => (401, Client, false),
            Self::Forbidden => (403, Client, false),
            Self::Limited => (429, Client, false),
            Self::Full => (503, Ours, false),
            Self::AuthUnavailable => (503, Upstream, false),
            Self::UpstreamDead => (502, Upstream, true),
            Self::UpstreamMalformed | Self::UpstreamCut => (502, Upstream, false),
            Self::UpstreamSlow => (504, Upstream, false),
            Self::UpstreamFull => (503, Upstream, true),
            Self::BrokerAway => (503, Ours, false),
            Self::BrokerSlow => (504, Ours, false),
            Self::Script | Self::File => (500, Ours, false),
        }
    }

    /// What the client is told; 499 is for the log only.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whose fault it is: the client's goes to the debug log, the others to the warnings.
    pub const fn whose(self) -> Whose {
        self.row().1
    }

    /// One word for the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Misdirected => "misdirected",
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::BodyTooLarge => "body_too_large",
            Self::LengthRequired => "length_required",
            Self::Expectation => "expectation",
            Self::TransferCoding => "transfer_coding",
            Self::NoSuchFeature => "no_such_feature",
            Self::ClientSlow => "client_slow",
            Self::ClientGone => "client_gone",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Limited => "limited",
            Self::Full => "full",
            Self::AuthUnavailable => "auth_unavailable",
            Self::UpstreamDead => "upstream_dead",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamCut => "upstream_cut",
            Self::UpstreamSlow => "upstream_slow",
            Self::UpstreamFull => "upstream_full",
            Self::BrokerAway => "broker_away",
            Self::BrokerSlow => "broker_slow",
            Self::Script => "script",
            Self::File => "file",
        }
    }

    /// Whether another attempt may help.
    pub const fn may_retry(self) -> bool {
        self.row().2
    }
}

impl Fault {
    /// A fault with its cause.
    pub fn new(kind: Kind, cause: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { kind, cause: cause.into() }
    }

    /// Writes the cause to the log at the level its kind has.
    pub fn log(&self, id: impl fmt::Display) {
        match self.kind.whose() {
            Whose::Client => tracing::debug!("{self} (request {id})"),
            Whose::Upstream | Whose::Ours => tracing::warn!("{self} (request {id})"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.status().as_u16(), self.cause)
    }
}

impl std::error::Error for Fault {}
