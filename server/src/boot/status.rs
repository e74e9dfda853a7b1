//! What `rsp status` shows.

use std::time::Duration;

use rsp_core::config::Config;
use serde_json::{Value, json};

use super::worker::Shared;

/// What the control thread knows of itself.
pub struct Own {
    /// Threads that serve.
    pub workers: usize,
    /// Counts the processes of a row of upgrades, from 1.
    pub generation: u64,
    /// Since this process began.
    pub uptime: Duration,
}

/// The state of this rsp as JSON.
pub fn status(config: &Config, shared: &Shared, own: &Own) -> Value {
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
        "generation": own.generation,
        "uptime_seconds": own.uptime.as_secs(),
        "workers": own.workers,
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
