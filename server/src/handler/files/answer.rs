//! A file that was found becomes an answer: whole, in parts, not again.

use std::{
    fmt::Write,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rsp_core::config::Files;

use super::{
    conditions::Answer,
    kept::Kept,
    mime::content_type,
    ranges::Span,
    variants::{self, Chosen},
};
use crate::{
    message::{Body, Part, PartsBody, Request, Response},
    observe::now_seconds,
};

/// Fields of an answer, so that their table is made once.
const FIELDS: usize = 6;

/// Answers with the file `name`, or with a variant of it.
pub fn answer(files: &Files, request: &Request, plain: &Rc<Kept>, name: &[u8]) -> Response {
    let (headers, now) = (&request.head.headers, now_seconds());
    let (varies, chosen) = match files.precompressed {
        true => variants::choose(files, plain, name, headers, now),
        false => (false, None),
    };
    let kept = chosen.as_ref().map_or(plain, |chosen| &chosen.kept);
    let is_head = request.head.method == Method::HEAD;
    let size = kept.size();
    let mut response = match kept.validators().decide(headers, !is_head) {
        Answer::Failed => return Response::text(StatusCode::PRECONDITION_FAILED, "412 Precondition Failed\n"),
        Answer::Unsatisfiable => {
            let range = field(format_args!("bytes */{size}"));
            return Response::text(StatusCode::RANGE_NOT_SATISFIABLE, "416 Range Not Satisfiable\n")
                .with(header::CONTENT_RANGE, range);
        }
        Answer::NotModified => Response::new(StatusCode::NOT_MODIFIED, Body::Empty),
        // What the parts of a coded file are coded in could be said of their whole only.
        Answer::Part(spans) if spans.len() > 1 && chosen.is_none() => {
            in_parts(kept, &spans, content_type(&files.mime, name))
        }
        Answer::Part(spans) if spans.len() == 1 => part(kept, spans[0], content_type(&files.mime, name)),
        Answer::Whole | Answer::Part(_) => {
            let body = match (is_head, size) {
                (true, _) => Body::Empty,
                (_, 0) => Body::Full(Bytes::new()),
                _ => kept.body(0, size),
            };
            whole(body, is_head.then_some(size), content_type(&files.mime, name))
        }
    };
    kept.validators().set(&mut response.headers, now);
    if varies {
        set_variant(&mut response, chosen.as_ref());
    }
    if let Some(cache_control) = &files.cache_control {
        response.headers.insert(header::CACHE_CONTROL, cache_control.clone());
    }
    response
}

fn whole(body: Body, stated_length: Option<u64>, content_type: HeaderValue) -> Response {
    let mut response = Response::new(StatusCode::OK, body);
    response.stated_length = stated_length;
    describe(&mut response.headers, content_type);
    response
}

fn part(kept: &Kept, span: Span, content_type: HeaderValue) -> Response {
    let mut response = Response::new(StatusCode::PARTIAL_CONTENT, kept.body(span.offset, span.length));
    describe(&mut response.headers, content_type);
    response.headers.insert(header::CONTENT_RANGE, field(format_args!("{}", content_range(span, kept.size()))));
    response
}

/// RFC 9110 §14.6 and §15.3.7.2.
fn in_parts(kept: &Kept, spans: &[Span], content_type: HeaderValue) -> Response {
    let boundary = boundary();
    let parts = spans.iter().map(|span| {
        let mut head = format!("\r\n--{boundary}\r\nContent-Type: ");
        head.push_str(content_type.to_str().unwrap_or("application/octet-stream"));
        let _ = write!(head, "\r\nContent-Range: {}\r\n\r\n", content_range(*span, kept.size()));
        Part { head: head.into(), offset: span.offset, length: span.length }
    });
    let closing = format!("\r\n--{boundary}--\r\n");
    let body = PartsBody::new(kept.file(), parts.collect(), closing.into());
    let mut response = Response::new(StatusCode::PARTIAL_CONTENT, Body::Parts(Box::new(body)));
    describe(&mut response.headers, field(format_args!("multipart/byteranges; boundary={boundary}")));
    response
}

fn describe(headers: &mut HeaderMap, content_type: HeaderValue) {
    headers.reserve(FIELDS);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

fn set_variant(response: &mut Response, chosen: Option<&Chosen>) {
    response.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(chosen) = chosen.filter(|_| response.status != StatusCode::NOT_MODIFIED) {
        response.headers.insert(header::CONTENT_ENCODING, chosen.coding.name());
    }
}

fn content_range(span: Span, size: u64) -> String {
    format!("bytes {}-{}/{size}", span.offset, span.offset + span.length - 1)
}

fn field(text: std::fmt::Arguments<'_>) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Nobody who writes a file can know it beforehand, so none can hold it.
fn boundary() -> String {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{:016x}", SEED.hash_one((count, 0)), SEED.hash_one((count, 1)))
}
