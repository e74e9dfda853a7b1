//! A response on its way to the client.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use rsp_core::balance::InFlight;

use super::Body;
use crate::stream::{Buffer, Wire};

/// A response: a head, and a body or an upgrade.
pub struct Response {
    /// 200 to 599, or 101 with an upgrade.
    pub status: StatusCode,
    /// End-to-end fields only.
    pub headers: HeaderMap,
    /// Pulled by the protocol.
    pub body: Body,
    /// The Content-Length that a HEAD or 304 answer states without a body.
    pub stated_length: Option<u64>,
    /// What the connection becomes after a 101.
    pub upgrade: Option<Box<Upgrade>>,
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

/// Another protocol that both sides agreed to speak.
pub struct Upgrade {
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

impl Response {
    /// A response without fields.
    pub fn new(status: StatusCode, body: Body) -> Self {
        Self { status, headers: HeaderMap::new(), body, stated_length: None, upgrade: None, via: None, upstream: None }
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
