//! What `rsp status` shows.

use std::time::Duration;

use rsp_core::config::Config;
use serde_json::{Value, json};

use super::worker::Shared;

/// The state of this rsp as JSON.
pub fn status(config: &Config, shared: &Shared, workers: usize, uptime: Duration) -> Value {
    let listeners: Vec<_> = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    let sites: Vec<_> = config
        .sites
        .iter()
        .map(|site| {
            let hosts: Vec<_> = site.hosts.iter().map(ToString::to_string).collect();
            json!({ "hosts": hosts, "routes": site.routes.len() })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": uptime.as_secs(),
        "workers": workers,
        "listeners": listeners,
        "sites": sites,
        "upstreams": upstreams(shared),
        "connections": shared.connections.open(),
    })
}

fn upstreams(shared: &Shared) -> Vec<Value> {
    let now = crate::upstream::since_start(tokio::time::Instant::now());
    let groups = shared.registry.declared();
    let endpoint = |group: &crate::upstream::Group, index: usize| {
        let endpoint = &group.endpoints[index];
        json!({
            "name": &*endpoint.names.endpoint,
            "available": group.balance.is_available(index, now),
            "in_flight": endpoint.state.in_flight(),
            "ejections": endpoint.state.ejections(),
        })
    };
    groups
        .iter()
        .map(|group| {
            let live = group.live();
            let group = live.as_ref().unwrap_or(group);
            let endpoints: Vec<_> = (0..group.endpoints.len()).map(|index| endpoint(group, index)).collect();
            json!({ "name": &*group.name, "endpoints": endpoints })
        })
        .collect()
}
