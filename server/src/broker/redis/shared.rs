//! What workers and links share, and how a server is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use redis::Value;
use rsp_core::channel::{Epoch, Position, Rules};
use tokio::sync::Notify;

use super::{
    address::Target,
    flight::Flight,
    interests::{Interests, Known},
    names::Names,
    node::{Failure, Node},
    own::{LIFE, Own},
    past::past,
    script::Call,
    slots::Routes,
};
use crate::{
    broker::{Look, Name, Past, Refused, now, random},
    observe::{BrokerCounts, Metrics},
};

/// Channels whose positions are remembered because this process published to them.
const FLOORS_MAX: usize = 16_384;

/// Bytes of messages in one answer, and one message more.
const READ_MAX: usize = 4 << 20;

/// How long a channel is remembered after its last message is forgotten; its subscribers ask every 40 s.
pub const LINGER: Duration = Duration::from_secs(120);

/// How often a command that met the wrong server of a cluster is sent to another one.
const MOVES_MAX: usize = 4;

/// The longest wait until it is known who has a slot now.
const MOVE: Duration = Duration::from_millis(300);

/// What workers and links share.
pub struct Shared {
    /// Where Redis is.
    pub target: Target,
    /// Whether it is a cluster.
    pub is_cluster: bool,
    /// What channels are called there.
    pub names: Names,
    /// For one answer.
    pub timeout: Duration,
    /// What is listened to.
    pub interests: Interests,
    /// Who is present through this process.
    pub own: Own,
    /// Names this process among those that have members.
    pub id: Box<str>,
    /// Where channels were that this process published to.
    floors: quick_cache::sync::Cache<Name, Known>,
    /// What waits for answers.
    pub flight: Flight,
    /// How many wait for a channel to be heard.
    pub subscribing: AtomicUsize,
    /// Which server has what.
    pub routes: ArcSwap<Routes>,
    /// Somebody met the wrong server.
    pub routes_wanted: Notify,
    metrics: Arc<Metrics>,
    has_complained: AtomicBool,
}

impl Shared {
    /// Of a Redis to which nobody is connected yet.
    pub fn new(target: Target, prefix: &str, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        let is_cluster = matches!(target, Target::Cluster(_));
        let routes = if is_cluster { Routes::default() } else { Routes::one(Node::new(&target.describe())) };
        Self {
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
        }
    }

    /// What is counted.
    pub fn counts(&self) -> &BrokerCounts {
        &self.metrics.broker
    }

    /// Who has a channel.
    pub fn node(&self, channel: &str) -> Option<Arc<Node>> {
        let routes = self.routes.load();
        let slot = if self.is_cluster { self.names.place(channel).slot } else { 0 };
        routes.node(slot).map(Arc::clone)
    }

    fn word(&self) -> &'static str {
        if self.is_cluster { "SPUBLISH" } else { "PUBLISH" }
    }

    /// What asks the script on streams; it learns what is known of the channel.
    pub fn stream(&self, op: &str, channel: &str, run: &str, life: Duration) -> Call {
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
        let fresh = Epoch::begin(now(), random(), known.as_ref().map(|known| known.position.epoch));
        Call::channel(op, self.word(), &place, run, fresh, life, known.as_ref())
    }

    /// What asks where a channel is.
    pub fn check(&self, channel: &str, run: &str) -> Call {
        self.stream("check", channel, run, LINGER)
    }

    /// What asks the script on presence, of this process.
    pub fn presence(&self, op: &str, channel: &str) -> Call {
        Call::presence(op, self.word(), &self.names.place(channel), &self.id, LIFE)
    }

    /// Asks the script on presence.
    pub async fn ask_presence(&self, channel: &str, call: impl Fn(&Self) -> Call) -> Result<Value, Failure> {
        self.ask(channel, |_| call(self)).await.map(|(answer, _)| answer)
    }

    /// Asks the server that has the channel, with what is right for its run; the answer, and the run.
    pub async fn ask(&self, channel: &str, call: impl Fn(&str) -> Call) -> Result<(Value, Arc<str>), Failure> {
        let asked = self.try_ask(channel, call).await;
        match &asked {
            Ok(_) => self.counts().done.inc(),
            Err(Failure::Unknown) => self.counts().unknown.inc(),
            Err(Failure::Away | Failure::Moved) => self.counts().away.inc(),
        };
        asked
    }

    /// A publication was taken here.
    pub fn published(&self, channel: &Name, known: Known) {
        self.floors.insert(Arc::clone(channel), known);
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
                    tokio::time::sleep(self.timeout.min(MOVE)).await;
                }
                asked => return asked.map(|answer| (answer, Arc::clone(&session.run))),
            }
        }
        Err(Failure::Away)
    }

    /// Looks back in as many answers as it takes: each has so many bytes only.
    pub async fn look(&self, op: &str, channel: &Name, rules: &Rules, look: Look) -> Result<(Past, Arc<str>), Refused> {
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

    async fn look_once(
        &self,
        op: &str,
        channel: &Name,
        rules: &Rules,
        look: Look,
    ) -> Result<(Past, Arc<str>), Refused> {
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
    pub fn not_understood(&self, channel: &str) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            let name = channel.escape_debug();
            tracing::warn!("redis {}: what stands in channel {name} is not of this rsp", self.target.describe());
        }
    }

    /// Says so, and that nothing is known.
    pub fn not_an_answer(&self, channel: &str) -> Refused {
        self.not_understood(channel);
        Refused::Unknown
    }
}

/// How long Redis remembers a channel that nobody uses.
pub fn life(rules: &Rules) -> Duration {
    let kept = if rules.history > 0 { rules.ttl } else { Duration::ZERO };
    kept.max(rules.repeat).saturating_add(LINGER)
}
