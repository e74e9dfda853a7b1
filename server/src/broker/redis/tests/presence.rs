//! Who is present, and processes that die.

use testkit::Redis;

use super::*;

#[test]
fn who_comes_and_goes_everybody_learns() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    two.enter("a", "you").unwrap();
    one.enter("a", "me").unwrap();
    // Who comes again is told nobody.
    one.enter("a", "me").unwrap();
    let told = one.told_until(|told| *told == Told::Join("me".into()));
    assert_eq!(told, [Told::Join("you".into()), Told::Join("me".into())]);
    assert_eq!(one.present("a"), ["you", "me"]);
    two.leave("a", "you");
    assert_eq!(one.told_until(|_| true), [Told::Leave("you".into())]);
    assert_eq!(two.present("a"), ["me"]);
    let quiet = Member { id: "quiet".into(), who: None, since: now() };
    two.run(two.broker.enter(&"a".into(), quiet, false)).unwrap();
    assert_eq!(one.present("a"), ["me", "quiet"]);
    two.leave("a", "quiet");
    eventually(PATIENCE, || one.present("a") == ["me"]);
    two.publish("a", "end").unwrap();
    assert_eq!(one.told_until_text("end").len(), 1);
}

#[test]
fn the_members_of_a_process_that_ends_leave_at_once() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    two.enter("a", "you").unwrap();
    two.run(two.broker.end());
    assert_eq!(
        one.told_until(|told| matches!(told, Told::Leave(_))),
        [Told::Join("you".into()), Told::Leave("you".into())]
    );
    assert_eq!(redis.ask(&["EXISTS", "rsp:{a}:members", "rsp:{a}:nodes"]), "0");
}

#[test]
fn the_members_of_a_process_that_was_killed_leave_once() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    one.enter("a", "me").unwrap();
    two.enter("a", "you").unwrap();
    two.enter("a", "your friend").unwrap();
    let Broker::Redis(broker) = &*two.broker else { panic!() };
    let node = broker.shared.id.to_string();
    assert_eq!(redis.ask(&["ZCARD", "rsp:{a}:nodes"]), "2");
    let left: i64 = redis.ask(&["PTTL", "rsp:{a}:members"]).parse().unwrap();
    assert!(left > 60_000, "{left}");
    drop(two);
    // As if its time were over.
    redis.ask(&["ZADD", "rsp:{a}:nodes", "1", &node]);
    // The comparison of positions sweeps, too: nobody asks who is there.
    let told = one.told_until(|told| matches!(told, Told::Leave(_)));
    let mut told: Vec<_> = told.into_iter().filter(|told| matches!(told, Told::Leave(_))).collect();
    while told.len() < 2 {
        told.extend(one.told().into_iter().map(|(_, told)| told));
    }
    told.sort_by_key(|told| format!("{told:?}"));
    assert_eq!(told, [Told::Leave("you".into()), Told::Leave("your friend".into())]);
    assert_eq!(one.present("a"), ["me"]);
    one.publish("a", "end").unwrap();
    assert_eq!(one.told_until_text("end").len(), 1);
}

#[test]
fn members_are_there_again_when_redis_is() {
    let mut redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.enter("a", "me").unwrap();
    one.enter("a", "gone").unwrap();
    two.enter("a", "you").unwrap();
    redis.kill();
    eventually(PATIENCE, || one.metrics.broker.up.get() == 0);
    assert_eq!(one.run(one.broker.present(&"a".into())), Err(Refused::Away));
    assert_eq!(one.enter("a", "late"), Err(Refused::Away));
    one.leave("a", "gone");
    redis.start_again();
    eventually(PATIENCE, || one.metrics.broker.up.get() == 1 && two.metrics.broker.up.get() == 1);
    eventually(PATIENCE, || one.present("a") == ["me", "you"]);
}

#[test]
fn members_that_redis_lost_without_a_word_are_there_again() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    one.enter("a", "me").unwrap();
    assert_eq!(redis.ask(&["DEL", "rsp:{a}:members"]), "1");
    assert!(one.present("a").is_empty());
    // A beat comes every 20 s.
    eventually(Duration::from_secs(30), || one.present("a") == ["me"]);
}
