//! The request head that goes upstream.

use std::{io::Write as _, net::IpAddr};

use http::{HeaderMap, HeaderValue, header};

use super::{write_list, write_upgrade, write_via};
use crate::{
    config::Forwarded,
    frame::http1::{
        Framing, RequestHead, is_connection_field, write_field, write_framing, write_number, write_request_line,
    },
};

/// A request as it goes upstream: what came in, and what is decided about it.
#[derive(Debug, Clone, Copy)]
pub struct Upstreamward<'a> {
    /// As received, after the filters.
    pub head: &'a RequestHead,
    /// What is asked for, after `strip`; legal as a [`crate::frame::http1::Target`] is.
    pub target: &'a [u8],
    /// The `Host` that the upstream sees; None keeps the client's.
    pub host: Option<&'a HeaderValue>,
    /// The peer's address; None on a unix socket.
    pub client: Option<IpAddr>,
    /// The client's address by [`super::client_ip`], for an `X-Real-IP` that a trusted peer left out; None: `client`.
    pub real_ip: Option<IpAddr>,
    /// The peer is in `trust`: its forwarding fields are believed and extended, else they are replaced.
    pub trusted: bool,
    /// `http` or `https`, as the client connected.
    pub scheme: &'a str,
    /// Which forwarding fields are added.
    pub forwarded: Forwarded,
    /// How the body will be sent; mostly the head's own.
    pub framing: Framing,
    /// Pass the offered `Upgrade` on.
    pub upgrade: bool,
}

/// Appends the head that goes upstream, its empty line included. Always HTTP/1.1, and the connection stays open.
pub fn write_upstream_request(out: &mut Vec<u8>, request: &Upstreamward<'_>) {
    let head = request.head;
    out.reserve(512 + request.target.len());
    write_request_line(out, &head.method, request.target);
    write_host(out, request);
    for (name, value) in &head.headers {
        if goes_on(name, request) {
            write_field(out, name, value);
        }
    }
    if matches!(request.forwarded, Forwarded::X | Forwarded::Both) {
        write_x_forwarded(out, request);
    }
    if matches!(request.forwarded, Forwarded::Rfc | Forwarded::Both) {
        write_forwarded(out, request);
    }
    write_via(out, &head.headers, head.version);
    write_framing(out, request.framing);
    if head.expect_continue {
        out.extend_from_slice(b"expect: 100-continue\r\n");
    }
    if let Some(protocols) = head.upgrade.as_ref().filter(|_| request.upgrade) {
        write_upgrade(out, protocols);
    }
    out.extend_from_slice(b"\r\n");
}

/// HTTP/1.1 wants a `Host`, if only an empty one (RFC 9112 §3.2); first, as RFC 9110 §7.2 advises.
pub(super) fn write_host(out: &mut Vec<u8>, request: &Upstreamward<'_>) {
    match request.host.or_else(|| request.head.headers.get(header::HOST)) {
        Some(host) => write_field(out, &header::HOST, host),
        None => out.extend_from_slice(b"host: \r\n"),
    }
}

/// Whether a received field is written as it is: not what we write ourselves, nor what we don't believe.
pub(super) fn goes_on(name: &header::HeaderName, request: &Upstreamward<'_>) -> bool {
    let rewritten_x = matches!(request.forwarded, Forwarded::X | Forwarded::Both);
    let rewritten_rfc = matches!(request.forwarded, Forwarded::Rfc | Forwarded::Both);
    match name.as_str() {
        "host" | "via" | "expect" => false,
        "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-real-ip" => request.trusted && !rewritten_x,
        "forwarded" => request.trusted && !rewritten_rfc,
        text if text.starts_with("x-forwarded-") => request.trusted,
        _ => !is_connection_field(name),
    }
}

pub(super) fn write_x_forwarded(out: &mut Vec<u8>, request: &Upstreamward<'_>) {
    let headers = &request.head.headers;
    write_forwarded_for(out, request);
    if !write_believed(out, "x-forwarded-proto", request) {
        out.extend_from_slice(b"x-forwarded-proto: ");
        out.extend_from_slice(request.scheme.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !write_believed(out, "x-forwarded-host", request)
        && let Some(host) = headers.get(header::HOST).filter(|host| !host.is_empty())
    {
        out.extend_from_slice(b"x-forwarded-host: ");
        out.extend_from_slice(host.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !write_believed(out, "x-real-ip", request)
        && let Some(address) = request.real_ip.or(request.client)
    {
        out.extend_from_slice(b"x-real-ip: ");
        write_address(out, address);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends every value of a field if the peer is trusted; whether there was one.
fn write_believed(out: &mut Vec<u8>, name: &'static str, request: &Upstreamward<'_>) -> bool {
    if !request.trusted {
        return false;
    }
    let before = out.len();
    for value in request.head.headers.get_all(name) {
        write_field(out, &header::HeaderName::from_static(name), value);
    }
    out.len() > before
}

/// One field whatever came in: of several, some programs read the first and others the last.
fn write_forwarded_for(out: &mut Vec<u8>, request: &Upstreamward<'_>) {
    let start = out.len();
    out.extend_from_slice(b"x-forwarded-for: ");
    let empty = out.len();
    write_believed_list(out, &request.head.headers, "x-forwarded-for", request.trusted);
    match request.client {
        Some(client) => write_address(out, client),
        // A unix peer has no address to add: the list ends without its last separator, or is not written at all.
        None if out.len() > empty => out.truncate(out.len() - 2),
        None => return out.truncate(start),
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 7239 §4
fn write_forwarded(out: &mut Vec<u8>, request: &Upstreamward<'_>) {
    out.extend_from_slice(b"forwarded: ");
    write_believed_list(out, &request.head.headers, "forwarded", request.trusted);
    out.extend_from_slice(b"for=");
    match request.client.map(|client| client.to_canonical()) {
        Some(IpAddr::V4(client)) => write_address(out, client.into()),
        Some(IpAddr::V6(client)) => {
            out.extend_from_slice(b"\"[");
            write_address(out, client.into());
            out.extend_from_slice(b"]\"");
        }
        None => out.extend_from_slice(b"unknown"),
    }
    if let Some(host) = request.head.headers.get(header::HOST).filter(|host| !host.is_empty()) {
        out.extend_from_slice(b";host=");
        write_quoted(out, host.as_bytes());
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(request.scheme.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_believed_list(out: &mut Vec<u8>, headers: &HeaderMap, name: &str, trusted: bool) {
    if trusted {
        write_list(out, headers.get_all(name).iter());
    }
}

/// A quoted string (RFC 9110 §5.6.4), which every host may stand in: `:` is no token.
fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// An IPv4 client of an IPv6 listener is written as what it is. Formatting machinery costs more than the rest of the
/// field, so the usual case goes without.
fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                write_number(out, octet.into());
            }
        }
        // Writing to a vector can't fail.
        IpAddr::V6(address) => _ = write!(out, "{address}"),
    }
}
