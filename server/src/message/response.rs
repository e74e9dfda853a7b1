//! A response on its way to the client.

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use rsp_core::balance::InFlight;

use super::Body;
use crate::stream::{Buffer, Wire};

/// A response: a head, and a body or what takes the connection over.
pub struct Response {
    /// 200 to 599, or 101 with a takeover.
    pub status: StatusCode,
    /// End-to-end fields only.
    pub headers: HeaderMap,
    /// Pulled by the protocol.
    pub body: Body,
    /// The Content-Length that a HEAD or 304 answer states without a body.
    pub stated_length: Option<u64>,
    /// What takes the connection over once the head is out; the body is empty then.
    pub takeover: Option<Box<Takeover>>,
    /// The version that an upstream answered in; None: our own answer.
    pub via: Option<Version>,
    /// Who answered, for log and metrics; None: rsp itself.
    pub upstream: Option<Answered>,
}

/// An upstream's answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Who gave it.
    pub by: Arc<Names>,
    /// From request sent to response head.
    pub took: Duration,
}

/// What an endpoint is called in logs and metrics.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// Its upstream's name.
    pub upstream: Box<str>,
    /// Its own.
    pub endpoint: Box<str>,
}

/// What a connection becomes; it is never used for another request.
pub enum Takeover {
    /// The other half of an upstream's connection, in another protocol.
    Tunnel(Tunnel),
    /// A conversation that rsp leads itself.
    Session(Session),
}

/// A conversation with a client for as long as it lasts.
pub struct Session {
    /// The `Upgrade` field of the 101. None: the session writes the body of the answer.
    pub protocol: Option<HeaderValue>,
    /// Leads it; returns the bytes that went to the client.
    pub lead: Box<dyn FnOnce(Line) -> Lead>,
}

/// A conversation that goes on; at its end, the bytes that went to the client.
pub type Lead = Pin<Box<dyn Future<Output = u64>>>;

/// A client's connection in the hands of a session. The pieces of a body without end are chunks where the client speaks
/// HTTP/1.1; the session writes their sizes, too.
pub struct Line {
    /// What the client sent behind its request.
    pub early: Buffer,
    /// Without progress of a write.
    pub write_timeout: Duration,
}

/// Another protocol that both sides agreed to speak.
pub struct Tunnel {
    /// The `Upgrade` field of the 101.
    pub protocol: HeaderValue,
    /// The upstream's end.
    pub wire: Rc<Wire>,
    /// What the upstream sent behind its 101.
    pub leftover: Buffer,
    /// Silence after which the tunnel is cut.
    pub silence: Option<Duration>,
    /// Bytes in flight, a direction.
    pub capacity: usize,
    /// Counts the tunnel as work of its endpoint.
    pub in_flight: InFlight,
}

impl Takeover {
    /// The `Upgrade` field of the 101; None: the answer has a body after all.
    pub fn protocol(&self) -> Option<&HeaderValue> {
        match self {
            Self::Tunnel(tunnel) => Some(&tunnel.protocol),
            Self::Session(session) => session.protocol.as_ref(),
        }
    }
}

impl Response {
    /// A response without fields.
    pub fn new(status: StatusCode, body: Body) -> Self {
        Self { status, headers: HeaderMap::new(), body, stated_length: None, takeover: None, via: None, upstream: None }
    }

    /// A short text.
    pub fn text(status: StatusCode, text: impl Into<Body>) -> Self {
        Self::new(status, text.into()).with(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
    }

    /// The same with one field set.
    pub fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}
