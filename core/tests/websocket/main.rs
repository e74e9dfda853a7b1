//! RFC 6455 and RFC 7692 section by section: bytes of a peer, and what comes of them however they are cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod any_bytes;
mod close;
mod compression;
mod framing;
mod limits;
mod offers;
mod peers;
mod rows;
mod text;
