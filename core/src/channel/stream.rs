//! The stream: messages that were published, of which the latest are kept.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{Epoch, Position, keys::Keys};

/// What bounds a channel; the same for every call.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Messages kept.
    pub history: usize,
    /// How long a message is kept.
    pub ttl: Duration,
    /// How long a publication can be repeated under its key.
    pub repeat: Duration,
}

/// One message, shared by everybody it goes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// As it was published.
    pub data: Box<[u8]>,
    /// Whether it is UTF-8 and was sent as text.
    pub is_text: bool,
    /// When it was published, since the Unix epoch.
    pub time: Duration,
    /// Who published it, if that is known.
    pub by: Option<Arc<Who>>,
}

/// What is known of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    /// Its user.
    pub user: Option<Arc<str>>,
    /// More of it, in JSON.
    pub info: Option<Arc<str>>,
}

/// A message and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its position.
    pub position: Position,
    /// The message.
    pub message: Arc<Message>,
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The message's position, or that of the first time.
    pub position: Position,
    /// Whether it had been published before; then there is nothing to deliver.
    pub is_repeat: bool,
}

/// What a subscriber gets that comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// What comes after its position; nothing is missing in between.
    Kept(Vec<Item>),
    /// Something is missing; it goes on from here.
    Lost(Position),
}

/// A channel's stream.
#[derive(Debug)]
pub struct Channel {
    epoch: Epoch,
    /// Offset of the last message; 0: none yet.
    last: u64,
    /// The latest messages, the last one at the end. What isn't kept is not here.
    kept: VecDeque<Arc<Message>>,
    /// None: nobody gave a key.
    keys: Option<Box<Keys>>,
}

impl Channel {
    /// An empty one.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, last: 0, kept: VecDeque::new(), keys: None }
    }

    /// Where the stream ends.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// Adds a message at its time, unless one was published under this key not long ago.
    pub fn publish(&mut self, rules: &Rules, message: Arc<Message>, key: Option<&str>) -> Published {
        let now = message.time;
        self.expire(rules, now);
        if let Some(offset) = key.and_then(|key| self.keys.as_ref()?.find(key)) {
            return Published { position: Position { epoch: self.epoch, offset }, is_repeat: true };
        }
        self.last += 1;
        if let Some(key) = key {
            self.keys.get_or_insert_default().insert(key, self.last, now + rules.repeat);
        }
        if rules.history > 0 {
            self.kept.push_back(message);
            self.expire(rules, now);
        }
        Published { position: self.position(), is_repeat: false }
    }

    /// What comes after a position, `most` messages at most, if everything after it is here.
    pub fn since(&mut self, rules: &Rules, now: Duration, position: Position, most: usize) -> Resumed {
        self.expire(rules, now);
        let missing = self.last.checked_sub(position.offset).and_then(|missing| usize::try_from(missing).ok());
        match missing {
            Some(missing) if position.epoch == self.epoch && missing <= self.kept.len() => {
                Resumed::Kept(self.tail(missing, most))
            }
            _ => Resumed::Lost(self.position()),
        }
    }

    /// The latest messages, `count` at most, in order.
    pub fn latest(&mut self, rules: &Rules, now: Duration, count: usize) -> Vec<Item> {
        self.expire(rules, now);
        let count = count.min(self.kept.len());
        self.tail(count, count)
    }

    /// How many messages are kept, those that are too old and not yet swept among them.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Forgets everything; whoever follows is told that something is lost.
    pub fn reset(&mut self, epoch: Epoch) {
        *self = Self::new(epoch);
    }

    /// Whether there is nothing to remember, so that nobody would notice if it went: what a position before it would
    /// miss is gone already.
    pub fn is_forgettable(&mut self, rules: &Rules, now: Duration) -> bool {
        self.expire(rules, now);
        self.kept.is_empty() && self.keys.is_none()
    }

    /// The first `most` of the latest `count` messages.
    fn tail(&self, count: usize, most: usize) -> Vec<Item> {
        let first = self.last - count as u64;
        let latest = self.kept.range(self.kept.len() - count..).take(most);
        let items = latest.zip(first + 1..).map(|(message, offset)| Item {
            position: Position { epoch: self.epoch, offset },
            message: Arc::clone(message),
        });
        items.collect()
    }

    fn expire(&mut self, rules: &Rules, now: Duration) {
        while self.kept.len() > rules.history || self.kept.front().is_some_and(|oldest| oldest.time + rules.ttl <= now)
        {
            self.kept.pop_front();
        }
        if self.keys.as_mut().is_some_and(|keys| keys.expire(now)) {
            self.keys = None;
        }
    }
}
