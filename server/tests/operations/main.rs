//! Stories of running rsp: starting, reloading, upgrading, draining, limits, logs and metrics, the admin API, the
//! service manager, and sites.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod administering;
mod channels;
mod draining;
mod files;
mod identity;
mod limiting;
mod logging;
mod managing;
mod measuring;
mod reloading;
mod sites;
mod starting;
mod upgrading;
mod watching;
mod websocketd;

use std::time::Duration;

use testkit::{Client, End, Response, Rsp, Stream, eventually};

/// How long anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A site that answers everything itself.
const HELLO: &str = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = reply(200, "hello\n") }"#;

/// One `GET` on a connection of its own.
#[track_caller]
fn get(rsp: &Rsp, path: &str) -> Response {
    rsp.client().get(path)
}

/// One `GET` with that `Host`.
#[track_caller]
fn get_from(rsp: &Rsp, host: &str, path: &str) -> Response {
    rsp.client().request(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

/// The metrics page, from the admin socket beside the config.
#[track_caller]
fn metrics(rsp: &Rsp) -> String {
    admin(rsp).get("/metrics").text()
}

/// One value of the metrics page, by its whole name with labels, once it is there.
#[track_caller]
fn metric(rsp: &Rsp, name: &str) -> f64 {
    let mut value = None;
    eventually(SOON, || {
        value = metrics(rsp).lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.is_some()
    });
    value.expect("waited for")
}

/// Waits until a metric has this value: a request is counted when its last byte is out.
#[track_caller]
fn assert_metric(rsp: &Rsp, name: &str, wanted: f64) {
    eventually(SOON, || metric(rsp, name) == wanted);
}

/// A connection to the admin socket beside the config.
#[track_caller]
fn admin(rsp: &Rsp) -> Client {
    Client::connect(&format!("unix:{}", rsp.folder().join("site.lua.sock").display()))
}

/// What `rsp status --json` says.
#[track_caller]
fn status(rsp: &Rsp) -> serde_json::Value {
    let output = rsp.control(&["status", "site.lua", "--json"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Waits for a line on standard error, where rsp's own messages go.
#[track_caller]
fn wait_for_message(rsp: &Rsp, part: &str) -> String {
    rsp.wait_for_line(SOON, |line| line.contains(part))
}

/// An open tunnel to an upstream that echoes.
#[track_caller]
fn tunnel(address: &str, path: &str) -> Client {
    let mut client = Client::connect(address);
    let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.request(&head).status, 101);
    client
}

/// Whether bytes still go round a tunnel.
#[track_caller]
fn assert_echoes(tunnel: &mut Client) {
    tunnel.send("ping");
    assert_eq!(tunnel.read_exactly(4), b"ping");
}

/// Asserts that the peer ends the connection without another byte.
#[track_caller]
fn assert_closed(client: &mut Client) {
    assert!(client.is_closed_within(SOON), "the connection is still open, or there were bytes left");
}

/// The lines on standard output that are no `Started` lines: the access log.
fn log_lines(rsp: &Rsp) -> Vec<String> {
    let lines = rsp.lines(Stream::Stdout).into_iter();
    lines.filter(|line| !line.contains("Started.")).collect()
}

/// Asserts a whole answer with this status.
#[track_caller]
fn assert_status(response: &Response, status: u16) {
    assert_eq!((response.status, response.end != End::Cut), (status, true), "{response:?}");
}
