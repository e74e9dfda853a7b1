//! A Redis that dies, stands still, forgets and comes back.

use std::collections::HashMap;

use testkit::{Redis, RedisSentinel};

use super::*;

#[test]
fn subscribers_outlive_a_redis_that_remembers() {
    let mut redis = Redis::start_lasting();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    let first = two.publish("a", "first").unwrap().position;
    one.told_until_text("first");
    redis.kill();
    eventually(PATIENCE, || one.metrics.broker.up.get() == 0 && two.metrics.broker.up.get() == 0);
    assert_eq!(two.publish("a", "x"), Err(Refused::Away));
    assert_eq!(one.subscribe("b"), Err(Refused::Away));
    assert_eq!(one.read("a", Look::Latest(1)), Err(Refused::Away));
    redis.start_again();
    let second = two.publish_at_last("a", "second");
    assert_eq!(second, Position { offset: 2, ..first });
    // It hears it, or that it has to look; nobody's epoch is over.
    let told = one.told_until(|told| *told == Told::Behind || matches!(told, Told::Text(..)));
    assert!(!told.iter().any(|told| matches!(told, Told::Reset(_))), "{told:?}");
    assert_eq!(texts(&one.since("a", first)), ["second"]);
    eventually(PATIENCE, || two.publish("a", "third").unwrap().subscribers == 1);
}

#[test]
fn a_redis_that_comes_back_empty_is_a_new_epoch_that_everybody_is_told_of() {
    let mut redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    two.subscribe("a").unwrap();
    let before = two.publish("a", "first").unwrap().position;
    redis.kill();
    redis.start_again();
    let after = two.publish_at_last("a", "second");
    assert_ne!(after.epoch, before.epoch);
    for process in [&one, &two] {
        let told = process.told_until(|told| matches!(told, Told::Reset(_)));
        let resets: Vec<_> = told.iter().filter(|told| matches!(told, Told::Reset(_))).collect();
        assert_eq!(resets, [&Told::Reset(Position { offset: 0, ..after })], "{told:?}");
        assert!(process.since("a", before).is_lost);
    }
}

/// `appendfsync everysec` may lose a second of what was acknowledged: offsets would be used for other messages.
#[test]
fn a_redis_that_lost_the_end_of_a_stream_begins_a_new_epoch() {
    let mut redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("heard").unwrap();
    for channel in ["heard", "published"] {
        two.publish(channel, "kept").unwrap();
    }
    assert_eq!(redis.ask(&["SAVE"]), "OK");
    let heard = two.publish("heard", "lost").unwrap().position;
    let published = two.publish("published", "lost").unwrap().position;
    one.told_until_text("lost");
    redis.kill();
    redis.start_again();
    // One who knows nothing is the first to publish, as often as was lost.
    let three = Process::start(&redis.url());
    let again = three.publish("heard", "other").unwrap().position;
    if again.epoch == heard.epoch {
        assert_eq!(again, heard, "the offset is used again");
    }
    let told = one.told_until(|told| matches!(told, Told::Reset(_)));
    let Some(Told::Reset(reset)) = told.iter().find(|told| matches!(told, Told::Reset(_))) else { panic!() };
    assert_ne!(reset.epoch, heard.epoch);
    eventually(PATIENCE, || three.publish("heard", "x").is_ok_and(|receipt| receipt.position.epoch == reset.epoch));
    // Nobody listens to this one; who published it knows.
    assert_ne!(two.publish_at_last("published", "x").epoch, published.epoch);
}

/// Nothing was saved since, so that the epoch of the first life after the dump is forgotten by the second.
#[test]
fn a_redis_that_goes_back_to_the_same_dump_twice_begins_a_later_epoch_each_time() {
    let mut redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    for number in 1..=5 {
        two.publish("a", &number.to_string()).unwrap();
    }
    assert_eq!(redis.ask(&["SAVE"]), "OK");
    for number in 6..=10 {
        two.publish("a", &number.to_string()).unwrap();
    }
    let mut told = one.told_until_text("10");
    let mut ends = vec![two.read("a", Look::Latest(0)).unwrap().end];
    assert_eq!(ends[0].offset, 10);
    for life in ["second", "third"] {
        redis.kill();
        redis.start_again();
        for _ in 0..3 {
            two.publish_at_last("a", life);
        }
        told.extend(one.told_until(|told| matches!(told, Told::Reset(_))));
        let end = two.read("a", Look::Latest(0)).unwrap().end;
        assert!(ends.iter().all(|old| old.epoch < end.epoch), "{end} after {ends:?}");
        assert_eq!(texts(&one.since("a", Position { offset: 0, ..end })), [life; 3]);
        for old in &ends {
            assert!(one.since("a", *old).is_lost && two.since("a", *old).is_lost, "{old} at {end}");
        }
        ends.push(end);
    }
    let three = Process::start(&redis.url());
    assert!(ends[..2].iter().all(|old| three.since("a", *old).is_lost));
    let last = two.publish_at_last("a", "last");
    told.extend(one.told_until(|told| *told == Told::Behind || matches!(told, Told::Text(_, at) if *at == last)));
    let positions: Vec<_> = told
        .iter()
        .filter_map(|told| match told {
            Told::Text(_, position) | Told::Reset(position) => Some(*position),
            _ => None,
        })
        .collect();
    assert!(positions.is_sorted(), "{told:?}");
}

#[test]
fn a_redis_that_is_full_refuses_and_keeps_what_it_has() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    let rules = Rules { history: 10_000, ..RULES };
    let used = || -> u64 {
        let memory = redis.ask(&["INFO", "memory"]);
        memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
    };
    let text = "x".repeat(60_000);
    let first = one.publish("a", "first").unwrap().position;
    let most = used() + (4 << 20);
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", &most.to_string()]), "OK");
    let publish = || one.publish_under("a", &text, &rules, None);
    assert_eq!((0..200).find_map(|_| publish().err()), Some(Refused::Away));
    for _ in 0..200 {
        let _ = publish();
    }
    assert!(used() < most + (2 << 20), "{} of {most}", used());
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    assert_eq!(one.publish("a", "more").unwrap().position.epoch, first.epoch);
}

#[test]
fn a_redis_that_did_not_lose_anything_keeps_its_epochs_through_many_lives() {
    let mut redis = Redis::start_lasting();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    let start = one.subscribe("a").unwrap().end;
    for number in 1..=3 {
        assert_eq!(two.publish_at_last("a", "x"), Position { offset: number, ..start });
        let lives = one.metrics.broker.connected.get();
        redis.kill();
        redis.start_again();
        eventually(PATIENCE, || one.metrics.broker.connected.get() > lives);
        // Both have looked before the next life.
        eventually(PATIENCE, || redis.ask(&["PUBSUB", "NUMSUB", "rsp:{a}"]).ends_with('1'));
    }
}

#[test]
fn a_redis_that_stands_still_is_unknown_once_and_then_away_at_once() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    one.subscribe("a").unwrap();
    redis.freeze();
    let outcome = one.publish("a", "perhaps");
    assert_eq!(outcome, Err(Refused::Unknown));
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(one.publish("a", "no"), Err(Refused::Away));
        assert!(begun.elapsed() < TIMEOUT / 4, "{:?}", begun.elapsed());
    }
    redis.thaw();
    let position = one.publish_at_last("a", "yes");
    // The first one was done, or was not; the others were not.
    assert!(position.offset <= 2, "{position}");
    one.told_until(|told| *told == Told::Behind || matches!(told, Told::Text(text, _) if text == "yes"));
}

#[test]
fn what_was_published_while_a_connection_was_lost_is_looked_up() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    let start = one.subscribe("a").unwrap().end;
    for round in 0..5 {
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let sent = two.publish("a", &round.to_string()).map(|receipt| receipt.position);
        let sent = sent.unwrap_or_else(|_| two.publish_at_last("a", &round.to_string()));
        one.told_until(|told| *told == Told::Behind || matches!(told, Told::Text(_, position) if *position == sent));
        assert_eq!(one.since("a", start).end, sent);
    }
}

#[test]
fn where_sentinels_put_another_server_channels_go_on() {
    let mut main = Redis::start();
    let (host, port) = {
        let address = main.address();
        let (host, port) = address.split_once(':').unwrap();
        (host.to_owned(), port.to_owned())
    };
    let replica = Redis::start_with(&["--save", "", "--replicaof", &host, &port]);
    eventually(PATIENCE, || replica.ask(&["INFO", "replication"]).contains("master_link_status:up"));
    let sentinel = RedisSentinel::start(&main);
    let (one, two) = (Process::start(&sentinel.url()), Process::start(&sentinel.url()));
    one.subscribe("a").unwrap();
    let first = two.publish("a", "first").unwrap().position;
    one.told_until_text("first");
    eventually(PATIENCE, || replica.ask(&["HGET", "rsp:{a}:meta", "o"]) == "1");
    main.kill();
    let second = two.publish_at_last("a", "second");
    assert_eq!(second, Position { offset: 2, ..first });
    one.told_until(|told| *told == Told::Behind || matches!(told, Told::Text(text, _) if text == "second"));
    assert_eq!(replica.ask(&["HGET", "rsp:{a}:meta", "o"]), "2");
}

/// Random deaths of Redis under load: what is acknowledged is there once, and a subscriber that follows the notices sees
/// everything in order or is told.
#[test]
fn what_was_acknowledged_is_seen_once_and_in_order_or_a_loss_is_told() {
    use rsp_core::channel::{Follower, Next};
    let mut redis = Redis::start_lasting();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    let start = one.subscribe("a").unwrap().end;
    let mut follower = Follower::new(start);
    let (mut acknowledged, mut unknown, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..400 {
        let text = number.to_string();
        match two.publish("a", &text) {
            Ok(receipt) => acknowledged.push((text, receipt.position)),
            Err(Refused::Unknown) => unknown.push(text),
            Err(refused) => assert_eq!(refused, Refused::Away),
        }
        match number {
            100 => redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).clear(),
            200 => redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]).clear(),
            300 => {
                redis.kill();
                redis.start_again();
            }
            _ => continue,
        }
        acknowledged.push(("back".to_owned(), two.publish_at_last("a", "back")));
    }
    let end = two.publish_at_last("a", "end");
    // History is ten messages only, so that what was missed while away for longer is lost, and told.
    let mut losses = 0;
    let limit = Instant::now() + PATIENCE;
    while follower.position() != end {
        assert!(Instant::now() < limit, "at {} of {end}", follower.position());
        for (_, told) in one.told() {
            let item = match told {
                Told::Text(text, position) => Some((text, position)),
                _ => None,
            };
            let next = item.as_ref().map_or(Next::Gap, |(_, position)| follower.next(*position));
            match (item, next) {
                (Some(item), Next::Deliver) => seen.push(item),
                (_, Next::Old) => {}
                _ => {
                    let past = one.since("a", follower.position());
                    if past.is_lost {
                        losses += 1;
                        follower.reset(past.end);
                    }
                    for item in past.items {
                        if follower.next(item.position) == Next::Deliver {
                            let text = String::from_utf8(item.message.data.to_vec()).unwrap();
                            seen.push((text, item.position));
                        }
                    }
                }
            }
        }
    }
    let at: HashMap<_, _> = seen.iter().map(|(text, position)| (*position, text)).collect();
    assert_eq!(at.len(), seen.len(), "something was seen twice");
    for (text, position) in &acknowledged {
        match at.get(position) {
            Some(found) => assert_eq!(*found, text),
            None => assert!(losses > 0, "{text} was not seen, and nothing was told"),
        }
    }
    for (text, _) in &seen {
        let is_one = acknowledged.iter().any(|(known, _)| known == text) || unknown.contains(text);
        assert!(is_one || text == "end" || text == "back", "{text} was refused and yet published");
    }
}
