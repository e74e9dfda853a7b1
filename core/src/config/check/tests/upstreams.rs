//! Stories of upstreams and of the proxies to them.

use super::*;

#[test]
fn an_upstream_has_endpoints_with_options() {
    let mut lua = Lua::listening();
    let second = table(
        vec![text("[::1]:3001")],
        vec![("weight", number(2.0)), ("backup", Value::Bool(true)), ("name", text("two"))],
    );
    let outlier = options(vec![("failures", number(5.0)), ("max_ejected", number(1.0))]);
    let entries =
        vec![("balance", text("power_of_two")), ("outlier", outlier), ("retry", options(vec![("tries", number(4.0))]))];
    lua.named("upstream", "app", vec![text("unix:app.sock"), second], entries);
    insta::assert_debug_snapshot!(lua.config().upstreams);
}

#[test]
fn wrong_endpoints_are_named() {
    let mut lua = Lua::listening();
    lua.named("upstream", "a", vec![], vec![]);
    lua.named(
        "upstream",
        "b",
        vec![text("a:80"), text("a"), number(1.0), list(vec![]), list(vec![number(1.0)])],
        vec![],
    );
    let heavy = table(vec![text("a:80")], vec![("weight", number(65536.0)), ("max_connections", number(0.0))]);
    lua.named("upstream", "c", vec![heavy], vec![]);
    lua.named("upstream", "d", vec![text("a:80"), text("A:80")], vec![]);
    let outlier = options(vec![("eject", text("1h"))]);
    lua.named("upstream", "e", vec![text("a:80")], vec![("outlier", outlier)]);
    lua.named("upstream", "e", vec![text("b:80")], vec![]);
    lua.named("upstream", "", vec![text("b:80")], vec![]);
    let errors = lua.errors();
    let expected = [
        "0:2 `weight` of `endpoint` is out of range: 65536 | 1 to 65535",
        "0:3 `max_connections` of `endpoint` is out of range: 0 | 1 or more",
        "0:1 an endpoint must be an address, not the number 1 | for example \"127.0.0.1:3000\" or { \"127.0.0.1:3000\", weight = 2 }",
        "2:0 `upstream` needs its endpoint | for example upstream \"app\" { \"127.0.0.1:3000\", { \"127.0.0.1:3001\", weight = 2 }, balance = \"least_connections\" }",
        "3:2 \"a\" is no address of an endpoint | with a port: \"a:8080\"",
        "3:3 an endpoint must be an address, not the number 1 | for example \"127.0.0.1:3000\" or { \"127.0.0.1:3000\", weight = 2 }",
        "3:4 an endpoint has one address, not 0 | { \"127.0.0.1:3000\", weight = 2 }",
        "5:2 a:80 is in this upstream twice | give it a weight instead (5: first here)",
        "6:2 `eject` is longer than `eject_max` | eject_max is the longest time out",
        "7:0 two upstreams are called \"e\" | another name (6: first here)",
        "8:1 an upstream's name has 1 to 255 bytes, no control characters | ",
    ];
    let mut sorted = (errors.clone(), expected.map(str::to_owned).to_vec());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
}

#[test]
fn a_balanced_upstream_has_its_options() {
    let mut lua = Lua::listening();
    let second = table(vec![text("b:80")], vec![("max_connections", number(7.0))]);
    let probe = options(vec![
        ("path", text("/healthz")),
        ("method", text("HEAD")),
        ("host", text("app.example")),
        ("every", text("5s")),
        ("timeout", text("2s")),
        ("fall", number(3.0)),
        ("rise", number(1.0)),
        ("status", text("200-299,404")),
    ]);
    let entries = vec![
        ("balance", text("hash")),
        ("key", text("cookie:session")),
        ("sticky", text("app_endpoint")),
        ("probe", probe),
        ("outlier", options(vec![("slow", text("2s"))])),
        ("max_connections", number(100.0)),
        ("queue", options(vec![("size", number(50.0)), ("timeout", text("3s"))])),
        ("slow_start", text("30s")),
    ];
    lua.named("upstream", "app", vec![text("a:80"), second], entries);
    insta::assert_debug_snapshot!(lua.config().upstreams);
}

#[test]
fn wrong_options_of_balancing_say_what_would_be_right() {
    let errors = |entries: Vec<(&str, Value)>| {
        let mut lua = Lua::listening();
        lua.named("upstream", "a", vec![text("a:80")], entries);
        lua.errors().join("; ")
    };
    let probe = |entries: Vec<(&str, Value)>| errors(vec![("probe", options(entries))]);
    let path = || ("path", text("/"));
    let hash = |key: Value| errors(vec![("balance", text("hash")), ("key", key)]);
    let keys = "\"client.ip\", \"header:NAME\", \"cookie:NAME\" or \"uri\"";
    for (errors, expected) in [
        (
            errors(vec![("balance", text("hahs"))]),
            "2:2 `balance` of `upstream` can't be \"hahs\" | did you mean \"hash\"?",
        ),
        (errors(vec![("key", text("uri"))]), "2:2 `key` of `upstream` is for `hash` only | with balance = \"hash\""),
        (hash(text("ip")), &format!("2:3 `key` of `upstream` can't be \"ip\" | {keys}")),
        (hash(text("header:a b")), &format!("2:3 `key` of `upstream` can't be \"header:a b\" | {keys}")),
        (hash(text("cookie:")), &format!("2:3 `key` of `upstream` can't be \"cookie:\" | {keys}")),
        (hash(number(1.0)), &format!("2:3 `key` of `upstream` must be a string, not the number 1 | {keys}")),
        (
            errors(vec![("sticky", text("a;b"))]),
            "2:2 `sticky` of `upstream` is no name of a cookie: \"a;b\" | letters, digits, - and _: \"app_endpoint\"; 64 bytes at most",
        ),
        (probe(vec![]), "2:2 `probe` needs its path | probe = { path = \"/healthz\" }, or { tcp = true }"),
    ] {
        assert_eq!(errors, expected);
    }
    for (errors, part) in [
        (probe(vec![path(), ("tcp", Value::Bool(true))]), "`probe` has a path, or `tcp = true`, not both"),
        (probe(vec![("path", text("healthz"))]), "`path` of `probe` is no path"),
        (probe(vec![("tcp", Value::Bool(true)), ("body", text("ok"))]), "`body` of `probe` is for a probe with a path"),
        (probe(vec![path(), ("status", text("399-200"))]), "`status` of `probe` can't be \"399-200\""),
        (probe(vec![path(), ("status", text("2xx"))]), "`status` of `probe` can't be \"2xx\""),
        (probe(vec![path(), ("method", text("GE T"))]), "`method` of `probe` can't be \"GE T\""),
        (probe(vec![path(), ("host", text("a b"))]), "`host` of `probe` can't be \"a b\""),
        (
            probe(vec![path(), ("method", text("HEAD")), ("body", text("ok"))]),
            "`body` of `probe` can't be \"ok\" | an answer to HEAD has no body",
        ),
        (probe(vec![("pth", text("/"))]), "did you mean `path`?"),
    ] {
        assert!(errors.contains(part), "{errors}, not {part}");
    }
}

#[test]
fn a_ring_or_a_cookie_needs_endpoints_of_different_names() {
    let mut lua = Lua::listening();
    let named = |address: &str| table(vec![text(address)], vec![("name", text("one"))]);
    lua.named("upstream", "a", vec![named("a:80"), named("b:80")], vec![("balance", text("hash"))]);
    let errors = lua.errors();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("two endpoints are called \"one\""), "{errors:?}");
}

#[test]
fn an_endpoint_has_a_name_or_its_address() {
    let mut lua = Lua::listening();
    lua.named("upstream", "a", vec![table(vec![text("a:80")], vec![("name", text(""))])], vec![]);
    assert_eq!(lua.errors(), ["0:2 `name` of `endpoint` is empty | a name for logs and metrics"]);
}

#[test]
fn an_upstream_or_site_never_given_its_table_is_an_error() {
    let mut lua = Lua::listening();
    for what in ["upstream", "site"] {
        let made = Made { complete: false, ..lua.made(what, vec![text("app")], vec![], vec![]) };
        lua.file.statements.push(Arc::new(made));
    }
    assert_eq!(
        lua.errors(),
        [
            "2:0 upstream \"app\" is never given its endpoints | upstream \"app\" { \"127.0.0.1:3000\" }",
            "3:0 site \"app\" is never given its routes | site \"app\" { [\"/*\"] = proxy \"127.0.0.1:3000\" }",
        ]
    );
}

#[test]
fn a_string_target_is_a_declared_name_or_else_an_address() {
    let mut lua = Lua::listening();
    let proxies = [
        lua.make("proxy", vec![text("app")], vec![]),
        lua.make("proxy", vec![text("10.0.0.7:80")], vec![]),
        lua.make("proxy", vec![text("10.0.0.7:80")], vec![]),
    ];
    for (index, proxy) in proxies.into_iter().enumerate() {
        lua.site(&format!("{index}.example"), vec![("/", proxy)]);
    }
    lua.named("upstream", "app", vec![text("127.0.0.1:3000")], vec![]);
    let config = lua.config();
    let upstreams: Vec<_> = config
        .sites
        .iter()
        .map(|site| match &site.routes[0].chain.handler {
            Handler::Proxy(proxy) => proxy.upstream.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(Arc::ptr_eq(&upstreams[0], &config.upstreams[0]));
    assert_eq!(upstreams[1].name, "10.0.0.7:80");
    assert!(Arc::ptr_eq(&upstreams[1], &upstreams[2]), "one address, one pool");
    assert_eq!(config.upstreams.len(), 1, "a bare address is not declared");
}

#[test]
fn an_unknown_upstream_names_the_nearest() {
    let errors = |target: Value| {
        let mut lua = Lua::listening();
        lua.named("upstream", "app", vec![text("a:80")], vec![]);
        let proxy = lua.make("proxy", vec![target], vec![]);
        lua.site("a", vec![("/", proxy)]);
        lua.errors()
    };
    assert_eq!(errors(text("ap")), ["3:1 no upstream is called \"ap\" | did you mean \"app\"?"]);
    assert_eq!(
        errors(text("backend")),
        [
            "3:1 no upstream is called \"backend\" | declare it: upstream \"backend\" { … }; an address has a port: \"backend:80\""
        ]
    );
    assert_eq!(
        errors(text("127.0.0.1")),
        ["3:1 \"127.0.0.1\" is no address of an endpoint | with a port: \"127.0.0.1:8080\""]
    );
    assert_eq!(
        errors(text("http://a:80/x")),
        ["3:1 \"http://a:80/x\" is no address of an endpoint | without the scheme: \"a:80\""]
    );
    assert_eq!(
        errors(number(80.0)),
        [
            "3:1 the target of `proxy` must be an upstream or an address, not the number 80 | for example proxy \"127.0.0.1:3000\""
        ]
    );
}

#[test]
fn unnamed_upstreams_are_called_by_their_addresses() {
    let mut lua = Lua::listening();
    lua.say("upstream", vec![text("a:80"), text("b:80")], vec![]);
    lua.say("upstream", vec![text("a:80"), text("b:80")], vec![]);
    lua.say("upstream", vec![text("a:80"), text("b:80")], vec![("keepalive", number(1.0))]);
    let names: Vec<_> = lua.config().upstreams.iter().map(|upstream| upstream.name.clone()).collect();
    assert_eq!(names, ["a:80,b:80", "a:80,b:80#2"]);
}

#[test]
fn a_proxy_has_its_options() {
    let retry = options(vec![("budget", number(0.5))]);
    let entries = vec![
        ("strip", text("/api")),
        ("host", text("upstream")),
        ("timeout", text("5s")),
        ("body_timeout", text("6s")),
        ("forwarded", text("both")),
        ("retry", retry),
        ("buffer", text("8KiB")),
        ("upgrade", Value::Bool(false)),
        ("tunnel_timeout", text("1h")),
    ];
    let Handler::Proxy(proxy) = handler(|lua| lua.make("proxy", vec![text("a:80")], entries)) else { panic!("proxy") };
    let second = std::time::Duration::from_secs;
    let expected = Proxy {
        upstream: proxy.upstream.clone(),
        strip: Some("/api".into()),
        host: ProxyHost::Upstream,
        timeout: second(5),
        body_timeout: second(6),
        forwarded: Forwarded::Both,
        retry: Some(Retry { tries: 2, budget: 0.5 }),
        buffer: Some(8192),
        upgrade: false,
        tunnel_timeout: Some(second(3600)),
    };
    assert_eq!(*proxy, expected);
    let errors =
        route_errors(|lua| lua.make("proxy", vec![text("a:80")], vec![("strip", text("api")), ("host", text("a b"))]));
    assert_eq!(
        errors,
        [
            "2:2 `strip` of `proxy` must begin with a slash | \"/api\"",
            "2:3 `host` of `proxy` is no host: \"a b\" | \"keep\", \"upstream\" or a name like \"example.com\"",
        ]
    );
}
