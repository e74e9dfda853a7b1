//! Channels of this process only, in shards: two workers meet on a lock only if they use channels of one shard at once.

use std::{
    collections::BTreeMap,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::{HashMap, HashMapExt, fast::RandomState};
use rsp_core::channel::{Channel, Epoch, Member, Message, Position, Presence, Resumed, Rules};
use smallvec::SmallVec;

use super::{Inbox, Look, Name, Notice, Past, Receipt, Refused, Summary, What, now, random};

/// Few workers meet in so many; a shard is swept in one go.
const SHARDS: usize = 256;

/// The time in which each shard is swept once.
const SWEEP: Duration = Duration::from_secs(10);

/// How long an empty channel keeps its epoch: a subscriber that comes back in this time is told that it missed nothing.
const LINGER: Duration = Duration::from_secs(60);

/// The channels of this process.
pub struct Memory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    channels: AtomicUsize,
    channels_max: AtomicUsize,
}

type Shard = HashMap<Name, Entry>;

/// One channel.
struct Entry {
    stream: Channel,
    /// Of its last use; what is swept goes by them.
    rules: Rules,
    /// The inboxes of the workers that have subscribers, and how many.
    listeners: SmallVec<[(Arc<Inbox>, usize); 1]>,
    presence: Option<Box<Presence>>,
    /// When it was used last, in seconds since the Unix epoch.
    used: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            hasher: RandomState::default(),
            channels: AtomicUsize::new(0),
            channels_max: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Memory {
    pub(super) fn bound(&self, channels_max: usize) {
        self.channels_max.store(channels_max, Ordering::Relaxed);
    }

    pub(super) fn publish(
        &self,
        channel: &Name,
        rules: &Rules,
        message: Message,
        key: Option<&str>,
    ) -> Result<Receipt, Refused> {
        let message = Arc::new(message);
        self.with(channel, rules, |entry| {
            let published = entry.stream.publish(rules, Arc::clone(&message), key);
            if !published.is_repeat {
                let item = rsp_core::channel::Item { position: published.position, message };
                entry.tell(channel, What::Item(item));
            }
            let subscribers = entry.subscribers();
            Receipt { position: published.position, subscribers, is_repeat: published.is_repeat }
        })
    }

    pub(super) fn subscribe(
        &self,
        channel: &Name,
        rules: &Rules,
        inbox: &Arc<Inbox>,
        look: Look,
    ) -> Result<Past, Refused> {
        self.with(channel, rules, |entry| {
            match entry.listeners.iter_mut().find(|(known, _)| Arc::ptr_eq(known, inbox)) {
                Some((_, subscribers)) => *subscribers += 1,
                None => entry.listeners.push((Arc::clone(inbox), 1)),
            }
            entry.look(rules, look)
        })
    }

    pub(super) fn unsubscribe(&self, channel: &Name, inbox: &Arc<Inbox>) {
        self.with_known(channel, |entry| {
            if let Some(index) = entry.listeners.iter().position(|(known, _)| Arc::ptr_eq(known, inbox)) {
                entry.listeners[index].1 -= 1;
                if entry.listeners[index].1 == 0 {
                    entry.listeners.swap_remove(index);
                }
            }
        });
    }

    /// Begins a channel that is not there, as its position must be one that can be followed.
    pub(super) fn read(&self, channel: &Name, rules: &Rules, look: Look) -> Result<Past, Refused> {
        self.with(channel, rules, |entry| entry.look(rules, look))
    }

    pub(super) fn reset(&self, channel: &Name) -> Result<Position, Refused> {
        // A channel that is not there begins with its first use.
        let mut fresh = Position { epoch: epoch(None), offset: 0 };
        self.with_known(channel, |entry| {
            fresh.epoch = epoch(Some(entry.stream.position().epoch));
            entry.stream.reset(fresh.epoch);
            entry.tell(channel, What::Reset(fresh));
        });
        Ok(fresh)
    }

    pub(super) fn enter(&self, channel: &Name, member: Member, announce: bool) -> Result<(), Refused> {
        self.with_known(channel, |entry| {
            let is_new = entry.presence.get_or_insert_default().join(member.clone());
            if is_new && announce {
                entry.tell(channel, What::Join(Arc::new(member)));
            }
        });
        Ok(())
    }

    pub(super) fn leave(&self, channel: &Name, id: &str, announce: bool) {
        self.with_known(channel, |entry| {
            let Some(presence) = &mut entry.presence else { return };
            let left = presence.leave(id);
            if presence.count() == 0 {
                entry.presence = None;
            }
            if let Some(member) = left.filter(|_| announce) {
                entry.tell(channel, What::Leave(Arc::new(member)));
            }
        });
    }

    pub(super) fn present(&self, channel: &Name) -> Vec<Member> {
        let members = self.with_known(channel, |entry| entry.presence.as_ref().map(|presence| presence.members()));
        members.flatten().unwrap_or_default()
    }

    pub(super) fn channels(&self, prefix: &str, most: usize) -> (Vec<Summary>, usize) {
        let (mut first, mut total): (BTreeMap<Name, Summary>, _) = (BTreeMap::new(), 0);
        for shard in &self.shards {
            for (name, entry) in lock(shard).iter().filter(|(name, _)| name.starts_with(prefix)) {
                total += 1;
                if first.len() == most {
                    match first.last_entry() {
                        Some(last) if last.key() > name => drop(last.remove()),
                        _ => continue,
                    }
                }
                first.insert(Arc::clone(name), entry.summary(name));
            }
        }
        (first.into_values().collect(), total)
    }

    pub(super) fn rules(&self, channel: &str) -> Option<Rules> {
        self.shard(channel).get(channel).map(|entry| entry.rules)
    }

    pub(super) fn count(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    pub(super) async fn sweep_for_ever(&self) {
        let mut ticks = tokio::time::interval(SWEEP / SHARDS as u32);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            for shard in &self.shards {
                ticks.tick().await;
                self.sweep(shard);
            }
        }
    }

    /// Forgets messages that are too old, and channels of which nothing is left.
    fn sweep(&self, shard: &Mutex<Shard>) {
        let mut shard = lock(shard);
        let (now, before) = (now(), shard.len());
        shard.retain(|_, entry| {
            let is_empty = entry.stream.is_forgettable(&entry.rules, now);
            !is_empty || !entry.listeners.is_empty() || entry.used + LINGER.as_secs() > now.as_secs()
        });
        if shard.len() < shard.capacity() / 4 {
            shard.shrink_to_fit();
        }
        self.channels.fetch_sub(before - shard.len(), Ordering::Relaxed);
    }

    /// Does something with a channel, which begins with it if need be.
    fn with<T>(&self, channel: &Name, rules: &Rules, act: impl FnOnce(&mut Entry) -> T) -> Result<T, Refused> {
        let mut shard = self.shard(channel);
        let entry = match shard.get_mut(channel) {
            Some(entry) => entry,
            None => {
                if self.channels.load(Ordering::Relaxed) >= self.channels_max.load(Ordering::Relaxed) {
                    return Err(Refused::Full);
                }
                self.channels.fetch_add(1, Ordering::Relaxed);
                shard.entry(Arc::clone(channel)).or_insert_with(|| Entry::new(rules))
            }
        };
        entry.rules = *rules;
        let done = act(entry);
        entry.used = now().as_secs();
        Ok(done)
    }

    fn with_known<T>(&self, channel: &Name, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut shard = self.shard(channel);
        let entry = shard.get_mut(channel)?;
        let done = act(entry);
        entry.used = now().as_secs();
        Some(done)
    }

    fn shard(&self, channel: &str) -> MutexGuard<'_, Shard> {
        // The low bits choose the place within the shard.
        let hash = self.hasher.hash_one(channel) >> 32;
        lock(&self.shards[(hash as usize) % SHARDS])
    }
}

impl Entry {
    fn new(rules: &Rules) -> Self {
        Self { stream: Channel::new(epoch(None)), rules: *rules, listeners: SmallVec::new(), presence: None, used: 0 }
    }

    fn tell(&self, channel: &Name, what: What) {
        for (inbox, _) in &self.listeners {
            inbox.push(Notice { channel: Arc::clone(channel), what: what.clone() });
        }
    }

    fn summary(&self, name: &Name) -> Summary {
        Summary {
            name: Arc::clone(name),
            position: self.stream.position(),
            subscribers: self.subscribers(),
            kept: self.stream.kept(),
        }
    }

    fn subscribers(&self) -> usize {
        self.listeners.iter().map(|(_, subscribers)| subscribers).sum()
    }

    fn look(&mut self, rules: &Rules, look: Look) -> Past {
        let end = self.stream.position();
        match look {
            Look::Latest(count) => Past { end, items: self.stream.latest(rules, now(), count), is_lost: false },
            Look::Since(position, most) => match self.stream.since(rules, now(), position, most) {
                Resumed::Kept(items) => Past { end, items, is_lost: false },
                Resumed::Lost(end) => Past { end, items: Vec::new(), is_lost: true },
            },
        }
    }
}

fn epoch(last: Option<Epoch>) -> Epoch {
    Epoch::begin(now(), random(), last)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic in the midst of a publication leaves a stream that is whole.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_listed_by_name_and_all_of_them_counted() {
        let memory = Memory::default();
        let rules = Rules { history: 1, ttl: Duration::from_secs(60), repeat: Duration::from_secs(1) };
        for name in ["b", "chat:2", "chat:3", "a", "chat:1"] {
            let message = Message { data: Default::default(), is_text: true, time: now(), by: None };
            memory.publish(&name.into(), &rules, message, None).unwrap();
        }
        let listed = |prefix, most| {
            let (summaries, total) = memory.channels(prefix, most);
            (summaries.iter().map(|summary| summary.name.to_string()).collect::<Vec<_>>().join(" "), total)
        };
        assert_eq!(listed("", 10), ("a b chat:1 chat:2 chat:3".into(), 5));
        assert_eq!(listed("", 3), ("a b chat:1".into(), 5));
        assert_eq!(listed("chat:", 2), ("chat:1 chat:2".into(), 3));
        assert_eq!((listed("", 0), listed("d", 9)), ((String::new(), 5), (String::new(), 0)));
        assert_eq!((memory.count(), memory.channels("a", 1).0[0].kept), (5, 1));
    }
}
