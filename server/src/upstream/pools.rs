//! A worker's idle connections, by endpoint.

use std::{cell::RefCell, rc::Rc, time::Duration};

use foldhash::{HashMap, HashMapExt};

use super::{Endpoint, Group, http2::Lines};
use crate::stream::IdleSet;

/// How often idle connections are looked through; their ages are counted in it.
const SWEEP: Duration = Duration::from_secs(1);

/// Idle connections of one worker; each endpoint's set is bounded by the upstream's `keepalive`.
pub struct Pools {
    sets: RefCell<HashMap<u64, Rc<IdleSet>>>,
    lines: RefCell<HashMap<u64, Rc<Lines>>>,
}

impl Default for Pools {
    fn default() -> Self {
        Self { sets: RefCell::new(HashMap::new()), lines: RefCell::new(HashMap::new()) }
    }
}

impl Pools {
    /// The set of one endpoint; connections that speak FastCGI are in another one than those that speak HTTP.
    pub fn idle(&self, group: &Group, endpoint: &Endpoint, fastcgi: bool) -> Rc<IdleSet> {
        let id = endpoint.id << 1 | u64::from(fastcgi);
        if let Some(set) = self.sets.borrow().get(&id) {
            return Rc::clone(set);
        }
        let sweeps = sweeps(group.spec.keepalive_timeout);
        let set = Rc::new(IdleSet::new(group.spec.keepalive, sweeps, group.counts.idle.clone()));
        self.sets.borrow_mut().insert(id, Rc::clone(&set));
        set
    }

    /// The HTTP/2 connections to one endpoint.
    pub(super) fn lines(&self, group: &Group, endpoint: &Endpoint) -> Rc<Lines> {
        let mut all = self.lines.borrow_mut();
        let new = || Rc::new(Lines::new(sweeps(group.spec.keepalive_timeout), group.counts.idle.clone()));
        Rc::clone(all.entry(endpoint.id).or_insert_with(new))
    }

    /// Closes, for as long as the worker runs, what has been idle too long or was closed by the peer.
    pub async fn sweep_for_ever(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let sets: Vec<_> = self.sets.borrow().iter().map(|(&id, set)| (id, Rc::clone(set))).collect();
            for (id, set) in sets {
                // One that a request in flight will give its connection back to is needed.
                if set.sweep().await == 0 && Rc::strong_count(&set) == 2 {
                    self.sets.borrow_mut().remove(&id);
                }
            }
            // One that a request holds is needed.
            self.lines.borrow_mut().retain(|_, lines| !lines.sweep() || Rc::strong_count(lines) > 1);
        }
    }
}

/// A time in sweeps, one at least.
fn sweeps(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_secs() / SWEEP.as_secs()).unwrap_or(u32::MAX).max(1)
}
