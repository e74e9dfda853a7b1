//! A worker's idle connections, by endpoint.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt};

use super::{Endpoint, Group};
use crate::{observe::UpstreamCounts, stream::IdleSet};

/// How often idle connections are looked through; their ages are counted in it.
const SWEEP: Duration = Duration::from_secs(1);

/// Idle connections of one worker; each endpoint's set is bounded by the upstream's `keepalive`.
pub struct Pools {
    sets: RefCell<HashMap<u64, Pool>>,
}

struct Pool {
    set: Rc<IdleSet>,
    counts: Arc<UpstreamCounts>,
    /// What the gauge has of this set: it is brought up to date by the sweep, which costs requests nothing.
    counted: i64,
}

impl Default for Pools {
    fn default() -> Self {
        Self { sets: RefCell::new(HashMap::new()) }
    }
}

impl Pools {
    /// The set of one endpoint.
    pub fn idle(&self, group: &Group, endpoint: &Endpoint) -> Rc<IdleSet> {
        if let Some(pool) = self.sets.borrow().get(&endpoint.id) {
            return Rc::clone(&pool.set);
        }
        let set = Rc::new(IdleSet::new(group.spec.keepalive, sweeps(group.spec.keepalive_timeout)));
        let pool = Pool { set: Rc::clone(&set), counts: Arc::clone(&group.counts), counted: 0 };
        self.sets.borrow_mut().insert(endpoint.id, pool);
        set
    }

    /// Closes, for as long as the worker runs, what has been idle too long or was closed by the peer.
    pub async fn sweep_for_ever(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let sets: Vec<_> = self.sets.borrow().iter().map(|(&id, pool)| (id, Rc::clone(&pool.set))).collect();
            for (id, set) in sets {
                let idle = set.sweep().await;
                self.note(id, &set, idle);
            }
        }
    }

    fn note(&self, id: u64, set: &Rc<IdleSet>, idle: usize) {
        let mut pools = self.sets.borrow_mut();
        let Some(pool) = pools.get_mut(&id) else { return };
        let idle = i64::try_from(idle).unwrap_or(i64::MAX);
        pool.counts.idle.inc_by(idle - pool.counted);
        pool.counted = idle;
        // A set that a request will come back to stays: the map and the sweep hold one count each.
        if idle == 0 && Rc::strong_count(set) == 2 {
            pools.remove(&id);
        }
    }
}

/// A time in sweeps, one at least.
fn sweeps(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_secs() / SWEEP.as_secs()).unwrap_or(u32::MAX).max(1)
}
