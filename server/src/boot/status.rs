//! What `rsp status` shows, as the JSON of `GET /status`; its names are promises.

use std::{path::Path, time::Duration};

use rsp_core::config::{self, Config};
use serde_json::{Value, json};

use super::worker::Shared;
use crate::{
    broker::Server,
    observe::{Metrics, Transport, push_rfc3339},
    tls,
    upstream::Group,
};

/// Sites and upstreams that are listed, the busiest ones: more are counted only.
const LISTED_MAX: usize = 1000;

/// Endpoints of one upstream that are listed.
const ENDPOINTS_MAX: usize = 256;

/// Names of one certificate that are listed.
const NAMES_MAX: usize = 100;

/// Servers of a broker that are listed.
const SERVERS_MAX: usize = 256;

/// What the control thread knows of this rsp.
pub struct Facts<'a> {
    /// The running config.
    pub config: &'a Config,
    /// Its file; None for a one-line command.
    pub file: Option<&'a Path>,
    /// Counters, upstreams and connections.
    pub shared: &'a Shared,
    /// How many.
    pub workers: usize,
    /// Counts the processes of a row of upgrades, from 1.
    pub generation: u64,
    /// Since the start.
    pub uptime: Duration,
    /// None: there was none.
    pub last_reload: Option<&'a Reload>,
}

/// How a reload went.
pub struct Reload {
    /// When, in words.
    pub at: String,
    /// The first line of the diagnostic of one that was refused.
    pub refused: Option<String>,
}

/// The state of this rsp as JSON.
pub fn status(facts: &Facts<'_>) -> Value {
    let Facts { config, shared, .. } = facts;
    // Of one whose names DNS answers, the group that has the endpoints.
    let live = |group: std::sync::Arc<Group>| group.live().unwrap_or(group);
    let groups: Vec<_> = shared.serving.registry.declared().into_iter().map(live).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "generation": facts.generation,
        "uptime_seconds": facts.uptime.as_millis() as f64 / 1e3,
        "workers": facts.workers,
        "config": facts.file.map(|file| file.display().to_string()),
        "last_reload": facts.last_reload.map(reload),
        "connections": shared.connections.open(),
        // Whoever asks is none that is served.
        "requests_in_flight": (shared.serving.metrics.requests_in_flight.get() - 1).max(0),
        "tunnels": shared.serving.metrics.tunnels_open.get(),
        "channels": shared.serving.broker.count(),
        "subscribers": subscribers(&shared.serving.metrics),
        "broker": broker(facts),
        "listeners": listeners(facts),
        "sites": sites(facts),
        "sites_total": config.sites.len(),
        "certificates": certificates(facts),
        "upstreams": upstreams(facts, &groups),
        "upstreams_total": groups.len(),
    })
}

/// Where channels are, and whether that can be reached.
fn broker(facts: &Facts<'_>) -> Value {
    let server = |server: Server| {
        let mut since = Vec::new();
        push_rfc3339(&mut since, server.since);
        json!({
            "address": &*server.address,
            "up": server.is_up,
            "since": String::from_utf8_lossy(&since),
            "last_error": server.last_error,
        })
    };
    let servers: Vec<_> = facts.shared.serving.broker.servers().into_iter().take(SERVERS_MAX).map(server).collect();
    json!({ "kind": facts.shared.serving.broker.kind(), "servers": servers })
}

/// How many hear of channels over each transport.
fn subscribers(metrics: &Metrics) -> Value {
    Transport::ALL.iter().map(|one| (one.name(), metrics.channels.subscribers(*one).get())).collect()
}

fn reload(reload: &Reload) -> Value {
    let result = if reload.refused.is_some() { "refused" } else { "ok" };
    json!({ "time": reload.at, "result": result, "message": reload.refused })
}

fn listeners(facts: &Facts<'_>) -> Vec<Value> {
    let listener = |listener: &config::Listener| {
        let address = listener.address.to_string();
        let counts = facts.shared.serving.metrics.listener(&address);
        json!({
            "address": address,
            "open": counts.open.get(),
            "accepted": counts.accepted.get(),
            "refused": counts.refused.get(),
        })
    };
    facts.config.listeners.iter().take(LISTED_MAX).map(listener).collect()
}

/// The busiest sites; of those that are as busy, the first ones of the file.
fn sites(facts: &Facts<'_>) -> Vec<Value> {
    let answers = facts.shared.serving.metrics.answers_by_site();
    let mut sites: Vec<_> = facts.config.sites.iter().map(|site| (site, answered(&answers, site))).collect();
    sites.sort_by_key(|(_, classes)| std::cmp::Reverse(classes.iter().sum::<u64>()));
    let site = |(site, classes): (&config::Site, [u64; 5])| {
        let hosts: Vec<_> = site.hosts.iter().map(ToString::to_string).collect();
        let [_, ok, redirects, client_errors, server_errors] = classes;
        json!({
            "hosts": hosts,
            "routes": site.routes.len(),
            "requests": classes.iter().sum::<u64>(),
            "2xx": ok,
            "3xx": redirects,
            "4xx": client_errors,
            "5xx": server_errors,
        })
    };
    sites.into_iter().take(LISTED_MAX).map(site).collect()
}

fn answered(answers: &std::collections::HashMap<String, [u64; 5]>, site: &config::Site) -> [u64; 5] {
    // A site is counted under its first host.
    let name = site.hosts.first().filter(|_| !answers.is_empty());
    name.and_then(|host| answers.get(&host.to_string())).copied().unwrap_or_default()
}

/// The certificates of an authority that sites want, those in trouble first.
fn certificates(facts: &Facts<'_>) -> Vec<Value> {
    let mut all = facts.shared.serving.acme.status();
    all.sort_by_key(|one| (one.trouble.is_none(), one.until.is_some()));
    let time = |time| {
        let mut text = Vec::new();
        push_rfc3339(&mut text, time);
        String::from_utf8_lossy(&text).into_owned()
    };
    let certificate = |one: tls::acme::Status| {
        let state = match (one.is_running, one.until.is_some(), one.trouble.is_some()) {
            (true, ..) => "ordering",
            (_, true, false) => "valid",
            (_, true, true) => "renewal failing",
            (_, false, false) => "waiting",
            (_, false, true) => "failing",
        };
        json!({
            "names": one.names.iter().take(NAMES_MAX).collect::<Vec<_>>(),
            "state": state,
            "expires": one.until.map(time),
            "next_attempt": time(one.next),
            "failures": one.trouble.as_ref().map_or(0, |(_, times)| *times),
            "last_error": one.trouble.map(|(why, _)| why),
        })
    };
    all.into_iter().take(LISTED_MAX).map(certificate).collect()
}

/// The busiest upstreams; of those that are as busy, in the order of their names.
fn upstreams(facts: &Facts<'_>, groups: &[std::sync::Arc<Group>]) -> Vec<Value> {
    let now = crate::upstream::since_start(tokio::time::Instant::now());
    let requests = |group: &Group| group.endpoints.iter().map(|endpoint| endpoint.state.requests()).sum::<u64>();
    let mut busiest: Vec<_> = groups.iter().map(|group| (group, requests(group))).collect();
    busiest.sort_by_key(|(_, requests)| std::cmp::Reverse(*requests));
    let upstream = |(group, requests): (&std::sync::Arc<Group>, u64)| {
        let counts = facts.shared.serving.metrics.upstream(&group.name);
        let endpoints = 0..group.endpoints.len().min(ENDPOINTS_MAX);
        json!({
            "name": &*group.name,
            "requests": requests,
            "retries": counts.retries.get(),
            "queued": group.balance.lasting().room.waiting(),
            "connections_opened": counts.opened.get(),
            "connections_idle": counts.idle.get(),
            "endpoints": endpoints.map(|index| endpoint(group, index, now)).collect::<Vec<_>>(),
            "endpoints_total": group.endpoints.len(),
        })
    };
    busiest.into_iter().take(LISTED_MAX).map(upstream).collect()
}

fn endpoint(group: &Group, index: usize, now: Duration) -> Value {
    let (endpoint, spec) = (&group.endpoints[index], &group.spec.endpoints[index]);
    let (state, seconds) = state(group, index, now);
    json!({
        "name": &*endpoint.names.endpoint,
        "available": group.balance.is_available(index, now),
        "state": state,
        "state_seconds": seconds,
        "in_flight": endpoint.state.in_flight(),
        "requests": endpoint.state.requests(),
        "failures": endpoint.state.failures(),
        "connect_failures": endpoint.counts.connect_failures.get(),
        "ejections": endpoint.state.ejections(),
        "weight": spec.weight,
        "backup": spec.backup,
    })
}

/// One word for what an endpoint is in, and how many seconds that will last where it is known: every state that a group
/// can have is named here.
fn state(group: &Group, index: usize, now: Duration) -> (&'static str, Option<u64>) {
    let left = group.endpoints[index].state.ejected_for(now);
    if group.endpoints[index].state.is_down() {
        return ("down", None);
    }
    match left.is_zero() || group.balance.is_available(index, now) {
        true => ("up", None),
        false => ("ejected", Some(left.as_millis().div_ceil(1000) as u64)),
    }
}
