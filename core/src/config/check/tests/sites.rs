//! Stories of sites, of the original file, and of a file as a whole.

use super::*;

#[test]
fn a_handler_alone_answers_everything() {
    let mut lua = Lua::listening();
    let proxy = lua.make("proxy", vec![text("a:80")], vec![]);
    lua.named("site", "a", vec![proxy], vec![]);
    lua.named("site", "b", vec![Value::Function(FunctionId(0)), Value::Function(FunctionId(1))], vec![]);
    let config = lua.config();
    assert!(config.sites.iter().all(|site| site.routes[0].pattern.to_string() == "/*"));
    assert_eq!(config.sites[1].routes[0].chain.filters.len(), 1);
}

#[test]
fn hosts_are_compared_in_one_form() {
    let mut lua = Lua::listening();
    let function = || vec![("/", Value::Function(FunctionId(0)))];
    for host in ["Example.com.", "*.Example.com", "*", "[::1]"] {
        lua.site(host, function());
    }
    let config = lua.config();
    let hosts: Vec<_> = config.sites.iter().map(|site| site.hosts[0].to_string()).collect();
    assert_eq!(hosts, ["example.com", "*.example.com", "*", "[::1]"]);
    let cases = [
        ("a.com:80", "without a port"),
        ("http://a.com", "without scheme and path"),
        ("a.*", "at the front"),
        ("bücher.de", "A-label"),
        ("", "empty"),
        ("a..b", "empty label"),
        ("*.", "empty"),
    ];
    for (host, label) in cases {
        let mut lua = Lua::listening();
        lua.site(host, function());
        let errors = lua.errors();
        assert!(
            errors[0].starts_with(&format!("2:1 \"{host}\" is no host | ")) && errors[0].contains(label),
            "{errors:?}"
        );
    }
}

#[test]
fn two_sites_share_a_host_only_on_different_listeners() {
    let mut lua = Lua::listening();
    lua.say("listen", vec![text(":81")], vec![]);
    let site = |lua: &mut Lua, host: &str, listen: Option<Value>| {
        let mut entries = vec![("/", Value::Function(FunctionId(0)))];
        entries.extend(listen.map(|listen| ("listen", listen)));
        lua.site(host, entries);
    };
    site(&mut lua, "a", Some(text(":80")));
    site(&mut lua, "A", Some(text(":81")));
    let config = lua.config();
    assert_eq!((&config.sites[0].listeners, &config.sites[1].listeners), (&Some(vec![0]), &Some(vec![1])));
    site(&mut lua, "a", Some(texts(&[":81", ":80"])));
    site(&mut lua, "b", None);
    site(&mut lua, "b", Some(text(":80")));
    site(&mut lua, "c", Some(text(":82")));
    site(&mut lua, "d", Some(number(80.0)));
    site(&mut lua, "e", Some(texts(&[])));
    assert_eq!(
        lua.errors(),
        [
            "5:1 \"a\" has a site already on the same listeners | one site, or a `listen` of its own for each (3: first here)",
            "7:1 \"b\" has a site already on the same listeners | one site, or a `listen` of its own for each (6: first here)",
            "8:2 no `listen` says \":82\" | did you mean \":80\"?",
            "9:2 `listen` of `site` must be an address or a list of them, not the number 80 | for example \":80\" or { \":80\", \":8080\" }",
            "10:2 `listen` of `site` is empty: nothing would reach it | for example \":80\"",
        ]
    );
}

#[test]
fn options_of_a_site_stand_on_either_side() {
    let mut lua = Lua::listening();
    let mut made = lua.made(
        "site",
        vec![text("a")],
        vec![],
        vec![("/", Value::Function(FunctionId(0))), ("limits", options(vec![("body", number(5.0))]))],
    );
    made.name.entries = raw_table(vec![], vec![("log", options(vec![("format", text("none"))]))], 2).entries;
    lua.file.statements.push(Arc::new(made.clone()));
    let config = lua.config();
    assert_eq!(config.sites[0].limits.body, Some(5));
    assert_eq!(config.sites[0].access_log.as_ref().unwrap().format, LogFormat::None);
    made.name.entries = raw_table(vec![], vec![("limits", options(vec![]))], 2).entries;
    lua.file.statements[1] = Arc::new(made);
    assert_eq!(lua.errors(), ["2:2 `limits` of `site` is given twice | give it once (2: first here)"]);
}

#[test]
fn a_limit_that_comes_too_early_for_a_site_is_a_warning() {
    let mut lua = Lua::listening();
    lua.site("a", vec![("/", Value::Function(FunctionId(0))), ("limits", options(vec![("head", text("1KiB"))]))]);
    lua.site("b", vec![]);
    assert_eq!(
        lua.warnings(),
        [
            "0:1 `head` has no effect in a site: it counts before the site is known | say it in the statement `limits`",
            "3:0 this site has no routes: every request gets 404 | for example [\"/*\"] = proxy \"127.0.0.1:3000\"",
        ]
    );
    assert_eq!(
        Lua::listening().warnings(),
        ["1:0 no `site`: every request gets 404 | for example: site \"*\" (proxy \"127.0.0.1:3000\")"]
    );
}

#[test]
fn a_site_needs_a_host() {
    let mut lua = Lua::listening();
    lua.say("site", vec![], vec![("/", Value::Function(FunctionId(0)))]);
    let host = lua.made("site", vec![number(1.0)], vec![Value::Function(FunctionId(0))], vec![]);
    lua.file.statements.push(Arc::new(host));
    assert_eq!(
        lua.errors(),
        [
            "2:0 a site needs a host | site \"example.com\" { … }; any host is \"*\"",
            "3:1 a host must be a string, not the number 1 | for example \"example.com\"",
        ]
    );
}

#[test]
fn the_original_three_globals_are_a_listener_and_a_proxy() {
    let globals = |values: [Option<Value>; 3]| File { legacy: Some(values), ..File::default() };
    let (config, _) = check(&globals(["8000", "127.0.0.1", "80"].map(|each| Some(text(each)))), &context()).unwrap();
    assert_eq!(config.listeners[0].address, Address::Tcp("[::]:8000".parse().unwrap()));
    let Handler::Proxy(proxy) = &config.sites[0].routes[0].chain.handler else { panic!("proxy") };
    assert_eq!((proxy.upstream.name.as_str(), &config.sites[0].hosts[0]), ("127.0.0.1:80", &Host::Any));
    let errors = check(&globals([Some(number(8000.0)), None, Some(text("http"))]), &context()).unwrap_err();
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["listenPort must be a string", "backendAddress must be a string", "backendPort must be a port: \"http\""]
    );
}

#[test]
fn a_handler_built_on_a_request_is_checked_the_same_way() {
    let mut lua = Lua::listening();
    let declared = lua.named("upstream", "app", vec![text("a:80")], vec![]);
    let running = lua.config().upstreams[0].clone();
    let find = |name: &str| (name == "app").then(|| running.clone());
    let pattern = Pattern::parse("/static/{id}").unwrap();
    let (context, sources, hidden) = (context(), &lua.file.sources, lua.config().hidden);
    let request = RequestContext { context, sources, upstream: &find, pattern: &pattern, hidden: &hidden };
    let mut built = Lua::new();
    for target in [text("app"), declared] {
        let made = built.made("proxy", vec![], vec![target], vec![]);
        let Ok(Handler::Proxy(proxy)) = check_handler(&made, &request) else { panic!("proxy") };
        assert!(Arc::ptr_eq(&proxy.upstream, &running));
    }
    let made = built.made("proxy", vec![], vec![text("10.0.0.7:80")], vec![]);
    let Ok(Handler::Proxy(proxy)) = check_handler(&made, &request) else { panic!("proxy") };
    assert_eq!(proxy.upstream.name, "10.0.0.7:80");
    let made = built.made("files", vec![], vec![text("public")], vec![]);
    let Ok(Handler::Files(files)) = check_handler(&made, &request) else { panic!("files") };
    assert_eq!(files.prefix, "/static/");
    assert!(Arc::ptr_eq(&files.hidden, &hidden));
    let wrong =
        |what, values| check_handler(&Lua::new().made(what, vec![], values, vec![]), &request).unwrap_err().to_string();
    assert_eq!(wrong("redirect", vec![text("/{x}")]), "/etc/rsp/site.lua:1: nothing fills in {x} of `redirect`");
    assert_eq!(wrong("allow", vec![text("unix")]), "/etc/rsp/site.lua:1: `allow` is no handler");
    assert_eq!(wrong("proxy", vec![text("nobody")]), "/etc/rsp/site.lua:1: no upstream is called \"nobody\"");
    let mut other = Lua::new();
    let gone = other.named("upstream", "gone", vec![text("a:80")], vec![]);
    assert_eq!(wrong("proxy", vec![gone]), "/etc/rsp/site.lua:1: no upstream is called \"gone\"");
    assert_eq!(wrong("tunnel", vec![text("app")]), "/etc/rsp/site.lua:1: `tunnel` is for listeners, not for routes");
}

#[test]
fn errors_come_in_source_order_and_say_their_file() {
    let mut lua = Lua::listening();
    lua.file.sources.push(crate::config::raw::Source { path: "sites/b.lua".into(), text: "".into() });
    lua.site("a", vec![("/", text("x"))]);
    lua.named("upstream", "u", vec![], vec![]);
    let mut other = lua.made("site", vec![], vec![], vec![]);
    other.span = Span { file: 1, line: 1, ..Span::default() };
    lua.file.statements.insert(0, Arc::new(other));
    let lines: Vec<_> = lua.check().unwrap_err().iter().map(ToString::to_string).collect();
    assert!(
        lines[0].starts_with("/etc/rsp/site.lua:2: ") && lines[1].starts_with("/etc/rsp/site.lua:3: "),
        "{lines:?}"
    );
    assert_eq!(lines[2], "sites/b.lua:1: a site needs a host");
}

#[test]
fn a_loop_that_is_wrong_everywhere_is_counted_and_not_kept() {
    let mut lua = Lua::listening();
    for index in 0..1500 {
        lua.site(&format!("{index}.example"), vec![("/", text("x"))]);
    }
    let errors = lua.errors();
    assert_eq!((errors.len(), errors[1000].as_str()), (1001, "0:0 500 more like these are not shown | "));
}

#[test]
fn a_path_is_relative_to_the_file_that_says_it() {
    let mut lua = Lua::listening();
    lua.file.sources[0].path = "conf/site.lua".into();
    let files = lua.make("files", vec![text("../x")], vec![]);
    lua.site("a", vec![("/", files)]);
    assert!(lua.errors()[0].contains("there is no folder /srv/conf/../x"), "{:?}", lua.errors());
}

#[test]
fn the_access_log_goes_to_a_file_whose_folder_is_there() {
    let log = |to: &str| {
        let mut lua = Lua::listening();
        lua.say("log", vec![], vec![("to", text(to)), ("format", text("json"))]);
        match lua.check() {
            Ok((config, _)) => Ok(config.access_log),
            Err(_) => Err(lua.errors()),
        }
    };
    assert_eq!(log("stdout"), Ok(AccessLog { format: LogFormat::Json, to: None }));
    assert_eq!(log("/var/log/a"), Ok(AccessLog { format: LogFormat::Json, to: Some("/var/log/a".into()) }));
    assert_eq!(
        log("/nowhere/a").unwrap_err(),
        ["2:1 the folder of the log \"/nowhere/a\" can't be read | create the folder first"]
    );
    assert_eq!(log("public").unwrap_err(), ["2:1 `to` of `log` can't be \"public\" | a file, or \"stdout\""]);
}
