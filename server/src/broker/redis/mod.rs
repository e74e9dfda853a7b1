//! Channels that several processes share at one Redis, or at a cluster of them.
//!
//! The stream of a channel is a hash (epoch, offset) and a stream of messages; to publish is one script. Each process
//! listens to the channels that it has subscribers of, over one connection a server.
//!
//! **Invariant:** nothing is asked twice that could be done twice.
//! **Invariant:** a server that comes back with less than was seen of a channel gives it a new epoch before anything
//! else happens to the channel.

mod address;
mod encode;
mod interests;
mod link;
mod names;
mod node;
mod own;
mod script;
mod slots;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use redis::Value;
use rsp_core::channel::{Epoch, Item, KEYS_MAX, Member, Message, Position, Rules};
use tokio::{sync::Notify, time::timeout};

use self::{
    address::Target,
    interests::{Interests, Known},
    names::Names,
    node::{Failure, Flight, Node},
    own::{LIFE, Own},
    script::{Call, millis},
    slots::Routes,
};
use super::{Inbox, Look, Name, Past, Receipt, Refused, Server, Summary, now, random};
use crate::observe::{BrokerCounts, Metrics};

/// Subscribers that wait for a channel to be heard; more are refused.
const SUBSCRIBING_MAX: usize = 10_000;

/// Channels whose positions are remembered because this process published to them.
const FLOORS_MAX: usize = 16_384;

/// Bytes of messages in one answer, and one message more.
const READ_MAX: usize = 4 << 20;

/// Members in one answer, nearly.
const PRESENT_MAX: usize = 10_000;

/// How long a channel is remembered after its last message is forgotten; its subscribers ask every 40 s.
const LINGER: Duration = Duration::from_secs(120);

/// How often a command that met the wrong server of a cluster is sent to another one.
const MOVES_MAX: usize = 4;

/// How long the members of this process may take to leave at the end.
const LAST_LEAVES: Duration = Duration::from_secs(2);

/// The channels of a Redis.
pub struct Redis {
    shared: Arc<Shared>,
}

/// What workers and links share.
struct Shared {
    target: Target,
    is_cluster: bool,
    names: Names,
    timeout: Duration,
    interests: Interests,
    own: Own,
    /// Names this process among those that have members.
    id: Box<str>,
    /// Where channels were that this process published to.
    floors: quick_cache::sync::Cache<Name, Known>,
    flight: Flight,
    subscribing: AtomicUsize,
    routes: ArcSwap<Routes>,
    /// Somebody met the wrong server.
    routes_wanted: Notify,
    metrics: Arc<Metrics>,
    has_complained: AtomicBool,
}

impl Redis {
    /// Errors: the URL is none; without the password.
    pub fn new(url: &str, prefix: &str, timeout: Duration, metrics: Arc<Metrics>) -> Result<Self, String> {
        let target = Target::parse(url)?;
        let is_cluster = matches!(target, Target::Cluster(_));
        let routes = if is_cluster { Routes::default() } else { Routes::one(Node::new(&target.describe())) };
        let shared = Shared {
            names: Names::new(prefix, target.database()),
            target,
            is_cluster,
            timeout,
            interests: Interests::default(),
            own: Own::default(),
            id: format!("{:016x}", random()).into(),
            floors: quick_cache::sync::Cache::new(FLOORS_MAX),
            flight: Flight::default(),
            subscribing: AtomicUsize::new(0),
            routes: ArcSwap::from_pointee(routes),
            routes_wanted: Notify::new(),
            metrics,
            has_complained: AtomicBool::new(false),
        };
        shared.interests.bound(usize::MAX);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps the connections, for ever; on a thread that nothing blocks, in a [`LocalSet`](tokio::task::LocalSet).
    pub(super) async fn run_for_ever(&self) {
        slots::keep(Arc::clone(&self.shared)).await;
        std::future::pending().await
    }

    /// The members of this process leave, as far as Redis is there.
    pub(super) async fn end(&self) {
        let leave = async {
            for channel in self.shared.own.take_all() {
                // Who can't be told finds out when this process is silent for long enough.
                let _ = self.shared.ask_presence(&channel, |shared| shared.presence("mine", &channel)).await;
            }
        };
        let _ = timeout(LAST_LEAVES, leave).await;
    }

    pub(super) fn servers(&self) -> Vec<Server> {
        self.shared.routes.load().nodes.iter().map(|node| node.health()).collect()
    }

    pub(super) fn bound(&self, channels_max: usize) {
        self.shared.interests.bound(channels_max);
    }

    pub(super) async fn publish(
        &self,
        channel: &Name,
        rules: &Rules,
        message: Message,
        key: Option<&str>,
    ) -> Result<Receipt, Refused> {
        let shared = &self.shared;
        let body = encode::message(&message);
        let (answer, run) = shared
            .ask(channel, |run| {
                shared
                    .stream("publish", channel, run, life(rules))
                    .with(&*body)
                    .with(rules.history.to_string())
                    .with(millis(rules.ttl))
                    .with(key.unwrap_or_default())
                    .with(millis(rules.repeat))
                    .with(KEYS_MAX.to_string())
            })
            .await?;
        let (position, mut rest) = script::position(answer).ok_or_else(|| shared.not_an_answer(channel))?;
        let (Some(Value::Int(is_repeat)), Some(Value::Int(heard))) = (rest.next(), rest.next()) else {
            return Err(shared.not_an_answer(channel));
        };
        shared.floors.insert(Arc::clone(channel), Known { position, run });
        let (subscribers, is_heard) = shared.interests.subscribers(channel);
        let others = usize::try_from(heard).unwrap_or(0).saturating_sub(usize::from(is_heard));
        Ok(Receipt { position, subscribers: subscribers + others, is_repeat: is_repeat == 1 })
    }

    pub(super) async fn subscribe(
        &self,
        channel: &Name,
        rules: &Rules,
        inbox: &Arc<Inbox>,
        look: Look,
    ) -> Result<Past, Refused> {
        let shared = &self.shared;
        let node = shared.node(channel).filter(|node| node.session().is_some()).ok_or(Refused::Away)?;
        let waiting = shared.interests.hold(channel, &node, inbox)?;
        let held = Held { shared, channel, inbox, is_kept: false };
        if let Some(waiting) = waiting {
            let _place = Subscribing::begin(shared).ok_or(Refused::Away)?;
            match timeout(shared.timeout, waiting).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(Refused::Away),
            }
        }
        let (past, run) = shared.look("read", channel, rules, look).await?;
        shared.interests.begin(channel, past.end, &run);
        held.keep();
        Ok(past)
    }

    pub(super) fn unsubscribe(&self, channel: &Name, inbox: &Arc<Inbox>) {
        self.shared.interests.release(channel, inbox);
    }

    pub(super) async fn read(&self, channel: &Name, rules: &Rules, look: Look) -> Result<Past, Refused> {
        self.shared.look("look", channel, rules, look).await.map(|(past, _)| past)
    }

    pub(super) async fn reset(&self, channel: &Name) -> Result<Position, Refused> {
        let shared = &self.shared;
        let (answer, _) = shared.ask(channel, |run| shared.stream("reset", channel, run, LINGER)).await?;
        script::position(answer).map(|(position, _)| position).ok_or_else(|| shared.not_an_answer(channel))
    }

    pub(super) async fn enter(&self, channel: &Name, member: Member, announce: bool) -> Result<(), Refused> {
        let shared = &self.shared;
        let encoded = encode::member(&member, announce);
        shared.own.enter(channel, &member.id, encoded.clone());
        let mut entering = Entering { shared, channel, id: &member.id, outcome: Some(Failure::Unknown) };
        let call = |shared: &Shared| shared.presence("enter", channel).with(member.id.as_bytes()).with(&*encoded);
        let asked = shared.ask_presence(channel, call).await;
        entering.outcome = asked.as_ref().err().copied();
        asked.map(drop).map_err(Refused::from)
    }

    pub(super) fn leave(&self, channel: &Name, id: &str) {
        self.shared.own.leave(channel, id);
        if let Some(node) = self.shared.node(channel) {
            node.work.notify_one();
        }
    }

    pub(super) async fn present(&self, channel: &Name) -> Result<Vec<Member>, Refused> {
        let call = |shared: &Shared| shared.presence("present", channel).with(PRESENT_MAX.to_string());
        let answer = self.shared.ask_presence(channel, call).await?;
        let Value::Array(values) = answer else { return Err(self.shared.not_an_answer(channel)) };
        let read = |value| script::bytes(value).as_deref().and_then(encode::read_member);
        let mut members: Vec<Member> = values.into_iter().filter_map(read).collect();
        members.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
        Ok(members)
    }

    pub(super) fn channels(&self, most: usize) -> (Vec<Summary>, usize) {
        self.shared.interests.summaries(most)
    }
}

impl Shared {
    fn counts(&self) -> &BrokerCounts {
        &self.metrics.broker
    }

    /// Who has a channel.
    fn node(&self, channel: &str) -> Option<Arc<Node>> {
        let routes = self.routes.load();
        let slot = if self.is_cluster { self.names.place(channel).slot } else { 0 };
        routes.node(slot).map(Arc::clone)
    }

    fn word(&self) -> &'static str {
        if self.is_cluster { "SPUBLISH" } else { "PUBLISH" }
    }

    /// What asks the script on streams; it learns what is known of the channel.
    fn stream(&self, op: &str, channel: &str, run: &str, life: Duration) -> Call {
        let (told, floor) = (self.interests.told(channel), self.floors.get(channel));
        let known = match (told, floor) {
            (Some(told), Some(floor))
                if told.position.epoch == floor.position.epoch && told.position.offset < floor.position.offset =>
            {
                Some(floor)
            }
            (Some(told), _) => Some(told),
            (None, floor) => floor,
        };
        let place = self.names.place(channel);
        Call::channel(op, self.word(), &place, run, Epoch::new(random()), life, known.as_ref())
    }

    /// What asks where a channel is.
    fn check(&self, channel: &str, run: &str) -> Call {
        self.stream("check", channel, run, LINGER)
    }

    fn presence(&self, op: &str, channel: &str) -> Call {
        Call::presence(op, self.word(), &self.names.place(channel), &self.id, LIFE)
    }

    async fn ask_presence(&self, channel: &str, call: impl Fn(&Self) -> Call) -> Result<Value, Failure> {
        self.ask(channel, |_| call(self)).await.map(|(answer, _)| answer)
    }

    /// Asks the server that has the channel, with what is right for its run; the answer, and the run.
    async fn ask(&self, channel: &str, call: impl Fn(&str) -> Call) -> Result<(Value, Arc<str>), Failure> {
        let asked = self.try_ask(channel, call).await;
        match &asked {
            Ok(_) => self.counts().done.inc(),
            Err(Failure::Unknown) => self.counts().unknown.inc(),
            Err(Failure::Away | Failure::Moved) => self.counts().away.inc(),
        };
        asked
    }

    async fn try_ask(&self, channel: &str, call: impl Fn(&str) -> Call) -> Result<(Value, Arc<str>), Failure> {
        for _ in 0..MOVES_MAX {
            let node = self.node(channel).ok_or(Failure::Away)?;
            let session = node.session().ok_or(Failure::Away)?;
            let asked = session.ask(&call(&session.run), self.timeout, &self.flight, self.counts()).await;
            match asked {
                Err(Failure::Moved) => {
                    // Nothing was done; who has the slot now is known soon.
                    self.routes_wanted.notify_one();
                    tokio::time::sleep(self.timeout.min(Duration::from_millis(300))).await;
                }
                asked => return asked.map(|answer| (answer, Arc::clone(&session.run))),
            }
        }
        Err(Failure::Away)
    }

    /// Looks back in as many answers as it takes: each has so many bytes only.
    async fn look(&self, op: &str, channel: &Name, rules: &Rules, look: Look) -> Result<(Past, Arc<str>), Refused> {
        let (mut past, run) = self.look_once(op, channel, rules, look).await?;
        let Look::Since(from, most) = look else { return Ok((past, run)) };
        while !past.is_lost && past.items.len() < most {
            let last = past.items.last().map_or(from, |item| item.position);
            if last.offset >= past.end.offset {
                break;
            }
            let (more, _) = self.look_once(op, channel, rules, Look::Since(last, most - past.items.len())).await?;
            past.end = more.end;
            if more.is_lost {
                past.is_lost = true;
                past.items.clear();
            }
            past.items.extend(more.items);
        }
        Ok((past, run))
    }

    async fn look_once(&self, op: &str, channel: &Name, rules: &Rules, look: Look) -> Result<(Past, Arc<str>), Refused> {
        let asked = self.ask(channel, |run| {
            let call = self.stream(op, channel, run, life(rules));
            let (call, count) = match look {
                Look::Since(Position { epoch, offset }, most) => {
                    (call.with("since").with(epoch.to_string()).with(offset.to_string()), most)
                }
                Look::Latest(count) => (call.with("latest").with("").with(""), count),
            };
            call.with(count.min(rules.history).to_string()).with(READ_MAX.to_string())
        });
        let (answer, run) = asked.await?;
        let past = past(answer, rules, look, now()).ok_or_else(|| self.not_an_answer(channel))?;
        Ok((past, run))
    }

    /// Says once that Redis has something that is not of this rsp.
    fn not_understood(&self, channel: &str) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            let name = channel.escape_debug();
            tracing::warn!("redis {}: what stands in channel {name} is not of this rsp", self.target.describe());
        }
    }

    fn not_an_answer(&self, channel: &str) -> Refused {
        self.not_understood(channel);
        Refused::Unknown
    }
}

/// How long Redis remembers a channel that nobody uses.
fn life(rules: &Rules) -> Duration {
    let kept = if rules.history > 0 { rules.ttl } else { Duration::ZERO };
    kept.max(rules.repeat).saturating_add(LINGER)
}

/// What an answer says of the past. Too old messages are as if they were not there.
fn past(answer: Value, rules: &Rules, look: Look, now: Duration) -> Option<Past> {
    let (end, mut rest) = script::position(answer)?;
    let Value::Array(found) = rest.next()? else { return None };
    let mut items = Vec::with_capacity(found.len() / 2);
    let mut found = found.into_iter();
    while let (Some(id), Some(body)) = (found.next(), found.next()) {
        let id = String::from_utf8(script::bytes(id)?).ok()?;
        let offset = id.strip_suffix("-0")?.parse().ok()?;
        let message = encode::read_message(&script::bytes(body)?);
        items.push((offset, message.filter(|message| message.time + rules.ttl > now)));
    }
    let item = |(offset, message): (u64, Option<Message>)| {
        Some(Item { position: Position { offset, ..end }, message: Arc::new(message?) })
    };
    match look {
        Look::Latest(_) => {
            // From the end on, as long as there is no gap.
            let whole = items.into_iter().zip(0..).take_while(|((offset, _), back)| offset + back == end.offset);
            let mut items: Vec<_> = whole.map_while(|(found, _)| item(found)).collect();
            items.reverse();
            Some(Past { end, items, is_lost: false })
        }
        Look::Since(position, most) => {
            let is_known = position.epoch == end.epoch && position.offset <= end.offset;
            let count = items.len();
            let whole = items.into_iter().zip(position.offset + 1..).take_while(|((offset, _), next)| offset == next);
            let items: Vec<_> = whole.map_while(|(found, _)| item(found)).collect();
            let is_missing = items.len() < count || (items.is_empty() && most > 0 && position.offset < end.offset);
            let is_lost = !is_known || is_missing;
            Some(Past { end, items: if is_lost { Vec::new() } else { items }, is_lost })
        }
    }
}

/// A subscriber that is taken back unless it is kept; its future may be dropped at any time.
struct Held<'a> {
    shared: &'a Shared,
    channel: &'a Name,
    inbox: &'a Arc<Inbox>,
    is_kept: bool,
}

impl Held<'_> {
    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.shared.interests.release(self.channel, self.inbox);
        }
    }
}

/// A place among those that wait for a channel to be heard.
struct Subscribing<'a>(&'a Shared);

impl<'a> Subscribing<'a> {
    fn begin(shared: &'a Shared) -> Option<Self> {
        let before = shared.subscribing.fetch_add(1, Ordering::Relaxed);
        let place = Self(shared);
        (before < SUBSCRIBING_MAX).then_some(place)
    }
}

impl Drop for Subscribing<'_> {
    fn drop(&mut self) {
        self.0.subscribing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Somebody who comes; if Redis did not say yes, it is as if nobody had come.
struct Entering<'a> {
    shared: &'a Shared,
    channel: &'a Name,
    id: &'a str,
    /// None: it was done.
    outcome: Option<Failure>,
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if let Some(failure) = self.outcome {
            self.shared.own.withdraw(self.channel, self.id, failure == Failure::Unknown);
        }
    }
}
