//! The checked config: plain data, complete, shared by `Arc` with whatever runs it.

mod auth;
pub(super) mod channel;
mod filters;
mod program;
mod tls;
mod upstream;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, StatusCode};

pub use self::{
    auth::{Auth, ForwardAuth},
    channel::{Broker, Channel, Origins, Publish, Slow},
    filters::{Cors, HeaderEdit, HeaderEdits, Limit, LimitKey, Only, Origin},
    program::*,
    tls::*,
    upstream::*,
};
pub use super::{
    error_pages::*,
    files::{Candidate, Files, Hidden},
    raw::FunctionId,
};
use crate::route::Rewrite;

/// A whole checked config.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Where the admin API listens.
    pub admin: Admin,
    /// The access log of every site without its own.
    pub access_log: AccessLog,
    /// None: one a core.
    pub workers: Option<NonZeroUsize>,
    /// Whose forwarding headers are believed.
    pub trust: Networks,
    /// The process-wide limits, and the ones of every site without its own.
    pub limits: Arc<Limits>,
    /// The error pages of the process; None: the built-in ones.
    pub errors: Option<Arc<ErrorPages>>,
    /// Name servers for the names of endpoints; empty: those of the system.
    pub resolver: Vec<SocketAddr>,
    /// How long a drain waits.
    pub drain: Duration,
    /// Whom to run as after binding; None: whoever started it.
    pub user: Option<User>,
    /// Declared upstreams, each name once.
    pub upstreams: Vec<Arc<Upstream>>,
    /// In the order of the file.
    pub sites: Vec<Site>,
    /// What carries channels between processes; it can't change on reload.
    pub broker: Broker,
    /// In the order of the file, over all sites; of those with one template the first.
    pub channels: Vec<Arc<Channel>>,
    /// The programs with one process for everybody, in the order of the file: those with a channel, and shared ones.
    pub programs: Vec<Arc<Exec>>,
    /// How many functions run on requests; 0 means that workers need no Lua.
    pub functions: u32,
    /// What no `files` serves.
    pub hidden: Arc<Hidden>,
    /// Who gives certificates to the sites that ask for it.
    pub acme: Option<Arc<Acme>>,
}

impl Default for Config {
    /// Nothing is declared; every bound is the default one.
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            admin: Admin { address: None, token: None },
            access_log: AccessLog { format: LogFormat::None, to: None },
            workers: None,
            trust: Networks::default(),
            limits: Arc::default(),
            errors: None,
            resolver: Vec::new(),
            drain: Duration::from_secs(30),
            user: None,
            upstreams: Vec::new(),
            sites: Vec::new(),
            broker: Broker::Memory,
            channels: Vec::new(),
            programs: Vec::new(),
            functions: 0,
            hidden: Arc::default(),
            acme: None,
        }
    }
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6 with port; `":80"` is `[::]:80`, which takes IPv4 too.
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

/// One `listen`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where.
    pub address: Address,
    /// Permission bits of a unix socket.
    pub mode: u32,
    /// Length of the kernel's accept queue.
    pub backlog: u32,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whether connections are TLS; None: plain.
    pub tls: Option<ListenTls>,
    /// Whether plain connections may be HTTP/2, by prior knowledge.
    pub http2: bool,
    /// Where all connections go, whatever they speak; None: they are HTTP.
    pub tcp: Option<Arc<Tunnel>>,
}

impl Listener {
    /// A plain one with the defaults of everything else.
    pub fn plain(address: Address) -> Self {
        Self { address, mode: 0o660, backlog: 4096, proxy_protocol: false, tls: None, http2: false, tcp: None }
    }
}

/// Whom to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Not empty.
    pub name: String,
    /// None: the user's own group.
    pub group: Option<String>,
}

/// The admin API's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// None: the default unix socket, whose path boot knows.
    pub address: Option<Address>,
    /// Required for TCP.
    pub token: Option<String>,
}

/// The file of the secret that sticky cookies are made with: beside the admin socket, or where its default would be.
pub fn secret_path(admin: &Path) -> PathBuf {
    admin.with_extension("secret")
}

/// Where requests are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Layout of a line.
    pub format: LogFormat,
    /// None: standard output.
    pub to: Option<PathBuf>,
}

/// Layout of an access log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Apache's combined format, then request id, upstream and times.
    #[default]
    Combined,
    /// Apache's common format.
    Common,
    /// One JSON object a line.
    Json,
    /// websocketd's: a line when a session begins, and one when it or a request ends.
    Websocketd,
    /// No access log.
    None,
}

/// A set of networks, as `trust`, `allow` and `deny` take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// IP networks.
    pub nets: Vec<ipnet::IpNet>,
    /// Whether peers on unix sockets belong.
    pub unix: bool,
}

/// Every bound that `limits` sets; CONFIG §2 has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head.
    pub head: usize,
    /// Fields in a head.
    pub headers: usize,
    /// Bytes of a request target.
    pub uri: usize,
    /// Bytes of a request body; None: no limit.
    pub body: Option<u64>,
    /// First byte of a head to its end.
    pub head_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// Between two reads of a body.
    pub body_timeout: Duration,
    /// Without progress of a write.
    pub write_timeout: Duration,
    /// Open client connections, all workers.
    pub connections: usize,
    /// Open connections of one client address.
    pub connections_per_client: Option<usize>,
    /// Requests on one connection.
    pub requests_per_connection: Option<u64>,
    /// Bytes of a body in flight, a direction.
    pub buffer: usize,
    /// Open tunnels.
    pub tunnels: Option<usize>,
    /// Channels, all workers.
    pub channels: usize,
    /// CPU time of one call of a function.
    pub script_cpu: Duration,
    /// Bytes one call of a function may add to its Lua state.
    pub script_memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 16 << 10,
            headers: 100,
            uri: 8 << 10,
            body: None,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            connections: 100_000,
            connections_per_client: None,
            requests_per_connection: None,
            buffer: 64 << 10,
            tunnels: None,
            channels: 1_000_000,
            script_cpu: Duration::from_millis(50),
            script_memory: 64 << 20,
        }
    }
}

/// One site.
#[derive(Debug, Clone)]
pub struct Site {
    /// At least one.
    pub hosts: Vec<Host>,
    /// Indexes into [`Config::listeners`]; None: all.
    pub listeners: Option<Vec<usize>>,
    /// Its own or the process's.
    pub limits: Arc<Limits>,
    /// Its own, if it has one.
    pub access_log: Option<AccessLog>,
    /// Its own error pages before the process's; None: the built-in ones.
    pub errors: Option<Arc<ErrorPages>>,
    /// What becomes of TLS connections to it; None: they are refused.
    pub tls: Option<SiteTls>,
    /// Whether plain requests are redirected to `https`.
    pub redirect_http: bool,
    /// For how long browsers come by TLS only (RFC 6797); None: it isn't said.
    pub hsts: Option<Duration>,
    /// Its routes; no two of them match the same requests.
    pub routes: Vec<Route>,
}

/// A host of a site, lower-cased, without port or final dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// One name.
    Exact(String),
    /// `*.suffix`, kept as `suffix`: any depth, not the suffix itself.
    Suffix(String),
    /// `*`
    Any,
}

/// One route of a site.
#[derive(Debug, Clone)]
pub struct Route {
    /// None: any method without a route of its own.
    pub method: Option<Method>,
    /// The path pattern.
    pub pattern: crate::route::Pattern,
    /// What answers.
    pub chain: Chain,
}

/// Filters, then a handler.
#[derive(Debug, Clone)]
pub struct Chain {
    /// In order on the way in, in reverse on the way out.
    pub filters: Vec<Filter>,
    /// What answers.
    pub handler: Handler,
}

/// A checked filter.
#[derive(Debug, Clone)]
pub enum Filter {
    /// 403 for everybody else.
    Allow(Networks),
    /// 403 for these.
    Deny(Networks),
    /// Who may pass.
    Auth(Arc<Auth>),
    /// Edits of heads.
    Headers(Arc<HeaderEdits>),
    /// How often, and how many at once.
    Limit(Arc<Limit>),
    /// Pages of other origins.
    Cors(Arc<Cors>),
    /// Another path.
    Rewrite(Arc<Rewrite>),
    /// Returns a handler, or nil to go on.
    Function(FunctionId),
}

/// A checked handler: plain data, so that a script may build one while a request waits.
#[derive(Debug, Clone)]
pub enum Handler {
    /// To an upstream.
    Proxy(Arc<Proxy>),
    /// From a folder.
    Files(Arc<Files>),
    /// To a FastCGI application.
    Fastcgi(Arc<Fastcgi>),
    /// A fixed answer.
    Reply(Arc<Reply>),
    /// To another URL.
    Redirect(Arc<Redirect>),
    /// Messages to whoever listens.
    Channel(Arc<Channel>),
    /// To a program.
    Exec(Arc<Exec>),
    /// From a program of a folder.
    Cgi(Arc<Cgi>),
    /// To a socket that speaks in messages.
    Bridge(Arc<Bridge>),
    /// Returns the handler that answers; nil is 404.
    Function(FunctionId),
}

/// `proxy { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// The upstream; one made of a bare address is named by it.
    pub upstream: Arc<Upstream>,
    /// Removed from the front of the path.
    pub strip: Option<String>,
    /// What the upstream sees as `Host`.
    pub host: ProxyHost,
    /// Request sent to response head.
    pub timeout: Duration,
    /// Between two reads of the response body.
    pub body_timeout: Duration,
    /// Which forwarding headers are added.
    pub forwarded: Forwarded,
    /// Overrides the upstream's.
    pub retry: Option<Retry>,
    /// Bytes in flight a direction; None: the limit `buffer`.
    pub buffer: Option<usize>,
    /// Whether `Upgrade` is passed on.
    pub upgrade: bool,
    /// Silence after which a tunnel is cut; None: never.
    pub tunnel_timeout: Option<Duration>,
}

/// What the upstream sees as `Host`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyHost {
    /// What the client sent.
    #[default]
    Keep,
    /// The endpoint's host and port.
    Upstream,
    /// This.
    Fixed(HeaderValue),
}

/// Which forwarding headers are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// `X-Forwarded-For/-Proto/-Host`, `X-Real-IP`.
    #[default]
    X,
    /// `Forwarded`, RFC 7239.
    Rfc,
    /// Both of them.
    Both,
    /// None.
    Off,
}

/// `fastcgi { ADDR }`
#[derive(Debug, Clone, PartialEq)]
pub struct Fastcgi {
    /// Where the application is.
    pub upstream: Arc<Upstream>,
    /// Its scripts; None: it finds them itself.
    pub scripts: Option<Scripts>,
    /// The script that stands for a folder, and for whatever names no script.
    pub index: String,
    /// How the name of a script ends; what stands behind it in a path is path info.
    pub split: String,
    /// Added to the parameters, or in their place.
    pub params: Vec<(String, String)>,
    /// Whether connections are kept.
    pub keepalive: bool,
    /// Request sent to response head.
    pub timeout: Duration,
    /// Between two reads of the response body.
    pub body_timeout: Duration,
}

/// A folder of scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// Absolute.
    pub folder: PathBuf,
    /// Whether it is here, so that a script is looked for before the application is asked.
    pub seen: bool,
}

/// `reply(status, body, headers)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: StatusCode,
    /// A table in the file is JSON here.
    pub body: bytes::Bytes,
    /// Without framing headers; Content-Type defaults to text/plain or application/json.
    pub headers: HeaderMap,
}

/// `redirect(to, status)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// May hold `{host} {uri} {path} {query}` and route parameters.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// As the file writes it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => write!(f, ":{}", address.port()),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As the file writes it.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}
