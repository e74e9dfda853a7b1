//! Limits of the config: how often a key may come, and how many of its requests may be here at once.
//!
//! **Invariant:** a request holds a lock only for one look-up in one of a limit's shards.
//! **Invariant:** a permit that was given comes back, whatever becomes of its request.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use rsp_core::{
    config::Limit,
    limit::{Gcra, Table},
};
use tokio::time::Instant;

/// Workers that ask at the same time mostly meet in different shards.
const SHARDS: usize = 16;

/// Keys of one limit: some 9 MB when all of them are in use, nothing before.
const KEYS_MAX: usize = 100_000;

/// Every limit of the process that is in use, by name: one that a reload leaves as it is goes on counting.
#[derive(Default)]
pub struct Limiters(Mutex<HashMap<String, Vec<Weak<Limiter>>>>);

/// One limit, shared by all workers and all routes that it stands in.
pub struct Limiter {
    spec: Arc<Limit>,
    gcra: Option<Gcra>,
    started: Instant,
    /// So that no client can choose which key it meets.
    secret: RandomState,
    shards: OnceLock<Box<[Mutex<Shard>; SHARDS]>>,
}

struct Shard {
    often: Table,
    /// Keys with requests in flight, as many as there are such requests at most.
    at_once: HashMap<u64, u32>,
}

/// Why a request has to go.
#[derive(Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// It may come after this time.
    Often(Duration),
    /// As many of its key are here as may be.
    AtOnce,
}

/// One of the requests that may be here at once; gives its place back on drop.
pub struct Place {
    limiter: Arc<Limiter>,
    key: u64,
}

impl Limiters {
    /// The running limit of a declaration: the one of that name, if it says the same.
    pub fn declare(&self, spec: &Arc<Limit>) -> Arc<Limiter> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = all.entry(spec.name.clone()).or_default();
        same.retain(|limiter| limiter.strong_count() > 0);
        if let Some(known) = same.iter().filter_map(Weak::upgrade).find(|known| *known.spec == **spec) {
            return known;
        }
        let limiter = Arc::new(Limiter::new(Arc::clone(spec)));
        same.push(Arc::downgrade(&limiter));
        limiter
    }

    /// Forgets what nothing uses any more.
    pub fn settle(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, same| same.iter().any(|limiter| limiter.strong_count() > 0));
    }
}

impl Limiter {
    fn new(spec: Arc<Limit>) -> Self {
        let gcra = spec.rate.map(|(rate, burst)| Gcra::new(rate, burst));
        Self { spec, gcra, started: Instant::now(), secret: RandomState::new(), shards: OnceLock::new() }
    }

    /// What it was declared with.
    pub fn spec(&self) -> &Limit {
        &self.spec
    }

    /// The key that stands for what `write` feeds in.
    pub fn key(&self, write: impl FnOnce(&mut dyn Hasher)) -> u64 {
        let mut hasher = self.secret.build_hasher();
        write(&mut hasher);
        hasher.finish()
    }

    /// Whether a request of this key may come in at `now`; the place it takes where the limit counts those.
    pub fn admit(self: &Arc<Self>, key: u64, now: Instant) -> Result<Option<Place>, TooMuch> {
        let mut shard = self.shard(key);
        let here = shard.at_once.get(&key).copied().unwrap_or_default();
        if self.spec.concurrent.is_some_and(|most| here >= most) {
            return Err(TooMuch::AtOnce);
        }
        if let Some(gcra) = &self.gcra {
            let now = now.saturating_duration_since(self.started);
            shard.often.admit(key, now, gcra).map_err(TooMuch::Often)?;
        }
        if self.spec.concurrent.is_none() {
            return Ok(None);
        }
        shard.at_once.insert(key, here + 1);
        drop(shard);
        Ok(Some(Place { limiter: Arc::clone(self), key }))
    }

    fn shard(&self, key: u64) -> std::sync::MutexGuard<'_, Shard> {
        let shards = self.shards.get_or_init(|| {
            let most = KEYS_MAX / SHARDS;
            Box::new(std::array::from_fn(|_| Mutex::new(Shard { often: Table::new(most), at_once: HashMap::new() })))
        });
        // The table's own hash uses the other bits.
        let index = (key >> 32) as usize % SHARDS;
        shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.limiter.shard(self.key);
        if let Some(here) = shard.at_once.get_mut(&self.key) {
            *here -= 1;
            if *here == 0 {
                shard.at_once.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rsp_core::config::{LimitKey, units::Rate};

    use super::*;

    fn spec(name: &str, rate: Option<u32>, concurrent: Option<u32>) -> Arc<Limit> {
        let rate = rate.map(|count| (Rate { count, per: Duration::from_secs(60) }, 1));
        let status = http::StatusCode::TOO_MANY_REQUESTS;
        Arc::new(Limit { name: name.to_owned(), rate, concurrent, key: LimitKey::ClientIp, status })
    }

    #[test]
    fn an_unchanged_limit_goes_on_and_a_changed_one_starts_anew() {
        let limiters = Limiters::default();
        let first = limiters.declare(&spec("a /x", Some(1), None));
        assert!(first.admit(7, first.started).is_ok());
        let changed = limiters.declare(&spec("a /x", Some(2), None));
        assert!(changed.admit(7, changed.started).is_ok());
        drop(changed);
        let again = limiters.declare(&spec("a /x", Some(1), None));
        assert_eq!(again.admit(7, first.started).err(), Some(TooMuch::Often(Duration::from_secs(60))));
        assert!(limiters.declare(&spec("b /x", Some(1), None)).admit(7, first.started).is_ok());
        drop((first, again));
        limiters.settle();
        assert!(limiters.0.lock().unwrap().is_empty());
    }

    #[test]
    fn places_come_back_and_a_refusal_for_them_uses_no_allowance() {
        let limiter = Limiters::default().declare(&spec("a", None, Some(2)));
        let now = limiter.started;
        let (one, two) = (limiter.admit(1, now).unwrap(), limiter.admit(1, now).unwrap());
        assert!(one.is_some() && two.is_some());
        assert_eq!(limiter.admit(1, now).err(), Some(TooMuch::AtOnce));
        assert!(limiter.admit(2, now).is_ok());
        drop(one);
        let three = limiter.admit(1, now);
        assert!(three.is_ok());
        drop((two, three));
        assert!(limiter.shards.get().unwrap().iter().all(|shard| shard.lock().unwrap().at_once.is_empty()));
        let both = Limiters::default().declare(&spec("a", Some(1), Some(1)));
        let held = both.admit(1, both.started);
        let later = both.started + Duration::from_secs(60);
        assert_eq!(both.admit(1, later).err(), Some(TooMuch::AtOnce));
        drop(held);
        assert!(both.admit(1, later).is_ok());
    }

    #[test]
    fn workers_that_ask_at_once_let_pass_no_more_than_one_would() {
        let limiter = Limiters::default().declare(&spec("a", Some(1), None));
        let now = limiter.started;
        let passed: usize = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|key| limiter.admit(key % 100, now).is_ok()).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }
}
