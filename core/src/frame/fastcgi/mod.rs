//! FastCGI 1.0 as a web server speaks it: one request on a connection at a time, in the role of a responder.
//!
//! **Invariant:** every request has the id 1; a record of another version, id or type is an error, never skipped.
//! **Invariant:** what frames the answer's body is the end of the request, and a `Content-Length` that it must agree
//! with; nothing behind that end is ever read as an answer.
//!
//! Out go a beginning and the parameters ([`begin`]), then the body in records ([`record_header`]). In come records
//! ([`RecordDecoder`]), whose output begins with a head as CGI programs write it ([`cgi`](super::cgi)).

mod record;
mod write;

pub use record::{Decoded, End, RecordDecoder, RecordError};
pub use write::{LAST_STDIN, Params, begin, record_header};

/// The only version there is.
const VERSION: u8 = 1;

/// The id of every request: a connection carries one at a time, as php-fpm wants it.
const REQUEST: u16 = 1;

const HEADER: usize = 8;

/// Types of records (FastCGI 1.0 §8).
mod kind {
    pub(super) const BEGIN_REQUEST: u8 = 1;
    pub(super) const END_REQUEST: u8 = 3;
    pub(super) const PARAMS: u8 = 4;
    pub(super) const STDIN: u8 = 5;
    pub(super) const STDOUT: u8 = 6;
    pub(super) const STDERR: u8 = 7;
}
