//! A channel as a long poll: each GET waits for the next message after a position, which its answer names for the next one.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use rsp_core::channel::{Item, Message, Position};
use tokio::time::Instant;

use super::{
    Visitor,
    hub::{AWAY, Seat},
    not_now,
    query::since_of_poll,
    refusal,
    subscriber::Subscriber,
};
use crate::{
    broker::{Look, Past},
    error::{Fault, Kind},
    message::{Body, Interim, Response},
    observe::Transport,
    stream::{Timer, Watched, Wire},
};

/// How often a waiting client whose unread bytes hide its end is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Browsers take no message for a page or a script, whatever it says.
const NOSNIFF: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));

/// How a wait ended.
enum Waited {
    /// With the next message.
    Message(Item),
    /// It has to look back.
    Behind,
    /// There was none in time, or the client is to come back here or elsewhere.
    Nothing,
    /// What comes next is lost.
    Lost,
    /// Its client did.
    Left,
}

impl Visitor<'_> {
    /// The next message: 200; nothing in time: 204; something is lost: 410. Each names the position to go on from.
    pub(super) async fn poll(self) -> Result<Box<Response>, Fault> {
        let Ok(since) = since_of_poll(&self.request) else {
            return Ok(refusal(StatusCode::BAD_REQUEST, "`since` or `If-None-Match` is no position"));
        };
        if self.request.head.method == Method::HEAD {
            return self.position().await;
        }
        let deadline = Instant::now() + self.spec.poll_timeout;
        let look = since.map_or(Look::Latest(0), |position| Look::Since(position, 1));
        let subscriber = Subscriber::poll(Arc::clone(self.spec));
        let joined = self.context.hub.join(&self.name, subscriber, Transport::Poll, look).await;
        let (seat, past) = joined.map_err(not_now)?;
        let poll = Waiting { seat, interim: &self.request.interim, deadline };
        poll.answer(past).await
    }

    /// What HEAD is told: nothing waits for an answer that has no body.
    async fn position(self) -> Result<Box<Response>, Fault> {
        let past = self.context.hub.broker.read(&self.name, &self.spec.rules, Look::Latest(0)).await;
        Ok(empty(past.map_err(not_now)?.end))
    }
}

/// One poll.
struct Waiting<'a> {
    seat: Seat,
    interim: &'a Interim,
    deadline: Instant,
}

impl Waiting<'_> {
    async fn answer(&self, mut past: Past) -> Result<Box<Response>, Fault> {
        let begin = self.position();
        loop {
            if past.is_lost {
                return Ok(gone(past.end));
            }
            if let Some(item) = past.items.first() {
                self.seat.hub().metrics.channels.told(1, 0, 0);
                return Ok(message(item));
            }
            // What came since the look waits in the follower.
            let mut first = None;
            let is_live = self.subscriber().follower().catch_up(|item: &Item| {
                first.get_or_insert_with(|| item.clone());
            });
            if let Some(item) = first {
                self.seat.hub().metrics.channels.told(1, 0, 0);
                return Ok(message(&item));
            }
            if is_live {
                match self.wait(begin).await {
                    Waited::Message(item) => return Ok(message(&item)),
                    Waited::Nothing => return Ok(empty(self.position())),
                    Waited::Lost => return Ok(gone(self.position())),
                    Waited::Left => return Err(left()),
                    Waited::Behind => {}
                }
            }
            past = match self.look().await? {
                Some(past) => past,
                None => return Ok(empty(self.position())),
            };
        }
    }

    /// For something that ends the wait.
    async fn wait(&self, begin: Position) -> Waited {
        let mut timer = Timer::default();
        poll_fn(|cx| match self.subscriber().poll_message(cx) {
            Poll::Ready(Some(item)) => Poll::Ready(Waited::Message(item)),
            Poll::Ready(None) if self.subscriber().ending().is_none() => Poll::Ready(Waited::Behind),
            Poll::Ready(None) if self.position().epoch != begin.epoch => Poll::Ready(Waited::Lost),
            Poll::Ready(None) => Poll::Ready(Waited::Nothing),
            Poll::Pending => self.poll_left(cx, &mut timer, self.deadline).map(|left| match left {
                true => Waited::Left,
                false => Waited::Nothing,
            }),
        })
        .await
    }

    /// What is next, as soon as the broker says; None: it did not in time.
    async fn look(&self) -> Result<Option<Past>, Fault> {
        let (hub, spec) = (self.seat.hub(), self.seat.spec());
        while self.subscriber().ending().is_none() && Instant::now() < self.deadline {
            if let Ok(past) = hub.broker.read(self.seat.name(), &spec.rules, Look::Since(self.position(), 1)).await {
                return Ok(Some(past));
            }
            let mut timer = Timer::default();
            let until = self.deadline.min(Instant::now() + AWAY);
            if poll_fn(|cx| self.poll_left(cx, &mut timer, until)).await {
                return Err(left());
            }
        }
        Ok(None)
    }

    /// Ready with whether the client left, or it is time.
    fn poll_left(&self, cx: &mut Context<'_>, timer: &mut Timer, until: Instant) -> Poll<bool> {
        let next = match self.interim.client().map_or(Watched::Quiet, |wire: &Wire| wire.watch(cx)) {
            Watched::Ended => return Poll::Ready(true),
            Watched::Unread => until.min(Instant::now() + LOOK_EVERY),
            Watched::Quiet => until,
        };
        if timer.poll(cx, next).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(false);
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn subscriber(&self) -> &Subscriber {
        self.seat.subscriber()
    }

    fn position(&self) -> Position {
        self.subscriber().follower().position()
    }
}

fn left() -> Fault {
    Fault::new(Kind::ClientGone, "the client left its poll")
}

/// A message as it was published; of a type that no browser runs.
fn message(item: &Item) -> Box<Response> {
    let kind = if item.message.is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let body = Bytes::from_owner(Shared(Arc::clone(&item.message)));
    let answer = Response::new(StatusCode::OK, Body::Full(body));
    at(item.position, answer.with(header::CONTENT_TYPE, HeaderValue::from_static(kind)))
}

fn empty(position: Position) -> Box<Response> {
    at(position, Response::new(StatusCode::NO_CONTENT, Body::Empty))
}

fn gone(position: Position) -> Box<Response> {
    at(position, *refusal(StatusCode::GONE, &format!("what came after that position is lost; now it is {position}")))
}

/// Nobody may use an answer again, as each is another one; the entity tag is for the client.
fn at(position: Position, answer: Response) -> Box<Response> {
    let (name, value) = NOSNIFF;
    let answer = answer.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store")).with(name, value);
    Box::new(match HeaderValue::try_from(format!("\"{position}\"")) {
        Ok(tag) => answer.with(header::ETAG, tag),
        Err(_) => answer,
    })
}

/// The bytes of a message that others have, too.
struct Shared(Arc<Message>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.data
    }
}
