//! How often a key may come: the generic cell rate algorithm (GCRA), and a bounded table of its keys.
//!
//! **Invariant:** as many pass as a bucket of `burst` tokens would let pass that is refilled evenly, to the nanosecond.
//! **Invariant:** a table never holds more keys than its bound; the key that goes is the one with the most allowance.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, hash_map::Entry},
    time::Duration,
};

use foldhash::fast::FixedState;

use crate::config::units::Rate;

/// When a key's allowance is full again, in ticks: nanoseconds × the rate's count, so that no rate is rounded.
type Full = u128;

/// What one limit lets pass of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gcra {
    /// Ticks a nanosecond.
    scale: u128,
    /// Ticks from one to the next at an even pace.
    interval: Full,
    /// How far ahead of that pace a key may be.
    tolerance: Full,
}

impl Gcra {
    /// `rate` at an even pace, and `burst` at once after a pause; at least 1.
    pub fn new(rate: Rate, burst: u32) -> Self {
        let interval = rate.per.as_nanos();
        let tolerance = interval * u128::from(burst.max(1) - 1);
        Self { scale: u128::from(rate.count), interval, tolerance }
    }

    fn ticks(&self, now: Duration) -> Full {
        now.as_nanos() * self.scale
    }

    /// The key's next state; or how long until it may pass, rounded up to the nanosecond.
    fn decide(&self, full: Full, now: Full) -> Result<Full, Duration> {
        match full.checked_sub(now + self.tolerance) {
            None | Some(0) => Ok(full.max(now) + self.interval),
            Some(early) => {
                let nanoseconds = early.div_ceil(self.scale);
                Err(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
            }
        }
    }
}

/// The keys of one limit that have used of their allowance, as many as fit.
///
/// A key is the digest of what is counted together, made with a secret, so that nobody can choose one. Some 90
/// bytes a key. A full table gives up a key whose allowance is full again, which changes nothing; if there is none,
/// the key with the most allowance left. To push out a key that has used up its own, others have to use up theirs.
#[derive(Debug)]
pub struct Table {
    full: HashMap<u64, Full, FixedState>,
    /// Each key once, at its state now or an earlier one: a key's state only grows, and is looked up when its turn comes.
    order: BinaryHeap<Reverse<(Full, u64)>>,
    most: usize,
}

impl Table {
    /// An empty table for `most` keys, at least 1.
    pub fn new(most: usize) -> Self {
        Self { full: HashMap::default(), order: BinaryHeap::new(), most: most.max(1) }
    }

    /// Whether a key may pass at `now`, a time since any start; or how long it has to wait.
    ///
    /// Times of different callers may be slightly out of order.
    pub fn admit(&mut self, key: u64, now: Duration, gcra: &Gcra) -> Result<(), Duration> {
        let now = gcra.ticks(now);
        if let Entry::Occupied(mut known) = self.full.entry(key) {
            *known.get_mut() = gcra.decide(*known.get(), now)?;
            return Ok(());
        }
        self.forget(now);
        let full = now + gcra.interval;
        self.full.insert(key, full);
        self.order.push(Reverse((full, key)));
        Ok(())
    }

    /// Keys that are kept.
    pub fn len(&self) -> usize {
        self.full.len()
    }

    /// Whether no key is kept.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Makes room for one key. Two whose allowance is full again go if there are, so that the table follows the
    /// traffic down. A key that is put back was admitted since it was put here, so this takes as long as that did.
    fn forget(&mut self, now: Full) {
        let mut gone = 0;
        while gone < 2
            && let Some(Reverse((seen, key))) = self.order.peek().copied()
            && (seen <= now || self.full.len() >= self.most)
        {
            self.order.pop();
            match self.full.entry(key) {
                Entry::Occupied(known) if *known.get() == seen => {
                    known.remove();
                    gone += 1;
                }
                Entry::Occupied(known) => self.order.push(Reverse((*known.get(), key))),
                Entry::Vacant(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn rate(count: u32, seconds: u64) -> Rate {
        Rate { count, per: Duration::from_secs(seconds) }
    }

    /// A bucket for each key, and all of them kept; in fractions of a token that are exact.
    #[derive(Default)]
    struct Buckets(HashMap<u64, (u128, u128)>);

    impl Buckets {
        /// `count` tokens a `per` come in; a token is `per` drops, `count` drops come a nanosecond.
        fn admit(&mut self, key: u64, now: u128, (count, per): (u128, u128), burst: u128) -> Result<(), u128> {
            let (drops, at) = self.0.entry(key).or_insert((burst * per, now));
            *drops = (*drops + (now - *at) * count).min(burst * per);
            *at = now;
            match drops.checked_sub(per) {
                Some(left) => {
                    *drops = left;
                    Ok(())
                }
                None => Err((per - *drops).div_ceil(count)),
            }
        }
    }

    proptest! {
        #[test]
        fn it_decides_as_a_bucket_of_tokens(
            (count, seconds) in prop_oneof![(1u32..20, Just(1u64)), (1u32..7000, Just(60)), (1u32..=u32::MAX, Just(3600))],
            burst in 1u32..8,
            steps in prop::collection::vec((0u64..3, prop_oneof![Just(0u64), 0u64..2_000_000_000, 0u64..1000]), 1..200),
        ) {
            let rate = rate(count, seconds);
            let (gcra, mut table, mut buckets) = (Gcra::new(rate, burst), Table::new(10), Buckets::default());
            let mut now = 0;
            for (key, pause) in steps {
                now += pause;
                let told = table.admit(key, Duration::from_nanos(now), &gcra).map_err(|wait| wait.as_nanos());
                let model = buckets.admit(key, now.into(), (count.into(), rate.per.as_nanos()), burst.into());
                prop_assert_eq!(told, model, "at {}", now);
            }
        }

        #[test]
        fn a_table_never_outgrows_its_bound_and_a_key_it_gave_up_had_the_most_left(
            most in 1usize..8,
            steps in prop::collection::vec((0u64..20, 0u64..400_000_000), 1..300),
        ) {
            let gcra = Gcra::new(rate(5, 1), 3);
            let mut table = Table::new(most);
            let mut now = Duration::ZERO;
            for (key, pause) in steps {
                now += Duration::from_nanos(pause);
                let before = table.full.clone();
                let _ = table.admit(key, now, &gcra);
                prop_assert!(table.len() <= most);
                prop_assert_eq!(table.order.len(), table.len());
                let gone = before.iter().filter(|(key, _)| !table.full.contains_key(key));
                let kept = before.iter().filter(|(key, _)| table.full.contains_key(key)).map(|(_, full)| *full).min();
                for (_, full) in gone {
                    prop_assert!(*full <= gcra.ticks(now) || kept.is_none_or(|kept| *full <= kept));
                }
            }
        }
    }

    #[test]
    fn after_a_pause_a_burst_passes_and_then_the_rate() {
        let (gcra, mut table) = (Gcra::new(rate(2, 1), 3), Table::new(10));
        let mut admit = |ms| table.admit(1, Duration::from_millis(ms), &gcra).map_err(|wait| wait.as_millis());
        assert_eq!([admit(0), admit(0), admit(0), admit(0)], [Ok(()), Ok(()), Ok(()), Err(500)]);
        assert_eq!([admit(499), admit(500), admit(500)], [Err(1), Ok(()), Err(500)]);
        assert_eq!([admit(60_000), admit(60_000), admit(60_000), admit(60_000)], [Ok(()), Ok(()), Ok(()), Err(500)]);
    }

    #[test]
    fn a_flood_of_keys_can_not_push_out_one_that_has_used_up_its_allowance() {
        let (gcra, mut table) = (Gcra::new(rate(5, 60), 5), Table::new(100));
        for _ in 0..5 {
            assert_eq!(table.admit(0, Duration::ZERO, &gcra), Ok(()));
        }
        for key in 1..100_000 {
            assert_eq!(table.admit(key, Duration::from_millis(1), &gcra), Ok(()));
        }
        assert!(table.admit(0, Duration::from_millis(2), &gcra).is_err());
        assert_eq!(table.len(), 100);
    }

    #[test]
    fn keys_of_quiet_clients_are_forgotten() {
        let (gcra, mut table) = (Gcra::new(rate(10, 1), 1), Table::new(1000));
        for key in 0..1000 {
            let _ = table.admit(key, Duration::ZERO, &gcra);
        }
        for key in 0..1000 {
            let _ = table.admit(1000 + key, Duration::from_secs(1 + key), &gcra);
        }
        assert!(table.len() <= 2, "{}", table.len());
    }
}
