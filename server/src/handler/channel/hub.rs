//! The subscribers of one worker, and the word to them: what happens on a channel is encoded once and written to each.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use foldhash::{HashMap, HashMapExt};
use rsp_core::{
    channel::{Follower, Member, Next, Rules},
    config,
};
use slab::Slab;

use super::{
    encode::{Encoded, Encoder, Event},
    subscriber::{Ending, Subscriber, Told},
    wheel::Wheel,
};
use crate::{
    broker::{Broker, Inbox, Look, Name, Notice, Past, Refused, What},
    observe::{Metrics, Transport},
};

/// Subscribers that are told before the worker does something else: some milliseconds.
const TURN: usize = 512;

/// Messages that are looked up at once.
pub const LOOK_MAX: usize = 256;

/// Between two looks at a broker that is away.
pub const AWAY: Duration = Duration::from_secs(1);

/// How far apart subscribers are sent away in a drain, where there is time: at most a hundred a second.
const APART: Duration = Duration::from_millis(10);

/// Channels that a worker's subscribers listen to.
pub struct Hub {
    /// Where channels live.
    pub broker: Arc<Broker>,
    /// Makes frames.
    pub encoder: Encoder,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
    inbox: Arc<Inbox>,
    locals: RefCell<HashMap<Name, Rc<Local>>>,
    wheel: Wheel<Subscriber>,
    draining: Cell<bool>,
    seats: Cell<u8>,
    /// Subscribers that were told since the worker did something else.
    told: Cell<usize>,
}

/// One channel, as far as this worker has subscribers.
struct Local {
    name: Name,
    rules: Cell<Rules>,
    /// How far the subscribers were told; None: nobody knows yet.
    follower: RefCell<Option<Follower>>,
    subscribers: RefCell<Slab<Rc<Subscriber>>>,
    looks_back: Cell<bool>,
}

/// A channel, as one worker reaches it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Through whom.
    pub hub: &'a Rc<Hub>,
    /// Its name.
    pub name: &'a Name,
    /// Its bounds.
    pub spec: &'a Arc<config::Channel>,
}

/// A subscriber's seat; it leaves when this is dropped.
pub struct Seat {
    hub: Rc<Hub>,
    local: Rc<Local>,
    key: usize,
    subscriber: Rc<Subscriber>,
    transport: Transport,
    /// Tells it from others where not all may do the same at once.
    part: u8,
    /// Whether the broker knows.
    is_known: bool,
    /// Under which id it is present.
    present: Option<Arc<str>>,
}

impl Hub {
    /// One without subscribers.
    pub fn new(broker: Arc<Broker>, metrics: Arc<Metrics>) -> Rc<Self> {
        Rc::new(Self {
            broker,
            encoder: Encoder::default(),
            metrics,
            inbox: Arc::default(),
            locals: RefCell::new(HashMap::new()),
            wheel: Wheel::default(),
            draining: Cell::new(false),
            seats: Cell::new(0),
            told: Cell::new(0),
        })
    }

    /// Tells subscribers what happens, and asks them whether they are there.
    pub async fn run_for_ever(self: Rc<Self>) {
        let hub = Rc::clone(&self);
        tokio::task::spawn_local(async move { hub.wheel.run_for_ever(|subscriber| subscriber.turn()).await });
        loop {
            let batch = poll_fn(|cx| self.inbox.poll_take(cx)).await;
            for notice in batch.notices {
                self.hear(notice).await;
                if self.told.get() >= TURN {
                    self.told.set(0);
                    tokio::task::yield_now().await;
                }
            }
            if batch.overflowed {
                let all: Vec<_> = self.locals.borrow().values().cloned().collect();
                for local in all {
                    self.fall_behind(&local);
                }
            }
        }
    }

    /// Sends every subscriber away, a hundred a second or as many as it takes to be done in so long a time, and those who
    /// come later at once.
    pub fn drain(self: &Rc<Self>, over: Duration) {
        self.draining.set(true);
        let mut all = Vec::new();
        for local in self.locals.borrow().values() {
            all.extend(local.subscribers.borrow().iter().map(|(_, subscriber)| Rc::downgrade(subscriber)));
        }
        let apart = APART.min(over / u32::try_from(all.len().max(1)).unwrap_or(u32::MAX));
        tokio::task::spawn_local(async move {
            let begun = tokio::time::Instant::now();
            for (number, subscriber) in (0u32..).zip(all) {
                tokio::time::sleep_until(begun + apart * number).await;
                if let Some(subscriber) = subscriber.upgrade() {
                    subscriber.end(Ending::Restart);
                }
            }
        });
    }

    /// Subscribes, and looks back. What is published from then on waits until the subscriber has caught up.
    pub async fn join(
        self: &Rc<Self>,
        channel: &Name,
        subscriber: Rc<Subscriber>,
        transport: Transport,
        look: Look,
    ) -> Result<(Seat, Past), Refused> {
        let rules = subscriber.spec.rules;
        // A poll says with each request where it is.
        let resumes = matches!(look, Look::Since(..)) && subscriber.connection().is_some();
        let mut seat = self.seat(channel, subscriber, transport);
        let past = self.broker.subscribe(channel, &rules, &self.inbox, look).await?;
        seat.is_known = true;
        if resumes {
            self.metrics.channels.resumed(past.is_lost);
        }
        seat.local.follower.borrow_mut().get_or_insert_with(|| Follower::new(past.end));
        let from = match look {
            Look::Since(position, _) if !past.is_lost => position,
            _ => past.end,
        };
        seat.subscriber.follower().reset(from);
        Ok((seat, past))
    }

    fn seat(self: &Rc<Self>, channel: &Name, subscriber: Rc<Subscriber>, transport: Transport) -> Seat {
        let local = Rc::clone(self.locals.borrow_mut().entry(Arc::clone(channel)).or_insert_with(|| {
            Rc::new(Local {
                name: Arc::clone(channel),
                rules: Cell::new(subscriber.spec.rules),
                follower: RefCell::new(None),
                subscribers: RefCell::default(),
                looks_back: Cell::new(false),
            })
        }));
        local.rules.set(subscriber.spec.rules);
        let key = local.subscribers.borrow_mut().insert(Rc::clone(&subscriber));
        // Numbers in a row times an odd one are spread over all there are.
        self.seats.set(self.seats.get().wrapping_add(1));
        let part = self.seats.get().wrapping_mul(157);
        if subscriber.connection().is_some() {
            self.wheel.add(&subscriber, subscriber.spec.ping, part);
        }
        if self.draining.get() {
            subscriber.end(Ending::Restart);
        }
        self.metrics.channels.subscribers(transport).inc();
        Seat { hub: Rc::clone(self), local, key, subscriber, transport, part, is_known: false, present: None }
    }

    async fn hear(self: &Rc<Self>, Notice { channel, what }: Notice) {
        let Some(local) = self.locals.borrow().get(&channel).cloned() else { return };
        match what {
            What::Item(item) => {
                let next = match &mut *local.follower.borrow_mut() {
                    Some(follower) => follower.arrive(&item),
                    unknown => {
                        *unknown = Some(Follower::new(item.position));
                        Next::Deliver
                    }
                };
                match next {
                    Next::Deliver => self.tell_all(&local, Event::Item(&item)).await,
                    Next::Old => {}
                    Next::Gap => self.fall_behind(&local),
                }
            }
            What::Join(member) => self.tell_all(&local, Event::Join(&member)).await,
            What::Leave(member) => self.tell_all(&local, Event::Leave(&member)).await,
            What::Reset(position) => {
                // Whoever looks back finds out, and whoever came later knows.
                let is_news = |follower: &Follower| !follower.is_behind() && position > follower.position();
                let is_news = local.follower.borrow().as_ref().is_none_or(is_news);
                if is_news {
                    *local.follower.borrow_mut() = Some(Follower::new(position));
                    self.tell_all(&local, Event::Reset(position)).await;
                }
            }
            What::Behind => self.fall_behind(&local),
        }
    }

    async fn tell_all(&self, local: &Local, event: Event<'_>) {
        let mut frames = Encoded::new(event, &self.encoder);
        let (mut key, mut end) = (0, 1);
        while key < end {
            let told = {
                let subscribers = local.subscribers.borrow();
                end = subscribers.capacity();
                let (mut told, mut dropped, mut ended) = (0, 0, 0);
                while key < end && told < TURN {
                    if let Some(subscriber) = subscribers.get(key) {
                        match subscriber.tell(&mut frames) {
                            Told::Yes => told += 1,
                            Told::Dropped(messages) => (told, dropped) = (told + 1, dropped + messages),
                            Told::Ended => ended += 1,
                            Told::No => {}
                        }
                    }
                    key += 1;
                }
                self.metrics.channels.told(told as u64, dropped, ended);
                told
            };
            self.told.set(self.told.get() + told);
            if key < end {
                self.told.set(0);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Looks up what a channel's subscribers were not told.
    fn fall_behind(self: &Rc<Self>, local: &Rc<Local>) {
        match &mut *local.follower.borrow_mut() {
            Some(follower) => follower.fall_behind(),
            // Its first subscriber is about to look.
            None => return,
        }
        if !local.looks_back.replace(true) {
            let (hub, local) = (Rc::clone(self), Rc::clone(local));
            tokio::task::spawn_local(async move {
                hub.look_back(&local).await;
                local.looks_back.set(false);
            });
        }
    }

    async fn look_back(&self, local: &Rc<Local>) {
        loop {
            let Some(from) = local.follower.borrow().as_ref().map(Follower::position) else { return };
            if local.subscribers.borrow().is_empty() {
                return;
            }
            let past = match self.broker.read(&local.name, &local.rules.get(), Look::Since(from, LOOK_MAX)).await {
                Ok(past) => past,
                Err(_) => {
                    tokio::time::sleep(AWAY).await;
                    continue;
                }
            };
            if past.is_lost {
                with(&local.follower, |follower| follower.reset(past.end));
                self.tell_all(local, Event::Reset(past.end)).await;
            }
            for item in &past.items {
                if with(&local.follower, |follower| follower.next(item.position)) == Some(Next::Deliver) {
                    self.tell_all(local, Event::Item(item)).await;
                }
            }
            if past.items.len() == LOOK_MAX {
                continue;
            }
            let mut waited = Vec::new();
            let is_done = with(&local.follower, |follower| follower.catch_up(|item| waited.push(item.clone())));
            for item in &waited {
                self.tell_all(local, Event::Item(item)).await;
            }
            if is_done != Some(false) {
                return;
            }
        }
    }
}

fn with<T>(follower: &RefCell<Option<Follower>>, act: impl FnOnce(&mut Follower) -> T) -> Option<T> {
    follower.borrow_mut().as_mut().map(act)
}

impl Seat {
    /// Who sits here.
    pub fn subscriber(&self) -> &Rc<Subscriber> {
        &self.subscriber
    }

    /// Where it sits.
    pub fn hub(&self) -> &Rc<Hub> {
        &self.hub
    }

    /// The channel.
    pub fn name(&self) -> &Name {
        &self.local.name
    }

    /// Where it publishes.
    pub fn place(&self) -> Place<'_> {
        Place { hub: &self.hub, name: self.name(), spec: self.spec() }
    }

    /// Its bounds.
    pub fn spec(&self) -> &Arc<config::Channel> {
        &self.subscriber.spec
    }

    /// Tells one subscriber from the next, where not all may do the same at once: 0 to 1.
    pub fn spread(&self) -> f64 {
        f64::from(self.part) / 256.0
    }

    /// Is shown as present from now on.
    pub async fn enter(&mut self, member: Member) -> Result<(), Refused> {
        let id = Arc::clone(&member.id);
        self.hub.broker.enter(self.name(), member, self.spec().join_leave).await?;
        self.present = Some(id);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let is_last = {
            let mut subscribers = self.local.subscribers.borrow_mut();
            subscribers.try_remove(self.key);
            if subscribers.is_empty() {
                *subscribers = Slab::new();
            }
            subscribers.is_empty()
        };
        let name = &self.local.name;
        if is_last {
            let mut locals = self.hub.locals.borrow_mut();
            if locals.get(name).is_some_and(|known| Rc::ptr_eq(known, &self.local)) {
                locals.remove(name);
            }
        }
        if let Some(id) = &self.present {
            self.hub.broker.leave(name, id, self.subscriber.spec.join_leave);
        }
        if self.is_known {
            self.hub.broker.unsubscribe(name, &self.hub.inbox);
        }
        self.hub.metrics.channels.subscribers(self.transport).dec();
    }
}
