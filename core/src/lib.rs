//! The pure half of rsp: no sockets, no files, no clock, no randomness; `now` and seeds are arguments.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod auth;
pub mod balance;
pub mod channel;
pub mod config;
pub mod cors;
pub mod frame;
pub mod head;
pub mod limit;
pub mod pages;
pub mod renewal;
pub mod route;
