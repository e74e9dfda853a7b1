//! What carries channels: their streams, who is present, and the word to every worker that has subscribers.
//!
//! **Invariant:** a worker that subscribed hears of every message of an epoch in order, or that it has to look what it
//! missed ([`What::Behind`]).
//! **Invariant:** what was acknowledged as published is in the stream, once; whether something was published that could
//! not be acknowledged is never guessed ([`Refused::Unknown`]).

mod inbox;
mod memory;

pub use inbox::{Inbox, Notice, What};

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rsp_core::channel::{Item, Member, Message, Position, Rules};

use self::memory::Memory;

/// A channel's name.
pub type Name = Arc<str>;

/// The channels of the process.
pub enum Broker {
    /// Within this process.
    Memory(Memory),
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
    /// Messages kept.
    pub kept: usize,
}

impl Broker {
    /// One within this process.
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// How many channels there may be.
    pub fn bound(&self, channels_max: usize) {
        match self {
            Self::Memory(memory) => memory.bound(channels_max),
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
        }
    }

    /// One subscriber less.
    pub fn unsubscribe(&self, channel: &Name, inbox: &Arc<Inbox>) {
        match self {
            Self::Memory(memory) => memory.unsubscribe(channel, inbox),
        }
    }

    /// Looks back. A channel that is not there has an empty past, and an `end` that nobody can resume from.
    pub async fn read(&self, channel: &Name, rules: &Rules, look: Look) -> Result<Past, Refused> {
        match self {
            Self::Memory(memory) => Ok(memory.read(channel, rules, look)),
        }
    }

    /// Drops a channel's history and begins a new epoch; every subscriber is told.
    pub async fn reset(&self, channel: &Name) -> Result<Position, Refused> {
        match self {
            Self::Memory(memory) => memory.reset(channel),
        }
    }

    /// Somebody is present from now on; the others are told if `announce`.
    pub async fn enter(&self, channel: &Name, member: Member, announce: bool) -> Result<(), Refused> {
        match self {
            Self::Memory(memory) => memory.enter(channel, member, announce),
        }
    }

    /// Somebody has left; the others are told if `announce`.
    pub fn leave(&self, channel: &Name, id: &str, announce: bool) {
        match self {
            Self::Memory(memory) => memory.leave(channel, id, announce),
        }
    }

    /// Who is present, the longest present first.
    pub async fn present(&self, channel: &Name) -> Result<Vec<Member>, Refused> {
        match self {
            Self::Memory(memory) => Ok(memory.present(channel)),
        }
    }

    /// Channels that this process knows and whose names begin so: the first `most` by name, and how many there are.
    pub fn channels(&self, prefix: &str, most: usize) -> (Vec<Summary>, usize) {
        match self {
            Self::Memory(memory) => memory.channels(prefix, most),
        }
    }

    /// How many channels this process knows.
    pub fn count(&self) -> usize {
        match self {
            Self::Memory(memory) => memory.count(),
        }
    }

    /// Forgets, for ever, what nobody would miss.
    pub async fn sweep_for_ever(&self) {
        match self {
            Self::Memory(memory) => memory.sweep_for_ever().await,
        }
    }
}

/// Since the Unix epoch.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
