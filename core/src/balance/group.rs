//! An upstream's endpoints under one policy: picks one for a request, and hears how it went.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use smallvec::SmallVec;

use super::{
    Ejection, EndpointState, InFlight, Lasting,
    rules::{Lack, Rules, Wish},
    sequence::smooth,
};
use crate::config::{Balance, Outlier, Upstream};

/// What one failed connect counts in failures.
const CONNECT_FAILURES: u32 = 3;

/// An upstream's endpoints, immutable beside the states they share; indexes are those of [`Upstream::endpoints`].
#[derive(Debug)]
pub struct Group {
    pub(super) endpoints: Box<[Member]>,
    pub(super) primaries: Tier,
    pub(super) backups: Tier,
    pub(super) balance: Balance,
    outlier: Outlier,
    /// How many may be out at once because of their answers.
    ejected_max: usize,
    pub(super) lasting: Arc<Lasting>,
    /// What a plain group does without: a request to one pays for a look at this None.
    pub(super) rules: Option<Box<Rules>>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) state: Arc<EndpointState>,
    pub(super) weight: u32,
    pub(super) backup: bool,
}

/// Endpoints that stand in for each other.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) members: Box<[u32]>,
    /// Each member as often as its weight. Empty where all weigh the same: then the members are the sequence.
    weighted: Box<[u32]>,
}

/// How a request went, as far as its endpoint is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; ends a row of failures.
    Ok,
    /// It answered badly, late or not to the end; one failure.
    BadAnswer,
    /// It could not be reached; three failures.
    ConnectFailed,
}

/// The endpoints that one request has tried.
#[derive(Debug, Clone, Default)]
pub struct Tried(SmallVec<[u32; 4]>);

impl Tried {
    /// Adds one; adding it twice is harmless.
    pub fn insert(&mut self, index: usize) {
        if !self.contains(index) {
            self.0.push(index as u32);
        }
    }

    /// Whether it was tried.
    pub fn contains(&self, index: usize) -> bool {
        self.0.contains(&(index as u32))
    }

    /// Whether this is the first attempt.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Group {
    /// A group over states that may be older than it: one an endpoint, in the same order. A missing one is made
    /// fresh, spare ones are ignored. `lasting` lives as long as the states.
    pub fn new(upstream: &Upstream, states: Vec<Arc<EndpointState>>, lasting: Arc<Lasting>) -> Self {
        let mut states = states.into_iter();
        let member = |endpoint: &crate::config::Endpoint| Member {
            state: states.next().unwrap_or_default(),
            weight: endpoint.weight.max(1),
            backup: endpoint.backup,
        };
        let endpoints: Box<[Member]> = upstream.endpoints.iter().map(member).collect();
        let rules = Rules::of(upstream).map(Box::new);
        if rules.as_ref().is_some_and(|rules| rules.queue) {
            endpoints.iter().for_each(|member| member.state.let_wait(&lasting));
        }
        Self {
            primaries: Tier::new(&endpoints, false),
            backups: Tier::new(&endpoints, true),
            balance: upstream.balance,
            outlier: upstream.outlier,
            ejected_max: ejected_max(endpoints.len(), upstream.outlier.max_ejected),
            endpoints,
            lasting,
            rules,
        }
    }

    /// Whether requests need [`Self::take`]; else [`Self::pick`] and [`Self::begin`] are the same for less.
    pub fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// The endpoint for the next attempt, within every rule of the group, with the request counted on it.
    ///
    /// As [`Self::pick`]; beside it none that probes found down, none with `max_connections` in flight, one that grows
    /// only as far as it has. A backup only when no primary is in service: full is not out.
    pub fn take(&self, wish: &Wish<'_>) -> Result<(usize, InFlight), Lack> {
        match &self.rules {
            Some(rules) => self.take_by(rules, wish),
            None => {
                let index = self.pick(wish.now, wish.seed, wish.tried).ok_or(Lack::Down)?;
                Ok((index, self.begin(index)))
            }
        }
    }

    /// What lasts across reloads: who waits.
    pub fn lasting(&self) -> &Arc<Lasting> {
        &self.lasting
    }

    /// The endpoint for the next attempt of a request; never one in `tried`.
    ///
    /// A backup only when no primary is available, that is neither ejected nor tried. Ejected endpoints are the last
    /// resort, the one that comes back first before the others, so that None means: all were tried. `seed` is random
    /// bits, for `power_of_two` and for second attempts.
    pub fn pick(&self, now: Duration, seed: u64, tried: &Tried) -> Option<usize> {
        if self.endpoints.len() == 1 {
            return tried.is_empty().then_some(0);
        }
        let available = |index: u32| self.is_open(index, now, tried);
        // A second attempt takes no turn of the next request's: of two endpoints, the bad one would get every turn.
        let aside = AtomicUsize::new(seed as usize);
        let cursor = if tried.is_empty() { &self.lasting.cursor } else { &aside };
        // A tier is chosen before the cursor moves: else a dead tier would take every second step.
        for tier in [&self.primaries, &self.backups] {
            if tier.members.iter().any(|index| available(*index))
                && let Some(index) = self.choose(tier, cursor, seed, available)
            {
                return Some(index as usize);
            }
        }
        let untried = (0..self.endpoints.len()).filter(|index| !tried.contains(*index));
        untried.min_by_key(|index| self.endpoints[*index].state.ejected_until())
    }

    /// Counts a request on the endpoint until the guard is dropped. `index` is one that [`Self::pick`] gave.
    pub fn begin(&self, index: usize) -> InFlight {
        self.endpoints[index].state.begin()
    }

    /// Hears how an attempt went; Some when this report took the endpoint out.
    ///
    /// `failures` in a row eject for `eject`, doubling with each ejection up to `eject_max`; the growth is forgotten
    /// once the endpoint has been back for `eject_max`. When its time is over the endpoint is simply available again,
    /// and its row of failures stands: the next failure ejects it at once, the next good answer clears it.
    ///
    /// At most `max_ejected` of all endpoints are out at once for their answers (rounded down, but one may always be
    /// unless the share is 0, which ejects nobody); the bound does not hold for a primary as long as some backup is
    /// available, for that is what a backup is for. Nor does it hold for what can't be reached: sparing a dead endpoint
    /// spares nobody work. The last available endpoint, primary or backup, is never ejected.
    pub fn report(&self, index: usize, outcome: Outcome, now: Duration) -> Option<Ejection> {
        let member = &self.endpoints[index];
        let failures = match outcome {
            Outcome::Ok => {
                member.state.succeed();
                return None;
            }
            Outcome::BadAnswer => member.state.fail(1),
            Outcome::ConnectFailed => member.state.fail(CONNECT_FAILURES),
        };
        if failures < self.outlier.failures || self.ejected_max == 0 {
            return None;
        }
        let unreachable = outcome == Outcome::ConnectFailed;
        member.state.eject(&self.outlier, now, unreachable, || self.may_stay_out(member, unreachable, now))
    }

    /// Whether the endpoint is neither ejected nor found down by probes.
    pub fn is_available(&self, index: usize, now: Duration) -> bool {
        let state = &self.endpoints[index].state;
        !self.is_down(state) && (self.endpoints.len() == 1 || !state.is_ejected(now))
    }

    /// The endpoint's state, for metrics.
    pub fn state(&self, index: usize) -> &Arc<EndpointState> {
        &self.endpoints[index].state
    }

    /// Asked when the member is already marked as out.
    fn may_stay_out(&self, member: &Member, unreachable: bool, now: Duration) -> bool {
        let is_in = |other: &Member| !other.state.is_ejected(now) && !self.is_down(&other.state);
        if !self.endpoints.iter().any(is_in) {
            return false;
        }
        let out = || self.endpoints.iter().filter(|other| other.state.is_ejected_for_answers(now)).count();
        let backup_stands_by = || self.backups.members.iter().any(|index| self.is_available(*index as usize, now));
        unreachable || out() <= self.ejected_max || (!member.backup && backup_stands_by())
    }

    /// A state remembers probes that no group asks for any more.
    pub(super) fn is_down(&self, state: &EndpointState) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.probes) && state.is_down()
    }

    /// One of the tier's that are available, as the policy has it.
    pub(super) fn choose(
        &self,
        tier: &Tier,
        cursor: &AtomicUsize,
        seed: u64,
        available: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        match self.balance {
            // Without a key, a request has no place on the ring.
            Balance::RoundRobin | Balance::Hash => tier.next(cursor, available),
            Balance::LeastConnections => self.least(tier, cursor, available),
            Balance::PowerOfTwo => self.lesser_of_two(tier, seed, available),
            Balance::Random => self.draw(tier, seed as u32, available),
        }
    }

    fn is_open(&self, index: u32, now: Duration, tried: &Tried) -> bool {
        let index = index as usize;
        !tried.contains(index) && !self.endpoints[index].state.is_ejected(now)
    }

    /// Fewest in flight by weight. Ties go to the round robin's choice, else to the next after it.
    fn least(&self, tier: &Tier, cursor: &AtomicUsize, available: impl Fn(u32) -> bool) -> Option<u32> {
        let turn = cursor.fetch_add(1, Relaxed);
        let (before, after) = tier.members.split_at(turn % tier.members.len());
        let order = [tier.at(turn)].into_iter().chain(after.iter().copied()).chain(before.iter().copied());
        order
            .filter(|index| available(*index))
            .reduce(|best, index| if self.is_less(index, best) { index } else { best })
    }

    /// Two different ones, drawn by weight; the first of them unless the second is less loaded.
    fn lesser_of_two(&self, tier: &Tier, seed: u64, available: impl Fn(u32) -> bool) -> Option<u32> {
        let first = self.draw(tier, seed as u32, &available)?;
        let second = self.draw(tier, (seed >> 32) as u32, |index| index != first && available(index));
        second.filter(|second| self.is_less(*second, first)).or(Some(first))
    }

    /// One of those that are available, each as likely as its weight; `random` is 0 to `u32::MAX`.
    fn draw(&self, tier: &Tier, random: u32, available: impl Fn(u32) -> bool) -> Option<u32> {
        let scale = |random: u32, total: u64| (u128::from(random) * u128::from(total)) >> 32;
        let sequence = tier.sequence();
        let likely = *sequence.get(scale(random, sequence.len() as u64) as usize)?;
        if available(likely) {
            return Some(likely);
        }
        // The draw is repeated among the others; with the same bits it would favour the neighbours of the first hit.
        let random = random.wrapping_mul(0x9e37_79b9).rotate_left(16);
        let weight = |index: u32| u64::from(self.endpoints[index as usize].weight);
        let open = || tier.members.iter().copied().filter(|index| available(*index));
        let total: u64 = open().map(weight).sum();
        let mut point = scale(random, total) as u64;
        open().find(|index| {
            let hit = point < weight(*index);
            point = point.saturating_sub(weight(*index));
            hit
        })
    }

    /// Whether one is less loaded than the other, by weight.
    pub(super) fn is_less(&self, one: u32, other: u32) -> bool {
        let (one, other) = (&self.endpoints[one as usize], &self.endpoints[other as usize]);
        let scaled = |load: &Member, by: &Member| u64::from(load.state.in_flight()) * u64::from(by.weight);
        scaled(one, other) < scaled(other, one)
    }
}

impl Tier {
    fn new(endpoints: &[Member], backup: bool) -> Self {
        let all = endpoints.iter().enumerate().filter(|(_, member)| member.backup == backup);
        let members: Vec<(u32, u32)> = all.map(|(index, member)| (index as u32, member.weight)).collect();
        let sequence = smooth(&members);
        let weighted = if sequence.len() > members.len() { sequence } else { Box::default() };
        Self { members: members.into_iter().map(|(index, _)| index).collect(), weighted }
    }

    fn sequence(&self) -> &[u32] {
        if self.weighted.is_empty() { &self.members } else { &self.weighted }
    }

    fn at(&self, turn: usize) -> u32 {
        let sequence = self.sequence();
        sequence[turn % sequence.len()]
    }

    /// The next available one. An unavailable one uses up its turn, so that it is not its neighbour alone that gets
    /// its share.
    fn next(&self, cursor: &AtomicUsize, available: impl Fn(u32) -> bool) -> Option<u32> {
        for _ in 0..self.sequence().len() {
            let index = self.at(cursor.fetch_add(1, Relaxed));
            if available(index) {
                return Some(index);
            }
        }
        // Other workers took the turns of those that are available.
        self.members.iter().copied().find(|index| available(*index))
    }
}

fn ejected_max(endpoints: usize, share: f64) -> usize {
    match endpoints {
        0 | 1 => 0,
        _ if share <= 0.0 => 0,
        _ => ((endpoints as f64 * share) as usize).max(1),
    }
}
