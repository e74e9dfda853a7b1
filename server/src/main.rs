//! rsp
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![allow(dead_code)]
mod error;
mod handler;
mod message;
mod observe;
mod stream;
fn main() {
    let _ = tokio::runtime::LocalRuntime::new();
    let _l = mlua::Lua::new();
}
