//! A channel over a WebSocket (RFC 6455): messages as they are, or objects in the subprotocol `rsp.json`.

use std::{
    future::{Future, poll_fn},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use rsp_core::frame::websocket::{CloseCode, Event, Fault as Broken, Opcode, close_frame, control_frame};
use tokio::time::{Instant, timeout_at};

use super::{
    encode::Format,
    hub::Seat,
    look_back::{Start, begin, catch_up},
    publish::Publisher,
    subscriber::Ending,
};
use crate::{
    message::{Lead, Line, Request, Response},
    session::{CLOSING, DISCARDED_MAX, Handshake, Incoming, part},
    stream::{Buffer, Outbox},
};

/// The subprotocol whose messages are objects.
pub const OBJECTS: &str = "rsp.json";

/// What a client asked for.
pub struct Offer {
    handshake: Handshake,
    /// How it is spoken to.
    pub format: Format,
}

impl Offer {
    /// Reads a handshake.
    ///
    /// # Errors
    /// The answer to one that is wrong.
    pub fn read(request: &Request) -> Result<Self, Box<Response>> {
        let mut handshake = Handshake::read(request)?;
        let compression = handshake.deflate().map(|deflate| deflate.window);
        let format = match handshake.choose(OBJECTS, request) {
            true => Format::Json(compression),
            false => Format::Plain(compression),
        };
        Ok(Self { handshake, format })
    }

    /// Accepts it.
    pub fn answer(self, seat: Seat, start: Start, publisher: Publisher) -> Box<Response> {
        let incoming = Incoming::new(seat.spec().message_max, self.handshake.deflate());
        self.handshake.accept(move |line: Line| -> Lead {
            let start = Box::new((start, line.early));
            let conversation = Conversation { seat, incoming, publisher, write_timeout: line.write_timeout };
            Box::pin(lead(conversation, start))
        })
    }
}

/// One client's WebSocket; holds no buffer while nothing is to be read or written.
struct Conversation {
    seat: Seat,
    incoming: Incoming,
    publisher: Publisher,
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
        let Some((_, outbox)) = self.seat.subscriber().connection() else { return Err(End::Gone) };
        match poll_fn(|cx| Poll::Ready(self.incoming.poll_read(cx, outbox.wire()))).await {
            Poll::Ready(Ok(Some(buffer))) => self.take(buffer).await,
            Poll::Ready(Ok(None) | Err(_)) => Err(End::Gone),
            Poll::Pending => Ok(()),
        }
    }

    /// Takes what came, all of it but the beginning of a head.
    async fn take(&mut self, mut buffer: Buffer) -> Result<(), End> {
        self.seat.subscriber().heard();
        loop {
            match self.incoming.next(&mut buffer).map_err(End::Fault)? {
                None => return Ok(()),
                Some(Event::Text(text)) => self.publish(text, true).await?,
                Some(Event::Binary(bytes)) => self.publish(bytes, false).await?,
                Some(Event::Ping(payload)) => self.send(&control_frame(Opcode::Pong, &payload, None))?,
                Some(Event::Pong(_)) => {}
                Some(Event::Close(close)) => return Err(End::Closed(close.map(|close| close.code))),
            }
            if self.incoming.ends_turn() {
                tokio::task::yield_now().await;
            }
        }
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
    part(outbox.wire(), must_wait, until, DISCARDED_MAX).await;
}
