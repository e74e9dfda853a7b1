//! A checked `upstream`: its endpoints, and how one of them is chosen, probed and waited for.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};

use super::UpstreamTls;

/// A group of endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// The declared name; for an unnamed upstream or a bare address, the address list. States live under it across reloads.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// How one is chosen.
    pub balance: Balance,
    /// What [`Balance::Hash`] goes by.
    pub key: HashKey,
    /// The cookie that keeps a client on its endpoint.
    pub sticky: Option<String>,
    /// How long an endpoint that is back gets less than its share; zero: not at all.
    pub slow_start: Duration,
    /// Where requests wait.
    pub queue: Queue,
    /// Active health checks.
    pub probe: Option<Probe>,
    /// Passive ejection.
    pub outlier: Outlier,
    /// To establish a connection.
    pub connect_timeout: Duration,
    /// Idle connections a worker and endpoint.
    pub keepalive: usize,
    /// Age of an idle connection.
    pub keepalive_timeout: Duration,
    /// Second attempts.
    pub retry: Retry,
    /// The header that each connection begins with; such connections are not kept, as each is one client's.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether its endpoints are asked for HTTP/2: by ALPN over TLS, else by prior knowledge.
    pub http2: bool,
    /// How the endpoints' TLS is begun, where they have it.
    pub tls: Arc<UpstreamTls>,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Share of the traffic, 1 to 65535; more is more.
    pub weight: u32,
    /// Used only when no other endpoint is available.
    pub backup: bool,
    /// Requests in flight at most, all workers; its own or the upstream's.
    pub max_connections: Option<u32>,
    /// Whether it is reached by TLS: written as `https://`, or all of its upstream are.
    pub tls: bool,
    /// Name in logs and metrics; the address as written by default.
    pub name: String,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A host name or address, without brackets, and a port.
    Host(String, u16),
    /// The name of an SRV record, whose targets are the endpoints.
    Service(String),
    /// What the name before it was found to stand for; never in a file.
    Found(Box<EndpointAddress>, SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl EndpointAddress {
    /// Whether it has to be looked up before there is something to connect to.
    pub fn is_name(&self) -> bool {
        match self {
            Self::Host(host, _) => host.parse::<IpAddr>().is_err(),
            Self::Service(_) => true,
            Self::Found(..) | Self::Unix(_) => false,
        }
    }
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// Fewest requests in flight, by weight.
    LeastConnections,
    /// The less loaded of two chosen at random.
    PowerOfTwo,
    /// Any of them, by weight.
    Random,
    /// The one that a key belongs to, on a ring with bounded loads.
    Hash,
}

/// What a request is hashed by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HashKey {
    /// The client's address.
    #[default]
    ClientIp,
    /// The first field of that name.
    Header(HeaderName),
    /// The cookie of that name.
    Cookie(String),
    /// Path and query as the client sent them.
    Uri,
}

/// Where requests wait when every endpoint is full or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// How many wait; 0: none.
    pub size: usize,
    /// How long one waits.
    pub timeout: Duration,
}

/// Active health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What to ask for; None: a connect is enough.
    pub ask: Option<ProbeRequest>,
    /// Between two probes of an endpoint.
    pub every: Duration,
    /// For one probe.
    pub timeout: Duration,
    /// Failures in a row that take it out; at least 1.
    pub fall: u32,
    /// Successes in a row that bring it back; at least 1.
    pub rise: u32,
}

/// The request of a probe, and what is a good answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Begins with a slash.
    pub path: String,
    /// Any method but those that make no sense.
    pub method: Method,
    /// None: the endpoint's host and port.
    pub host: Option<HeaderValue>,
    /// Good statuses, both ends included.
    pub statuses: Vec<(u16, u16)>,
    /// What the body must contain.
    pub body: Option<String>,
}

/// Passive ejection of an endpoint that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Bad answers in a row; one failed connect counts as three.
    pub failures: u32,
    /// First ejection; doubles with each one that follows.
    pub eject: Duration,
    /// Longest ejection.
    pub eject_max: Duration,
    /// Share of the endpoints that may be out at once for their answers, 0 to 1; the last one is never ejected.
    pub max_ejected: f64,
    /// An answer whose head takes longer is a bad one.
    pub slow: Option<Duration>,
}

/// Second attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts in all, the first one counted; at least 1.
    pub tries: u32,
    /// Retries as a share of requests.
    pub budget: f64,
}

/// As the file writes it, a relative path resolved.
impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "srv:{name}"),
            Self::Found(_, address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
