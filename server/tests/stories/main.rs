//! Stories of the proxy on the wire: the running binary between raw clients and scripted or real origins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod acme;
mod auth_basic;
mod auth_forward;
mod auth_jwt;
mod auth_jwt_secrecy;
mod balance;
mod balance_affinity;
mod balance_health;
mod balance_waiting;
mod bounded;
mod bridge;
mod broker_redis;
mod cgi;
mod channel;
mod channel_functions;
mod channel_guide;
mod channel_history;
mod channel_origins;
mod channel_polls;
mod channel_publishing;
mod channel_resets;
mod channel_slow;
mod channel_streams;
mod channel_upkeep;
mod channel_websockets;
mod connection;
mod cors;
mod error_pages;
mod fastcgi;
mod forwarding;
mod functions;
mod hostile;
mod http2;
mod http2_hostile;
mod http2_upstream;
mod http2_websocket;
mod interop_curl;
mod interop_event_stream;
mod interop_examples;
mod interop_websocket;
mod large;
mod limit_filter;
mod limits;
mod names;
mod original;
mod passthrough;
mod paths;
mod php;
mod pool;
mod programs;
mod programs_bounds;
mod programs_console;
mod programs_ending;
mod programs_guide;
mod programs_languages;
mod programs_posting;
mod programs_shared;
mod proxy_protocol;
mod requests;
mod responses;
mod retry;
mod rewrite;
mod streaming;
mod tcp_tunnel;
mod tls;
mod tls_certificates;
mod tls_clients;
mod tls_guide;
mod tls_hostile;
mod tls_interop;
mod tls_streams;
mod tls_upstream;
mod tls_websocketd;
mod tunnel;
mod websocketd;

use std::time::Duration;

use testkit::{Origin, Rsp, RspBuilder};

/// Longer than anything takes that does happen.
const SOON: Duration = Duration::from_secs(10);

/// rsp with everything going to `origin`.
#[track_caller]
fn proxy(origin: &Origin) -> Rsp {
    front("", "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start()
}

/// rsp with one site for any host, whose one route is `handler`; `statements` stand before it.
fn front(statements: &str, handler: &str) -> RspBuilder {
    Rsp::config(&format!(
        "workers(1)\nlisten \"127.0.0.1:$PORT\"\n{statements}\nsite \"*\" {{ [\"/*\"] = {handler} }}\n"
    ))
}

/// rsp with one channel at every path, for two workers; `options` are more of the channel's.
#[track_caller]
fn room(options: &str) -> Rsp {
    let channel = format!("channel {{ \"room\", {options} }}");
    Rsp::config(&format!("workers(2)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" {{ [\"/*\"] = {channel} }}\n")).start()
}
