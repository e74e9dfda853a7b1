//! Stories of picking, ejecting and counting, on virtual time.

mod rules;
mod waiting;

use std::{sync::Arc, thread, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::config::{Balance, Endpoint, EndpointAddress, HashKey, Outlier, Queue, Retry, Upstream};

/// An upstream of endpoints `(weight, backup)`, with the defaults of the config.
fn upstream(balance: Balance, endpoints: &[(u32, bool)]) -> Upstream {
    let endpoint = |(index, (weight, backup)): (usize, &(u32, bool))| Endpoint {
        address: EndpointAddress::Host("10.0.0.1".into(), 3000 + index as u16),
        weight: *weight,
        backup: *backup,
        max_connections: None,
        tls: false,
        name: format!("10.0.0.1:{}", 3000 + index),
    };
    Upstream {
        name: "app".into(),
        endpoints: endpoints.iter().enumerate().map(endpoint).collect(),
        balance,
        key: HashKey::default(),
        sticky: None,
        slow_start: Duration::ZERO,
        queue: Queue { size: 0, timeout: at(1) },
        probe: None,
        outlier: Outlier { failures: 3, eject: at(10), eject_max: at(300), max_ejected: 0.5, slow: None },
        connect_timeout: at(5),
        keepalive: 64,
        keepalive_timeout: at(60),
        retry: Retry { tries: 2, budget: 0.2 },
        proxy_protocol: None,
        http2: false,
        tls: Default::default(),
    }
}

fn group(upstream: &Upstream) -> Group {
    Group::new(upstream, Vec::new(), Arc::default())
}

fn primaries(balance: Balance, weights: &[u32]) -> Group {
    let endpoints: Vec<(u32, bool)> = weights.iter().map(|weight| (*weight, false)).collect();
    group(&upstream(balance, &endpoints))
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tried(indexes: &[usize]) -> Tried {
    let mut tried = Tried::default();
    indexes.iter().for_each(|index| tried.insert(*index));
    tried
}

/// How often each endpoint is picked in so many requests.
fn shares(group: &Group, endpoints: usize, requests: u64, now: Duration) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    for request in 0..requests {
        counts[group.pick(now, scatter(request), &Tried::default()).unwrap()] += 1;
    }
    counts
}

/// Even bits from a counter (splitmix64).
fn scatter(counter: u64) -> u64 {
    let mut bits = counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Three bad answers, which the bound on ejections counts.
fn fail(group: &Group, index: usize, now: Duration) -> Option<Ejection> {
    (0..3).filter_map(|_| group.report(index, Outcome::BadAnswer, now)).next()
}

fn eject(group: &Group, index: usize, now: Duration) {
    assert!(group.report(index, Outcome::ConnectFailed, now).is_some(), "{index} was not ejected");
}

// ---- round robin --------------------------------------------------------------------------------------------------

#[test]
fn round_robin_gives_each_endpoint_exactly_its_weight() {
    assert_eq!(shares(&primaries(Balance::RoundRobin, &[5, 1, 1]), 3, 7000, at(0)), [5000, 1000, 1000]);
    assert_eq!(shares(&primaries(Balance::RoundRobin, &[2, 2]), 2, 1000, at(0)), [500, 500]);
    assert_eq!(shares(&primaries(Balance::RoundRobin, &[100, 300, 200]), 3, 600, at(0)), [100, 300, 200]);
}

#[test]
fn the_share_of_an_ejected_endpoint_is_spread_over_all_others() {
    let group = primaries(Balance::RoundRobin, &[1, 1, 1, 1]);
    eject(&group, 1, at(0));
    assert_eq!(shares(&group, 4, 3000, at(1)), [1000, 0, 1000, 1000]);
    assert_eq!(shares(&group, 4, 4000, at(11)), [1000; 4]);
}

#[test]
fn workers_share_one_round_robin() {
    let group = primaries(Balance::RoundRobin, &[3, 1]);
    let counts: Vec<Vec<usize>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| shares(&group, 2, 1000, at(0)))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let total = |index: usize| counts.iter().map(|worker| worker[index]).sum::<usize>();
    assert_eq!([total(0), total(1)], [3000, 1000]);
}

#[test]
fn a_request_never_gets_an_endpoint_twice() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::PowerOfTwo, Balance::Random] {
        let group = group(&upstream(balance, &[(1, false), (9, false), (1, true)]));
        let mut tried = Tried::default();
        let mut order = Vec::new();
        while let Some(index) = group.pick(at(0), scatter(order.len() as u64), &tried) {
            tried.insert(index);
            order.push(index);
        }
        assert_eq!(order.last(), Some(&2), "{balance:?}: the backup comes last");
        order.sort();
        assert_eq!(order, [0, 1, 2], "{balance:?}");
    }
    let alone = primaries(Balance::RoundRobin, &[1]);
    assert_eq!(alone.pick(at(0), 0, &Tried::default()), Some(0));
    assert_eq!(alone.pick(at(0), 0, &tried(&[0])), None);
}

#[test]
fn a_second_attempt_takes_no_turn_of_the_next_request() {
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let group = primaries(balance, &[1, 1]);
        let mut first = [0; 2];
        for request in 0..100 {
            let index = group.pick(at(0), scatter(request), &Tried::default()).unwrap();
            first[index] += 1;
            assert_eq!(group.pick(at(0), scatter(request), &tried(&[index])), Some(1 - index));
        }
        assert_eq!(first, [50, 50], "{balance:?}");
    }
}

// ---- backups ------------------------------------------------------------------------------------------------------

#[test]
fn backups_serve_only_while_every_primary_is_out_and_take_turns() {
    let endpoints = [(1, false), (1, false), (1, true), (1, true)];
    for balance in [Balance::RoundRobin, Balance::LeastConnections] {
        let group = group(&upstream(balance, &endpoints));
        eject(&group, 0, at(0));
        assert_eq!(shares(&group, 4, 100, at(1)), [0, 100, 0, 0], "{balance:?}");
        eject(&group, 1, at(1));
        assert_eq!(shares(&group, 4, 100, at(2)), [0, 0, 50, 50], "{balance:?}");
        assert_eq!(shares(&group, 4, 100, at(10)), [100, 0, 0, 0], "{balance:?}");
    }
}

#[test]
fn a_standing_backup_lifts_the_bound_on_ejected_primaries() {
    let group = group(&upstream(Balance::RoundRobin, &[(1, false), (1, false), (1, true)]));
    eject(&group, 0, at(0));
    eject(&group, 1, at(0));
    assert_eq!(group.report(2, Outcome::ConnectFailed, at(0)), None, "the last one stays");
    assert_eq!(group.pick(at(1), 0, &Tried::default()), Some(2));
}

#[test]
fn a_standing_backup_does_not_lift_the_bound_on_backups() {
    let backups = [(1, false), (1, true), (1, true), (1, true), (1, true)];
    let group = group(&upstream(Balance::RoundRobin, &backups));
    assert!(fail(&group, 1, at(0)).is_some() && fail(&group, 2, at(0)).is_some());
    assert_eq!(fail(&group, 3, at(0)), None);
}

// ---- ejection -----------------------------------------------------------------------------------------------------

#[test]
fn three_failures_in_a_row_eject_and_a_good_answer_breaks_the_row() {
    let group = primaries(Balance::RoundRobin, &[1, 1, 1]);
    for outcome in [Outcome::BadAnswer, Outcome::BadAnswer, Outcome::Ok, Outcome::BadAnswer, Outcome::BadAnswer] {
        assert_eq!(group.report(0, outcome, at(0)), None);
    }
    assert_eq!(group.report(0, Outcome::BadAnswer, at(0)), Some(Ejection { for_: at(10) }));
    assert!(!group.is_available(0, at(9)));
    assert!(group.is_available(0, at(10)));
    assert_eq!(group.state(0).ejections(), 1);
}

#[test]
fn one_failed_connect_ejects_at_once() {
    let group = primaries(Balance::RoundRobin, &[1, 1]);
    assert_eq!(group.report(1, Outcome::ConnectFailed, at(0)), Some(Ejection { for_: at(10) }));
}

#[test]
fn reports_that_come_late_do_not_prolong_an_ejection() {
    let group = primaries(Balance::RoundRobin, &[1, 1]);
    eject(&group, 0, at(0));
    assert_eq!(group.report(0, Outcome::ConnectFailed, at(5)), None);
    assert!(group.is_available(0, at(10)));
    assert_eq!(group.state(0).ejections(), 1);
}

#[test]
fn an_endpoint_that_fails_its_trial_stays_out_twice_as_long_up_to_the_maximum() {
    let group = primaries(Balance::RoundRobin, &[1, 1]);
    let mut now = at(0);
    for _ in 0..3 {
        let _ = group.report(0, Outcome::BadAnswer, now);
    }
    for expected in [20, 40, 80, 160, 300, 300] {
        now = (0..1000).map(|second| now + at(second)).find(|now| group.is_available(0, *now)).unwrap();
        // One bad answer is enough: nothing good came since.
        assert_eq!(group.report(0, Outcome::BadAnswer, now), Some(Ejection { for_: at(expected) }));
    }
}

#[test]
fn growth_is_forgotten_after_a_good_time() {
    let group = primaries(Balance::RoundRobin, &[1, 1]);
    eject(&group, 0, at(0));
    eject(&group, 0, at(10));
    assert!(!group.is_available(0, at(29)));
    assert_eq!(group.report(0, Outcome::Ok, at(30)), None);
    assert_eq!(group.report(0, Outcome::ConnectFailed, at(329)), Some(Ejection { for_: at(40) }), "299 s are too few");
    assert_eq!(group.report(0, Outcome::ConnectFailed, at(369 + 300)), Some(Ejection { for_: at(10) }));
}

#[test]
fn no_more_than_the_allowed_share_is_out_and_never_the_last() {
    let ejected = |endpoints: usize, share: f64| {
        let mut upstream = upstream(Balance::RoundRobin, &vec![(1, false); endpoints]);
        upstream.outlier.max_ejected = share;
        let group = group(&upstream);
        (0..endpoints).filter(|index| fail(&group, *index, at(0)).is_some()).count()
    };
    for (endpoints, share, expected) in
        [(1, 1.0, 0), (2, 0.5, 1), (2, 1.0, 1), (3, 0.5, 1), (4, 0.5, 2), (10, 0.05, 1), (10, 1.0, 9), (3, 0.0, 0)]
    {
        assert_eq!(ejected(endpoints, share), expected, "{endpoints} endpoints, {share}");
    }
}

#[test]
fn dead_endpoints_go_out_beyond_the_share_and_leave_it_to_the_sick() {
    let group = primaries(Balance::RoundRobin, &[1; 5]);
    for index in 0..3 {
        eject(&group, index, at(0));
    }
    assert!(fail(&group, 3, at(1)).is_some(), "the dead don't use up the share of the sick");
    assert_eq!(group.report(4, Outcome::ConnectFailed, at(1)), None, "the last one stays");
    assert_eq!(shares(&group, 5, 10, at(2)), [0, 0, 0, 0, 10]);
    let mut never = upstream(Balance::RoundRobin, &[(1, false); 3]);
    never.outlier.max_ejected = 0.0;
    let group = self::group(&never);
    assert_eq!(group.report(0, Outcome::ConnectFailed, at(0)), None, "a share of none ejects nobody");
}

#[test]
fn an_endpoint_that_may_not_go_out_goes_once_another_is_back() {
    let group = primaries(Balance::RoundRobin, &[1, 1]);
    eject(&group, 0, at(0));
    assert_eq!(group.report(1, Outcome::ConnectFailed, at(1)), None);
    assert_eq!(group.state(1).ejections(), 0);
    assert!(group.is_available(1, at(1)));
    assert_eq!(group.report(1, Outcome::BadAnswer, at(10)), Some(Ejection { for_: at(10) }));
}

#[test]
fn with_nothing_else_left_the_ejected_endpoint_that_returns_first_is_tried() {
    let group = primaries(Balance::RoundRobin, &[1, 1, 1, 1]);
    eject(&group, 2, at(0));
    eject(&group, 0, at(1));
    assert_eq!(group.pick(at(2), 0, &tried(&[1, 3])), Some(2));
    assert_eq!(group.pick(at(2), 0, &tried(&[1, 2, 3])), Some(0));
    assert_eq!(group.pick(at(2), 0, &tried(&[0, 1, 2, 3])), None);
}

#[test]
fn a_reload_keeps_states_and_position() {
    let before = upstream(Balance::RoundRobin, &[(1, false); 3]);
    let states: Vec<Arc<EndpointState>> = (0..3).map(|_| Arc::default()).collect();
    let lasting = Arc::<Lasting>::default();
    let old = Group::new(&before, states.clone(), Arc::clone(&lasting));
    eject(&old, 1, at(0));
    let open = old.begin(0);
    assert_eq!(old.pick(at(1), 0, &Tried::default()), Some(0));
    let new = Group::new(&before, states.clone(), lasting);
    drop(old);
    assert_eq!(new.pick(at(1), 0, &Tried::default()), Some(2));
    assert_eq!(new.state(0).in_flight(), 1);
    drop(open);
    assert_eq!(new.state(0).in_flight(), 0);

    // A config that keeps only what is ejected still serves.
    let fewer = Group::new(&upstream(Balance::RoundRobin, &[(1, false)]), vec![Arc::clone(&states[1])], Arc::default());
    assert!(fewer.is_available(0, at(1)));
    assert_eq!(fewer.pick(at(1), 0, &Tried::default()), Some(0));
}

// ---- by load ------------------------------------------------------------------------------------------------------

#[test]
fn least_connections_shares_evenly_while_all_are_idle() {
    assert_eq!(shares(&primaries(Balance::LeastConnections, &[1, 1, 1]), 3, 300, at(0)), [100; 3]);
    assert_eq!(shares(&primaries(Balance::LeastConnections, &[3, 1]), 2, 400, at(0)), [300, 100]);
}

#[test]
fn least_connections_keeps_requests_in_flight_at_the_weights() {
    let group = primaries(Balance::LeastConnections, &[3, 1, 2]);
    let _open: Vec<InFlight> =
        (0..600).map(|_| group.begin(group.pick(at(0), 0, &Tried::default()).unwrap())).collect();
    assert_eq!([0, 1, 2].map(|index| group.state(index).in_flight()), [300, 100, 200]);
}

#[test]
fn random_draws_by_weight() {
    let counts = shares(&primaries(Balance::Random, &[1, 2, 5]), 3, 80_000, at(0));
    for (count, fair) in counts.iter().zip([10_000, 20_000, 50_000usize]) {
        assert!(count.abs_diff(fair) < 600, "{counts:?}");
    }
}

#[test]
fn power_of_two_of_two_is_the_less_loaded() {
    let group = primaries(Balance::PowerOfTwo, &[1, 1]);
    let _open = group.begin(0);
    assert_eq!(shares(&group, 2, 1000, at(0)), [0, 1000]);
}

#[test]
fn power_of_two_never_takes_the_most_loaded_and_draws_by_weight() {
    let group = primaries(Balance::PowerOfTwo, &[1, 1, 1, 1]);
    let open = group.begin(3);
    assert_eq!(shares(&group, 4, 1000, at(0))[3], 0);
    drop(open);
    for count in shares(&group, 4, 40_000, at(0)) {
        assert!((9_500..10_500).contains(&count), "{count} of 10,000");
    }
    eject(&group, 1, at(0));
    let rest = shares(&group, 4, 40_000, at(1));
    for index in [0, 2, 3] {
        assert!((12_500..14_200).contains(&rest[index]), "{rest:?}");
    }
    let weighted = shares(&primaries(Balance::PowerOfTwo, &[3, 1]), 2, 40_000, at(0));
    assert!((29_500..30_500).contains(&weighted[0]), "{weighted:?}");
}

proptest! {
    #[test]
    fn least_connections_is_the_naive_choice(
        endpoints in prop::collection::vec((1u32..5, 0u32..9, any::<bool>()), 1..8),
        first in 0usize..8,
    ) {
        let weights: Vec<u32> = endpoints.iter().map(|(weight, ..)| *weight).collect();
        let group = primaries(Balance::LeastConnections, &weights);
        let _open: Vec<InFlight> = endpoints.iter().enumerate()
            .flat_map(|(index, (_, load, _))| (0..*load).map(move |_| index))
            .map(|index| group.begin(index)).collect();
        let used: Vec<usize> = (0..endpoints.len()).filter(|index| endpoints[*index].2).collect();
        for _ in 0..first {
            group.pick(at(0), 0, &Tried::default());
        }
        let load = |index: usize| f64::from(endpoints[index].1) / f64::from(endpoints[index].0);
        let open = (0..endpoints.len()).filter(|index| !used.contains(index));
        let least = open.map(load).min_by(f64::total_cmp);
        prop_assert_eq!(group.pick(at(0), 0, &tried(&used)).map(load), least);
    }

    #[test]
    fn whatever_happens_a_pick_is_fresh_some_endpoint_is_in_and_every_request_is_counted_out(
        balance in prop_oneof![
            Just(Balance::RoundRobin),
            Just(Balance::LeastConnections),
            Just(Balance::PowerOfTwo),
            Just(Balance::Random),
        ],
        endpoints in prop::collection::vec((1u32..4, any::<bool>()), 1..7),
        share in 0.0..=1.0f64,
        steps in prop::collection::vec((any::<u64>(), 0u64..15, 0u8..5), 1..200),
    ) {
        let mut upstream = upstream(balance, &endpoints);
        upstream.outlier.max_ejected = share;
        let group = group(&upstream);
        let mut now = at(0);
        let mut used = Tried::default();
        let mut open = Vec::new();
        for (seed, seconds, outcome) in steps {
            now += at(seconds);
            let Some(index) = group.pick(now, seed, &used) else {
                prop_assert!((0..endpoints.len()).all(|index| used.contains(index)));
                used = Tried::default();
                continue;
            };
            prop_assert!(!used.contains(index));
            let spare = |index: &usize| !used.contains(*index) && group.is_available(*index, now);
            let any_spare = (0..endpoints.len()).any(|index| spare(&index));
            prop_assert_eq!(spare(&index), any_spare, "an ejected one only as the last resort");
            let any_primary = (0..endpoints.len()).any(|index| spare(&index) && !endpoints[index].1);
            prop_assert!(!any_primary || !endpoints[index].1, "a backup only without a primary");
            open.push(group.begin(index));
            match outcome {
                0 => drop(group.report(index, Outcome::BadAnswer, now)),
                1 | 2 => drop(group.report(index, Outcome::ConnectFailed, now)),
                3 => drop(group.report(index, Outcome::Ok, now)),
                _ => open.clear(),
            }
            prop_assert!((0..endpoints.len()).any(|index| group.is_available(index, now)), "all are out");
            if outcome > 2 { used = Tried::default() } else { used.insert(index) }
        }
        let counted: u32 = (0..endpoints.len()).map(|index| group.state(index).in_flight()).sum();
        prop_assert_eq!(counted as usize, open.len());
        drop(open);
        prop_assert!((0..endpoints.len()).all(|index| group.state(index).in_flight() == 0));
    }
}

#[test]
fn workers_that_eject_at_once_never_take_the_last_endpoint() {
    for round in 0..200 {
        let group = primaries(Balance::RoundRobin, &[1, 1, 1, 1]);
        let out: usize = thread::scope(|scope| {
            let worker = |index| {
                scope.spawn({
                    let group = &group;
                    move || group.report(index, Outcome::ConnectFailed, at(round)).is_some()
                })
            };
            let workers: Vec<_> = (0..4).map(worker).collect();
            workers.into_iter().map(|worker| usize::from(worker.join().unwrap())).sum()
        });
        assert!(out <= 3, "{out} of 4 are out");
        let available = (0..4).filter(|index| group.is_available(*index, at(round))).count();
        assert_eq!(available, 4 - out);
    }
}

#[test]
fn workers_that_begin_and_end_requests_leave_no_count_behind() {
    let group = primaries(Balance::LeastConnections, &[1, 1, 1]);
    thread::scope(|scope| {
        for worker in 0..4u64 {
            let group = &group;
            scope.spawn(move || {
                for request in 0..2_000 {
                    let now = Duration::from_millis(request);
                    let index = group.pick(now, worker ^ request, &Tried::default()).unwrap();
                    let open = group.begin(index);
                    let bad = request % 7 == worker;
                    group.report(index, if bad { Outcome::ConnectFailed } else { Outcome::Ok }, now);
                    drop(open);
                }
            });
        }
    });
    assert_eq!([0, 1, 2].map(|index| group.state(index).in_flight()), [0; 3]);
}
