//! `channel = …`: what a process says is published, and what others publish it reads.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rsp_core::{
    channel::{Follower, Item, Message, Next, Position, Rules},
    config::{self, Framing},
    frame::messages,
};
use tokio::{io::AsyncWriteExt, net::unix::pipe, sync::Notify};

use super::{complaint::Complaint, output::Output};
use crate::{
    broker::{self, Broker, Inbox, Look, Name, Refused, What},
    observe::Metrics,
};

/// Bytes that wait for the process to read; then the oldest are dropped, as the channel goes on.
const WAITING_MAX: usize = 1 << 20;

/// What a message costs beside its bytes.
const COST: usize = 64;

/// Positions of what was published and not heard yet; more come back only while the broker is in trouble.
const OWN_MAX: usize = 65_536;

/// Messages that may be its own; more come only while the broker is in trouble.
const DOUBTFUL_MAX: usize = 16;

/// Between two tries while the broker is away.
const AWAY: Duration = Duration::from_secs(1);

/// Messages that are looked up at once.
const LOOK_MAX: usize = 256;

/// A program's place at its channel.
pub struct Feed {
    name: Name,
    program: Arc<str>,
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    /// As the config has them now.
    spec: RefCell<Arc<config::Channel>>,
    inbox: Arc<Inbox>,
    waiting: RefCell<Waiting>,
    more: Notify,
    own: Own,
    complaints: RefCell<Complaints>,
    /// Where the channel stood when it began to hear of it; None: it has not yet.
    began: Cell<Option<Position>>,
}

#[derive(Default)]
struct Complaints {
    away: Complaint,
    unknown: Complaint,
    too_large: Complaint,
    dropped: Complaint,
    lost: Complaint,
}

/// What others published, until the process reads it.
#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
}

/// What tells the program's own messages from others.
#[derive(Default)]
struct Own {
    /// In order.
    positions: RefCell<VecDeque<Position>>,
    /// Those of which nobody knows whether they were published.
    doubtful: RefCell<VecDeque<Box<[u8]>>>,
    begun: Cell<u64>,
    ended: Cell<u64>,
    settled: Notify,
}

/// A publication on its way. Dropped before its outcome is known, it is doubtful.
struct Attempt<'a> {
    own: &'a Own,
    data: Option<Box<[u8]>>,
}

impl Feed {
    /// Of the program that is called so. It hears what is published from now on, if the broker is there.
    pub fn new(program: &Arc<str>, spec: &Arc<config::Channel>, broker: &Arc<Broker>, metrics: &Arc<Metrics>) -> Self {
        let feed = Self {
            name: spec.name.to_string().into(),
            program: Arc::clone(program),
            broker: Arc::clone(broker),
            metrics: Arc::clone(metrics),
            spec: RefCell::new(Arc::clone(spec)),
            inbox: Arc::default(),
            waiting: RefCell::default(),
            more: Notify::new(),
            own: Own::default(),
            complaints: RefCell::default(),
            began: Cell::new(None),
        };
        feed.subscribe_at_once();
        feed
    }

    /// Within this process nothing has to be waited for, and whoever is told that rsp runs may publish.
    fn subscribe_at_once(&self) {
        let rules = self.rules();
        let subscribing = pin!(self.broker.subscribe(&self.name, &rules, &self.inbox, Look::Latest(0)));
        // One that is dropped on its way is taken back.
        if let Poll::Ready(Ok(past)) = subscribing.poll(&mut Context::from_waker(Waker::noop())) {
            self.began.set(Some(past.end));
        }
    }

    /// The channel has these options now.
    pub fn settle(&self, spec: &Arc<config::Channel>) {
        *self.spec.borrow_mut() = Arc::clone(spec);
    }

    /// Publishes what the process says, to its end; returns what was wrong with that, for a person. While the broker is away the process is not read.
    pub async fn listen(&self, mut output: Output, framing: Framing) -> Option<String> {
        loop {
            match output.more().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => return Some(format!("can't be read: {e}")),
            }
            loop {
                match output.next() {
                    Ok(Some(data)) => self.publish(&data, framing).await,
                    Ok(None) => break,
                    Err(why) => return Some(why),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn publish(&self, data: &[u8], framing: Framing) {
        let message_max = self.spec.borrow().message_max;
        if data.len() > message_max {
            self.complain(
                |all| &mut all.too_large,
                &format!("said a message of more than the {message_max} bytes of its channel"),
            );
            return;
        }
        let is_text = framing != Framing::Raw && str::from_utf8(data).is_ok();
        loop {
            let attempt = self.own.begin(data);
            let message = Message { data: data.into(), is_text, time: broker::now(), by: None };
            self.metrics.channels.published.inc();
            match self.broker.publish(&self.name, &self.rules(), message, None).await {
                Ok(receipt) => return attempt.succeed(receipt.position),
                // To say it again could say it twice.
                Err(Refused::Unknown) => {
                    return self.complain(|all| &mut all.unknown, Refused::Unknown.reason());
                }
                Err(refused @ (Refused::Away | Refused::Full)) => {
                    attempt.fail();
                    self.complain(|all| &mut all.away, &format!("waits: {}", refused.reason()));
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
    }

    /// Says to the process what others publish. What a process that reads no more should have read is dropped.
    pub async fn speak(&self, mut input: Option<pipe::Sender>, framing: Framing) -> Infallible {
        let mut out = Vec::new();
        loop {
            let Some(item) = self.waiting.borrow_mut().pop() else {
                self.more.notified().await;
                continue;
            };
            messages::write(framing, &item.message.data, &mut out);
            if let Some(pipe) = &mut input
                && pipe.write_all(&out).await.is_err()
            {
                input = None;
            }
            out.clear();
            out.shrink_to(WAITING_MAX);
        }
    }

    /// Hears what is published, whether or not a process runs.
    pub async fn attend(&self) -> Infallible {
        let began = match self.began.get() {
            Some(began) => began,
            None => self.subscribe().await,
        };
        let mut follower = Follower::new(began);
        loop {
            let batch = poll_fn(|cx| self.inbox.poll_take(cx)).await;
            let mut is_behind = batch.overflowed;
            for notice in batch.notices {
                match notice.what {
                    What::Item(item) => match follower.arrive(&item) {
                        Next::Deliver => self.hear(&item).await,
                        Next::Gap => is_behind = true,
                        Next::Old => {}
                    },
                    What::Reset(position) if !follower.is_behind() && position > follower.position() => {
                        follower.reset(position);
                    }
                    What::Behind => is_behind = true,
                    What::Reset(_) | What::Join(_) | What::Leave(_) => {}
                }
            }
            if is_behind {
                follower.fall_behind();
                self.look_back(&mut follower).await;
            }
        }
    }

    async fn subscribe(&self) -> Position {
        loop {
            let rules = self.rules();
            match self.broker.subscribe(&self.name, &rules, &self.inbox, Look::Latest(0)).await {
                Ok(past) => {
                    self.began.set(Some(past.end));
                    return past.end;
                }
                Err(refused) => self.wait_for_broker(refused).await,
            }
        }
    }

    async fn look_back(&self, follower: &mut Follower) {
        loop {
            let rules = self.rules();
            let past = match self.broker.read(&self.name, &rules, Look::Since(follower.position(), LOOK_MAX)).await {
                Ok(past) => past,
                Err(refused) => {
                    self.wait_for_broker(refused).await;
                    continue;
                }
            };
            if past.is_lost {
                follower.reset(past.end);
                self.complain(|all| &mut all.lost, "was not told of messages that its channel keeps no more");
            }
            for item in &past.items {
                if follower.next(item.position) == Next::Deliver {
                    self.hear(item).await;
                }
            }
            if past.items.len() == LOOK_MAX {
                continue;
            }
            let mut waited = Vec::new();
            let is_done = follower.catch_up(|item| waited.push(item.clone()));
            for item in &waited {
                self.hear(item).await;
            }
            if is_done {
                return;
            }
        }
    }

    /// A message that was published, by whomever.
    async fn hear(&self, item: &Item) {
        if self.own.is(item).await {
            return;
        }
        let dropped = self.waiting.borrow_mut().push(item.clone());
        if dropped {
            self.complain(
                |all| &mut all.dropped,
                "does not read what is published as fast as it comes, and misses the oldest",
            );
        }
        self.more.notify_one();
    }

    async fn wait_for_broker(&self, refused: Refused) {
        self.complain(|all| &mut all.away, refused.reason());
        tokio::time::sleep(AWAY).await;
    }

    fn rules(&self) -> Rules {
        self.spec.borrow().rules
    }

    fn complain(&self, which: impl FnOnce(&mut Complaints) -> &mut Complaint, why: &str) {
        if let Some(times) = which(&mut self.complaints.borrow_mut()).has_reason() {
            tracing::warn!("{} on channel {}: {why} ({times} times)", self.program, self.name);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.began.get().is_some() {
            self.broker.unsubscribe(&self.name, &self.inbox);
        }
    }
}

impl Waiting {
    /// Whether others had to go.
    fn push(&mut self, item: Item) -> bool {
        self.bytes += item.message.data.len() + COST;
        self.items.push_back(item);
        let before = self.items.len();
        while self.bytes > WAITING_MAX && self.items.len() > 1 {
            self.pop();
        }
        self.items.len() < before
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.message.data.len() + COST;
        Some(item)
    }
}

impl Own {
    fn begin(&self, data: &[u8]) -> Attempt<'_> {
        self.begun.set(self.begun.get() + 1);
        Attempt { own: self, data: Some(data.into()) }
    }

    /// Whether a message that was heard is one of its own. What was on its way when it came is waited for.
    async fn is(&self, item: &Item) -> bool {
        let begun = self.begun.get();
        while self.ended.get() < begun {
            self.settled.notified().await;
        }
        let mut positions = self.positions.borrow_mut();
        while positions.front().is_some_and(|first| *first < item.position) {
            positions.pop_front();
        }
        if positions.front() == Some(&item.position) {
            positions.pop_front();
            return true;
        }
        let mut doubtful = self.doubtful.borrow_mut();
        match doubtful.iter().position(|data| **data == *item.message.data) {
            Some(index) => doubtful.remove(index).is_some(),
            None => false,
        }
    }
}

impl Attempt<'_> {
    fn succeed(mut self, position: Position) {
        self.data = None;
        let mut positions = self.own.positions.borrow_mut();
        if positions.len() == OWN_MAX {
            positions.pop_front();
        }
        positions.push_back(position);
    }

    /// It was not published.
    fn fail(mut self) {
        self.data = None;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            let mut doubtful = self.own.doubtful.borrow_mut();
            if doubtful.len() == DOUBTFUL_MAX {
                doubtful.pop_front();
            }
            doubtful.push_back(data);
        }
        self.own.ended.set(self.own.ended.get() + 1);
        self.own.settled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use rsp_core::channel::Epoch;
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    fn message(data: &[u8]) -> Message {
        Message { data: data.into(), is_text: true, time: Duration::ZERO, by: None }
    }

    fn item(offset: u64, data: &[u8]) -> Item {
        Item { position: Position { epoch: Epoch::new(1), offset }, message: Arc::new(message(data)) }
    }

    fn feed(broker: &Arc<Broker>) -> Feed {
        Feed::new(&"test".into(), &Arc::new(config::Channel::undeclared("clock")), broker, &Metrics::new())
    }

    #[test]
    fn the_oldest_messages_are_dropped_for_a_process_that_does_not_read() {
        let mut waiting = Waiting::default();
        assert!((1..=15).all(|offset| !waiting.push(item(offset, &[0; 64 << 10]))));
        assert!(waiting.push(item(16, &[0; 128 << 10])));
        assert_eq!(waiting.pop().map(|item| item.position.offset), Some(3));
        assert!(waiting.push(item(17, &[0; WAITING_MAX + 1])), "one that is larger than all still comes through");
        assert_eq!((waiting.pop().map(|item| item.position.offset), waiting.bytes), (Some(17), 0));
    }

    #[tokio::test]
    async fn its_own_messages_are_known_by_their_positions_and_doubtful_ones_by_what_they_are() {
        let own = Own::default();
        let position = |offset| item(offset, b"").position;
        own.begin(b"a").succeed(position(2));
        own.begin(b"b").succeed(position(4));
        own.begin(b"c").fail();
        drop(own.begin(b"d"));
        let mut all = Vec::new();
        for (offset, data) in [(1, "a"), (2, "a"), (3, "c"), (5, "b"), (6, "d"), (7, "d")] {
            all.push(own.is(&item(offset, data.as_bytes())).await);
        }
        assert_eq!(all, [false, true, false, false, true, false]);
        assert!(own.positions.borrow().is_empty());
    }

    #[tokio::test]
    async fn one_that_comes_while_a_publication_is_on_its_way_waits_for_its_outcome() {
        let own = Own::default();
        let attempt = own.begin(b"a");
        let heard = item(1, b"a");
        let (is_own, ()) = tokio::join!(own.is(&heard), async { attempt.succeed(heard.position) });
        assert!(is_own);
    }

    #[tokio::test]
    async fn what_a_process_says_is_published_and_what_others_say_it_reads() {
        let broker = Arc::new(Broker::memory());
        let feed = feed(&broker);
        let ((stdin, its_input), (its_output, stdout)) = (pipe::pipe().unwrap(), pipe::pipe().unwrap());
        let talk = config::Talk {
            framing: Framing::Lines,
            line_max: 100,
            message_max: 100,
            ping: None,
            pages: config::Pages { of: config::PagesOf::Any, origin_required: false, same_origin: false },
        };
        let process = async {
            let (mut its_input, mut its_output) = (BufReader::new(its_input).lines(), its_output);
            for number in 0..3 {
                its_output.write_all(format!("own {number}\n").as_bytes()).await.unwrap();
                let name = Name::from("clock");
                while broker.read(&name, &feed.rules(), Look::Latest(0)).await.unwrap().end.offset < 2 * number + 1 {
                    tokio::task::yield_now().await;
                }
                let other = message(format!("other {number}").as_bytes());
                broker.publish(&name, &feed.rules(), other, None).await.unwrap();
                assert_eq!(its_input.next_line().await.unwrap(), Some(format!("other {number}")));
            }
        };
        tokio::select! {
            () = process => {}
            why = feed.listen(Output::new(stdout, &talk), Framing::Lines) => panic!("{why:?}"),
            never = feed.speak(Some(stdin), Framing::Lines) => match never {},
            never = feed.attend() => match never {},
        }
    }
}
