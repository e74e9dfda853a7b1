//! HTTP/1.1 on the wire, strictly: heads in and out, what frames a body, chunks.
//!
//! **Invariant:** a head that parsed has exactly one reading of where its body ends; every other head is an error.
//! **Invariant:** the `headers` of a parsed head are end-to-end fields only: no hop-by-hop field, nothing that frames
//! the body, nothing that `Connection` nominates.
//!
//! Used on both sides: [`parse_request`] and the status line face clients, [`parse_response`] and the request line
//! face upstreams. Tokenising is httparse's; whatever it lets pass and RFC 9112 does not is refused here.

mod arrival;
mod chunked;
mod fields;
mod head;
mod target;
mod write;

pub use arrival::Arrival;
pub use chunked::{ChunkError, ChunkedDecoder, Decoded};
pub(super) use fields::{Role, decimal, read_program_fields, role};
pub use fields::{is_allowed_trailer, is_connection_field};
pub use head::{RequestHead, ResponseHead, head_end, parse_request, parse_response};
pub use target::Target;
pub(crate) use target::is_authority;
pub use write::{
    ChunkHeader, LAST_CHUNK, chunk_header, write_field, write_framing, write_headers, write_number, write_request_line,
    write_status_line, write_trailers,
};

use http::StatusCode;

/// Bounds of a head; the same ones hold for a trailer section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first of the start line to the empty line's last.
    pub head: usize,
    /// Fields, those that are dropped included.
    pub headers: usize,
    /// Bytes of a request target.
    pub uri: usize,
}

/// Where a body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// After so many bytes; 0 is a body that was stated to be empty.
    Length(u64),
    /// After the chunk of size 0 and its trailers.
    Chunked,
    /// At the end of the connection; responses only.
    UntilClose,
}

/// Why a head was refused. The connection it came on cannot be used any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadError {
    /// Not HTTP/1.0 or HTTP/1.1, or not in a way that everybody reads alike; says which rule.
    Malformed(&'static str),
    /// More bytes or fields than [`HeadLimits`] allows.
    TooLarge,
    /// A request target longer than [`HeadLimits::uri`].
    UriTooLong,
    /// `Expect` with something else than `100-continue`.
    Expectation,
    /// A transfer coding besides `chunked`, which we could neither undo nor pass on.
    TransferCoding,
}

impl HeadError {
    /// What a client is told; whatever it is, a broken response is 502 there.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(rule) => write!(out, "malformed head: {rule}"),
            Self::TooLarge => out.write_str("head too large"),
            Self::UriTooLong => out.write_str("request target too long"),
            Self::Expectation => out.write_str("unknown expectation"),
            Self::TransferCoding => out.write_str("unknown transfer coding"),
        }
    }
}

impl std::error::Error for HeadError {}
