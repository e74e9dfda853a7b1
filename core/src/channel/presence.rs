//! Who is present: clients by their ids.

use std::{sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt};

use super::Who;

/// One client that is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Of the connection, unique.
    pub id: Arc<str>,
    /// Who it is, if that is known.
    pub who: Option<Arc<Who>>,
    /// When it came, since the Unix epoch.
    pub since: Duration,
}

/// The clients of one channel.
#[derive(Debug)]
pub struct Presence {
    members: HashMap<Arc<str>, Member>,
}

impl Default for Presence {
    fn default() -> Self {
        Self { members: HashMap::new() }
    }
}

impl Presence {
    /// Adds a client; false if it was there already, and is told nobody.
    pub fn join(&mut self, member: Member) -> bool {
        self.members.insert(Arc::clone(&member.id), member).is_none()
    }

    /// Removes a client; who it was, if it was there.
    pub fn leave(&mut self, id: &str) -> Option<Member> {
        self.members.remove(id)
    }

    /// All of them, the longest present first.
    pub fn members(&self) -> Vec<Member> {
        let mut all: Vec<_> = self.members.values().cloned().collect();
        all.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }
}
