//! Stories of `exec`, `cgi` and `bridge`, and of what else came with them.

use std::time::Duration;

use super::*;

fn exec(values: Vec<Value>, entries: Vec<(&str, Value)>) -> Arc<Exec> {
    match handler(|lua| lua.make("exec", values, entries)) {
        Handler::Exec(exec) => exec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_exec_is_complete() {
    let least = exec(texts_of(&["cat"]), vec![]);
    assert_eq!(&*least.name, "a.example /x/{id}");
    assert_eq!(least.program, Program::One("/bin/cat".into(), vec![]));
    let names = vec!["PATH".to_owned(), "LD_LIBRARY_PATH".to_owned()];
    let limits = ProcessLimits::default();
    let command = Command { env: vec![], passenv: names, cwd: Some("/etc/rsp".into()), user: None, limits };
    assert_eq!(least.command, command);
    assert!(!least.shared && least.channel.is_none() && !least.stderr_to_client && !least.console);
    assert!(!least.reverse_lookup && least.otherwise.is_none());
    assert_eq!((least.processes_max, least.close), (1024, Duration::ZERO));
    let pages = Pages { of: PagesOf::Same, origin_required: false, same_origin: false };
    let talk = Talk { framing: Framing::Lines, line_max: 1 << 20, message_max: 1 << 20, ping: None, pages };
    assert_eq!(least.talk, talk);
}

fn texts_of(words: &[&str]) -> Vec<Value> {
    words.iter().map(|word| text(word)).collect()
}

#[test]
fn every_option_of_an_exec_is_kept() {
    let limits = options(vec![("cpu", text("1500ms")), ("memory", text("64MiB")), ("files", number(16.0))]);
    let all = exec(
        texts_of(&["./clock.sh", "-n", ""]),
        vec![
            ("framing", text("length")),
            ("processes_max", number(7.0)),
            ("stderr", text("client")),
            ("env", options(vec![("LANG", text("C")), ("EMPTY", text(""))])),
            ("passenv", texts(&["HOME"])),
            ("cwd", text("public")),
            ("user", text("www-data:adm")),
            ("limits", limits),
            ("line_max", text("4KiB")),
            ("message_max", number(9.0)),
            ("close", text("2s")),
            ("ping", text("30s")),
            ("origins", text("*")),
            ("reverse_lookup", Value::Bool(true)),
            ("console", Value::Bool(true)),
        ],
    );
    assert_eq!(all.program, Program::One("/etc/rsp/clock.sh".into(), vec!["-n".into(), String::new()]));
    assert_eq!(all.command.env, [("LANG".into(), "C".into()), ("EMPTY".into(), String::new())]);
    assert_eq!(
        (&*all.command.passenv, all.command.cwd.as_deref()),
        (&["HOME".to_owned()][..], Some("/etc/rsp/public".as_ref()))
    );
    assert_eq!(all.command.user, Some(User { name: "www-data".into(), group: Some("adm".into()) }));
    let limits = ProcessLimits { cpu: Some(2), memory: Some(64 << 20), files: Some(16) };
    assert_eq!(all.command.limits, limits, "a part of a second is a whole one");
    assert!(all.stderr_to_client && all.reverse_lookup && all.console);
    assert_eq!((all.processes_max, all.close), (7, Duration::from_secs(2)));
    let pages = Pages { of: PagesOf::Any, origin_required: false, same_origin: false };
    let ping = Some(Duration::from_secs(30));
    assert_eq!(all.talk, Talk { framing: Framing::Length, line_max: 4096, message_max: 9, ping, pages });
}

#[test]
fn origins_of_pages_may_leave_scheme_or_port_open() {
    let host = |scheme: Option<&str>, host: &str, port| PageOrigin::Host {
        scheme: scheme.map(str::to_owned),
        host: host.to_owned(),
        port,
    };
    let exact = |text: &str| PageOrigin::Cors(Origin::Exact(text.to_owned()));
    for (said, meant) in [
        ("https://a.example", exact("https://a.example")),
        ("null", exact("null")),
        ("https://a.example:*", host(Some("https"), "a.example", None)),
        ("A.example", host(None, "a.example", None)),
        ("a.example:81", host(None, "a.example", Some(81))),
        ("a.example:*", host(None, "a.example", None)),
        ("[::1]", host(None, "[::1]", None)),
        ("[::1]:81", host(None, "[::1]", Some(81))),
    ] {
        let exec = exec(texts_of(&["cat"]), vec![("origins", text(said)), ("origin_required", Value::Bool(true))]);
        assert_eq!(
            exec.talk.pages,
            Pages { of: PagesOf::Listed(vec![meant]), origin_required: true, same_origin: false },
            "{said}"
        );
    }
}

#[test]
fn one_exec_in_two_routes_is_one_and_what_answers_otherwise_counts_with_it() {
    let mut lua = Lua::listening();
    let cgi = lua.make("cgi", vec![text("public")], vec![]);
    let shared = lua.make("exec", vec![text("cat")], vec![("otherwise", cgi)]);
    let other = lua.make("exec", vec![text("cat")], vec![]);
    let alone = lua.make("cgi", vec![text("public")], vec![("timeout", text("5s"))]);
    let routes = vec![("/a", shared.clone()), ("/b/*", shared), ("/c", other), ("/d/*", alone)];
    lua.site("a.example", routes);
    let config = lua.config();
    let handlers: Vec<_> = config.sites[0].routes.iter().map(|route| route.chain.handler.clone()).collect();
    let [Handler::Exec(a), Handler::Exec(b), Handler::Exec(c), Handler::Cgi(d)] = &*handlers else {
        panic!("{handlers:?}")
    };
    assert!(Arc::ptr_eq(a, b) && a.name != c.name);
    let Some(Handler::Cgi(inner)) = a.otherwise.as_deref() else { panic!("no cgi") };
    assert_eq!((&inner.name, inner.processes_max, inner.timeout), (&a.name, 64, Duration::from_secs(60)));
    assert_eq!((&*d.prefix, d.timeout, d.command.cwd.as_ref()), ("/d/", Duration::from_secs(5), None));
    assert!(config.runs_programs() && config.runs_programs_as_itself());
    assert!(config.programs.is_empty(), "only those with a channel run from the start");
}

#[test]
fn a_folder_of_programs_knows_its_place() {
    let mut lua = Lua::listening();
    let folder = lua.make("exec", vec![], vec![("dir", text("public")), ("user", text("www-data"))]);
    lua.site("a.example", vec![("/scripts/*", folder)]);
    let config = lua.config();
    let Handler::Exec(exec) = &config.sites[0].routes[0].chain.handler else { panic!("no exec") };
    assert_eq!(exec.program, Program::Of { folder: "/etc/rsp/public".into(), prefix: "/scripts/".into() });
    assert_eq!(exec.program.to_string(), "dir /etc/rsp/public");
    assert!(config.runs_programs() && !config.runs_programs_as_itself());
}

#[test]
fn a_program_with_a_channel_runs_from_the_start() {
    let mut lua = Lua::listening();
    let channel = lua.make("channel", vec![text("clock")], vec![("history", number(3.0))]);
    let exec = lua.make("exec", vec![text("cat")], vec![("channel", channel)]);
    lua.site("a.example", vec![("/clock", exec)]);
    let config = lua.config();
    assert_eq!((config.programs.len(), config.channels.len()), (1, 1));
    let Some(channel) = &config.programs[0].channel else { panic!("no channel") };
    assert_eq!((channel.name.to_string(), channel.rules.history), ("clock".to_owned(), 3));
}

#[test]
fn a_bridge_is_complete() {
    let Handler::Bridge(bridge) = handler(|lua| lua.make("bridge", vec![text("127.0.0.1:7000")], vec![])) else {
        panic!("no bridge")
    };
    assert_eq!(bridge.upstream.name, "127.0.0.1:7000");
    let pages = Pages { of: PagesOf::Same, origin_required: false, same_origin: false };
    let talk = Talk { framing: Framing::Lines, line_max: 1 << 20, message_max: 1 << 20, ping: None, pages };
    assert_eq!((&bridge.talk, bridge.otherwise.is_none()), (&talk, true));
}

#[test]
fn headers_may_be_for_websockets_only() {
    for (only, expected) in [(None, None), (Some("websocket"), Some(Only::Websocket)), (Some("http"), Some(Only::Http))]
    {
        let mut lua = Lua::listening();
        let headers = lua.make("headers", vec![], only.map(|only| ("only", text(only))).into_iter().collect());
        let proxy = lua.make("proxy", vec![text("a:80")], vec![]);
        lua.site("a", vec![("/", list(vec![headers, proxy]))]);
        let config = lua.config();
        let [Filter::Headers(edits)] = &*config.sites[0].routes[0].chain.filters else { panic!("one filter") };
        assert_eq!(edits.only, expected);
        assert_eq!((edits.apply_to(true), edits.apply_to(false)), (only != Some("http"), only != Some("websocket")));
    }
}
