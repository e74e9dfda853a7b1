//! A channel over a WebSocket (RFC 6455): messages as they are, or objects in the subprotocol `rsp.json`.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version, header};
use rsp_core::frame::websocket::{
    CloseCode, Deflate, Event, Fault as Broken, Inflater, Opcode, Receiver, Role, Rules, accept_key, close_frame,
    control_frame, negotiate,
};
use tokio::time::{Instant, timeout_at};

use super::{
    encode::Format,
    hub::Seat,
    look_back::{Start, begin, catch_up},
    publish::Publisher,
    subscriber::Ending,
};
use crate::{
    message::{Body, Line, Request, Response, Session, Takeover},
    stream::{Buffer, Outbox},
};

/// The subprotocol whose messages are objects.
pub const OBJECTS: &str = "rsp.json";

/// How long a peer has to answer our close, and the last frames to leave.
const CLOSING: Duration = Duration::from_secs(5);

/// Messages and pings that are taken before others have their turn.
const TURN: u8 = 32;

/// Bytes of a frame's head that may have come without the rest of it.
const HEAD_MAX: usize = 14;

/// What a client asked for.
pub struct Offer {
    accept: String,
    /// The subprotocol that is echoed.
    protocol: Option<HeaderValue>,
    deflate: Option<Deflate>,
    /// How it is spoken to.
    pub format: Format,
}

impl Offer {
    /// Reads a handshake (RFC 6455 §4.2.1).
    ///
    /// # Errors
    /// The answer to one that is wrong: 400, 405 or 426.
    pub fn read(request: &Request) -> Result<Self, Box<Response>> {
        let fields = &request.head.headers;
        if request.head.method != Method::GET || request.head.version != Version::HTTP_11 {
            return Err(refusal(StatusCode::BAD_REQUEST, "a WebSocket begins with a GET of HTTP/1.1"));
        }
        if !matches!(request.body, Body::Empty) {
            return Err(refusal(StatusCode::BAD_REQUEST, "a WebSocket begins with a GET without a body"));
        }
        if fields.get("sec-websocket-version").is_none_or(|version| version != "13") {
            let answer = refusal(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken here");
            return Err(Box::new(
                answer.with(header::HeaderName::from_static("sec-websocket-version"), HeaderValue::from_static("13")),
            ));
        }
        let mut keys = fields.get_all("sec-websocket-key").iter();
        let accept = match (keys.next(), keys.next()) {
            (Some(key), None) => accept_key(key.as_bytes()),
            _ => None,
        };
        let Some(accept) = accept else {
            return Err(refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64"));
        };
        let values = |name| fields.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let deflate = negotiate(values("sec-websocket-extensions"));
        let offered: Vec<_> =
            values("sec-websocket-protocol").flat_map(|value| value.split(',')).map(str::trim).collect();
        let compression = deflate.as_ref().map(|deflate| deflate.window);
        let (protocol, format) = match offered.contains(&OBJECTS) {
            true => (Some(OBJECTS), Format::Json(compression)),
            false => (offered.first().copied().filter(|name| !name.is_empty()), Format::Plain(compression)),
        };
        let protocol = protocol.and_then(|name| HeaderValue::from_str(name).ok());
        Ok(Self { accept, protocol, deflate, format })
    }

    /// Accepts it.
    pub fn answer(self, seat: Seat, start: Start, publisher: Publisher) -> Box<Response> {
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS, Body::Empty);
        let mut set = |name, value: Option<HeaderValue>| value.map(|value| response.headers.insert(name, value));
        set("sec-websocket-accept", HeaderValue::from_str(&self.accept).ok());
        set("sec-websocket-protocol", self.protocol);
        let extensions = self.deflate.as_ref().and_then(|deflate| HeaderValue::from_str(&deflate.answer()).ok());
        set("sec-websocket-extensions", extensions);
        let rules = Rules { role: Role::Server, message_max: seat.spec().message_max };
        let receiver = Receiver::new(rules, self.deflate.as_ref().map(Inflater::new));
        let lead = move |line: Line| -> Pin<Box<dyn Future<Output = u64>>> {
            let start = Box::new((start, line.early));
            let conversation = Conversation {
                seat,
                receiver,
                publisher,
                head: [0; HEAD_MAX],
                head_length: 0,
                taken: 0,
                write_timeout: line.write_timeout,
            };
            Box::pin(lead(conversation, start))
        };
        let session = Session { protocol: Some(HeaderValue::from_static("websocket")), lead: Box::new(lead) };
        response.takeover = Some(Box::new(Takeover::Session(session)));
        Box::new(response)
    }
}

fn refusal(status: StatusCode, why: &str) -> Box<Response> {
    Box::new(Response::text(status, format!("{status}: {why}\n")))
}

/// One client's WebSocket; holds no buffer while nothing is to be read or written.
struct Conversation {
    seat: Seat,
    receiver: Receiver,
    publisher: Publisher,
    /// The beginning of a frame's head.
    head: [u8; HEAD_MAX],
    head_length: u8,
    /// What was taken since others had their turn.
    taken: u8,
    write_timeout: Duration,
}

/// Why a conversation ends.
enum End {
    /// The peer said so, and with which code.
    Closed(Option<CloseCode>),
    /// The peer broke the protocol.
    Fault(Broken),
    /// We want it.
    Ours(Ending),
    /// The connection is gone.
    Gone,
}

/// What there is to do.
enum Next {
    Read,
    LookBack,
    End(End),
}

/// The whole life.
#[expect(clippy::manual_async_fn, reason = "an async function would hold what it is given twice")]
fn lead(mut conversation: Conversation, start: Box<(Start, Buffer)>) -> impl Future<Output = u64> {
    async move {
        let end = match Box::pin(conversation.begin(start)).await {
            Ok(()) => conversation.converse().await,
            Err(end) => end,
        };
        let subscriber = Rc::clone(conversation.seat.subscriber());
        // Nothing follows a close, and whoever closes is gone.
        drop(conversation);
        let Some((_, outbox)) = subscriber.connection() else { return 0 };
        Box::pin(close(outbox, end)).await;
        outbox.sent()
    }
}

impl Conversation {
    /// Sends what was missed, and reads what came with the handshake.
    async fn begin(&mut self, start: Box<(Start, Buffer)>) -> Result<(), End> {
        let (start, early) = *start;
        begin(&mut self.seat, start, self.write_timeout).await.map_err(End::Ours)?;
        if early.is_empty() { Ok(()) } else { self.take(early).await }
    }

    async fn converse(&mut self) -> End {
        loop {
            let outcome = match poll_fn(|cx| self.poll_next(cx)).await {
                Next::Read => Box::pin(self.read()).await,
                Next::LookBack => Box::pin(catch_up(&self.seat, None, self.write_timeout)).await.map_err(End::Ours),
                Next::End(end) => Err(end),
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let outbox = self.outbox();
        if let Poll::Ready(Err(_)) = outbox.poll_flush(cx, self.write_timeout) {
            return Poll::Ready(Next::End(End::Gone));
        }
        outbox.register(cx);
        if let Some(ending) = self.seat.subscriber().ending() {
            return Poll::Ready(Next::End(End::Ours(ending)));
        }
        if self.seat.subscriber().follower().is_behind() {
            return Poll::Ready(Next::LookBack);
        }
        match outbox.wire().poll_readable(cx, None) {
            Poll::Ready(Ok(())) => Poll::Ready(Next::Read),
            Poll::Ready(Err(_)) => Poll::Ready(Next::End(End::Gone)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads what there is.
    async fn read(&mut self) -> Result<(), End> {
        let mut buffer = Buffer::take(16 << 10);
        let head = &self.head[..usize::from(self.head_length)];
        buffer.spare()[..head.len()].copy_from_slice(head);
        buffer.commit(head.len());
        self.head_length = 0;
        let wire = self.outbox().wire();
        match poll_fn(|cx| Poll::Ready(wire.poll_read(cx, &mut buffer, None))).await {
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => Err(End::Gone),
            Poll::Ready(Ok(_)) => self.take(buffer).await,
            Poll::Pending => self.keep(&buffer),
        }
    }

    /// Takes what came, all of it but the beginning of a head.
    async fn take(&mut self, mut buffer: Buffer) -> Result<(), End> {
        self.seat.subscriber().heard();
        loop {
            let (taken, event) = self.receiver.receive(buffer.filled_mut()).map_err(End::Fault)?;
            buffer.consume(taken);
            match event {
                None => return self.keep(&buffer),
                Some(Event::Text(text)) => self.publish(text, true).await?,
                Some(Event::Binary(bytes)) => self.publish(bytes, false).await?,
                Some(Event::Ping(payload)) => self.send(&control_frame(Opcode::Pong, &payload, None))?,
                Some(Event::Pong(_)) => {}
                Some(Event::Close(close)) => return Err(End::Closed(close.map(|close| close.code))),
            }
            self.taken += 1;
            if self.taken == TURN {
                self.taken = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    fn keep(&mut self, buffer: &Buffer) -> Result<(), End> {
        let rest = buffer.filled();
        let Some(room) = self.head.get_mut(..rest.len()) else {
            return Err(End::Fault(Broken { code: CloseCode::INTERNAL, reason: "a head that is too long" }));
        };
        room.copy_from_slice(rest);
        self.head_length = rest.len() as u8;
        Ok(())
    }

    async fn publish(&mut self, data: Bytes, is_text: bool) -> Result<(), End> {
        let (format, _) = self.connection();
        match format {
            Format::Json(compression) => {
                let Some(answer) = self.publisher.publish_object(self.seat.place(), &data).await else {
                    return Err(End::Ours(Ending::Restart));
                };
                let frame = self.seat.hub().encoder.object(&answer, compression);
                self.send(&frame)
            }
            _ => match self.publisher.publish(self.seat.place(), &data, is_text, None).await {
                Ok(_) => Ok(()),
                Err(refused) => Err(End::Fault(Broken { code: refused.close_code(), reason: refused.reason() })),
            },
        }
    }

    fn send(&self, frame: &Bytes) -> Result<(), End> {
        let sent = self.outbox().send(frame, self.seat.spec().queue_max);
        sent.map_err(|_| End::Ours(Ending::Slow))
    }

    fn connection(&self) -> (Format, &Outbox) {
        match self.seat.subscriber().connection() {
            Some(connection) => connection,
            None => unreachable!("a WebSocket has a connection"),
        }
    }

    fn outbox(&self) -> &Outbox {
        self.connection().1
    }
}

/// The closing handshake (RFC 6455 §7.1.2), as far as the peer takes part.
async fn close(outbox: &Outbox, end: End) {
    let (code, reason, must_wait) = match end {
        End::Gone => return,
        End::Ours(Ending::Silent) => return outbox.wire().reset_on_close(),
        End::Closed(code) => (code, "", false),
        End::Fault(fault) => {
            tracing::debug!("a WebSocket of {:?} ends: {fault}", outbox.wire().peer());
            (Some(fault.code), fault.reason, true)
        }
        End::Ours(Ending::Slow) => (Some(CloseCode::TRY_LATER), "too slow; come back with the position", true),
        End::Ours(Ending::Restart) => (Some(CloseCode::RESTART), "come back", true),
    };
    outbox.make_room(0, 0);
    let frame = match code {
        Some(code) => close_frame(code, reason, None),
        None => control_frame(Opcode::Close, b"", None),
    };
    let _ = outbox.send(&frame, usize::MAX);
    let until = Instant::now() + CLOSING;
    let flushed = timeout_at(until, poll_fn(|cx| outbox.poll_flush(cx, CLOSING))).await;
    if !matches!(flushed, Ok(Ok(()))) {
        return outbox.wire().reset_on_close();
    }
    // The server ends the connection first, but a close with input unread would be a reset.
    if outbox.wire().shutdown_write().is_ok() && (must_wait || outbox.wire().has_unread()) {
        discard(outbox, until).await;
    }
}

/// Reads until the peer has ended, for a while.
async fn discard(outbox: &Outbox, until: Instant) {
    let wire = outbox.wire();
    while poll_fn(|cx| wire.poll_readable_until(cx, until)).await.is_ok() {
        let mut buffer = Buffer::take(16 << 10);
        match poll_fn(|cx| wire.poll_read_until(cx, &mut buffer, until)).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
    }
}
