//! Heads and chunks, out: every function appends to the bytes that will be sent.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{Framing, is_allowed_trailer};

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends `GET /x HTTP/1.1` and its line end.
pub fn write_request_line(out: &mut Vec<u8>, method: &Method, target: &[u8]) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends the status line; the version is always ours, HTTP/1.1 (RFC 9110 §2.5).
pub fn write_status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends one field.
pub fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends every field.
pub fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        write_field(out, name, value);
    }
}

/// Appends the field that says where the body ends; nothing for `Empty` and `UntilClose`.
pub fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Empty | Framing::UntilClose => {}
    }
}

/// Appends a number in decimal.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the end of a chunked body: the last chunk and those of `trailers` that may be sent there.
pub fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter().filter(|(name, _)| is_allowed_trailer(name)) {
        write_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// The line before a chunk's data: `1f` and a line end, on the stack.
#[derive(Debug, Clone, Copy)]
pub struct ChunkHeader {
    bytes: [u8; 18],
    start: u8,
}

impl AsRef<[u8]> for ChunkHeader {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// The line before `length` bytes of data, which a line end must follow. `length` is never 0: that ends the body.
pub fn chunk_header(length: usize) -> ChunkHeader {
    debug_assert!(length > 0, "an empty chunk ends the body");
    let mut bytes = *b"0000000000000000\r\n";
    let mut start = 16_u8;
    let mut rest = length;
    while rest > 0 {
        start -= 1;
        bytes[usize::from(start)] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
    }
    ChunkHeader { bytes, start }
}
