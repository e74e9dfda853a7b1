//! Consistent hashing: a ring of points, some for each endpoint, on which a key belongs to the next point.
//!
//! The hash is FNV-1a with the finaliser of SplitMix64 behind it, which spreads FNV's weak high bits: a few lines without
//! a seed, so that every worker, process and restart, of this version and the next, sends a key to the same endpoint.
//! (foldhash and std's hashes promise no such thing.) Who can choose keys can aim them at one endpoint; the bound on its
//! load is the answer to that, not a secret.

/// Points of an endpoint of weight one: with 160 the shares are even to about 8 %.
const POINTS: u64 = 160;

/// Points of a ring at most, unless there are more endpoints: 16 bytes each. Beyond it everybody's are halved.
const POINTS_MAX: u64 = 1 << 18;

/// A ring of endpoints.
#[derive(Debug)]
pub(super) struct Ring(Box<[(u64, u32)]>);

/// The hash of a key or a name: the same for ever.
pub fn key_hash(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    mix(bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME)))
}

/// The finaliser of SplitMix64.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Ring {
    /// A ring of `(index, weight, name)`. An endpoint's points depend on its name and weight alone, so that one that
    /// comes or goes takes or leaves only what is its own.
    pub(super) fn new(members: &[(u32, u32, &str)]) -> Self {
        let weights: u64 = members.iter().map(|(_, weight, _)| u64::from(*weight)).sum();
        let mut halved = 0;
        while weights.saturating_mul(POINTS) >> halved > POINTS_MAX {
            halved += 1;
        }
        let points_of = |(index, weight, name): &(u32, u32, &str)| {
            let (index, seed) = (*index, key_hash(name.as_bytes()));
            let count = ((u64::from(*weight) * POINTS) >> halved).max(1);
            (1..=count).map(move |n| (mix(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))), index))
        };
        let mut points: Vec<(u64, u32)> = members.iter().flat_map(points_of).collect();
        points.sort_unstable();
        Self(points.into())
    }

    /// The endpoints from the key on, each as often as the walk meets it; once round.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = u32> {
        let (before, after) = self.0.split_at(self.0.partition_point(|(point, _)| *point < key));
        after.iter().chain(before).map(|(_, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("10.0.{}.{}:80", index / 256, index % 256)).collect()
    }

    fn ring(names: &[String], weight: impl Fn(usize) -> u32) -> Ring {
        let members: Vec<_> =
            names.iter().enumerate().map(|(index, name)| (index as u32, weight(index), name.as_str())).collect();
        Ring::new(&members)
    }

    fn owner(ring: &Ring, key: u64) -> u32 {
        ring.walk(mix(key)).next().unwrap()
    }

    #[test]
    fn the_hash_is_the_same_for_ever() {
        assert_eq!(key_hash(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(key_hash(b"10.0.0.1:80"), 0xdbbc_907f_2153_1a73);
        let ring = ring(&names(3), |_| 1);
        assert_eq!((0..12).map(|key| owner(&ring, key)).collect::<Vec<_>>(), [0, 0, 2, 1, 2, 2, 0, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn shares_follow_the_weights() {
        let ring = ring(&names(4), |index| if index == 0 { 3 } else { 1 });
        let mut counts = [0; 4];
        (0..60_000).for_each(|key| counts[owner(&ring, key) as usize] += 1);
        assert!((26_000..34_000).contains(&counts[0]), "{counts:?}");
        assert!(counts[1..].iter().all(|count| (8_000..12_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_ring_is_bounded_and_nobody_is_left_out() {
        let ring = ring(&names(5000), |index| if index == 7 { 1 } else { 65_535 });
        assert!(ring.0.len() as u64 <= POINTS_MAX + 5000, "{}", ring.0.len());
        assert!(ring.0.iter().any(|(_, index)| *index == 7));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn one_endpoint_less_moves_only_its_own_keys_and_about_their_share(count in 2usize..24, gone in 0usize..24) {
            let gone = gone % count;
            let all = names(count);
            let before = ring(&all, |_| 1);
            let left: Vec<_> = all.iter().enumerate().filter(|(index, _)| *index != gone)
                .map(|(index, name)| (index as u32, 1, name.as_str())).collect();
            let after = Ring::new(&left);
            let keys = 4_000;
            let moved = (0..keys).filter(|key| owner(&before, *key) != owner(&after, *key)).collect::<Vec<_>>();
            prop_assert!(moved.iter().all(|key| owner(&before, *key) as usize == gone));
            let fair = keys as usize / count;
            prop_assert!(moved.len() < fair * 3 / 2 + 30 && moved.len() * 2 + 30 > fair, "{} of {fair}", moved.len());
        }
    }
}
