//! A request on its way to a handler.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use rsp_core::frame::http1::{self, Framing, RequestHead, Target};
use tokio::time::Instant;

use super::Body;
use crate::stream::{Peer, Security, Wire};

/// A request: its head as received, its body, and who sent it.
pub struct Request {
    /// End-to-end fields only.
    pub head: RequestHead,
    /// Bytes of the head as received.
    pub head_bytes: usize,
    /// Pulled by the handler.
    pub body: Body,
    /// Who sent it.
    pub client: Client,
    /// In the log, on error pages, in `X-Request-Id` where asked.
    pub id: RequestId,
    /// When the head was complete.
    pub received: Instant,
    /// `http` or `https`, as the client sees it.
    pub scheme: &'static str,
    /// What the handshake found out, where TLS ended here.
    pub security: Option<Rc<Security>>,
    /// Where 1xx answers go.
    pub interim: Interim,
    /// Who is known to have sent it, by `auth`; of two, the one that was found out last.
    pub user: Option<Arc<User>>,
}

/// Whom a request is from, as far as `auth` found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name; empty where a token has none.
    pub name: Arc<str>,
    /// What a token says besides: JSON text, 4 KiB at most.
    pub info: Option<Arc<str>>,
}

impl Request {
    /// The same without its body, for whoever must still know it when it has gone its way.
    pub fn without_body(&self) -> Self {
        let head = RequestHead { framing: Framing::Empty, expect_continue: false, ..self.head.clone() };
        let Self { head_bytes, client, id, received, scheme, .. } = *self;
        let (security, user) = (self.security.clone(), self.user.clone());
        let (body, interim) = (Body::Empty, Interim::None);
        Self { head, head_bytes, body, client, id, received, scheme, security, interim, user }
    }

    /// The same without its body, in memory of its own: it may be kept for days, and the buffer of its head may go.
    pub fn to_keep(&self) -> Self {
        let mut kept = self.without_body();
        let head = &mut kept.head;
        let target = head.target.as_bytes();
        let length = head.headers.values().map(HeaderValue::len).sum::<usize>() + target.len();
        let mut all = Vec::with_capacity(length);
        all.extend_from_slice(target);
        head.headers.values().for_each(|value| all.extend_from_slice(value.as_bytes()));
        let mut all = Bytes::from(all);
        // What was a target or a value is one still.
        let target = Target::new(all.split_to(target.len()));
        for value in head.headers.values_mut() {
            if let Ok(own) = HeaderValue::from_maybe_shared(all.split_to(value.len())) {
                *value = own;
            }
        }
        if let Ok(target) = target {
            head.target = target;
        }
        head.upgrade = None;
        kept
    }
}

#[cfg(test)]
impl Request {
    /// A request without fields or body, from a process of this machine.
    pub fn example(method: http::Method, target: &'static str) -> Self {
        let head = RequestHead {
            method,
            target: rsp_core::frame::http1::Target::new(bytes::Bytes::from_static(target.as_bytes())).unwrap(),
            version: http::Version::HTTP_11,
            headers: http::HeaderMap::new(),
            framing: rsp_core::frame::http1::Framing::Empty,
            keep_alive: true,
            upgrade: None,
            expect_continue: false,
        };
        Self {
            head,
            head_bytes: 0,
            body: Body::Empty,
            client: Client { ip: None, peer: Peer::Unix, trusted: false },
            id: RequestId::next(),
            received: Instant::now(),
            scheme: "http",
            security: None,
            interim: Interim::None,
            user: None,
        }
    }

    /// The same with one field more.
    pub fn with(mut self, name: http::HeaderName, value: &str) -> Self {
        self.head.headers.append(name, http::HeaderValue::from_str(value).unwrap());
        self
    }
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address: the peer's, or the one a trusted peer states. None: a unix socket.
    pub ip: Option<IpAddr>,
    /// The other end of the connection.
    pub peer: Peer,
    /// Whether the peer's forwarding headers are believed.
    pub trusted: bool,
}

impl Client {
    /// The peer's address and port.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self.peer {
            Peer::Ip(address) => Some(address),
            Peer::Unix => None,
        }
    }
}

/// Names one request; unique enough to find it in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The next id of this worker.
    pub fn next() -> Self {
        thread_local! {
            static STATE: Cell<u64> = Cell::new(seed());
        }
        Self(STATE.with(|state| {
            state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
            mix(state.get())
        }))
    }

    /// As a seed for choices that need to differ between requests.
    pub fn seed(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where 1xx answers go while the final one is awaited.
#[derive(Clone)]
pub enum Interim {
    /// Nobody listens.
    None,
    /// The client speaks HTTP/1.0, which has no 1xx; that it goes away matters all the same.
    Never(Rc<Wire>),
    /// Straight onto the connection.
    Wire(Rc<Wire>),
}

impl Interim {
    /// The client's connection.
    pub fn client(&self) -> Option<&Wire> {
        match self {
            Self::None => None,
            Self::Never(wire) | Self::Wire(wire) => Some(wire),
        }
    }

    /// The client's connection, for a handler that takes it over.
    pub fn wire(&self) -> Option<Rc<Wire>> {
        match self {
            Self::None => None,
            Self::Never(wire) | Self::Wire(wire) => Some(Rc::clone(wire)),
        }
    }

    /// Sends a 1xx head.
    pub async fn send(&self, status: StatusCode, headers: &HeaderMap, timeout: std::time::Duration) -> io::Result<()> {
        let Self::Wire(wire) = self else { return Ok(()) };
        if let Some(sent) = wire.on_stream(|stream| stream.inform(status, headers.clone())) {
            return sent;
        }
        let mut head = Vec::with_capacity(256);
        http1::write_status_line(&mut head, status);
        http1::write_headers(&mut head, headers);
        head.extend_from_slice(b"\r\n");
        let mut left = &head[..];
        while !left.is_empty() {
            let n = poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(left)], Some(timeout))).await?;
            left = &left[n..];
        }
        poll_fn(|cx| wire.poll_flush(cx, Some(timeout))).await
    }
}
