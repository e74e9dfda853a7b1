//! A channel as an answer without end: an event stream, or an object a line.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, StatusCode, header};
use rsp_core::frame::event_stream;

use super::{
    UNBUFFERED,
    encode::{Format, chunk},
    hub::Seat,
    look_back::{Start, begin, catch_up},
    subscriber::Ending,
};
use crate::{
    message::{Body, Line, Response, Session, Takeover},
    observe::Transport,
    stream::{Buffer, Outbox},
};

/// How long the last pieces may take to leave.
const CLOSING: Duration = Duration::from_secs(5);

/// When a client that was sent away is asked to come back: at this time at least, and twice that at most.
const COME_BACK: Duration = Duration::from_secs(1);

/// The answer whose body are the events.
pub fn answer(transport: Transport, seat: Seat, start: Start) -> Box<Response> {
    let mut response = head(transport);
    let lead = move |line: Line| -> Pin<Box<dyn Future<Output = u64>>> {
        Box::pin(lead(seat, Box::new(start), line.write_timeout))
    };
    response.takeover = Some(Box::new(Takeover::Session(Session { protocol: None, lead: Box::new(lead) })));
    response
}

/// The same without events.
pub fn head(transport: Transport) -> Box<Response> {
    let kind = match transport {
        Transport::EventStream => "text/event-stream",
        _ => "application/x-ndjson",
    };
    let (name, value) = UNBUFFERED;
    let response = Response::new(StatusCode::OK, Body::Empty)
        .with(header::CONTENT_TYPE, HeaderValue::from_static(kind))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"))
        .with(name, value);
    Box::new(response)
}

async fn lead(mut seat: Seat, start: Box<Start>, timeout: Duration) -> u64 {
    let end = match Box::pin(begin(&mut seat, *start, timeout)).await {
        Ok(()) => listen(&seat, timeout).await,
        Err(ending) => ending,
    };
    let subscriber = Rc::clone(seat.subscriber());
    let spread = COME_BACK.mul_f64(1.0 + seat.spread());
    drop(seat);
    let Some((format, outbox)) = subscriber.connection() else { return 0 };
    Box::pin(close(format, outbox, end, spread)).await;
    outbox.sent()
}

/// Why it ends.
async fn listen(seat: &Seat, timeout: Duration) -> Ending {
    loop {
        match poll_fn(|cx| poll_next(seat, cx, timeout)).await {
            Some(ending) => return ending,
            None => {
                if let Err(ending) = Box::pin(catch_up(seat, None, timeout)).await {
                    return ending;
                }
            }
        }
    }
}

/// Ready with the end, or with None when it has to look back.
fn poll_next(seat: &Seat, cx: &mut Context<'_>, timeout: Duration) -> Poll<Option<Ending>> {
    let Some((_, outbox)) = seat.subscriber().connection() else { return Poll::Ready(Some(Ending::Silent)) };
    if let Poll::Ready(Err(_)) = outbox.poll_flush(cx, timeout) {
        return Poll::Ready(Some(Ending::Silent));
    }
    outbox.register(cx);
    if let Some(ending) = seat.subscriber().ending() {
        return Poll::Ready(Some(ending));
    }
    if seat.subscriber().follower().is_behind() {
        return Poll::Ready(None);
    }
    // What a client sends behind its request means nothing, but that it has ended does.
    while let Poll::Ready(readable) = outbox.wire().poll_readable(cx, None) {
        let mut buffer = Buffer::take(16 << 10);
        let is_open = readable.is_ok()
            && match outbox.wire().poll_read(cx, &mut buffer, None) {
                Poll::Ready(read) => read.is_ok_and(|n| n > 0),
                Poll::Pending => true,
            };
        if !is_open {
            return Poll::Ready(Some(Ending::Silent));
        }
    }
    Poll::Pending
}

/// A clean end where the client is to come back, and else a cut.
async fn close(format: Format, outbox: &Outbox, end: Ending, come_back: Duration) {
    if end != Ending::Restart {
        return outbox.wire().reset_on_close();
    }
    let is_chunked = match format {
        Format::Events { is_chunked } => {
            let mut retry = String::new();
            event_stream::write_retry(&mut retry, come_back);
            let _ = outbox.send(&chunk(&retry, is_chunked), usize::MAX);
            is_chunked
        }
        Format::Lines { is_chunked } => is_chunked,
        Format::Plain(_) | Format::Json(_) => false,
    };
    if is_chunked {
        let _ = outbox.send(&bytes::Bytes::from_static(b"0\r\n\r\n"), usize::MAX);
    }
    let flushed = tokio::time::timeout(CLOSING, poll_fn(|cx| outbox.poll_flush(cx, CLOSING))).await;
    if !matches!(flushed, Ok(Ok(()))) {
        outbox.wire().reset_on_close();
    }
}
