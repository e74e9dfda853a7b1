//! The response head that goes to the client.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::{write_upgrade, write_via};
use crate::frame::http1::{Framing, is_connection_field, write_field, write_framing, write_number, write_status_line};

/// A response as it goes to the client.
#[derive(Debug, Clone, Copy)]
pub struct Clientward<'a> {
    /// The status.
    pub status: StatusCode,
    /// End-to-end fields.
    pub headers: &'a HeaderMap,
    /// How the body is sent: what [`client_framing`] says. Also `Length` for a body that `HEAD` doesn't send.
    pub framing: Framing,
    /// The length that was stated where there is no body: `HEAD` and 304.
    pub content_length: Option<u64>,
    /// The method that is answered.
    pub method: &'a Method,
    /// The version of the request.
    pub version: Version,
    /// Whether the connection will be read again; a body until close overrules it.
    pub keep_alive: bool,
    /// What goes with a 101 or 426.
    pub upgrade: Option<&'a HeaderValue>,
    /// The version that the upstream answered in; None for our own answers.
    pub via: Option<Version>,
    /// An HTTP date, used if the headers have none (RFC 9110 §6.6.1).
    pub date: &'a [u8],
}

/// How a body that came in one framing goes out to a client: chunked is not for HTTP/1.0 (RFC 9112 §6.1), and HTTP/1.1
/// needs no close to see an end. `UntilClose` means that the connection can't be kept.
pub fn client_framing(received: Framing, status: StatusCode, method: &Method, version: Version) -> Framing {
    if !has_body(status, method) {
        return Framing::Empty;
    }
    match received {
        Framing::Chunked if version == Version::HTTP_10 => Framing::UntilClose,
        Framing::UntilClose if version != Version::HTTP_10 => Framing::Chunked,
        Framing::Empty => Framing::Length(0),
        framing => framing,
    }
}

/// Appends the head that goes to the client, its empty line included, and returns how the body must follow: as
/// [`client_framing`] says. The status line says HTTP/1.1 whatever was asked.
pub fn write_client_response(out: &mut Vec<u8>, response: &Clientward<'_>) -> Framing {
    out.reserve(256 + 48 * response.headers.len());
    write_status_line(out, response.status);
    for (name, value) in response.headers {
        if goes_on(name, response) {
            write_field(out, name, value);
        }
    }
    if !response.status.is_informational() && !response.headers.contains_key(header::DATE) {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(response.date);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(received) = response.via {
        write_via(out, response.headers, received);
    }
    let framing = write_length(out, response);
    write_connection(out, response, framing);
    out.extend_from_slice(b"\r\n");
    framing
}

/// RFC 9110 §6.4.1
fn has_body(status: StatusCode, method: &Method) -> bool {
    may_state_length(status) && status != StatusCode::NOT_MODIFIED && method != Method::HEAD
}

/// RFC 9110 §8.6
fn may_state_length(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

fn goes_on(name: &HeaderName, response: &Clientward<'_>) -> bool {
    let rewritten = name == header::VIA && response.via.is_some();
    !rewritten && !is_connection_field(name)
}

/// Appends what frames the body, and says what does.
fn write_length(out: &mut Vec<u8>, response: &Clientward<'_>) -> Framing {
    let framing = client_framing(response.framing, response.status, response.method, response.version);
    let stated = match response.framing {
        Framing::Length(length) => Some(length),
        _ => response.content_length,
    };
    match stated {
        Some(length) if framing == Framing::Empty && may_state_length(response.status) => {
            out.extend_from_slice(b"content-length: ");
            write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        _ => write_framing(out, framing),
    }
    framing
}

fn write_connection(out: &mut Vec<u8>, response: &Clientward<'_>, framing: Framing) {
    if let Some(protocols) = response.upgrade {
        write_upgrade(out, protocols);
    }
    if response.status.is_informational() {
        return;
    }
    if !response.keep_alive || framing == Framing::UntilClose {
        out.extend_from_slice(b"connection: close\r\n");
    } else if response.version == Version::HTTP_10 && response.upgrade.is_none() {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
}
