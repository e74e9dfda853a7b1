//! The order in which weighted round robin visits endpoints.

/// Entries of a sequence; weights that need more are scaled down to it, none below one.
const SEQUENCE_MAX: u64 = 4096;

/// Smooth weighted round robin (nginx's algorithm) through one full cycle, after which it repeats.
///
/// Members are `(index, weight)`; each appears as often as its weight, divided by what all weights share, and spread
/// evenly. Where that takes over 4096 entries the shares are rounded, each member keeping at least one entry.
pub(super) fn smooth(members: &[(u32, u32)]) -> Box<[u32]> {
    let weights = reduce(members);
    if weights.iter().all(|weight| *weight == 1) {
        return members.iter().map(|(index, _)| *index).collect();
    }
    let total: i64 = weights.iter().sum();
    let mut current = vec![0i64; weights.len()];
    let mut sequence = Vec::new();
    for _ in 0..total {
        let mut best = 0;
        for (at, weight) in weights.iter().enumerate() {
            current[at] += weight;
            if current[at] > current[best] {
                best = at;
            }
        }
        current[best] -= total;
        sequence.push(members[best].0);
    }
    sequence.into()
}

fn reduce(members: &[(u32, u32)]) -> Vec<i64> {
    let weight = |member: &(u32, u32)| u64::from(member.1.max(1));
    let divisor = members.iter().map(weight).fold(0, gcd).max(1);
    let total: u64 = members.iter().map(|member| weight(member) / divisor).sum();
    let scale = |weight: u64| match total > SEQUENCE_MAX {
        true => (weight * SEQUENCE_MAX / total).max(1),
        false => weight,
    };
    members.iter().map(|member| scale(weight(member) / divisor) as i64).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(sequence: &[u32], members: usize) -> Vec<usize> {
        (0..members as u32).map(|member| sequence.iter().filter(|index| **index == member).count()).collect()
    }

    #[test]
    fn a_heavy_endpoint_is_spread_among_the_others() {
        assert_eq!(*smooth(&[(0, 5), (1, 1), (2, 1)]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*smooth(&[(0, 10), (1, 20)]), [1, 0, 1]);
        assert_eq!(*smooth(&[(3, 7), (4, 7)]), [3, 4]);
    }

    #[test]
    fn shares_are_the_weights() {
        let sequence = smooth(&[(0, 300), (1, 500), (2, 900), (3, 100)]);
        assert_eq!(shares(&sequence, 4), [3, 5, 9, 1]);
    }

    #[test]
    fn weights_beyond_the_cap_are_scaled_and_nobody_is_left_out() {
        let sequence = smooth(&[(0, 65535), (1, 65534), (2, 1)]);
        assert!(sequence.len() <= SEQUENCE_MAX as usize + 1);
        assert_eq!(shares(&sequence, 3), [2048, 2047, 1]);
    }

    #[test]
    fn no_member_makes_no_sequence() {
        assert!(smooth(&[]).is_empty());
    }
}
