//! One subscriber: its place in the stream, what it is told and how, and what happens when it is slow.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use rsp_core::{
    channel::{Epoch, Follower, Item, Next, Position},
    config::{self, Slow},
    frame::websocket::{Opcode, control_frame},
};

use super::encode::{self, Encoded, Event, Format};
use crate::stream::{Outbox, Wire};

/// Somebody who wants to hear of a channel.
pub struct Subscriber {
    /// Whose bounds it has.
    pub spec: Arc<config::Channel>,
    /// Where it is heard.
    sink: Sink,
    follower: RefCell<Follower>,
    ending: Cell<Option<Ending>>,
    /// Whether the head of the answer is out, so that anything may follow.
    has_begun: Cell<bool>,
    /// Whether the client was heard of since the last ping.
    heard: Cell<bool>,
}

enum Sink {
    /// As many messages as come.
    Stream(Format, Outbox),
    /// One message.
    Poll(RefCell<Slot>),
}

#[derive(Default)]
struct Slot {
    item: Option<Item>,
    waker: Option<Waker>,
}

/// Why rsp ends a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It does not take its messages.
    Slow,
    /// Nothing was heard of it since a ping.
    Silent,
    /// It is to come back, here or elsewhere.
    Restart,
}

/// What became of an event at one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It has it, or it is on its way.
    Yes,
    /// So many older messages were dropped for it.
    Dropped(usize),
    /// It is too slow, and ends.
    Ended,
    /// It is not for this one, or not yet.
    No,
}

impl Subscriber {
    /// Who hears everything, over a connection of its own; it has to look back first.
    pub fn stream(spec: Arc<config::Channel>, format: Format, wire: Rc<Wire>) -> Rc<Self> {
        Self::new(spec, Sink::Stream(format, Outbox::new(wire)))
    }

    /// Who waits for one message; it has to look back first.
    pub fn poll(spec: Arc<config::Channel>) -> Rc<Self> {
        Self::new(spec, Sink::Poll(RefCell::default()))
    }

    fn new(spec: Arc<config::Channel>, sink: Sink) -> Rc<Self> {
        // Where it is it learns from the broker.
        let nowhere = Position { epoch: Epoch::new(0), offset: 0 };
        let follower = RefCell::new(Follower::behind(nowhere));
        // The head of a poll's answer comes last.
        let has_begun = Cell::new(matches!(sink, Sink::Poll(_)));
        Rc::new(Self { spec, sink, follower, ending: Cell::new(None), has_begun, heard: Cell::new(true) })
    }

    /// What it is told as, and the way to it; None: it waits for one message.
    pub fn connection(&self) -> Option<(Format, &Outbox)> {
        match &self.sink {
            Sink::Stream(format, outbox) => Some((*format, outbox)),
            Sink::Poll(_) => None,
        }
    }

    /// Its place in the stream, for a moment.
    pub fn follower(&self) -> std::cell::RefMut<'_, Follower> {
        self.follower.borrow_mut()
    }

    /// Why it ends, once it does.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// Ends it; the first reason stands.
    pub fn end(&self, why: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(why));
            self.wake();
        }
    }

    /// Its answer has a head, and now comes what it is about.
    pub fn begin(&self) {
        self.has_begun.set(true);
    }

    /// Its client is there.
    pub fn heard(&self) {
        self.heard.set(true);
    }

    /// Something has happened on its channel.
    pub fn tell(&self, frames: &mut Encoded<'_>) -> Told {
        if self.ending.get().is_some() {
            return Told::No;
        }
        match frames.event() {
            Event::Item(item) => {
                let next = self.follower.borrow_mut().arrive(item);
                match next {
                    Next::Deliver => self.deliver(item, frames),
                    Next::Old => Told::No,
                    Next::Gap => {
                        self.wake();
                        Told::No
                    }
                }
            }
            event => self.tell_of(event, frames),
        }
    }

    fn tell_of(&self, event: Event<'_>, frames: &mut Encoded<'_>) -> Told {
        if !self.has_begun.get() {
            return Told::No;
        }
        if let Event::Reset(position) = event {
            let mut follower = self.follower.borrow_mut();
            // Whoever looks back finds out, and whoever came later knows.
            if follower.is_behind() || position <= follower.position() {
                return Told::No;
            }
            follower.reset(position);
        }
        match (&self.sink, event) {
            // It knows no positions, so that this is all it can be told.
            (Sink::Stream(Format::Plain(_), _), Event::Reset(_)) => self.end(Ending::Restart),
            (Sink::Stream(format, outbox), _) => {
                if let Some(frame) = frames.frame(*format)
                    && outbox.send(frame, self.spec.queue_max).is_err()
                {
                    self.end(Ending::Slow);
                    return Told::Ended;
                }
            }
            (Sink::Poll(_), Event::Reset(_)) => self.end(Ending::Restart),
            (Sink::Poll(_), _) => {}
        }
        Told::No
    }

    /// The next message of the stream, for a subscriber that is at it.
    pub fn deliver(&self, item: &Item, frames: &mut Encoded<'_>) -> Told {
        match &self.sink {
            Sink::Stream(format, outbox) => match frames.frame(*format) {
                Some(frame) => self.offer(outbox, frame),
                None => Told::No,
            },
            Sink::Poll(slot) => {
                let mut slot = slot.borrow_mut();
                if slot.item.is_none() {
                    slot.item = Some(item.clone());
                    if let Some(waker) = slot.waker.take() {
                        waker.wake();
                    }
                    return Told::Yes;
                }
                Told::No
            }
        }
    }

    fn offer(&self, outbox: &Outbox, frame: &Bytes) -> Told {
        let max = self.spec.queue_max;
        // What has begun can't be dropped any more, and one message always finds room behind it.
        let (dropped, max) = match self.spec.slow {
            Slow::Disconnect => (0, max),
            Slow::DropOldest => (outbox.make_room(frame.len(), max), usize::MAX),
            Slow::Latest => (outbox.make_room(frame.len(), 0), usize::MAX),
        };
        if outbox.offer(frame, max).is_err() {
            self.end(Ending::Slow);
            return Told::Ended;
        }
        if dropped > 0 { Told::Dropped(dropped) } else { Told::Yes }
    }

    /// Its turn to be asked whether it is there; false: there will be no other.
    pub fn turn(&self) -> bool {
        let Sink::Stream(format, outbox) = &self.sink else { return false };
        if self.ending.get().is_some() {
            return false;
        }
        if !self.has_begun.get() {
            return true;
        }
        // A queue that is full is a sign of its own.
        let _ = match format {
            Format::Plain(_) | Format::Json(_) => {
                if !self.heard.replace(false) {
                    self.end(Ending::Silent);
                    return false;
                }
                outbox.send(&PING.with(Bytes::clone), self.spec.queue_max)
            }
            Format::Events { is_chunked } => outbox.send(&encode::chunk(":\n\n", *is_chunked), self.spec.queue_max),
            Format::Lines { is_chunked } => outbox.send(&encode::chunk("\n", *is_chunked), self.spec.queue_max),
        };
        true
    }

    /// Ready with the message it waited for, or with None at its end.
    pub fn poll_message(&self, cx: &Context<'_>) -> Poll<Option<Item>> {
        let Sink::Poll(slot) = &self.sink else { return Poll::Ready(None) };
        let mut slot = slot.borrow_mut();
        if let Some(item) = slot.item.take() {
            return Poll::Ready(Some(item));
        }
        if self.ending.get().is_some() || self.follower.borrow().is_behind() {
            return Poll::Ready(None);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&self) {
        match &self.sink {
            Sink::Stream(_, outbox) => outbox.wake(),
            Sink::Poll(slot) => {
                if let Some(waker) = slot.borrow_mut().waker.take() {
                    waker.wake();
                }
            }
        }
    }
}

thread_local! {
    static PING: Bytes = control_frame(Opcode::Ping, b"", None);
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use rsp_core::channel::Member;
    use tokio::{io::AsyncReadExt, net::UnixStream};

    use super::*;
    use crate::stream::{Peer, Socket};

    #[test]
    fn who_looks_back_hears_of_comers_but_nothing_before_the_head_is_out() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut client) = UnixStream::pair().unwrap();
            let wire = Rc::new(Wire::new(Socket::Unix(ours), Peer::Unix));
            let spec = Arc::new(config::Channel::undeclared("a"));
            let subscriber = Subscriber::stream(spec, Format::Lines { is_chunked: false }, wire);
            let encoder = encode::Encoder::default();
            let came = |id: &str| {
                let member = Member { id: id.into(), who: None, since: Duration::ZERO };
                subscriber.tell(&mut Encoded::new(Event::Join(&member), &encoder));
            };
            came("early");
            assert!(subscriber.turn(), "no ping either, but there will be others");
            subscriber.begin();
            assert!(subscriber.follower().is_behind());
            came("late");
            assert!(poll_fn(|cx| subscriber.connection().unwrap().1.poll_flush(cx, Duration::ZERO)).await.is_ok());
            let mut read = [0; 200];
            let length = client.read(&mut read).await.unwrap();
            let text = str::from_utf8(&read[..length]).unwrap();
            assert!(text.starts_with("{\"event\":\"join\",\"id\":\"late\""), "{text}");
        });
    }

    #[test]
    fn a_reset_to_where_it_is_or_was_is_no_news() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut client) = UnixStream::pair().unwrap();
            let wire = Rc::new(Wire::new(Socket::Unix(ours), Peer::Unix));
            let spec = Arc::new(config::Channel::undeclared("a"));
            let subscriber = Subscriber::stream(spec, Format::Lines { is_chunked: false }, wire);
            let at = |epoch, offset| Position { epoch: Epoch::new(epoch), offset };
            let encoder = encode::Encoder::default();
            let reset = |position| subscriber.tell(&mut Encoded::new(Event::Reset(position), &encoder));
            subscriber.begin();
            for here in [at(5, 0), at(5, 3)] {
                *subscriber.follower() = Follower::new(here);
                for old in [at(5, 0), here, at(4, 9)] {
                    reset(old);
                    assert_eq!(subscriber.follower().position(), here, "not after {old}");
                }
            }
            reset(at(6, 0));
            assert_eq!(subscriber.follower().position(), at(6, 0));
            assert!(poll_fn(|cx| subscriber.connection().unwrap().1.poll_flush(cx, Duration::ZERO)).await.is_ok());
            let mut read = [0; 400];
            let length = client.read(&mut read).await.unwrap();
            let text = str::from_utf8(&read[..length]).unwrap();
            let told = format!("{{\"event\":\"reset\",\"position\":\"{}\"}}", at(6, 0));
            assert_eq!(text.trim_end(), told, "it is told of the new epoch only");
        });
    }
}
