//! What rsp counts: requests by site, upstream and status, times, bytes, connections, pools, ejections, reloads.
//!
//! **Invariant:** counting is a relaxed atomic on a handle that was looked up when a snapshot was built, never by name
//! on the request path.
//! **Invariant:** the number of names is bounded; beyond the bound all further names share the one named `_other`.

mod channels;
mod definition;
mod render;
mod series;
mod tls;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

pub use self::{
    channels::{ChannelCounts, Transport},
    series::Series,
    tls::{Handshake, HandshakeCounts},
};

/// Sites × upstreams that are counted apart: 200 bytes each without traffic, 1 to 4 KiB with it.
const SERIES_MAX: usize = 100_000;

/// Listeners, upstreams, endpoints or sites with limits that are counted apart.
const NAMES_MAX: usize = 100_000;

/// Stands for every name beyond the bound.
const OTHER: &str = "_other";

/// All counters of the process; they live across reloads and only a restart sets them to zero.
#[derive(Debug)]
pub struct Metrics {
    series: ByName<2, Series>,
    listeners: ByName<1, ListenerCounts>,
    upstreams: ByName<1, UpstreamCounts>,
    endpoints: ByName<2, EndpointCounts>,
    limited: ByName<1, Counter>,
    /// Requests between their head and the end of their answer.
    pub requests_in_flight: Gauge,
    /// Connections that became tunnels.
    pub tunnels_open: Gauge,
    /// Configs that were swapped in.
    pub reloads_ok: Counter,
    /// Configs that were refused.
    pub reloads_failed: Counter,
    /// Access log lines that did not fit into the queue.
    pub access_log_dropped: Counter,
    /// Attempts to write or reopen an access log that failed.
    pub access_log_errors: Counter,
    /// Pauses of a listener because descriptors ran out.
    pub accept_backoffs: Counter,
    /// TLS with clients.
    pub handshakes: HandshakeCounts,
    /// Functions of the config that failed or ran too long.
    pub script_errors: Counter,
    /// What became of requests at `auth`.
    pub auth: AuthCounts,
    /// The Redis that channels are at.
    pub broker: BrokerCounts,
    /// What happens on channels.
    pub channels: ChannelCounts,
    /// Programs.
    pub processes: ProcessCounts,
}

/// What is counted of the processes that answer clients.
#[derive(Debug, Default)]
pub struct ProcessCounts {
    /// Processes of which somebody is left.
    pub running: Gauge,
    /// Processes whose program ran.
    pub started: Counter,
    /// Processes that could not be started.
    pub failed: Counter,
}

/// What is counted of the Redis that channels are at.
#[derive(Debug, Default)]
pub struct BrokerCounts {
    /// Servers that can be reached.
    pub up: Gauge,
    /// Times a server could be reached again, or for the first time.
    pub connected: Counter,
    /// Commands that were done.
    pub done: Counter,
    /// Commands that were not done, as it was away.
    pub away: Counter,
    /// Commands that may have been done.
    pub unknown: Counter,
    /// Commands for which too many waited; among those that were not done, too.
    pub full: Counter,
    /// Commands that wait for an answer.
    pub waiting: Gauge,
}

/// What became of requests at `auth`.
#[derive(Debug, Default)]
pub struct AuthCounts {
    /// Let pass, after a password was checked or a server asked.
    pub passed: Counter,
    /// Let pass, as it was known.
    pub cached: Counter,
    /// Answered, mostly 401.
    pub refused: Counter,
    /// Answered 503: too many waited.
    pub full: Counter,
    /// Answered 503: the auth server gave no answer that decides.
    pub unavailable: Counter,
}

/// What one listener counts.
#[derive(Debug, Default)]
pub struct ListenerCounts {
    /// Client connections that are open.
    pub open: Gauge,
    /// Client connections that were accepted.
    pub accepted: Counter,
    /// Client connections that were closed at once: over a limit.
    pub refused: Counter,
}

/// What one upstream counts.
#[derive(Debug, Default)]
pub struct UpstreamCounts {
    /// Connections that were opened.
    pub opened: Counter,
    /// Requests that went over a connection that was open already.
    pub reused: Counter,
    /// Idle connections in the pools of all workers.
    pub idle: Gauge,
    /// Second and further attempts.
    pub retries: Counter,
    /// Requests that wait for an endpoint.
    pub queued: Gauge,
    /// Requests that found as many waiting as may.
    pub queue_refused: Counter,
    /// Requests that waited in vain.
    pub queue_timeouts: Counter,
}

/// What one endpoint of an upstream counts.
#[derive(Debug, Default)]
pub struct EndpointCounts {
    /// Connections that could not be opened.
    pub connect_failures: Counter,
    /// Times it was taken out because it failed.
    pub ejections: Counter,
    /// Probes that failed.
    pub probe_failures: Counter,
    /// Whether probes found it down.
    down: AtomicBool,
    /// Milliseconds since the first ejection of the process; 0: it was never out.
    out_until: AtomicU64,
}

impl EndpointCounts {
    /// It was taken out for so long. Nobody says when it is back: its time is over then.
    pub fn ejected(&self, for_: Duration) {
        self.ejections.inc();
        self.out_until.store(milliseconds(since_first_ejection() + for_).max(1), Relaxed);
    }

    /// Probes found it down, or up.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Relaxed);
    }

    /// Whether it gets requests.
    pub fn is_up(&self) -> bool {
        if self.down.load(Relaxed) {
            return false;
        }
        let until = self.out_until.load(Relaxed);
        until == 0 || milliseconds(since_first_ejection()) >= until
    }
}

fn since_first_ejection() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::bounded(SERIES_MAX, NAMES_MAX)
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The counters of a site's requests to one upstream, by name; `""` for requests that rsp answers itself.
    /// Look up when a snapshot is built, not per request.
    pub fn series(&self, site: &str, upstream: &str) -> Arc<Series> {
        self.series.get([site, upstream])
    }

    /// Answers of every site with traffic by the first digit of their status, 1 to 5 and above.
    pub fn answers_by_site(&self) -> HashMap<String, [u64; 5]> {
        let mut sites = HashMap::<String, [u64; 5]>::new();
        self.series.each(|[site, _], series| {
            let Some(classes) = series.classes() else { return };
            let sums = sites.entry(site.to_string()).or_default();
            sums.iter_mut().zip(classes).for_each(|(sum, count)| *sum += count);
        });
        sites
    }

    /// The counters of a listener, by its address as written.
    pub fn listener(&self, address: &str) -> Arc<ListenerCounts> {
        self.listeners.get([address])
    }

    /// The counters of an upstream, by name.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamCounts> {
        self.upstreams.get([name])
    }

    /// The counters of an endpoint, by the names of its upstream and its own.
    pub fn endpoint(&self, upstream: &str, endpoint: &str) -> Arc<EndpointCounts> {
        self.endpoints.get([upstream, endpoint])
    }

    /// Requests of a site that a `limit` refused.
    pub fn limited(&self, site: &str) -> Arc<Counter> {
        self.limited.get([site])
    }

    /// Counts a request in flight until the guard is dropped.
    pub fn begin_request(&self) -> RequestInFlight<'_> {
        self.requests_in_flight.inc();
        RequestInFlight(self)
    }

    /// Counts an open tunnel until the guard is dropped; the request it began as is no longer in flight meanwhile.
    pub fn begin_tunnel(&self) -> OpenTunnel<'_> {
        self.requests_in_flight.dec();
        self.tunnels_open.inc();
        OpenTunnel(self)
    }

    /// Counts a connection that is a tunnel from its beginning, until the guard is dropped.
    pub fn begin_passage(self: &Arc<Self>) -> OpenPassage {
        self.tunnels_open.inc();
        OpenPassage(Arc::clone(self))
    }

    /// Everything as OpenMetrics 1.0 text, which Prometheus reads; its type is [`Metrics::CONTENT_TYPE`].
    pub fn render(self: &Arc<Self>) -> String {
        render::render(self)
    }

    /// The `Content-Type` of [`render`](Self::render).
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    fn bounded(series: usize, names: usize) -> Self {
        Self {
            series: ByName::new(series),
            listeners: ByName::new(names),
            upstreams: ByName::new(names),
            endpoints: ByName::new(names),
            limited: ByName::new(names),
            requests_in_flight: Gauge::default(),
            tunnels_open: Gauge::default(),
            reloads_ok: Counter::default(),
            reloads_failed: Counter::default(),
            access_log_dropped: Counter::default(),
            access_log_errors: Counter::default(),
            accept_backoffs: Counter::default(),
            handshakes: HandshakeCounts::default(),
            script_errors: Counter::default(),
            auth: AuthCounts::default(),
            broker: BrokerCounts::default(),
            channels: ChannelCounts::default(),
            processes: ProcessCounts::default(),
        }
    }
}

/// Counts one request in flight while it lives.
#[must_use = "the request counts only as long as this lives"]
pub struct RequestInFlight<'a>(&'a Metrics);

impl Drop for RequestInFlight<'_> {
    fn drop(&mut self) {
        self.0.requests_in_flight.dec();
    }
}

/// Counts one open tunnel while it lives.
#[must_use = "the tunnel counts only as long as this lives"]
pub struct OpenTunnel<'a>(&'a Metrics);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.tunnels_open.dec();
        self.0.requests_in_flight.inc();
    }
}

/// Counts one connection that goes on unread while it lives.
#[must_use = "the tunnel counts only as long as this lives"]
pub struct OpenPassage(Arc<Metrics>);

impl Drop for OpenPassage {
    fn drop(&mut self) {
        self.0.tunnels_open.dec();
    }
}

/// Shared values by name, made when first asked for and kept for ever.
#[derive(Debug)]
struct ByName<const N: usize, V> {
    values: Mutex<HashMap<[Box<str>; N], Arc<V>, foldhash::fast::RandomState>>,
    most: usize,
}

impl<const N: usize, V: Default> ByName<N, V> {
    fn new(most: usize) -> Self {
        Self { values: Mutex::default(), most }
    }

    fn get(&self, name: [&str; N]) -> Arc<V> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.map(Box::from);
        if let Some(value) = values.get(&name) {
            return value.clone();
        }
        let name = if values.len() < self.most { name } else { [OTHER; N].map(Box::from) };
        values.entry(name).or_default().clone()
    }

    fn each(&self, mut look: impl FnMut(&[Box<str>; N], &V)) {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.iter().for_each(|(name, value)| look(name, value));
    }

    /// All of them, in the order of their names.
    fn sorted(&self) -> Vec<([Box<str>; N], Arc<V>)> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = values.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        drop(values);
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}

#[cfg(test)]
mod tests;
