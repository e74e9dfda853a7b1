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
    let heavy = table(vec![text("a:80")], vec![("weight", number(65536.0)), ("max_connections", number(1.0))]);
    lua.named("upstream", "c", vec![heavy], vec![]);
    lua.named("upstream", "d", vec![text("a:80"), text("A:80")], vec![]);
    let outlier = options(vec![("eject", text("1h"))]);
    lua.named("upstream", "e", vec![text("a:80")], vec![("outlier", outlier)]);
    lua.named("upstream", "e", vec![text("b:80")], vec![]);
    lua.named("upstream", "", vec![text("b:80")], vec![]);
    let errors = lua.errors();
    let expected = [
        "0:2 `weight` of `endpoint` is out of range: 65536 | 1 to 65535",
        "0:3 `max_connections` of `endpoint` is not in this version | ",
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
