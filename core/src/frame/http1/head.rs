//! Request and response heads: bytes in, a checked head out, or the reason why not.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use httparse::{Header, ParserConfig, Request, Response, Status};

use super::{
    Framing, HeadError, HeadLimits, Target,
    fields::{Copied, Fields, Side, read_fields},
    target::read_target,
};

/// Heads with up to so many fields are read without a heap allocation for their index.
const FIELDS_ON_STACK: usize = 128;

/// Empty lines that may precede a request: some old clients end a body with one (RFC 9112 §2.2).
const EMPTY_LINES_MAX: usize = 4;

/// A request's head, the same whichever protocol it came by.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// Any token.
    pub method: Method,
    /// Path and query as received, of an absolute URL too.
    pub target: Target,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// End-to-end fields only. `Host` is among them, rewritten to the authority of an absolute URL.
    pub headers: HeaderMap,
    /// `Empty`, `Length` or `Chunked`.
    pub framing: Framing,
    /// Whether the client will read another answer on this connection.
    pub keep_alive: bool,
    /// The protocols offered by `Upgrade`, if `Connection` nominates it; HTTP/1.1 only. Never HTTP/2 in clear text,
    /// which would carry requests past our routes.
    pub upgrade: Option<HeaderValue>,
    /// The client waits for a 100 before it sends the body; HTTP/1.1 and requests with a body only.
    pub expect_continue: bool,
}

/// A response's head.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// End-to-end fields only.
    pub headers: HeaderMap,
    /// Where the body ends, the request's method considered.
    pub framing: Framing,
    /// As stated, also where there is no body: `HEAD` and 304.
    pub content_length: Option<u64>,
    /// Whether another request may follow on this connection, once the body was read.
    pub keep_alive: bool,
    /// The `Upgrade` field, if `Connection` nominates it; a 101 without it is no 101.
    pub upgrade: Option<HeaderValue>,
}

/// Finds where a head ends: how many bytes of `input` [`parse_request`] or [`parse_response`] needs to decide.
///
/// `from` is how much of `input` was searched before, so that a head which dribbles in is searched once. It also
/// ends at the first line that is broken already: a head with bare line feeds must not wait for an end that never
/// comes. None means to read on, if `input` is not over the limits yet.
pub fn head_end(input: &[u8], from: usize) -> Option<usize> {
    let start = match skip_empty_lines(input) {
        Ok(start) => start,
        Err(_) => return Some(input.len()),
    };
    if input.get(start).is_some_and(|&byte| !byte.is_ascii_graphic() && byte != b'\r') {
        return Some(input.len());
    }
    let from = from.clamp(start, input.len());
    memchr::memchr_iter(b'\n', &input[from..])
        .map(|offset| from + offset)
        .find(|&at| !input[..at].ends_with(b"\r") || input[start..at].ends_with(b"\n\r"))
        .map(|at| at + 1)
}

/// Reads a request's head from the front of `input`: the head and how many bytes it took; None wants more input.
///
/// # Errors
/// Whatever makes the head ambiguous or too large, as soon as that is certain. Nothing of it may be forwarded, and
/// nothing more can be read from the connection.
pub fn parse_request(input: &[u8], limits: &HeadLimits) -> Result<Option<(RequestHead, usize)>, HeadError> {
    let start = skip_empty_lines(input)?;
    let window = window(&input[start..], limits);
    let mut stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut heap = Vec::new();
    let mut request = Request::new(&mut []);
    let outcome = request.parse_with_uninit_headers(window, slots(&mut stack, &mut heap, limits));
    let uri = request.path.map_or_else(|| partial_target(window), str::len);
    if uri > limits.uri {
        return Err(HeadError::UriTooLong);
    }
    let Some(length) = whole(outcome, window, limits)? else { return Ok(None) };
    let read = &window[..length];
    let copied = Copied { read, kept: Bytes::copy_from_slice(read) };
    let (Some(method), Some(path), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HeadError::Malformed("no request line"));
    };
    let head = request_head(method, path, version(minor), request.headers, &copied)?;
    Ok(Some((head, start + length)))
}

/// Reads a response's head from the front of `input`: the head and how many bytes it took; None wants more input.
///
/// `request_method` is the method that it answers, which decides whether it has a body.
///
/// # Errors
/// Whatever makes the head ambiguous or too large: the answer is lost and the connection of no more use.
pub fn parse_response(
    input: &[u8],
    request_method: &Method,
    limits: &HeadLimits,
) -> Result<Option<(ResponseHead, usize)>, HeadError> {
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return Err(HeadError::Malformed("an empty line before the status line"));
    }
    let window = window(input, limits);
    let mut stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    let mut heap = Vec::new();
    let mut response = Response::new(&mut []);
    let outcome = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        window,
        slots(&mut stack, &mut heap, limits),
    );
    let Some(length) = whole(outcome, window, limits)? else { return Ok(None) };
    let read = &window[..length];
    let copied = Copied { read, kept: Bytes::copy_from_slice(read) };
    let (Some(code), Some(minor)) = (response.code, response.version) else {
        return Err(HeadError::Malformed("no status line"));
    };
    let status = StatusCode::from_u16(code).map_err(|_| HeadError::Malformed("impossible status"))?;
    let version = version(minor);
    let fields = read_fields(response.headers, &copied, Side::Response, version)?;
    Ok(Some((response_head(status, version, fields, request_method), length)))
}

fn request_head(
    method: &str,
    path: &str,
    version: Version,
    fields: &[Header<'_>],
    copied: &Copied<'_>,
) -> Result<RequestHead, HeadError> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Malformed("illegal method"))?;
    let (target, authority) = read_target(&method, copied.share(path.as_bytes()))?;
    let mut fields = read_fields(fields, copied, Side::Request, version)?;
    let latest = version == Version::HTTP_11;
    if latest && !fields.host {
        return Err(HeadError::Malformed("no Host"));
    }
    if let Some(authority) = authority {
        let host = HeaderValue::from_maybe_shared(authority).map_err(|_| HeadError::Malformed("illegal host"))?;
        fields.headers.try_insert(header::HOST, host).map_err(|_| HeadError::TooLarge)?;
    }
    let framing = stated_framing(&fields).unwrap_or(Framing::Empty);
    Ok(RequestHead {
        method,
        target,
        version,
        headers: fields.headers,
        framing,
        keep_alive: keep_alive(version, fields.close, fields.keep_alive),
        upgrade: fields.upgrade.filter(|offer| latest && !offers_http2(offer)),
        expect_continue: fields.expect_continue && framing != Framing::Empty,
    })
}

fn response_head(status: StatusCode, version: Version, fields: Fields, request_method: &Method) -> ResponseHead {
    let stated = stated_framing(&fields);
    let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
    let framing = match stated {
        _ if bodiless || status == StatusCode::NOT_MODIFIED || request_method == Method::HEAD => Framing::Empty,
        Some(framing) => framing,
        None => Framing::UntilClose,
    };
    // A server that states a body where none can be may well send it, as the start of "the next answer".
    let suspicious = bodiless && !matches!(stated, None | Some(Framing::Length(0)));
    ResponseHead {
        status,
        version,
        headers: fields.headers,
        framing,
        content_length: fields.content_length,
        keep_alive: keep_alive(version, fields.close, fields.keep_alive)
            && framing != Framing::UntilClose
            && !suspicious,
        upgrade: fields.upgrade,
    }
}

fn stated_framing(fields: &Fields) -> Option<Framing> {
    match fields.content_length {
        _ if fields.chunked => Some(Framing::Chunked),
        length => length.map(Framing::Length),
    }
}

fn keep_alive(version: Version, close: bool, asked: bool) -> bool {
    !close && (version == Version::HTTP_11 || asked)
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

fn offers_http2(offer: &HeaderValue) -> bool {
    offer.as_bytes().split(|&byte| byte == b',').any(|one| {
        let one = one.trim_ascii();
        one.len() >= 2 && one[..2].eq_ignore_ascii_case(b"h2")
    })
}

/// What httparse may look at: never more than one byte over the limit, so that a flood costs no more than a head.
fn window<'a>(input: &'a [u8], limits: &HeadLimits) -> &'a [u8] {
    &input[..input.len().min(limits.head.saturating_add(1))]
}

/// Room for as many fields as the limits allow; a field takes four bytes at least.
fn slots<'s, 'b>(
    stack: &'s mut [MaybeUninit<Header<'b>>],
    heap: &'s mut Vec<MaybeUninit<Header<'b>>>,
    limits: &HeadLimits,
) -> &'s mut [MaybeUninit<Header<'b>>] {
    let wanted = limits.headers.min(limits.head / 4);
    match stack.get_mut(..wanted) {
        Some(slots) => slots,
        None => {
            heap.resize_with(wanted, MaybeUninit::uninit);
            heap
        }
    }
}

/// The length of a head that is all there; None while it may still become one.
fn whole(outcome: httparse::Result<usize>, window: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
    let length = match outcome {
        Ok(Status::Complete(length)) => Some(length),
        Ok(Status::Partial) => None,
        Err(error) => return Err(refusal(error)),
    };
    let read = length.unwrap_or(window.len());
    lines_end_in_crlf(&window[..read])?;
    if read > limits.head {
        return Err(HeadError::TooLarge);
    }
    Ok(length)
}

fn refusal(error: httparse::Error) -> HeadError {
    HeadError::Malformed(match error {
        httparse::Error::TooManyHeaders => return HeadError::TooLarge,
        httparse::Error::HeaderName => "illegal field name",
        httparse::Error::HeaderValue => "illegal character in a field value",
        httparse::Error::NewLine => "a bare CR",
        httparse::Error::Status => "illegal status line",
        httparse::Error::Token => "illegal request line",
        httparse::Error::Version => "neither HTTP/1.0 nor HTTP/1.1",
    })
}

/// httparse takes a bare LF for the end of a line, others don't.
pub(super) fn lines_end_in_crlf(lines: &[u8]) -> Result<(), HeadError> {
    let Some((&first, after)) = lines.split_first() else { return Ok(()) };
    let before = &lines[..after.len()];
    // Without an early exit, so that the compiler looks at many bytes at once.
    let bare = before.iter().zip(after).fold(u8::from(first == b'\n'), |bare, (&before, &byte)| {
        bare | (u8::from(byte == b'\n') & u8::from(before != b'\r'))
    });
    if bare == 0 { Ok(()) } else { Err(HeadError::Malformed("a bare LF")) }
}

/// How many bytes of a target whose end has not come yet are there.
fn partial_target(window: &[u8]) -> usize {
    let line = &window[..memchr::memchr(b'\n', window).unwrap_or(window.len())];
    let Some(start) = memchr::memchr(b' ', line) else { return 0 };
    let target = &line[start + 1..];
    memchr::memchr(b' ', target).unwrap_or(target.len())
}

fn skip_empty_lines(input: &[u8]) -> Result<usize, HeadError> {
    let mut start = 0;
    while input[start..].starts_with(b"\r\n") {
        start += 2;
        if start > EMPTY_LINES_MAX * 2 {
            return Err(HeadError::Malformed("too many empty lines before the request"));
        }
    }
    match input.get(start) {
        Some(b'\n') => Err(HeadError::Malformed("a bare LF")),
        _ => Ok(start),
    }
}
