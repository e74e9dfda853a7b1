//! Who is present through this process.
//!
//! At Redis members stand under the process they came through, which says now and then that it lives; those of one that
//! said nothing for [`LIFE`] have left. **Invariant:** what is here is what Redis is told as soon as it is back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::HashMap;

use crate::broker::Name;

/// After which the members of a process that died have left.
pub const LIFE: Duration = Duration::from_secs(60);

/// Leaves that wait to be sent; more are made up by comparing all members of their channel.
const LEAVING_MAX: usize = 10_000;

/// Members by id, as Redis keeps them.
type Encoded = Vec<(Arc<str>, Vec<u8>)>;

/// The members of this process.
#[derive(Default)]
pub struct Own {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    channels: HashMap<Name, Members>,
    leaving: VecDeque<(Name, Arc<str>)>,
}

#[derive(Default)]
struct Members {
    all: HashMap<Arc<str>, Vec<u8>>,
    /// How many reasons there are to think that Redis has others.
    doubts: u64,
}

impl Own {
    /// Somebody came.
    pub fn enter(&self, channel: &Name, id: &Arc<str>, encoded: Vec<u8>) {
        self.lock().channels.entry(Arc::clone(channel)).or_default().all.insert(Arc::clone(id), encoded);
    }

    /// Somebody left; Redis is to be told.
    pub fn leave(&self, channel: &Name, id: &str) {
        let mut state = self.lock();
        let State { channels, leaving } = &mut *state;
        let Some(members) = channels.get_mut(channel) else { return };
        let Some((id, _)) = members.all.remove_entry(id) else { return };
        if leaving.len() < LEAVING_MAX {
            leaving.push_back((Arc::clone(channel), id));
            if members.all.is_empty() && members.doubts == 0 {
                channels.remove(channel);
            }
        } else {
            members.doubts += 1;
        }
    }

    /// Somebody did not come after all; whether Redis was told is not known if `is_dirty`.
    pub fn withdraw(&self, channel: &Name, id: &str, is_dirty: bool) {
        let mut state = self.lock();
        let Some(members) = state.channels.get_mut(channel) else { return };
        members.all.remove(id);
        members.doubts += u64::from(is_dirty);
        if members.all.is_empty() && members.doubts == 0 {
            state.channels.remove(channel);
        }
    }

    /// What Redis has of a channel is to be compared; what to [`settle`](Self::settle) it with.
    pub fn doubt(&self, channel: &Name) -> u64 {
        let mut state = self.lock();
        let members = state.channels.entry(Arc::clone(channel)).or_default();
        members.doubts += 1;
        members.doubts
    }

    /// A doubt came to nothing; the latest first.
    pub fn settle(&self, channel: &Name, doubt: u64) {
        let mut state = self.lock();
        let Some(members) = state.channels.get_mut(channel) else { return };
        if members.doubts == doubt {
            members.doubts -= 1;
        }
        if members.doubts == 0 && members.all.is_empty() {
            state.channels.remove(channel);
        }
    }

    /// All channels are to be compared.
    pub fn doubt_all(&self, is_there: impl Fn(&str) -> bool) {
        for (channel, members) in &mut self.lock().channels {
            members.doubts += u64::from(is_there(channel));
        }
    }

    /// Leaves to send.
    pub fn take_leaving(&self, most: usize) -> Vec<(Name, Arc<str>)> {
        let mut state = self.lock();
        let count = state.leaving.len().min(most);
        state.leaving.drain(..count).collect()
    }

    /// Channels with members here, of those that `is_there`.
    pub fn channels(&self, is_there: impl Fn(&str) -> bool) -> Vec<Name> {
        self.lock().channels.keys().filter(|channel| is_there(channel)).map(Arc::clone).collect()
    }

    /// A channel that is to be compared, and everybody who is there.
    pub fn take_dirty(&self, is_there: impl Fn(&str) -> bool) -> Option<(Name, Encoded)> {
        let mut state = self.lock();
        let (channel, members) =
            state.channels.iter_mut().find(|(channel, members)| members.doubts > 0 && is_there(channel))?;
        members.doubts = 0;
        let all = members.all.iter().map(|(id, encoded)| (Arc::clone(id), encoded.clone())).collect();
        let (channel, is_empty) = (Arc::clone(channel), members.all.is_empty());
        if is_empty {
            state.channels.remove(&channel);
        }
        Some((channel, all))
    }

    /// Everybody leaves.
    pub fn take_all(&self) -> Vec<Name> {
        let mut state = self.lock();
        state.leaving.clear();
        let channels = std::mem::take(&mut state.channels);
        channels.into_keys().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
