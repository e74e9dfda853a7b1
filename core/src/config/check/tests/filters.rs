//! Stories of the filters that hold more than networks and edits of heads.

use std::time::Duration;

use super::*;
use crate::config::units::Rate;

/// The filter that a route with it has.
fn filter(what: &'static str, values: Vec<Value>, entries: Vec<(&str, Value)>) -> Filter {
    let mut lua = Lua::listening();
    let made = lua.make(what, values, entries);
    let reply = lua.make("reply", vec![number(200.0)], vec![]);
    lua.site("a.example", vec![("POST /x", list(vec![made, reply]))]);
    lua.config().sites[0].routes[0].chain.filters[0].clone()
}

fn limit(entries: Vec<(&str, Value)>) -> Arc<Limit> {
    match filter("limit", vec![], entries) {
        Filter::Limit(limit) => limit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_limit_is_complete_and_named_by_its_place() {
    let limit = |entries| (*limit(entries)).clone();
    let per_minute = |count| Rate { count, per: Duration::from_secs(60) };
    let least = limit(vec![("rate", text("5/m"))]);
    let expected = Limit {
        name: "a.example POST /x".to_owned(),
        rate: Some((per_minute(5), 5)),
        concurrent: None,
        key: LimitKey::ClientIp,
        status: http::StatusCode::TOO_MANY_REQUESTS,
    };
    assert_eq!(least, expected);
    let all = limit(vec![
        ("rate", text("5/m")),
        ("burst", number(20.0)),
        ("concurrent", number(3.0)),
        ("key", text("header:X-Key")),
        ("by", text("local")),
        ("status", number(503.0)),
    ]);
    assert_eq!((all.rate, all.concurrent, all.status.as_u16()), (Some((per_minute(5), 20)), Some(3), 503));
    assert_eq!(all.key, LimitKey::Header("x-key".parse().unwrap()));
    assert_eq!(
        limit(vec![("concurrent", number(1.0)), ("key", text("cookie:Sid"))]).key,
        LimitKey::Cookie("Sid".into())
    );
}

#[test]
fn one_limit_in_two_routes_is_one_and_two_calls_in_one_route_are_two() {
    let mut lua = Lua::listening();
    let shared = lua.make("limit", vec![], vec![("rate", text("5/m"))]);
    let other = lua.make("limit", vec![], vec![("rate", text("5/m"))]);
    let reply = lua.make("reply", vec![number(200.0)], vec![]);
    let first = list(vec![shared.clone(), other, reply.clone()]);
    lua.site("a.example", vec![("/x", first), ("/y", list(vec![shared, reply]))]);
    let config = lua.config();
    let named = |route: usize| -> Vec<_> {
        let filters = config.sites[0].routes[route].chain.filters.iter();
        filters.map(|filter| if let Filter::Limit(limit) = filter { &*limit.name } else { "" }).collect()
    };
    assert_eq!((named(0), named(1)), (vec!["a.example /x", "a.example /x 2"], vec!["a.example /x"]));
}

#[test]
fn cors_keeps_the_words_of_its_answers() {
    let cors = |entries| match filter("cors", vec![], entries) {
        Filter::Cors(cors) => (*cors).clone(),
        other => panic!("{other:?}"),
    };
    let all = cors(vec![
        ("origins", texts(&["https://a.example", "http://*.a.example:8080", "null"])),
        ("methods", texts(&["PUT", "DELETE"])),
        ("headers", text("Content-Type")),
        ("credentials", Value::Bool(true)),
        ("max_age", text("1h")),
    ]);
    let below = Origin::Below { scheme: "http://".to_owned(), suffix: ".a.example:8080".to_owned() };
    let exact = |origin: &str| Origin::Exact(origin.to_owned());
    assert_eq!(all.origins, Some(vec![exact("https://a.example"), below, exact("null")]));
    assert_eq!(all.methods.unwrap(), "PUT, DELETE");
    assert_eq!(all.headers.unwrap(), "content-type");
    assert_eq!((all.credentials, all.max_age), (true, Some(Duration::from_secs(3600))));
    let any = cors(vec![("origins", text("*")), ("methods", text("*"))]);
    assert_eq!((any.origins, any.methods, any.headers.unwrap()), (None, None, http::HeaderValue::from_static("")));
}
