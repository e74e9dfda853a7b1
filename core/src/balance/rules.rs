//! What a group may add to its policy: a most in flight, probes, a slow start, a ring of keys, a client's own endpoint.

use std::{sync::atomic::AtomicUsize, time::Duration};

use super::{
    EndpointState, Group, InFlight, Tried,
    endpoint::{FULLY_GROWN, nanos},
    group::Tier,
    ring::{Ring, mix},
};
use crate::config::{Balance, Upstream};

/// Losing a race for an endpoint's last place means that another got it; so many in a row are as good as full.
const RACES_MAX: usize = 1000;

/// An endpoint takes at most 5/4 of the average in flight before its keys go on to the next one (Mirrokni, Thorup,
/// Zadimoghaddam: Consistent Hashing with Bounded Loads).
const BOUND: (u64, u64) = (5, 4);

/// The rules of one group.
#[derive(Debug)]
pub(super) struct Rules {
    /// The most in flight, an endpoint.
    max: Box<[u32]>,
    slow_start: Duration,
    pub(super) probes: bool,
    pub(super) queue: bool,
    /// Of the primaries and of the backups.
    rings: Option<[Ring; 2]>,
}

/// What one attempt looks for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Now, since the process started.
    pub now: Duration,
    /// Random bits.
    pub seed: u64,
    /// What it may not get again.
    pub tried: &'a Tried,
    /// What a ring goes by; None: the request has no such thing.
    pub key: Option<u64>,
    /// The endpoint the client was on before.
    pub before: Option<usize>,
}

/// Why there is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Those in service have all the requests they may have.
    Full,
    /// None is in service, or each was tried.
    Down,
}

impl Rules {
    /// None for a plain group.
    pub(super) fn of(upstream: &Upstream) -> Option<Self> {
        let limited = upstream.endpoints.iter().any(|endpoint| endpoint.max_connections.is_some());
        let hashed = upstream.balance == Balance::Hash;
        let (probes, queue) = (upstream.probe.is_some(), upstream.queue.size > 0);
        let grows = !upstream.slow_start.is_zero();
        if !(limited || hashed || probes || queue || grows || upstream.sticky.is_some()) {
            return None;
        }
        let ring = |backup: bool| {
            let members = upstream.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.backup == backup);
            let named = members.map(|(index, endpoint)| (index as u32, endpoint.weight.max(1), endpoint.name.as_str()));
            Ring::new(&named.collect::<Vec<_>>())
        };
        Some(Self {
            max: upstream.endpoints.iter().map(|endpoint| endpoint.max_connections.unwrap_or(u32::MAX)).collect(),
            slow_start: upstream.slow_start,
            probes,
            queue,
            rings: hashed.then(|| [ring(false), ring(true)]),
        })
    }
}

impl Group {
    pub(super) fn take_by(&self, rules: &Rules, wish: &Wish<'_>) -> Result<(usize, InFlight), Lack> {
        if rules.queue && !self.lasting.room.may_try(wish.now) {
            return Err(Lack::Down);
        }
        for _ in 0..RACES_MAX {
            let (index, most) = self.pick_by(rules, wish)?;
            if let Some(in_flight) = self.endpoints[index].state.try_begin(most) {
                return Ok((index, in_flight));
            }
        }
        Err(Lack::Full)
    }

    /// When an ejected endpoint comes back, or the next trial is; None: nothing changes with time alone.
    pub fn next_change(&self, now: Duration) -> Option<Duration> {
        let returns = self.endpoints.iter().map(|member| member.state.ejected_until());
        let first = returns.filter(|until| *until > nanos(now)).min().map(Duration::from_nanos);
        [first, self.lasting.room.next_trial()].into_iter().flatten().min()
    }

    /// Whether some endpoint is in service that was not tried.
    pub fn has_other(&self, now: Duration, tried: &Tried) -> bool {
        (0..self.endpoints.len()).any(|index| self.is_in_service(index as u32, now, tried))
    }

    /// An endpoint, and how many requests it may have in flight with this one.
    fn pick_by(&self, rules: &Rules, wish: &Wish<'_>) -> Result<(usize, u32), Lack> {
        let in_service = |index: u32| self.is_in_service(index, wish.now, wish.tried);
        let has_room = |index: u32| self.state_of(index).in_flight() < rules.max[index as usize];
        for (number, tier) in [&self.primaries, &self.backups].into_iter().enumerate() {
            if !tier.members.iter().any(|index| in_service(*index)) {
                continue;
            }
            let open = |index: u32| in_service(index) && has_room(index);
            let before = wish.before.map(|index| index as u32).filter(|index| tier.members.contains(index));
            if let Some(index) = before.filter(|index| open(*index)) {
                return Ok((index as usize, rules.max[index as usize]));
            }
            let ring = rules.rings.as_ref().map(|rings| &rings[number]);
            return self.pick_in(rules, tier, ring, wish, open).ok_or(Lack::Full);
        }
        // Ejected endpoints are the last resort, as for a plain group; what probes found down is not.
        let untried = (0..self.endpoints.len() as u32).filter(|index| !wish.tried.contains(*index as usize));
        let mut left = untried.filter(|index| !self.is_down(self.state_of(*index))).peekable();
        if left.peek().is_none() {
            return Err(Lack::Down);
        }
        let first = left.filter(|index| has_room(*index)).min_by_key(|index| self.state_of(*index).ejected_until());
        first.map(|index| (index as usize, rules.max[index as usize])).ok_or(Lack::Full)
    }

    /// One of the open ones of a tier. One that grows stands aside for as many requests as it lacks of its share, as
    /// long as there is another.
    fn pick_in(
        &self,
        rules: &Rules,
        tier: &Tier,
        ring: Option<&Ring>,
        wish: &Wish<'_>,
        open: impl Fn(u32) -> bool,
    ) -> Option<(usize, u32)> {
        let aside = AtomicUsize::new(wish.seed as usize);
        let cursor = if wish.tried.is_empty() { &self.lasting.cursor } else { &aside };
        let hashed = ring.zip(wish.key);
        let with_max = |index: u32| (index as usize, rules.max[index as usize]);
        let one_of = |available: &dyn Fn(u32) -> bool| match hashed {
            Some((ring, key)) => self.on_ring(rules, tier, (ring, key), wish.now, available),
            None => self.choose(tier, cursor, wish.seed, available).map(with_max),
        };
        if !rules.slow_start.is_zero() {
            let is_grown = |index: u32| self.state_of(index).grown(wish.now, rules.slow_start) >= FULLY_GROWN;
            let joins = |index: u32| open(index) && (is_grown(index) || self.joins(rules, tier, index, wish));
            // The least loaded is chosen among those of full size. One that joins is chosen unless it has more to do: in
            // a quiet group all have the same, and the turns decide.
            let smaller = tier.members.iter().copied().find(|index| joins(*index) && !is_grown(*index));
            if let (Balance::LeastConnections, Some(smaller)) = (self.balance, smaller) {
                let least = one_of(&|index| open(index) && is_grown(index));
                return least.filter(|(index, _)| self.is_less(*index as u32, smaller)).or(Some(with_max(smaller)));
            }
            if tier.members.iter().any(|index| joins(*index)) {
                return one_of(&joins);
            }
        }
        if !tier.members.iter().any(|index| open(*index)) {
            return None;
        }
        one_of(&open)
    }

    /// The first one from the key on that is below its bound. An idle one always is.
    fn on_ring(
        &self,
        rules: &Rules,
        tier: &Tier,
        (ring, key): (&Ring, u64),
        now: Duration,
        available: &dyn Fn(u32) -> bool,
    ) -> Option<(usize, u32)> {
        let weight = |index: u32| self.weight_of(index) * self.state_of(index).grown(now, rules.slow_start).max(1);
        let mut whole = None;
        let mut sum = || {
            let members = tier.members.iter().filter(|index| available(**index));
            members.fold((1u64, 0u64), |(load, weights), index| {
                (load + u64::from(self.state_of(*index).in_flight()), weights + weight(*index))
            })
        };
        for index in ring.walk(key).filter(|index| available(*index)) {
            let load = self.state_of(index).in_flight();
            let most = if load == 0 {
                1
            } else {
                let (total, weights) = *whole.get_or_insert_with(&mut sum);
                let bound = u128::from(BOUND.0 * total) * u128::from(weight(index));
                let bound = bound.div_ceil(u128::from(BOUND.1) * u128::from(weights.max(1)));
                u32::try_from(bound).unwrap_or(u32::MAX)
            };
            if load < most {
                return Some((index as usize, most.min(rules.max[index as usize])));
            }
        }
        // Others took what was below its bound while we walked.
        let least = tier.members.iter().copied().filter(|index| available(*index));
        least.min_by_key(|index| self.state_of(*index).in_flight()).map(|index| {
            let index = index as usize;
            (index, rules.max[index])
        })
    }

    /// Whether an endpoint that grows takes part in this choice: as often as its share has grown. An idle one would win
    /// every choice of the least loaded, so that there it takes part in its share of them only.
    fn joins(&self, rules: &Rules, tier: &Tier, index: u32, wish: &Wish<'_>) -> bool {
        let grown = self.state_of(index).grown(wish.now, rules.slow_start);
        let odds = match self.balance {
            Balance::LeastConnections => {
                let in_service = tier.members.iter().filter(|index| self.is_in_service(**index, wish.now, wish.tried));
                let weights: u64 = in_service.map(|index| self.weight_of(*index)).sum();
                grown * self.weight_of(index) / weights.max(1)
            }
            _ => grown,
        };
        mix(wish.seed ^ u64::from(index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 48 < odds
    }

    fn is_in_service(&self, index: u32, now: Duration, tried: &Tried) -> bool {
        let state = self.state_of(index);
        !tried.contains(index as usize) && !state.is_ejected(now) && !self.is_down(state)
    }

    fn state_of(&self, index: u32) -> &EndpointState {
        &self.endpoints[index as usize].state
    }

    fn weight_of(&self, index: u32) -> u64 {
        u64::from(self.endpoints[index as usize].weight)
    }
}
