//! Which channels this process listens to, for whom, and where each was when its subscribers were last told.
//!
//! **Invariant:** a channel that is heard is subscribed to at its node's session; what could not be heard is made up by a
//! comparison of positions after each subscription and now and then.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use foldhash::HashMap;
use rsp_core::channel::Position;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{encode::Heard, node::Node};
use crate::broker::{Inbox, Name, Notice, Refused, Summary, What};

/// A position, and the run of the server in which it was seen.
#[derive(Debug, Clone)]
pub struct Known {
    /// Where a channel was.
    pub position: Position,
    /// Names one life of the server.
    pub run: Arc<str>,
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing to tell.
    Same,
    /// Messages that subscribers were not told of.
    Behind,
    /// Another epoch.
    Anew,
    /// There are messages that may be on their way.
    Doubt,
}

/// All channels of interest.
pub struct Interests {
    all: Mutex<HashMap<Name, Interest>>,
    channels_max: AtomicUsize,
}

struct Interest {
    /// The inboxes of the workers that have subscribers, and how many.
    listeners: SmallVec<[(Arc<Inbox>, usize); 1]>,
    node: Arc<Node>,
    is_heard: bool,
    /// Who waits for it to be heard.
    waiting: Vec<oneshot::Sender<()>>,
    /// None: nobody has been given a position yet.
    told: Option<Known>,
}

impl Default for Interests {
    fn default() -> Self {
        Self { all: Mutex::default(), channels_max: AtomicUsize::new(usize::MAX) }
    }
}

impl Interests {
    /// Bounds the channels.
    pub fn bound(&self, channels_max: usize) {
        self.channels_max.store(channels_max, Ordering::Relaxed);
    }

    /// One subscriber more; what to wait for, if the channel is not heard yet.
    pub fn hold(
        &self,
        channel: &Name,
        node: &Arc<Node>,
        inbox: &Arc<Inbox>,
    ) -> Result<Option<oneshot::Receiver<()>>, Refused> {
        let mut all = self.lock();
        if !all.contains_key(channel) && all.len() >= self.channels_max.load(Ordering::Relaxed) {
            return Err(Refused::Full);
        }
        let interest = all.entry(Arc::clone(channel)).or_insert_with(|| {
            node.want(channel);
            Interest {
                listeners: SmallVec::new(),
                node: Arc::clone(node),
                is_heard: false,
                waiting: Vec::new(),
                told: None,
            }
        });
        match interest.listeners.iter_mut().find(|(known, _)| Arc::ptr_eq(known, inbox)) {
            Some((_, subscribers)) => *subscribers += 1,
            None => interest.listeners.push((Arc::clone(inbox), 1)),
        }
        Ok((!interest.is_heard).then(|| {
            let (sender, receiver) = oneshot::channel();
            interest.waiting.retain(|waiting| !waiting.is_closed());
            interest.waiting.push(sender);
            receiver
        }))
    }

    /// One subscriber less. A channel without any lingers, if it is heard.
    pub fn release(&self, channel: &Name, inbox: &Arc<Inbox>) {
        let mut all = self.lock();
        let Some(interest) = all.get_mut(channel) else { return };
        let Some(index) = interest.listeners.iter().position(|(known, _)| Arc::ptr_eq(known, inbox)) else { return };
        interest.listeners[index].1 -= 1;
        if interest.listeners[index].1 == 0 {
            interest.listeners.swap_remove(index);
        }
        if interest.listeners.is_empty() {
            if interest.is_heard {
                interest.node.leave_soon(channel, Instant::now());
            } else {
                all.remove(channel);
            }
        }
    }

    /// Subscribers of this process, and whether it hears of the channel.
    pub fn subscribers(&self, channel: &str) -> (usize, bool) {
        let all = self.lock();
        all.get(channel).map_or((0, false), |interest| (interest.subscribers(), interest.is_heard))
    }

    /// Where subscribers were last told that the channel is.
    pub fn told(&self, channel: &str) -> Option<Known> {
        self.lock().get(channel).and_then(|interest| interest.told.clone())
    }

    /// The first subscribers have been given a position.
    pub fn begin(&self, channel: &str, position: Position, run: &Arc<str>) {
        if let Some(interest) = self.lock().get_mut(channel)
            && interest.told.is_none()
        {
            interest.told = Some(Known { position, run: Arc::clone(run) });
        }
    }

    /// Tells subscribers what was heard; None: it was not understood, and counts as lost.
    pub fn tell(&self, channel: &str, heard: Option<Heard>, run: &Arc<str>) {
        let mut all = self.lock();
        let Some(name) = all.get_key_value(channel).map(|(name, _)| Arc::clone(name)) else { return };
        let Some(interest) = all.get_mut(channel) else { return };
        let what = match heard {
            // It was on its way for so long that a later epoch was found meanwhile.
            Some(Heard::Item(item))
                if interest.told.as_ref().is_some_and(|told| told.position.epoch > item.position.epoch) =>
            {
                return;
            }
            Some(Heard::Item(item)) => {
                let told = interest.told.replace(Known { position: item.position, run: Arc::clone(run) });
                if told.is_some_and(|told| told.position.epoch != item.position.epoch) {
                    // It began while nobody listened. What came before the item is a gap that followers see.
                    interest.tell(&name, What::Reset(Position { offset: 0, ..item.position }));
                }
                What::Item(item)
            }
            Some(Heard::Reset(position)) => {
                // Who has no position yet gets one of the new epoch, and who is in it knows.
                let is_news = interest.told.as_ref().is_some_and(|told| told.position.epoch < position.epoch);
                if !is_news {
                    return;
                }
                interest.told = Some(Known { position, run: Arc::clone(run) });
                What::Reset(position)
            }
            Some(Heard::Join(member)) => What::Join(Arc::new(member)),
            Some(Heard::Leave(member)) => What::Leave(Arc::new(member)),
            None => What::Behind,
        };
        interest.tell(&name, what);
    }

    /// Compares where a channel is with what was told, and tells the difference. Nothing is said if something was heard
    /// since it was `asked`: who hears sees by himself what is missing. What was published a moment ago may be on its
    /// way: unless it `is_certain` that it is not, there is `Doubt` first.
    pub fn compare(&self, channel: &str, asked: &Known, position: Position, run: &Arc<str>, is_certain: bool) -> Found {
        let mut all = self.lock();
        let Some(name) = all.get_key_value(channel).map(|(name, _)| Arc::clone(name)) else { return Found::Same };
        let Some(interest) = all.get_mut(channel) else { return Found::Same };
        let Some(told) = interest.told.as_mut().filter(|told| told.position == asked.position) else {
            return Found::Same;
        };
        told.run = Arc::clone(run);
        let is_anew = told.position.epoch != position.epoch;
        if is_anew {
            told.position = Position { offset: 0, ..position };
        }
        let is_behind = told.position.offset < position.offset;
        // A new epoch is certain; what it has, is looked up at once.
        let is_told = is_behind && (is_certain || is_anew);
        if is_told {
            told.position = position;
        }
        if is_anew {
            interest.tell(&name, What::Reset(Position { offset: 0, ..position }));
        }
        if is_told {
            interest.tell(&name, What::Behind);
        }
        match (is_anew, is_behind, is_certain) {
            (true, _, _) => Found::Anew,
            (false, true, true) => Found::Behind,
            (false, true, false) => Found::Doubt,
            (false, false, _) => Found::Same,
        }
    }

    /// Of these channels, those that a node is to subscribe to.
    pub fn unheard(&self, node: &Arc<Node>, names: Vec<Name>) -> Vec<Name> {
        let all = self.lock();
        let is_unheard =
            |name: &Name| all.get(name).is_some_and(|interest| !interest.is_heard && Arc::ptr_eq(&interest.node, node));
        names.into_iter().filter(is_unheard).collect()
    }

    /// A node subscribed to a channel; false: nobody wants it any more.
    pub fn hear(&self, node: &Arc<Node>, name: &Name) -> bool {
        let mut all = self.lock();
        let Some(interest) = all.get_mut(name).filter(|interest| Arc::ptr_eq(&interest.node, node)) else {
            return false;
        };
        interest.is_heard = true;
        for waiting in interest.waiting.drain(..) {
            // Who doesn't wait any more has been taken back.
            let _ = waiting.send(());
        }
        true
    }

    /// Whether a channel is heard at a node.
    pub fn is_heard(&self, node: &Arc<Node>, name: &Name) -> bool {
        self.lock().get(name).is_some_and(|interest| interest.is_heard && Arc::ptr_eq(&interest.node, node))
    }

    /// Forgets a channel if nobody wants it; true: the node is to unsubscribe.
    pub fn forget(&self, node: &Arc<Node>, name: &Name) -> bool {
        let mut all = self.lock();
        let is_unwanted =
            all.get(name).is_some_and(|interest| interest.listeners.is_empty() && Arc::ptr_eq(&interest.node, node));
        is_unwanted && all.remove(name).is_some_and(|interest| interest.is_heard)
    }

    /// A node's session ended: nothing of it is heard, and who waits for it, waits no more.
    pub fn deafen(&self, node: &Arc<Node>) {
        self.lock().retain(|_, interest| {
            if Arc::ptr_eq(&interest.node, node) {
                interest.is_heard = false;
                interest.waiting.clear();
            }
            !interest.listeners.is_empty() || !Arc::ptr_eq(&interest.node, node)
        });
    }

    /// A node's channels.
    pub fn of(&self, node: &Arc<Node>) -> Vec<Name> {
        let all = self.lock();
        all.iter().filter(|(_, interest)| Arc::ptr_eq(&interest.node, node)).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Moves channels to the nodes that have their slots now.
    pub fn move_to(&self, node_of: impl Fn(&str) -> Option<Arc<Node>>) {
        for (name, interest) in self.lock().iter_mut() {
            if let Some(node) = node_of(name)
                && !Arc::ptr_eq(&node, &interest.node)
            {
                interest.is_heard = false;
                node.want(name);
                interest.node = node;
            }
        }
    }

    /// Channels whose names begin so: the first ones by name, and how many there are.
    pub fn summaries(&self, prefix: &str, most: usize) -> (Vec<Summary>, usize) {
        let (mut first, mut total): (BTreeMap<Name, Summary>, _) = (BTreeMap::new(), 0);
        for (name, interest) in self.lock().iter().filter(|(name, _)| name.starts_with(prefix)) {
            let Some(told) = &interest.told else { continue };
            total += 1;
            if first.len() == most {
                match first.last_entry() {
                    Some(last) if last.key() > name => drop(last.remove()),
                    _ => continue,
                }
            }
            let (name, position) = (Arc::clone(name), told.position);
            let summary = Summary { name: Arc::clone(&name), position, subscribers: interest.subscribers(), kept: 0 };
            first.insert(name, summary);
        }
        (first.into_values().collect(), total)
    }

    /// How many channels there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Interest>> {
        // Nothing panics while it is held.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interest {
    fn subscribers(&self) -> usize {
        self.listeners.iter().map(|(_, subscribers)| subscribers).sum()
    }

    fn tell(&self, name: &Name, what: What) {
        for (inbox, _) in &self.listeners {
            inbox.push(Notice { channel: Arc::clone(name), what: what.clone() });
        }
    }
}
