//! Publishing, hearing and looking back.

use redis::Value;
use testkit::Redis;

use super::*;

#[test]
fn what_one_process_publishes_all_hear_in_order() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    let start = one.subscribe("news").unwrap().end;
    assert_eq!(two.subscribe("news").unwrap().end, start);
    let mut last = start;
    for number in 0..100 {
        let publisher = if number % 3 == 0 { &one } else { &two };
        let receipt = publisher.publish("news", &number.to_string()).unwrap();
        last = Position { offset: last.offset + 1, ..last };
        assert_eq!(receipt, Receipt { position: last, subscribers: 2, is_repeat: false });
    }
    for process in [&one, &two] {
        let all = process.told_until_text("99");
        let wanted = (1..=100).map(|offset| Told::Text((offset - 1).to_string(), Position { offset, ..start }));
        assert_eq!(all, wanted.collect::<Vec<_>>());
    }
    let (channels, total) = one.broker.channels("n", 10);
    assert_eq!((&*channels[0].name, channels[0].position, channels[0].subscribers, total), ("news", last, 1, 1));
    assert_eq!(one.broker.channels("x", 10).1, 0);
    two.unsubscribe("news");
    eventually(PATIENCE, || one.publish("news", "later").unwrap().subscribers == 1);
}

#[test]
fn a_repeat_is_the_first_publication_wherever_it_comes_from() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    let first = one.publish_under("a", "x", &RULES, Some("key")).unwrap();
    let again = two.publish_under("a", "x", &RULES, Some("key")).unwrap();
    assert_eq!((again.position, again.is_repeat), (first.position, true));
    assert_eq!(two.publish("a", "end").unwrap().position.offset, 2);
    assert_eq!(one.told_until_text("end").len(), 2);
    let soon = Rules { repeat: Duration::from_millis(1), ..RULES };
    one.publish_under("a", "x", &soon, Some("short")).unwrap();
    eventually(PATIENCE, || !one.publish_under("a", "x", &soon, Some("short")).unwrap().is_repeat);
}

#[test]
fn keys_are_bounded_and_the_oldest_goes() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    one.publish_under("a", "x", &RULES, Some("first")).unwrap();
    let script = "for i = 1, 9999 do redis.call('HSET', KEYS[1], i, i) redis.call('ZADD', KEYS[2], ARGV[1] + i, i) end";
    let later = (now() + RULES.repeat).as_millis().to_string();
    redis.ask(&["EVAL", script, "2", "rsp:{a}:offsets", "rsp:{a}:ends", &later]);
    assert!(one.publish_under("a", "x", &RULES, Some("first")).unwrap().is_repeat);
    assert!(!one.publish_under("a", "x", &RULES, Some("last")).unwrap().is_repeat);
    assert_eq!(redis.ask(&["ZCARD", "rsp:{a}:ends"]), "10000");
    assert!(!one.publish_under("a", "x", &RULES, Some("first")).unwrap().is_repeat);
}

#[test]
fn the_past_is_the_latest_messages_that_are_not_too_old() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    let nothing = one.read("a", Look::Latest(5)).unwrap();
    assert_eq!((nothing.items.len(), nothing.end.offset), (0, 0));
    assert!(!one.since("a", nothing.end).is_lost, "who read that there is nothing can follow from there");
    let start = one.subscribe("a").unwrap().end;
    let positions: Vec<_> = (1..=15).map(|n| one.publish("a", &n.to_string()).unwrap().position).collect();
    let latest = one.read("a", Look::Latest(3)).unwrap();
    assert_eq!((texts(&latest), latest.end), (vec!["13", "14", "15"], positions[14]));
    assert_eq!(texts(&one.since("a", positions[11])), ["13", "14", "15"]);
    assert_eq!(texts(&one.since("a", positions[4])).len(), 10);
    assert_eq!(texts(&one.read("a", Look::Since(positions[4], 2)).unwrap()), ["6", "7"]);
    let lost = one.since("a", positions[3]);
    assert!(lost.is_lost && lost.items.is_empty());
    assert!(one.since("a", start).is_lost);
    assert!(one.since("a", Position { offset: 16, ..start }).is_lost);
    assert!(!one.since("a", positions[14]).is_lost);
    let short = Rules { ttl: Duration::from_millis(1), ..RULES };
    let past = |look| one.run(one.broker.read(&"a".into(), &short, look)).unwrap();
    assert!(past(Look::Latest(10)).items.is_empty());
    assert!(past(Look::Since(positions[13], 10)).is_lost);
}

#[test]
fn a_long_past_comes_in_several_answers() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    let rules = Rules { history: 200, ..RULES };
    let start = one.subscribe("a").unwrap().end;
    let text = "x".repeat(64 << 10);
    for _ in 0..100 {
        one.publish_under("a", &text, &rules, None).unwrap();
    }
    let past = one.run(one.broker.read(&"a".into(), &rules, Look::Since(start, 1000))).unwrap();
    assert_eq!((past.items.len(), past.is_lost), (100, false));
}

#[test]
fn without_history_only_the_end_can_be_resumed() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    let none = Rules { history: 0, ..RULES };
    let first = one.publish_under("a", "x", &none, None).unwrap().position;
    let second = one.publish_under("a", "y", &none, None).unwrap().position;
    let past = |position| one.run(one.broker.read(&"a".into(), &none, Look::Since(position, 10))).unwrap();
    assert!(past(first).is_lost);
    assert!(!past(second).is_lost);
    assert_eq!(redis.ask(&["EXISTS", "rsp:{a}:stream"]), "0");
}

#[test]
fn channels_vanish_when_nobody_uses_them() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    one.publish_under("a", "x", &RULES, Some("key")).unwrap();
    for key in redis.ask(&["KEYS", "*"]).lines() {
        let left: i64 = redis.ask(&["PTTL", key]).parse().unwrap();
        assert!(left > 0 && left <= 3_720_000, "{key}: {left}");
    }
    one.subscribe("a").unwrap();
    one.unsubscribe("a");
    eventually(PATIENCE, || redis.ask(&["PUBSUB", "CHANNELS"]).is_empty());
    assert_eq!(one.broker.count(), 0);
}

#[test]
fn a_name_may_be_anything() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    for name in ["", "{", "}", "{}", "a}b{c", "%7B", "ä\n\0 ", &"x".repeat(255)] {
        one.subscribe(name).unwrap();
        let receipt = two.publish(name, name).unwrap();
        let told = one.told();
        assert_eq!(told, [(name.into(), Told::Text(name.to_owned(), receipt.position))]);
    }
}

#[test]
fn a_reset_begins_a_new_epoch_for_everybody() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    let before = two.publish("a", "x").unwrap().position;
    let fresh = two.run(two.broker.reset(&"a".into())).unwrap();
    assert_eq!(fresh.offset, 0);
    assert_ne!(fresh.epoch, before.epoch);
    let after = two.publish("a", "y").unwrap().position;
    let wanted = [Told::Text("x".into(), before), Told::Reset(fresh), Told::Text("y".into(), after)];
    assert_eq!(one.told_until_text("y"), wanted);
    assert!(one.since("a", before).is_lost);
}

#[test]
fn a_message_that_was_lost_without_a_word_is_found() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    let start = one.subscribe("a").unwrap().end;
    two.publish("a", "first").unwrap();
    one.told_until_text("first");
    // A publication that nobody was told of.
    redis.ask(&["XADD", "rsp:{a}:stream", "2-0", "m", "x"]);
    redis.ask(&["HSET", "rsp:{a}:meta", "o", "2"]);
    assert_eq!(one.told_until(|told| *told == Told::Behind), [Told::Behind]);
    // What stands there is no message.
    assert!(one.since("a", start).is_lost);
}

#[test]
fn a_message_of_an_epoch_that_nobody_announced_announces_it() {
    let redis = Redis::start();
    let (one, two) = (Process::start(&redis.url()), Process::start(&redis.url()));
    one.subscribe("a").unwrap();
    let first = two.publish("a", "first").unwrap().position;
    one.told_until_text("first");
    // Another epoch, as if it had begun before this process listened.
    redis.ask(&["HSET", "rsp:{a}:meta", "e", "0000000000007", "o", "0"]);
    let second = two.publish("a", "second").unwrap().position;
    assert_eq!((second.epoch == first.epoch, second.offset), (false, 1));
    let told = one.told_until_text("second");
    assert_eq!(told, [Told::Reset(Position { offset: 0, ..second }), Told::Text("second".into(), second)]);
}

#[test]
fn garbage_at_redis_is_no_end() {
    let redis = Redis::start();
    let one = Process::start(&redis.url());
    one.subscribe("a").unwrap();
    for garbage in ["", "x", "m", "m1-1\n", "r", "j\u{1}\u{2}"] {
        redis.ask(&["PUBLISH", "rsp:{a}", garbage]);
        assert_eq!(one.told_until(|_| true), [Told::Behind], "{garbage}");
    }
    redis.ask(&["PUBLISH", "rsp:a", "x"]);
    for key in ["meta", "stream", "offsets", "ends", "members", "nodes"] {
        let channel = format!("b{key}");
        redis.ask(&["SET", &format!("rsp:{{{channel}}}:{key}"), "x"]);
        let _ = one.publish_under(&channel, "x", &RULES, Some("key"));
        let _ = one.read(&channel, Look::Latest(5));
        let _ = one.enter(&channel, "me");
        let _ = one.run(one.broker.present(&channel.as_str().into()));
    }
    redis.ask(&["HSET", "rsp:{c}:meta", "e", "no epoch", "o", "7"]);
    assert_eq!(one.publish("c", "x"), Err(Refused::Unknown));
    redis.ask(&["SCRIPT", "FLUSH"]);
    assert!(one.publish("a", "end").is_ok());
    one.told_until_text("end");
    assert_eq!(one.metrics.broker.waiting.get(), 0);
}

#[test]
fn answers_of_any_kind_are_no_panic() {
    let look = Look::Latest(1);
    for answer in [
        Value::Nil,
        Value::Array(vec![]),
        Value::Array(vec![Value::Int(1)]),
        Value::Array(vec![Value::BulkString(b"0000000000007-1".to_vec()), Value::Nil]),
        Value::Array(vec![
            Value::BulkString(b"0000000000007-1".to_vec()),
            Value::Array(vec![Value::Int(3), Value::Int(4)]),
        ]),
    ] {
        assert_eq!(super::super::past::past(answer, &RULES, look, now()), None);
    }
}

#[test]
fn a_unix_socket_a_password_and_a_database_will_do() {
    let redis = Redis::start_with(&["--save", "", "--requirepass", "s3cret"]);
    let url = format!("unix:{}/redis.sock?db=3&pass=s3cret", redis.folder().display());
    let (one, two) = (Process::start(&url), Process::start(&format!("redis://:s3cret@{}/4", redis.address())));
    one.subscribe("a").unwrap();
    // Another database is another channel.
    two.publish("a", "elsewhere").unwrap();
    one.publish("a", "here").unwrap();
    assert_eq!(one.told_until_text("here").len(), 1);
    let refused = Process::begin(&format!("redis://:wr0ng@{}", redis.address()));
    let Broker::Redis(broker) = &*refused.broker else { panic!() };
    let node = Arc::clone(&broker.shared.routes.load().nodes[0]);
    eventually(PATIENCE, || node.health().last_error.is_some());
    let why = node.health().last_error.unwrap();
    assert!(!why.contains("wr0ng"), "{why}");
    assert_eq!(refused.publish("a", "x"), Err(Refused::Away));
}

#[test]
fn a_cluster_carries_channels_on_all_its_servers() {
    let cluster = RedisCluster::start();
    let (one, two) = (Process::start(&cluster.url()), Process::start(&cluster.url()));
    for process in [&one, &two] {
        eventually(PATIENCE, || process.metrics.broker.up.get() == 3);
    }
    for number in 0..30 {
        let name = format!("channel {number}");
        let start = one.subscribe(&name).unwrap().end;
        let receipt = two.publish_under(&name, "x", &RULES, Some("key")).unwrap();
        assert_eq!((receipt.position.offset, receipt.subscribers), (1, 1), "{name}");
        assert!(one.publish_under(&name, "x", &RULES, Some("key")).unwrap().is_repeat);
        assert_eq!(texts(&two.since(&name, start)), ["x"]);
        one.enter(&name, "somebody").unwrap();
        assert_eq!(two.present(&name), ["somebody"]);
        let told = one.told_until(|told| matches!(told, Told::Join(_)));
        assert_eq!(told, [Told::Text("x".into(), receipt.position), Told::Join("somebody".into())]);
    }
    for node in &cluster.nodes {
        assert_ne!(node.ask(&["DBSIZE"]), "0");
        assert_ne!(node.ask(&["PUBSUB", "SHARDCHANNELS"]), "");
    }
}
