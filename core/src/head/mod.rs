//! What changes in a head that is forwarded, and what frames its body.
//!
//! **Invariant:** whatever a head holds, what is rendered from it frames its body exactly once, and has no field of
//! another connection.
//!
//! Heads are rendered straight into the bytes that will be sent; no second map is built.

mod address;
mod client;
mod cookie;
mod edit;
mod http2;
mod question;
mod upstream;

pub use address::client_ip;
pub use client::{Clientward, client_framing, write_client_response};
pub use cookie::{cookie, remove_cookie};
pub use edit::edit;
pub use http2::{as_extended_connect, http2_interim, http2_request, http2_response};
pub use question::write_question;
pub use upstream::{Upstreamward, write_upstream_request};

use http::Version;

use crate::frame::http1::write_field;

/// Appends `Via`: what was there, then us, naming the version that we received (RFC 9110 §7.6.3).
fn write_via(out: &mut Vec<u8>, headers: &http::HeaderMap, received: Version) {
    out.extend_from_slice(b"via: ");
    write_list(out, headers.get_all(http::header::VIA).iter());
    out.extend_from_slice(match received {
        Version::HTTP_10 => b"1.0 rsp\r\n",
        Version::HTTP_2 => b"2.0 rsp\r\n",
        Version::HTTP_3 => b"3.0 rsp\r\n",
        _ => b"1.1 rsp\r\n",
    });
}

/// Appends list values, each with the comma that separates it from what follows.
fn write_list<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = &'a http::HeaderValue>) {
    for value in values.filter(|value| !value.is_empty()) {
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b", ");
    }
}

/// Appends `Connection: upgrade` and the protocols.
fn write_upgrade(out: &mut Vec<u8>, protocols: &http::HeaderValue) {
    out.extend_from_slice(b"connection: upgrade\r\n");
    write_field(out, &http::header::UPGRADE, protocols);
}
