//! Stories of what a group adds to its policy: limits, rings, cookies, slow starts, probes.

use super::*;

fn with(balance: Balance, count: usize, change: impl FnOnce(&mut Upstream)) -> Group {
    let mut upstream = upstream(balance, &vec![(1, false); count]);
    change(&mut upstream);
    group(&upstream)
}

fn limit(upstream: &mut Upstream, most: u32) {
    upstream.endpoints.iter_mut().for_each(|endpoint| endpoint.max_connections = Some(most));
}

fn wish<'a>(now: Duration, seed: u64, tried: &'a Tried) -> Wish<'a> {
    Wish { now, seed: scatter(seed), tried, key: None, before: None }
}

/// How often each endpoint is taken in so many requests, each of which ends at once.
fn taken(group: &Group, endpoints: usize, requests: u64, now: Duration) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    for request in 0..requests {
        let (index, _) = group.take(&wish(now, request, &Tried::default())).unwrap();
        counts[index] += 1;
    }
    counts
}

fn by_key(group: &Group, key: u64) -> (usize, InFlight) {
    let tried = Tried::default();
    group.take(&Wish { key: Some(key_hash(&key.to_le_bytes())), ..wish(at(0), key, &tried) }).unwrap()
}

// ---- limits -------------------------------------------------------------------------------------------------------

#[test]
fn a_full_group_says_so_and_a_place_that_is_given_back_is_taken() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::PowerOfTwo, Balance::Random, Balance::Hash]
    {
        let group = with(balance, 2, |upstream| limit(upstream, 3));
        let tried = Tried::default();
        let mut open: Vec<_> = (0..6).map(|seed| group.take(&wish(at(0), seed, &tried)).unwrap()).collect();
        assert_eq!([0, 1].map(|index| group.state(index).in_flight()), [3, 3], "{balance:?}");
        assert_eq!(group.take(&wish(at(0), 7, &tried)).unwrap_err(), Lack::Full);
        let (index, _) = open.pop().unwrap();
        assert_eq!(group.take(&wish(at(0), 8, &tried)).unwrap().0, index);
    }
}

#[test]
fn a_full_primary_is_not_out_so_that_its_backup_stays_one() {
    let mut upstream = upstream(Balance::RoundRobin, &[(1, false), (1, true)]);
    upstream.endpoints[0].max_connections = Some(1);
    let group = group(&upstream);
    let tried = Tried::default();
    let open = group.take(&wish(at(0), 0, &tried)).unwrap();
    assert_eq!(open.0, 0);
    assert_eq!(group.take(&wish(at(0), 1, &tried)).unwrap_err(), Lack::Full);
    eject(&group, 0, at(0));
    assert_eq!(group.take(&wish(at(1), 2, &tried)).unwrap().0, 1);
}

#[test]
fn workers_that_begin_at_once_never_overstep_a_limit() {
    let group = with(Balance::LeastConnections, 3, |upstream| limit(upstream, 2));
    thread::scope(|scope| {
        for worker in 0..6u64 {
            let group = &group;
            scope.spawn(move || {
                for request in 0..3_000 {
                    if let Ok((index, open)) = group.take(&wish(at(0), worker ^ request, &Tried::default())) {
                        assert!(group.state(index).in_flight() <= 2);
                        drop(open);
                    }
                }
            });
        }
    });
    assert_eq!([0, 1, 2].map(|index| group.state(index).in_flight()), [0; 3]);
}

// ---- hash ---------------------------------------------------------------------------------------------------------

#[test]
fn a_key_stays_on_its_endpoint_and_goes_to_its_next_while_that_is_out() {
    let group = with(Balance::Hash, 5, |_| {});
    let owners: Vec<_> = (0..500).map(|key| by_key(&group, key).0).collect();
    assert_eq!(owners, (0..500).map(|key| by_key(&group, key).0).collect::<Vec<_>>());
    eject(&group, 2, at(0));
    let tried = Tried::default();
    for (key, owner) in owners.iter().enumerate() {
        let wish = Wish { key: Some(key_hash(&(key as u64).to_le_bytes())), ..wish(at(1), 0, &tried) };
        let (index, _) = group.take(&wish).unwrap();
        assert!(index == *owner || *owner == 2, "{key} moved from {owner} to {index}");
        assert_ne!(index, 2);
    }
}

#[test]
fn one_hot_key_loads_no_endpoint_beyond_its_bound() {
    let group = with(Balance::Hash, 4, |_| {});
    let mut open = Vec::new();
    for requests in 1..=400u32 {
        open.push(by_key(&group, 7));
        let most = (0..4).map(|index| group.state(index).in_flight()).max().unwrap();
        assert!(most <= (requests * 5).div_ceil(16), "{most} of {requests}");
    }
}

#[test]
fn a_thousand_endpoints_make_a_ring_and_a_request_without_a_key_takes_its_turn() {
    let group = with(Balance::Hash, 1000, |_| {});
    let mut owners: Vec<_> = (0..4000).map(|key| by_key(&group, key).0).collect();
    owners.sort_unstable();
    owners.dedup();
    assert!(owners.len() > 900, "{}", owners.len());
    assert_eq!(taken(&group, 1000, 1000, at(0)), [1; 1000]);
}

// ---- the endpoint of before ---------------------------------------------------------------------------------------

#[test]
fn a_client_stays_on_its_endpoint_until_that_is_out_or_full() {
    let group = with(Balance::LeastConnections, 3, |upstream| {
        upstream.sticky = Some("app".into());
        limit(upstream, 2);
    });
    let tried = Tried::default();
    let back = Wish { before: Some(1), ..wish(at(0), 0, &tried) };
    let first = group.take(&back).unwrap();
    let second = group.take(&back).unwrap();
    assert_eq!((first.0, second.0), (1, 1));
    assert_ne!(group.take(&back).unwrap().0, 1, "full");
    drop((first, second));
    eject(&group, 1, at(0));
    assert_ne!(group.take(&Wish { now: at(1), ..back }).unwrap().0, 1, "ejected");
    assert_eq!(group.take(&Wish { now: at(11), ..back }).unwrap().0, 1);
    assert!(group.take(&Wish { before: Some(99), now: at(11), ..back }).is_ok(), "of a longer list");
}

// ---- slow start ---------------------------------------------------------------------------------------------------

#[test]
fn the_share_of_an_endpoint_that_is_back_grows_evenly() {
    for balance in [Balance::RoundRobin, Balance::Random, Balance::PowerOfTwo, Balance::LeastConnections] {
        let group = with(balance, 4, |upstream| upstream.slow_start = at(100));
        assert!(taken(&group, 4, 4000, at(0))[1] > 800, "{balance:?}: nobody grows at the start");
        eject(&group, 1, at(0));
        let share = |seconds: u64| taken(&group, 4, 40_000, at(10 + seconds))[1];
        for (seconds, fair) in [(0, 0), (25, 2_500), (50, 5_000), (75, 7_500), (100, 10_000)] {
            let share = share(seconds);
            assert!(share.abs_diff(fair) < 700, "{balance:?} after {seconds} s: {share}, not {fair}");
        }
    }
}

#[test]
fn an_endpoint_that_grows_gets_fewer_of_its_keys_and_a_lower_bound() {
    let group = with(Balance::Hash, 4, |upstream| upstream.slow_start = at(100));
    let tried = Tried::default();
    let share = |now: Duration| {
        let owner = |key: u64| {
            let wish = Wish { key: Some(scatter(key)), ..wish(now, key, &tried) };
            group.take(&wish).unwrap().0
        };
        (0..20_000).filter(|key| owner(*key) == 1).count()
    };
    let whole = share(at(0));
    eject(&group, 1, at(0));
    assert!(share(at(60)).abs_diff(whole / 2) < 400, "{} of {whole}", share(at(60)));
    assert!(share(at(110)).abs_diff(whole) < 10);
}

#[test]
fn the_only_endpoint_gets_everything_while_it_grows_and_a_new_one_grows_too() {
    let group = with(Balance::RoundRobin, 2, |upstream| upstream.slow_start = at(100));
    group.state(1).arrived(at(50));
    assert!(taken(&group, 2, 1000, at(51))[1] < 30);
    eject(&group, 0, at(50));
    assert_eq!(taken(&group, 2, 1000, at(51)), [0, 1000]);
}

// ---- probes -------------------------------------------------------------------------------------------------------

fn probed(group: &Group, index: usize, good: bool, now: Duration) -> Option<bool> {
    group.state(index).probed(good, 2, 3, now)
}

fn probing(upstream: &mut Upstream) {
    upstream.probe = Some(crate::config::Probe { ask: None, every: at(2), timeout: at(1), fall: 2, rise: 3 });
}

#[test]
fn probes_take_an_endpoint_down_and_bring_it_up_again() {
    let mut two = upstream(Balance::RoundRobin, &[(1, false), (1, true)]);
    probing(&mut two);
    let group = group(&two);
    let story = [(false, None), (true, None), (false, None), (false, Some(false)), (false, None), (true, None)];
    for (good, change) in story {
        assert_eq!(probed(&group, 0, good, at(0)), change);
    }
    assert_eq!(taken(&group, 2, 10, at(0)), [0, 10], "its backup stands in");
    assert!(!group.is_available(0, at(0)));
    assert_eq!((probed(&group, 0, true, at(1)), probed(&group, 0, true, at(1))), (None, Some(true)));
    assert_eq!(taken(&group, 2, 10, at(1)), [10, 0]);
}

#[test]
fn all_down_is_down_even_a_single_one_and_ejection_spares_the_last_that_is_up() {
    let group = with(Balance::RoundRobin, 2, probing);
    let tried = Tried::default();
    (0..2).for_each(|_| _ = probed(&group, 0, false, at(0)));
    assert_eq!(group.report(1, Outcome::ConnectFailed, at(0)), None, "the last one stays");
    (0..2).for_each(|_| _ = probed(&group, 1, false, at(0)));
    assert_eq!(group.take(&wish(at(0), 0, &tried)).unwrap_err(), Lack::Down);
    let alone = with(Balance::RoundRobin, 1, probing);
    (0..2).for_each(|_| _ = probed(&alone, 0, false, at(0)));
    assert_eq!(alone.take(&wish(at(0), 0, &tried)).unwrap_err(), Lack::Down);
}

#[test]
fn a_group_that_probes_no_more_forgets_what_probes_found() {
    let group = with(Balance::RoundRobin, 2, probing);
    (0..2).for_each(|_| _ = probed(&group, 0, false, at(0)));
    let states = (0..2).map(|index| Arc::clone(group.state(index))).collect();
    let plain = Group::new(&upstream(Balance::RoundRobin, &[(1, false); 2]), states, Arc::default());
    assert_eq!(shares(&plain, 2, 10, at(0)), [5, 5]);
}

proptest! {
    #[test]
    fn with_every_rule_at_once_a_take_is_open_fresh_and_counted(
        balance in prop_oneof![
            Just(Balance::RoundRobin), Just(Balance::LeastConnections), Just(Balance::PowerOfTwo),
            Just(Balance::Random), Just(Balance::Hash),
        ],
        endpoints in prop::collection::vec((1u32..4, any::<bool>(), 1u32..4), 1..6),
        steps in prop::collection::vec((any::<u64>(), 0u64..15, 0u8..8), 1..200),
    ) {
        let weights: Vec<_> = endpoints.iter().map(|(weight, backup, _)| (*weight, *backup)).collect();
        let mut upstream = upstream(balance, &weights);
        probing(&mut upstream);
        upstream.slow_start = at(20);
        upstream.sticky = Some("app".into());
        for (endpoint, (_, _, most)) in upstream.endpoints.iter_mut().zip(&endpoints) {
            endpoint.max_connections = Some(*most);
        }
        let group = group(&upstream);
        let (mut now, mut used, mut open) = (at(0), Tried::default(), Vec::new());
        for (seed, seconds, what) in steps {
            now += at(seconds);
            let down = |index: usize| group.state(index).is_down();
            let room = |index: usize| group.state(index).in_flight() < endpoints[index].2;
            let serves = |index: usize| !used.contains(index) && !down(index) && !group.state(index).is_ejected(now);
            let primary = (0..endpoints.len()).any(|index| serves(index) && !endpoints[index].1);
            let tier = |index: usize| serves(index) && (!primary || !endpoints[index].1);
            let any_serves = (0..endpoints.len()).any(serves);
            let key = (seed % 3 > 0).then_some(seed);
            let before = (seed % 5 == 0).then_some(seed as usize % endpoints.len());
            let wish = Wish { now, seed, tried: &used, key, before };
            match group.take(&wish) {
                Ok((index, in_flight)) => {
                    prop_assert!(!used.contains(index) && !down(index));
                    prop_assert!(tier(index) || !any_serves);
                    prop_assert!(group.state(index).in_flight() <= endpoints[index].2);
                    open.push(in_flight);
                    match what {
                        0 => drop(group.report(index, Outcome::BadAnswer, now)),
                        1 => drop(group.report(index, Outcome::ConnectFailed, now)),
                        2 => drop(probed(&group, index, false, now)),
                        _ => {}
                    }
                    used.insert(index);
                }
                Err(Lack::Full) => {
                    prop_assert!(!(0..endpoints.len()).any(|index| tier(index) && room(index)));
                    open.clear();
                }
                Err(Lack::Down) => {
                    prop_assert!((0..endpoints.len()).all(|index| used.contains(index) || down(index)));
                    used = Tried::default();
                }
            }
            if what > 5 {
                (0..endpoints.len()).for_each(|index| _ = probed(&group, index, true, now));
                used = Tried::default();
            }
        }
        drop(open);
        prop_assert!((0..endpoints.len()).all(|index| group.state(index).in_flight() == 0));
    }
}
