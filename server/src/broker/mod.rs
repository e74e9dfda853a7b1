//! What carries channels: their streams, who is present, and the word to every worker that has subscribers.
//!
//! **Invariant:** a worker that subscribed hears of every message of an epoch in order, or that it has to look what it
//! missed ([`What::Behind`]).
//! **Invariant:** what was acknowledged as published is in the stream, once; whether something was published that could
//! not be acknowledged is never guessed ([`Refused::Unknown`]).

mod inbox;
mod memory;
mod redis;

pub use inbox::{Inbox, Notice, What};

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rsp_core::{
    channel::{Item, Member, Message, Position, Rules},
    config::{self, Config},
};

use self::{memory::Memory, redis::Redis};
use crate::observe::Metrics;

/// A channel's name.
pub type Name = Arc<str>;

/// The channels of the process.
pub enum Broker {
    /// Within this process.
    Memory(Memory),
    /// At a Redis that other processes use, too.
    Redis(Box<Redis>),
}

/// A server that a broker is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Without user and password.
    pub address: Box<str>,
    /// Whether it can be reached.
    pub is_up: bool,
    /// Since when.
    pub since: SystemTime,
    /// Why it could not be reached, the last time.
    pub last_error: Option<String>,
}

/// A publication that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Where the message stands.
    pub position: Position,
    /// Who was listening: the subscribers of this process, and one for each other process that has some.
    pub subscribers: usize,
    /// Whether it had been published under its key before.
    pub is_repeat: bool,
}

/// A look back into a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Where the stream ends.
    pub end: Position,
    /// What was asked for, in order.
    pub items: Vec<Item>,
    /// Whether something after the position that was asked about is gone; then there are no items.
    pub is_lost: bool,
}

/// What part of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What comes after a position, this many messages at most.
    Since(Position, usize),
    /// The latest messages.
    Latest(usize),
}

/// Why a broker did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are as many channels as `limits.channels` allows.
    Full,
    /// It can't be reached; nothing was done.
    Away,
    /// It was asked, and did not answer: it may have been done.
    Unknown,
}

impl Refused {
    /// For a person.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Full => "there are as many channels as may be",
            Self::Away => "the broker is away; nothing was published",
            Self::Unknown => "the broker did not answer; it may have been published",
        }
    }
}

/// A channel as the admin API lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: Name,
    /// Where its stream ends.
    pub position: Position,
    /// Subscribers of this process.
    pub subscribers: usize,
    /// Messages kept in this process; 0 where they are kept elsewhere.
    pub kept: usize,
}

impl Broker {
    /// One within this process.
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// One at a Redis. Errors: what is wrong with the URL, without a password in it.
    pub fn redis(url: &str, prefix: &str, timeout: Duration, metrics: Arc<Metrics>) -> Result<Self, String> {
        Ok(Self::Redis(Box::new(Redis::new(url, prefix, timeout, metrics)?)))
    }

    /// Keeps what it needs, for ever: connections, on a thread where tasks are local and nothing blocks. What is within
    /// this process needs nothing.
    pub async fn run_for_ever(&self) {
        match self {
            Self::Memory(_) => std::future::pending().await,
            Self::Redis(redis) => redis.run_for_ever().await,
        }
    }

    /// One word for what it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }

    /// The servers that it is at.
    pub fn servers(&self) -> Vec<Server> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Redis(redis) => redis.servers(),
        }
    }

    /// This process is gone soon: its members leave.
    pub async fn end(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(redis) => redis.end().await,
        }
    }

    /// How many channels there may be.
    pub fn bound(&self, channels_max: usize) {
        match self {
            Self::Memory(memory) => memory.bound(channels_max),
            Self::Redis(redis) => redis.bound(channels_max),
        }
    }

    /// Adds a message to a channel's stream and tells everybody who subscribed; under a key only once.
    pub async fn publish(
        &self,
        channel: &Name,
        rules: &Rules,
        message: Message,
        key: Option<&str>,
    ) -> Result<Receipt, Refused> {
        match self {
            Self::Memory(memory) => memory.publish(channel, rules, message, key),
            Self::Redis(redis) => Box::pin(redis.publish(channel, rules, message, key)).await,
        }
    }

    /// Lets a worker hear of a channel, and looks back. The worker hears of everything after the `end` that is returned.
    /// Each call is one subscriber more, and is taken back with [`unsubscribe`](Self::unsubscribe).
    pub async fn subscribe(
        &self,
        channel: &Name,
        rules: &Rules,
        inbox: &Arc<Inbox>,
        look: Look,
    ) -> Result<Past, Refused> {
        match self {
            Self::Memory(memory) => memory.subscribe(channel, rules, inbox, look),
            Self::Redis(redis) => Box::pin(redis.subscribe(channel, rules, inbox, look)).await,
        }
    }

    /// One subscriber less.
    pub fn unsubscribe(&self, channel: &Name, inbox: &Arc<Inbox>) {
        match self {
            Self::Memory(memory) => memory.unsubscribe(channel, inbox),
            Self::Redis(redis) => redis.unsubscribe(channel, inbox),
        }
    }

    /// Looks back. A channel that is not there begins, so that its `end` can be followed.
    pub async fn read(&self, channel: &Name, rules: &Rules, look: Look) -> Result<Past, Refused> {
        match self {
            Self::Memory(memory) => memory.read(channel, rules, look),
            Self::Redis(redis) => Box::pin(redis.read(channel, rules, look)).await,
        }
    }

    /// Drops a channel's history and begins a new epoch; every subscriber is told.
    pub async fn reset(&self, channel: &Name) -> Result<Position, Refused> {
        match self {
            Self::Memory(memory) => memory.reset(channel),
            Self::Redis(redis) => Box::pin(redis.reset(channel)).await,
        }
    }

    /// Somebody is present from now on; the others are told if `announce`.
    pub async fn enter(&self, channel: &Name, member: Member, announce: bool) -> Result<(), Refused> {
        match self {
            Self::Memory(memory) => memory.enter(channel, member, announce),
            Self::Redis(redis) => Box::pin(redis.enter(channel, member, announce)).await,
        }
    }

    /// Somebody has left; the others are told if `announce`.
    pub fn leave(&self, channel: &Name, id: &str, announce: bool) {
        match self {
            Self::Memory(memory) => memory.leave(channel, id, announce),
            // Whether others are told was said when it came.
            Self::Redis(redis) => redis.leave(channel, id),
        }
    }

    /// Who is present, the longest present first.
    pub async fn present(&self, channel: &Name) -> Result<Vec<Member>, Refused> {
        match self {
            Self::Memory(memory) => Ok(memory.present(channel)),
            Self::Redis(redis) => Box::pin(redis.present(channel)).await,
        }
    }

    /// Channels that this process knows and whose names begin so: the first `most` by name, and how many there are.
    pub fn channels(&self, prefix: &str, most: usize) -> (Vec<Summary>, usize) {
        match self {
            Self::Memory(memory) => memory.channels(prefix, most),
            Self::Redis(redis) => redis.channels(prefix, most),
        }
    }

    /// What a name stands for, for who knows no more than that: the declared channel, or one of the least rules. A channel
    /// that only a function made goes on by its own, as far as this process keeps them.
    pub fn spec(&self, config: &Config, channel: &str) -> Arc<config::Channel> {
        if let Some(declared) = config.channel(channel) {
            return Arc::clone(declared);
        }
        let mut least = config::Channel::undeclared(channel);
        if let Self::Memory(memory) = self
            && let Some(rules) = memory.rules(channel)
        {
            least.rules = rules;
        }
        Arc::new(least)
    }

    /// How many channels this process knows.
    pub fn count(&self) -> usize {
        match self {
            Self::Memory(memory) => memory.count(),
            Self::Redis(redis) => redis.count(),
        }
    }

    /// Forgets, for ever, what nobody would miss.
    pub async fn sweep_for_ever(&self) {
        match self {
            Self::Memory(memory) => memory.sweep_for_ever().await,
            // Redis forgets by itself.
            Self::Redis(_) => std::future::pending().await,
        }
    }
}

/// Since the Unix epoch.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Bits that nobody can guess, so that no position of another life of a channel fits its epoch.
fn random() -> u64 {
    let mut random = [0; 8];
    // Without random bytes the time still tells two epochs apart.
    match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => u64::from_ne_bytes(random),
        Err(_) => now().as_nanos() as u64,
    }
}
