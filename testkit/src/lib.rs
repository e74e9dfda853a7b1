//! Origins, clients, real peers and a running rsp, for tests that read as stories.
//!
//! Everything here is blocking and runs on plain threads, and every wait has a deadline that ends in a panic
//! naming what was waited for: a test can fail, never hang.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's set-up that fails is a failed test"
)]

mod acme;
mod authority;
mod browser;
mod client;
mod event_stream;
pub mod fastcgi;
pub mod http2;
mod listener;
mod name_server;
mod origin;
mod pattern;
mod peer;
mod php;
pub mod processes;
mod program;
mod puppet;
mod redis;
mod relay;
mod rsp;
mod socket;
pub mod tokens;
mod wait;
mod websocket;
mod websocketd;
mod wire;

pub use acme::{AcmeAuthority, AcmeFault};
pub use authority::{Authority, KeyKind, Signed};
pub use browser::{Chromium, Visit};
pub use client::{Client, End, Response};
pub use event_stream::{EventStream, StreamEvent};
pub use listener::Listener;
pub use name_server::{NameServer, Record};
pub use origin::{Answer, Origin, Received, RequestHead, Step};
pub use pattern::Pattern;
pub use peer::{Haproxy, Nginx, PythonHttpServer, curl, curl_follows, htpasswd, openssl, run_program};
pub use php::PhpFpm;
pub use program::{Output, Program, Stream};
pub use puppet::Puppet;
pub use redis::{Redis, RedisCluster, RedisSentinel};
pub use relay::Relay;
pub use rsp::{Rsp, RspBuilder};
pub use rustix::process::Signal;
pub use socket::Socket;
pub use wait::{Gate, eventually, free_port};
pub use websocket::{Message, WebSocket, WebSocketSender};
pub use websocketd::Websocketd;
pub use wire::{Head, Headers};
