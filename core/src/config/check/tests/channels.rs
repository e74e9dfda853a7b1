//! Stories of `channel` and `broker`.

use std::time::Duration;

use super::*;

fn channel(entries: Vec<(&str, Value)>) -> Arc<Channel> {
    match handler(|lua| lua.make("channel", vec![text("chat:{id}")], entries)) {
        Handler::Channel(channel) => channel,
        other => panic!("{other:?}"),
    }
}

fn broker(values: Vec<Value>, entries: Vec<(&str, Value)>) -> Lua {
    let mut lua = Lua::listening();
    lua.say("broker", values, entries);
    lua
}

#[test]
fn a_channel_is_complete() {
    let second = Duration::from_secs;
    let least = channel(vec![]);
    assert_eq!(least.name.to_string(), "chat:{id}");
    assert_eq!((least.rules.history, least.rules.ttl, least.rules.repeat), (0, second(3600), second(300)));
    assert_eq!((least.presence, least.join_leave, least.publish), (false, false, Publish::Client));
    assert_eq!((least.subscribe, least.delete), (None, None));
    assert_eq!((&least.origins, &least.field), (&None, &None));
    assert_eq!((least.poll_timeout, least.ping), (second(25), second(25)));
    assert_eq!((least.message_max, least.queue_max, least.slow), (64 << 10, 1 << 20, Slow::Disconnect));
    let undeclared = Channel::undeclared("chat:{id}");
    assert_eq!(format!("{undeclared:?}"), format!("{least:?}"), "the same defaults");
}

#[test]
fn every_option_of_a_channel_is_kept() {
    let function = |id| Value::Function(FunctionId(id));
    let all = channel(vec![
        ("history", number(100.0)),
        ("ttl", text("7d")),
        ("presence", Value::Bool(true)),
        ("join_leave", Value::Bool(true)),
        ("publish", function(0)),
        ("subscribe", function(1)),
        ("delete", function(2)),
        ("origins", texts(&["https://a.example", "https://*.b.example"])),
        ("field", text("message")),
        ("poll_timeout", text("1s")),
        ("ping", text("1h")),
        ("message_max", number(7.0)),
        ("queue_max", text("1KiB")),
        ("slow", text("latest")),
        ("protocols", texts(&["plain"])),
    ]);
    assert_eq!((all.rules.history, all.rules.ttl), (100, Duration::from_secs(7 * 86_400)));
    assert_eq!((all.presence, all.join_leave, all.publish), (true, true, Publish::Function(FunctionId(0))));
    assert_eq!((all.subscribe, all.delete), (Some(FunctionId(1)), Some(FunctionId(2))));
    let Some(origins) = &all.origins else { panic!("no origins") };
    assert!(origins.allow(b"https://a.example") && origins.allow(b"https://x.b.example"));
    assert!(!origins.allow(b"https://b.example"));
    assert_eq!(all.field.as_deref(), Some("message"));
    assert_eq!((all.poll_timeout, all.ping), (Duration::from_secs(1), Duration::from_secs(3600)));
    assert_eq!((all.message_max, all.queue_max, all.slow), (7, 1024, Slow::Latest));
    assert_eq!(channel(vec![("slow", text("drop_oldest"))]).slow, Slow::DropOldest);
    assert_eq!(channel(vec![("publish", text("server"))]).publish, Publish::Server);
    assert_eq!(channel(vec![("origins", text("*"))]).origins, Some(Origins::Any));
    assert_eq!(channel(vec![("origins", texts(&[]))]).origins, None, "a list of nobody is the same origin only");
}

#[test]
fn every_parameter_of_a_channel_is_one_of_each_of_its_routes() {
    let errors = |name: &str| route_errors(|lua| lua.make("channel", vec![text(name)], vec![]));
    assert_eq!(errors("{ib}"), ["2:1 nothing fills in {ib} of `channel` | did you mean {id}?"]);
    assert_eq!(errors("{room}:{id}"), ["2:1 nothing fills in {room} of `channel` | one of {id}"]);
    let mut lua = Lua::listening();
    let shared = lua.make("channel", vec![text("chat:{id}")], vec![]);
    lua.site("a.example", vec![("/x/{id}", shared.clone()), ("/y", shared.clone()), ("/z/{id}", shared)]);
    assert_eq!(
        lua.errors(),
        ["2:1 nothing fills in {id} of `channel` | this route has no parameters: /y"],
        "one call in several routes is checked in each"
    );
}

#[test]
fn a_name_has_the_rules_of_the_first_channel_that_matches() {
    let mut lua = Lua::listening();
    let history = |count: f64| vec![("history", number(count))];
    let lobby = lua.make("channel", vec![text("chat:lobby")], history(1.0));
    let rooms = lua.make("channel", vec![text("chat:{room}")], history(2.0));
    let again = lua.make("channel", vec![text("chat:{room}")], history(3.0));
    lua.site("a.example", vec![("/lobby", lobby), ("/{room}", rooms)]);
    lua.site("b.example", vec![("/{room}", again)]);
    let (config, warnings) = lua.check().unwrap();
    let history_of = |name| config.channel(name).map(|channel| channel.rules.history);
    assert_eq!((history_of("chat:lobby"), history_of("chat:x"), history_of("news")), (Some(1), Some(2), None));
    assert_eq!(config.channels.len(), 2);
    assert_eq!(
        shown(&warnings),
        ["4:0 the channel \"chat:{room}\" has another `history` or `ttl` here | the same in all its routes \
          (3: what the admin API publishes is kept as this one says)"]
    );
    let Handler::Channel(second) = &config.sites[1].routes[0].chain.handler else { panic!("channel") };
    assert_eq!(second.rules.history, 3, "its own route has its own rules");
}

#[test]
fn one_channel_in_many_routes_is_one_and_warns_of_nothing() {
    let mut lua = Lua::listening();
    let shared = lua.make("channel", vec![text("news")], vec![]);
    let same = lua.make("channel", vec![text("news")], vec![("presence", Value::Bool(true))]);
    lua.site("a.example", vec![("/x", shared.clone()), ("/y", shared), ("/z", same)]);
    let (config, warnings) = lua.check().unwrap();
    assert_eq!((config.channels.len(), shown(&warnings)), (1, vec![]));
    let at = |route: usize| match &config.sites[0].routes[route].chain.handler {
        Handler::Channel(channel) => Arc::clone(channel),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&at(0), &at(1)) && !Arc::ptr_eq(&at(0), &at(2)));
}

#[test]
fn the_broker_is_memory_or_a_redis() {
    assert_eq!(Lua::listening().config().broker, Broker::Memory);
    assert_eq!(broker(vec![text("memory")], vec![]).config().broker, Broker::Memory);
    let redis = |url: &str, prefix: &str, seconds| Broker::Redis {
        url: url.into(),
        prefix: prefix.into(),
        timeout: Duration::from_secs(seconds),
    };
    let url = ("redis", text("redis://127.0.0.1:6379/0"));
    assert_eq!(broker(vec![], vec![url.clone()]).config().broker, redis("redis://127.0.0.1:6379/0", "rsp:", 2));
    let all = vec![("redis", text("unix:/run/r.sock")), ("prefix", text("")), ("timeout", text("5s"))];
    assert_eq!(broker(vec![], all).config().broker, redis("unix:/run/r.sock", "", 5));
    for (values, entries, error) in [
        (vec![text("memory")], vec![url.clone()], "2:2 `broker` is both \"memory\" and a Redis | remove one of them"),
        (
            vec![],
            vec![],
            "2:0 `broker` needs to be \"memory\" or a Redis | broker \"memory\", or broker { redis = \
             \"redis://127.0.0.1:6379/0\" }",
        ),
        (vec![text("memory")], vec![("prefix", text("a"))], "2:2 `prefix` of `broker` is for Redis only | remove it"),
        (vec![text("memroy")], vec![], "2:1 there is no `broker` \"memroy\" | did you mean \"memory\"?"),
        (
            vec![],
            vec![url.clone(), ("prefix", text(&"a".repeat(65)))],
            "2:2 `prefix` of `broker` has 64 bytes at most | for example \"rsp:\"",
        ),
    ] {
        assert_eq!(broker(values, entries).errors(), [error]);
    }
}

#[test]
fn no_finding_about_a_broker_holds_its_password() {
    for url in [
        "http://:s3cret@a",
        "redis://:s3cret@",
        "redis://:s3cret/x@a",
        "redis://:s3cret@a@b",
        "redis://u:s3cret%@a",
        "redis-sentinel://:s3cret@a",
        "unix:?pass=s3cret",
        ":s3cret@a",
        "s3cret",
        "s3cret:redis://a",
        "redis://:s3cret@a\n",
    ] {
        let mut found = broker(vec![], vec![("redis", text(url))]).errors();
        assert_eq!(found.len(), 1, "{url}");
        found.extend(broker(vec![text(url)], vec![]).errors().into_iter().filter(|_| url.contains("://")));
        found.extend(broker(vec![text("memory")], vec![("redis", text(url))]).errors());
        assert!(found.iter().all(|error| !error.contains("s3cret")), "{found:?}");
    }
}
