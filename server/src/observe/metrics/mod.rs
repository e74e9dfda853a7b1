//! What rsp counts: requests by site, upstream and status, times, bytes, connections, pools, ejections, reloads.
//!
//! **Invariant:** counting is a relaxed atomic on a handle that was looked up when a snapshot was built, never by name
//! on the request path.
//! **Invariant:** the number of names is bounded; beyond the bound all further names share the one named `_other`.

mod definition;
mod render;
mod series;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

pub use self::series::Series;

/// Sites × upstreams that are counted apart: 200 bytes each without traffic, 1 to 4 KiB with it.
const SERIES_MAX: usize = 100_000;

/// Listeners, upstreams or endpoints that are counted apart.
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
    tunnels_open: Gauge,
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
    /// Functions of the config that failed or ran too long.
    pub script_errors: Counter,
}

/// One open tunnel; counted until it is dropped.
#[derive(Debug)]
pub struct OpenTunnel(Arc<Metrics>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels_open.dec();
    }
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
}

/// What one endpoint of an upstream counts.
#[derive(Debug)]
pub struct EndpointCounts {
    /// Connections that could not be opened.
    pub connect_failures: Counter,
    /// Times it was taken out because it failed.
    pub ejections: Counter,
    /// 1 while it gets requests, 0 while it is out.
    pub up: Gauge,
}

impl Default for EndpointCounts {
    fn default() -> Self {
        let up = Gauge::default();
        up.set(1);
        Self { connect_failures: Counter::default(), ejections: Counter::default(), up }
    }
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

    /// Counts one more tunnel unless `max` are open already.
    pub fn open_tunnel(self: &Arc<Self>, max: Option<usize>) -> Option<OpenTunnel> {
        let before = usize::try_from(self.tunnels_open.inc()).unwrap_or_default();
        // From here on its drop takes it back, whatever follows.
        let tunnel = OpenTunnel(Arc::clone(self));
        max.is_none_or(|max| before < max).then_some(tunnel)
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
            tunnels_open: Gauge::default(),
            reloads_ok: Counter::default(),
            reloads_failed: Counter::default(),
            access_log_dropped: Counter::default(),
            access_log_errors: Counter::default(),
            accept_backoffs: Counter::default(),
            script_errors: Counter::default(),
        }
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
