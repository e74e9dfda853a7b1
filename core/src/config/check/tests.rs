//! Stories of the check: values as the evaluation would give them, and what comes of them.

use std::{path::Path, sync::Arc};

use super::*;
use crate::config::{
    checked::*,
    options as table_of_options,
    raw::{Entry, FunctionId, Item, Key, Span, Table, Value},
};

/// A file in which every call stands on a line of its own.
#[derive(Default)]
struct Lua {
    file: File,
    line: u32,
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: f64) -> Value {
    Value::Number(number)
}

fn texts(texts: &[&str]) -> Value {
    list(texts.iter().map(|each| text(each)).collect())
}

fn list(values: Vec<Value>) -> Value {
    table(values, vec![])
}

fn options(entries: Vec<(&str, Value)>) -> Value {
    table(vec![], entries)
}

fn table(values: Vec<Value>, entries: Vec<(&str, Value)>) -> Value {
    Value::Table(raw_table(values, entries, 0))
}

/// A table whose values stand in the columns 1, 2, 3 … of a line.
fn raw_table(values: Vec<Value>, entries: Vec<(&str, Value)>, line: u32) -> Table {
    let span = |column: usize| Span { file: 0, line, column: column as u32 + 1, length: 1 };
    let places = values.len();
    Table {
        items: values.into_iter().enumerate().map(|(index, value)| Item { value, span: span(index) }).collect(),
        entries: entries
            .into_iter()
            .enumerate()
            .map(|(index, (key, value))| Entry { key: Key::Text(key.into()), value, span: span(places + index) })
            .collect(),
    }
}

impl Lua {
    fn new() -> Self {
        let source = Source { path: "/etc/rsp/site.lua".into(), text: "".into() };
        Self { file: File { sources: vec![source], ..File::default() }, line: 0 }
    }

    /// `listen ":80"`, then what the story adds on line 2 and below.
    fn listening() -> Self {
        let mut lua = Self::new();
        lua.say("listen", vec![text(":80")], vec![]);
        lua
    }

    /// A call that gives a value.
    fn make(&mut self, what: &'static str, values: Vec<Value>, entries: Vec<(&str, Value)>) -> Value {
        Value::Made(Arc::new(self.made(what, vec![], values, entries)))
    }

    fn made(&mut self, what: &'static str, name: Vec<Value>, values: Vec<Value>, entries: Vec<(&str, Value)>) -> Made {
        self.line += 1;
        let span = Span { file: 0, line: self.line, column: 0, length: 0 };
        let arguments = raw_table(values, entries, self.line);
        Made { what, name: raw_table(name, vec![], self.line), arguments, complete: true, span }
    }

    fn say(&mut self, what: &'static str, values: Vec<Value>, entries: Vec<(&str, Value)>) {
        let made = self.made(what, vec![], values, entries);
        self.file.statements.push(Arc::new(made));
    }

    fn named(&mut self, what: &'static str, name: &str, values: Vec<Value>, entries: Vec<(&str, Value)>) -> Value {
        let made = Arc::new(self.made(what, vec![text(name)], values, entries));
        self.file.statements.push(made.clone());
        Value::Made(made)
    }

    fn site(&mut self, host: &str, entries: Vec<(&str, Value)>) {
        self.named("site", host, vec![], entries);
    }

    fn check(&self) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
        check(&self.file, &context())
    }

    fn config(&self) -> Config {
        self.check().unwrap().0
    }

    /// Every error as `line:column message | label`, with the lines of its notes.
    fn errors(&self) -> Vec<String> {
        let mut findings = self.check().map(|(config, _)| config).expect_err("this file is wrong");
        findings.retain(|finding| finding.severity == Severity::Error);
        shown(&findings)
    }

    fn warnings(&self) -> Vec<String> {
        shown(&self.check().unwrap().1)
    }
}

fn shown(findings: &[Diagnostic]) -> Vec<String> {
    let show = |finding: &Diagnostic| {
        let notes: Vec<_> = finding.notes.iter().map(|note| format!(" ({}: {})", note.span.line, note.label)).collect();
        let Span { line, column, .. } = finding.span;
        format!("{line}:{column} {} | {}{}", finding.message, finding.label, notes.concat())
    };
    findings.iter().map(show).collect()
}

fn context() -> Context<'static> {
    fn probe(path: &Path) -> PathKind {
        match path.to_str().unwrap() {
            "/etc/rsp/public" | "/etc/rsp" | "/var/log" => PathKind::Folder,
            "/etc/rsp/file" => PathKind::File,
            "/root" => PathKind::Denied,
            _ => PathKind::Missing,
        }
    }
    Context { folder: Path::new("/srv"), admin_socket: Path::new("/etc/rsp/site.lua.sock"), probe: &probe }
}

/// The errors of one route's value, built by `route`, in a file that is right otherwise.
fn route_errors(route: impl FnOnce(&mut Lua) -> Value) -> Vec<String> {
    let mut lua = Lua::listening();
    let value = route(&mut lua);
    lua.site("a.example", vec![("/x/{id}", value)]);
    lua.errors()
}

/// The handler of one route's value.
fn handler(route: impl FnOnce(&mut Lua) -> Value) -> Handler {
    let mut lua = Lua::listening();
    let value = route(&mut lua);
    lua.site("a.example", vec![("/x/{id}", value)]);
    lua.config().sites.remove(0).routes.remove(0).chain.handler
}

#[test]
fn a_listener_a_site_and_a_proxy_are_a_config_with_every_default() {
    let mut lua = Lua::listening();
    let app = lua.named("upstream", "app", vec![text("127.0.0.1:3000")], vec![]);
    let proxy = lua.make("proxy", vec![app], vec![]);
    lua.site("Example.com", vec![("/*", proxy)]);
    let config = lua.config();
    insta::assert_debug_snapshot!((&config.listeners, &config.upstreams, &config.sites));
    assert_eq!(*config.limits, Limits::default());
    assert_eq!(config.drain, std::time::Duration::from_secs(30));
}

#[test]
fn a_missing_listen_is_an_error() {
    let mut lua = Lua::new();
    let hello = lua.make("reply", vec![number(200.0), text("hello\n")], vec![]);
    lua.site("*", vec![("/", hello)]);
    assert_eq!(lua.errors(), ["2:0 no `listen`: nothing would be served | add: listen \"127.0.0.1:8080\""]);
}

#[test]
fn an_unknown_key_names_the_nearest_right_one() {
    let errors = route_errors(|lua| {
        lua.make("proxy", vec![text("a:80")], vec![("timeuot", text("5s")), ("color", text("red"))])
    });
    assert_eq!(errors[0], "2:2 `proxy` has no option `timeuot` | did you mean `timeout`?");
    assert!(errors[1].starts_with("2:3 `proxy` has no option `color` | it has strip, host, timeout"), "{errors:?}");
}

#[test]
fn wrong_types_and_values_out_of_range_say_what_would_be_right() {
    let cases: Vec<(&str, Value, &str)> = vec![
        (
            "timeout",
            number(30.0),
            "must be a duration, not the number 30 | for example \"250ms\", \"5s\", \"2m\", \"1h\" or \"7d\"",
        ),
        (
            "timeout",
            text("30"),
            "must be a duration, not \"30\" | for example \"250ms\", \"5s\", \"2m\", \"1h\" or \"7d\"",
        ),
        ("timeout", text("0s"), "is out of range: \"0s\" | 1ms to 3650d"),
        ("timeout", text("3651d"), "is out of range: \"3651d\" | 1ms to 3650d"),
        ("upgrade", text("yes"), "must be true or false, not \"yes\" | write true or false"),
        ("upgrade", Value::Function(FunctionId(0)), "must be true or false, not a function | write true or false"),
        ("buffer", text("64K"), "must be a size, not \"64K\" | for example \"64KiB\", \"1MB\" or a number of bytes"),
        ("buffer", number(4095.0), "is out of range: 4095 | 4KiB to 64MiB"),
        ("buffer", number(-1.0), "is out of range: -1 | 4KiB to 64MiB"),
        (
            "buffer",
            number(5000.5),
            "must be a whole number, not 5000.5 | for example \"64KiB\", \"1MB\" or a number of bytes",
        ),
        (
            "buffer",
            number(f64::NAN),
            "must be a whole number, not NaN | for example \"64KiB\", \"1MB\" or a number of bytes",
        ),
        (
            "buffer",
            number(1e300),
            "is out of range: 1000000000000000052504760255204420248704468581108159154915854115111802457988908195786371375080447854045104 | 4KiB to 64MiB",
        ),
        ("retry", number(2.0), "must be a table of options, not the number 2 | { tries = … }"),
        ("host", text("a\nb"), "has a line break or NUL in it | "),
    ];
    for (key, value, message) in cases {
        let errors = route_errors(|lua| lua.make("proxy", vec![text("a:80")], vec![(key, value.clone())]));
        if number(1e300) == value {
            assert!(errors[0].contains("is out of range: 1"), "{errors:?}");
            continue;
        }
        assert_eq!(errors, [format!("2:2 `{key}` of `proxy` {message}")]);
    }
}

#[test]
fn a_wrong_word_names_the_nearest_and_all_others() {
    let errors =
        |word: &str| route_errors(|lua| lua.make("proxy", vec![text("a:80")], vec![("forwarded", text(word))]));
    assert_eq!(errors("bth"), ["2:2 `forwarded` of `proxy` can't be \"bth\" | did you mean \"both\"?"]);
    assert_eq!(
        errors("standard"),
        ["2:2 `forwarded` of `proxy` can't be \"standard\" | one of \"x\", \"rfc\", \"both\", \"off\""]
    );
}

#[test]
fn keys_inside_an_option_are_checked_too() {
    let retry = options(vec![("trys", number(3.0)), ("budget", number(1.5)), ("tries", number(0.0))]);
    let errors = route_errors(|lua| lua.make("proxy", vec![text("a:80")], vec![("retry", retry)]));
    assert_eq!(
        errors,
        [
            "0:1 `retry` has no option `trys` | it has tries, budget",
            "0:2 `budget` of `retry` is out of range: 1.5 | 0 to 1",
            "0:3 `tries` of `retry` is out of range: 0 | 1 to 100",
        ]
    );
}

#[test]
fn what_has_not_landed_is_not_in_this_version() {
    let mut lua = Lua::new();
    lua.say("listen", vec![text(":80")], vec![("tls", Value::Bool(false))]);
    lua.say("user", vec![text("www")], vec![]);
    lua.named("upstream", "a", vec![text("a:80")], vec![("balance", text("hash"))]);
    lua.named("upstream", "b", vec![text("https://b:443")], vec![]);
    lua.named("upstream", "c", vec![text("c:80")], vec![("probe", options(vec![]))]);
    let cache = lua.make("cache", vec![], vec![("ttl", text("nonsense"))]);
    let exec = lua.make("exec", vec![text("./x")], vec![]);
    lua.site("a", vec![("/", list(vec![cache, exec])), ("tls", text("acme"))]);
    assert_eq!(
        lua.errors(),
        [
            "1:2 `tls` of `listen` is not in this version | ",
            "2:0 `user` is not in this version | ",
            "3:2 \"hash\" as `balance` of `upstream` is not in this version | ",
            "4:1 an `https://` endpoint is not in this version | ",
            "5:2 `probe` of `upstream` is not in this version | ",
            "6:0 `cache` is not in this version | ",
            "7:0 `exec` is not in this version | ",
            "8:2 `tls` of `site` is not in this version | ",
        ]
    );
}

#[test]
fn every_constructor_that_has_not_landed_is_refused_in_a_route() {
    for constructor in table_of_options::constructors().filter(|constructor| !constructor.landed) {
        let errors = route_errors(|lua| lua.make(constructor.name, vec![text("x")], vec![]));
        let expected = match constructor.kind {
            table_of_options::Kind::Filter => format!("`{}` is a filter", constructor.name),
            _ => format!("`{}` is not in this version", constructor.name),
        };
        assert!(errors[0].contains(&expected), "{errors:?}");
    }
}

#[test]
fn every_constructor_of_this_version_is_checked_with_its_defaults() {
    let mut lua = Lua::listening();
    lua.say("log", vec![], vec![]);
    lua.say("limits", vec![], vec![]);
    lua.say("drain", vec![text("0s")], vec![]);
    let handlers = [
        lua.make("proxy", vec![text("a:80")], vec![]),
        lua.make("files", vec![text("./public")], vec![]),
        lua.make("reply", vec![number(204.0)], vec![]),
        lua.make("redirect", vec![text("/x")], vec![]),
    ];
    for (index, handler) in handlers.into_iter().enumerate() {
        let headers = lua.make("headers", vec![], vec![]);
        lua.site(&format!("{index}.example"), vec![("/*", list(vec![headers, handler]))]);
    }
    let config = lua.config();
    assert_eq!(config.drain, std::time::Duration::ZERO);
    assert_eq!(*config.limits, Limits::default());
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_code() {
    let limits = table_of_options::find("limits").unwrap();
    let set = limits.options.iter().filter(|option| option.landed).filter_map(|option| {
        let value = match option.default {
            table_of_options::Literal::Text(value) => text(value),
            table_of_options::Literal::Number(value) => number(f64::from(value)),
            table_of_options::Literal::Unset(_) => return None,
            other => panic!("{other:?}"),
        };
        Some((option.name, value))
    });
    let mut lua = Lua::listening();
    lua.say("limits", vec![], set.collect());
    let drain = table_of_options::find("drain").unwrap().positional[0].default;
    let with = lua.config();
    assert_eq!(*with.limits, Limits::default());
    assert_eq!(drain, table_of_options::Literal::Text("30s"));
    assert_eq!(Lua::listening().config().drain, std::time::Duration::from_secs(30));
}

#[test]
fn every_limit_can_be_set() {
    let values = [
        ("head", number(300.0)),
        ("headers", number(7.0)),
        ("uri", text("1KiB")),
        ("body", number(0.0)),
        ("head_timeout", text("1s")),
        ("idle_timeout", text("2s")),
        ("body_timeout", text("3s")),
        ("write_timeout", text("4s")),
        ("connections", number(9.0)),
        ("connections_per_client", number(8.0)),
        ("requests_per_connection", number(6.0)),
        ("buffer", text("8KiB")),
        ("tunnels", number(5.0)),
        ("script_cpu", text("7ms")),
        ("script_memory", text("1MiB")),
    ];
    let landed = table_of_options::find("limits").unwrap().options.iter().filter(|option| option.landed);
    assert_eq!(
        landed.map(|option| option.name).collect::<Vec<_>>(),
        values.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    let mut lua = Lua::listening();
    lua.say("limits", vec![], values.into());
    let second = std::time::Duration::from_secs;
    assert_eq!(
        *lua.config().limits,
        Limits {
            head: 300,
            headers: 7,
            uri: 1024,
            body: Some(0),
            head_timeout: second(1),
            idle_timeout: second(2),
            body_timeout: second(3),
            write_timeout: second(4),
            connections: 9,
            connections_per_client: Some(8),
            requests_per_connection: Some(6),
            buffer: 8192,
            tunnels: Some(5),
            script_cpu: std::time::Duration::from_millis(7),
            script_memory: 1 << 20,
        }
    );
}

#[test]
fn a_head_shorter_than_any_request_is_out_of_range() {
    let mut lua = Lua::listening();
    lua.say("limits", vec![], vec![("head", number(255.0)), ("connections", number(0.0))]);
    assert_eq!(
        lua.errors(),
        [
            "2:1 `head` of `limits` is out of range: 255 | 256 to 1MiB",
            "2:2 `connections` of `limits` is out of range: 0 | 1 or more",
        ]
    );
}

#[test]
fn arguments_are_counted() {
    let mut lua = Lua::listening();
    lua.say("workers", vec![], vec![]);
    lua.say("drain", vec![text("1s"), text("2s")], vec![]);
    lua.say("log", vec![text("combined")], vec![]);
    let redirect = lua.make("redirect", vec![text("/"), number(301.0), number(1.0)], vec![]);
    lua.site("a", vec![("/", redirect)]);
    assert_eq!(
        lua.errors(),
        [
            "2:0 `workers` needs its count | for example workers(2)",
            "3:2 `drain` takes one value | for example drain \"30s\"",
            "4:1 `log` takes options only, by name | for example log { format = \"json\", to = \"/var/log/rsp/access.log\" }",
            "5:3 `redirect` takes 2 values at most | for example redirect(\"https://{host}{uri}\", 301)",
        ]
    );
}

#[test]
fn statements_are_said_once_and_addresses_listened_on_once() {
    let mut lua = Lua::listening();
    lua.say("workers", vec![number(2.0)], vec![]);
    lua.say("workers", vec![number(3.0)], vec![]);
    lua.say("listen", vec![text("[::]:80")], vec![]);
    lua.say("listen", vec![text(":0")], vec![]);
    lua.say("listen", vec![text(":0")], vec![]);
    lua.say("listen", vec![text("unix:a.sock")], vec![("mode", text("0666"))]);
    lua.say("listen", vec![text(":81")], vec![("mode", text("0666"))]);
    assert_eq!(
        lua.errors(),
        [
            "3:0 `workers` is said twice | say it once (2: first here)",
            "4:0 this address is listened on twice | remove one of them (1: first here)",
            "8:2 `mode` of `listen` is for unix sockets only | remove it",
        ]
    );
}

#[test]
fn admin_on_tcp_needs_a_token() {
    let mut lua = Lua::listening();
    lua.say("admin", vec![text("127.0.0.1:9600")], vec![]);
    assert_eq!(lua.errors(), ["2:0 `admin` on TCP needs a token | add: token = env \"TOKEN\""]);
    let mut lua = Lua::listening();
    lua.say("admin", vec![text("unix:admin.sock")], vec![]);
    let files = lua.make("files", vec![text("public")], vec![]);
    lua.site("a", vec![("/static/*", files)]);
    let config = lua.config();
    assert_eq!(config.admin.address, Some(Address::Unix("/etc/rsp/admin.sock".into())));
    let Handler::Files(files) = &config.sites[0].routes[0].chain.handler else { panic!("files") };
    assert_eq!(files.hidden, [std::path::PathBuf::from("/etc/rsp/admin.sock")]);
    assert_eq!((files.prefix, files.root.as_path()), (8, Path::new("/etc/rsp/public")));
}

#[test]
fn admin_and_listen_do_not_share_an_address() {
    let mut lua = Lua::listening();
    lua.say("admin", vec![text(":80")], vec![("token", text("secret"))]);
    assert_eq!(lua.errors(), ["2:0 `admin` and `listen` have the same address | another one (1: the `listen`)"]);
}

#[test]
fn an_option_that_is_a_table_takes_nothing_by_position() {
    let retry = list(vec![number(3.0)]);
    let errors = route_errors(|lua| lua.make("proxy", vec![text("a:80")], vec![("retry", retry)]));
    assert_eq!(errors, ["0:1 `retry` of `proxy` takes options by name | { tries = … }"]);
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

#[test]
fn networks_are_checked_one_by_one() {
    let mut lua = Lua::listening();
    lua.say("trust", vec![text("unix"), text("10.0.0.1/8"), text("example.com"), number(1.0)], vec![]);
    assert_eq!(
        lua.errors(),
        [
            "2:2 the network of `trust` has bits set behind its prefix: \"10.0.0.1/8\" | did you mean \"10.0.0.0/8\"?",
            "2:3 the network of `trust` must be a network, not \"example.com\" | for example \"10.0.0.0/8\", \"::1\" or \"unix\"",
            "2:4 the network of `trust` must be a network, not the number 1 | for example \"10.0.0.0/8\", \"::1\" or \"unix\"",
        ]
    );
}

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

#[test]
fn files_needs_a_folder_that_can_be_read() {
    let errors =
        |path: &str, index: &str| route_errors(|lua| lua.make("files", vec![text(path)], vec![("index", text(index))]));
    let label = "a path is relative to the folder of the file that says it";
    assert_eq!(errors("./nowhere", "i"), [format!("2:1 there is no folder /etc/rsp/nowhere | {label}")]);
    assert_eq!(errors("file", "i"), [format!("2:1 `files` needs a folder, and this is none: /etc/rsp/file | {label}")]);
    assert_eq!(errors("/root", "i"), [format!("2:1 the folder /root can't be read | {label}")]);
    assert_eq!(
        errors("public", "a/b"),
        ["2:2 `index` of `files` must be the name of a file | for example \"index.html\""]
    );
}

#[test]
fn a_reply_has_a_body_and_headers() {
    let reply = |values: Vec<Value>| match handler(|lua| lua.make("reply", values, vec![])) {
        Handler::Reply(reply) => {
            (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap(), reply.headers.clone())
        }
        other => panic!("{other:?}"),
    };
    let (status, body, headers) = reply(vec![number(200.0), text("hello\n")]);
    assert_eq!(
        (status, body.as_str(), headers["content-type"].to_str().unwrap()),
        (200, "hello\n", "text/plain; charset=utf-8")
    );
    let json = table(
        vec![],
        vec![
            ("a", list(vec![number(1.0), number(0.5), number(-0.0), Value::Bool(true)])),
            ("q\"", text("\u{1}\n\\é")),
            ("e", options(vec![])),
        ],
    );
    let (_, body, headers) = reply(vec![number(200.0), json]);
    assert_eq!(body, r#"{"a":[1,0.5,0,true],"q\"":"\u0001\n\\é","e":{}}"#);
    assert_eq!(headers["content-type"], "application/json");
    let own = options(vec![("Content-Type", text("text/html")), ("X-A", texts(&["1", " 2 "]))]);
    let (_, _, headers) = reply(vec![number(404.0), text("x"), own]);
    assert_eq!(headers["content-type"], "text/html");
    assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(reply(vec![number(204.0)]).2.is_empty());
}

#[test]
fn a_reply_that_would_break_a_message_is_refused() {
    let errors = |values: Vec<Value>| route_errors(|lua| lua.make("reply", values, vec![]));
    let headers =
        |name: &str, value: Value| errors(vec![number(200.0), text(""), options(vec![(name, value)])]).remove(0);
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Proxy-Connection",
    ] {
        assert_eq!(
            headers(name, text("x")),
            format!("0:1 `{name}` frames the message and can't be touched | remove it")
        );
    }
    for value in ["a\r\nb: c", "a\nb", "a\0b"] {
        let message = "0:1 the value of `x-a` has a line break or another control character in it | one line of text";
        assert_eq!(headers("X-A", text(value)), message);
    }
    assert_eq!(headers("X A", text("x")), "0:1 \"X A\" is no header's name | letters, digits and hyphens");
    assert!(headers("X-A", number(1.0)).starts_with("0:1 the value of `x-a` must be a string, not the number 1 |"));
    assert_eq!(errors(vec![number(199.0)]), ["2:1 the status of `reply` is out of range: 199 | 200 to 599"]);
    assert_eq!(errors(vec![number(304.0), text("x")]), ["2:2 an answer 304 has no body | remove it"]);
    assert!(
        errors(vec![number(200.0), number(1.0)])[0]
            .contains("the body of `reply` must be a string or a table, not the number 1")
    );
    assert!(errors(vec![number(200.0), text(""), texts(&["X-A"])])[0].contains("the headers of `reply` need names"));
    assert!(
        errors(vec![number(200.0), text(""), text("X-A")])[0]
            .contains("the headers of `reply` must be a table, not a string")
    );
}

#[test]
fn a_body_that_has_no_json_is_refused() {
    let error = |body: Value| route_errors(|lua| lua.make("reply", vec![number(200.0), body], vec![])).remove(0);
    assert!(error(list(vec![Value::Function(FunctionId(0))])).contains("a function can't be written as JSON"));
    assert!(error(list(vec![number(f64::INFINITY)])).contains("the number inf can't be written as JSON"));
    assert!(
        error(table(vec![number(1.0)], vec![("a", number(1.0))]))
            .contains("a table with both a list and keys has no JSON")
    );
    let deep = (0..64).fold(number(1.0), |inner, _| list(vec![inner]));
    let Handler::Reply(reply) = handler(|lua| lua.make("reply", vec![number(200.0), deep.clone()], vec![])) else {
        panic!()
    };
    assert_eq!(reply.body.len(), 129);
    assert!(error(list(vec![deep])).contains("more than 64 tables inside each other"));
    let mut numbered = raw_table(vec![], vec![("a", number(1.0))], 0);
    numbered.entries[0].key = Key::Number(5);
    assert!(error(Value::Table(numbered)).contains("a key of JSON must be a string"));
}

#[test]
fn a_redirect_fills_in_only_what_there_is() {
    let errors =
        |to: &str, status: f64| route_errors(|lua| lua.make("redirect", vec![text(to), number(status)], vec![]));
    assert_eq!(errors("/{idd}", 301.0), ["2:1 nothing fills in {idd} of `redirect` | did you mean {id}?"]);
    assert_eq!(
        errors("/{name}", 301.0),
        ["2:1 nothing fills in {name} of `redirect` | one of {host} {uri} {path} {query} {id}"]
    );
    assert_eq!(errors("/{id", 301.0), ["2:1 a `{` of `redirect` is never closed | for example \"{path}\""]);
    assert_eq!(errors("/x", 304.0), ["2:2 304 is no status of `redirect` | 301, 302, 303, 307 or 308"]);
    for to in ["", "/a b", "/é"] {
        assert!(errors(to, 301.0)[0].starts_with("2:1 `redirect` can't go to"), "{to}");
    }
    let Handler::Redirect(redirect) =
        handler(|lua| lua.make("redirect", vec![text("https://{host}/{id}?{query}")], vec![]))
    else {
        panic!()
    };
    assert_eq!((redirect.to.as_str(), redirect.status.as_u16()), ("https://{host}/{id}?{query}", 302));
}

#[test]
fn header_edits_keep_their_order() {
    let edit = options(vec![
        ("set", options(vec![("Host", text("a")), ("X-B", text("2"))])),
        ("add", options(vec![("Via", text("x"))])),
        ("remove", texts(&["Cookie", "X-C"])),
    ]);
    let mut lua = Lua::listening();
    let headers = lua.make("headers", vec![], vec![("request", edit)]);
    let proxy = lua.make("proxy", vec![text("a:80")], vec![]);
    lua.site("a", vec![("/", list(vec![headers, proxy]))]);
    let config = lua.config();
    let [Filter::Headers(edits)] = config.sites[0].routes[0].chain.filters.as_slice() else { panic!("one filter") };
    let names: Vec<_> = edits.request.set.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names.as_slice(), edits.request.remove.len(), edits.request.add.len()), (&["host", "x-b"][..], 2, 1));
    assert_eq!(edits.response, HeaderEdit::default());
}

#[test]
fn header_edits_that_would_break_a_message_are_refused() {
    let mut lua = Lua::listening();
    let edit = options(vec![
        ("add", options(vec![("Host", text("a"))])),
        ("remove", texts(&["Host", "Content-Length"])),
        ("sett", options(vec![])),
    ]);
    let headers =
        lua.make("headers", vec![], vec![("request", edit), ("response", options(vec![("remove", number(1.0))]))]);
    let proxy = lua.make("proxy", vec![text("a:80")], vec![]);
    lua.site("a", vec![("/", list(vec![headers, proxy]))]);
    let mut errors = lua.errors();
    errors.sort();
    assert_eq!(
        errors,
        [
            "0:1 `Host` can't be removed | a request must have one",
            "0:1 `remove` must be a list of names, not the number 1 | for example { \"Server\" }",
            "0:1 a request has one `Host` | put it into `set`",
            "0:2 `Content-Length` frames the message and can't be touched | remove it",
            "0:3 `request` has no option `sett` | did you mean `set`?",
        ]
    );
}

#[test]
fn filters_stand_before_the_handler() {
    let allow = |lua: &mut Lua| lua.make("allow", vec![text("unix")], vec![]);
    let hello = |lua: &mut Lua| lua.make("reply", vec![number(200.0)], vec![]);
    let both = |lua: &mut Lua, handler_first: bool| {
        let (allow, hello) = (allow(lua), hello(lua));
        if handler_first { list(vec![hello, allow]) } else { list(vec![allow, hello]) }
    };
    assert!(matches!(handler(|lua| both(lua, false)), Handler::Reply(_)));
    assert_eq!(
        route_errors(|lua| both(lua, true)),
        ["0:2 filters after the handler `reply` would never run | put the handler last (0: the handler)"]
    );
    assert_eq!(
        route_errors(allow),
        ["3:1 `allow` is a filter; a route ends in a handler | for example { allow …, proxy \"127.0.0.1:3000\" }"]
    );
    assert_eq!(
        route_errors(|lua| list(vec![hello(lua), hello(lua)])),
        ["0:1 `reply` is a handler; only the last value of a route is one | a filter or a function here"]
    );
    assert!(route_errors(|lua| list(vec![allow(lua)]))[0].contains("`allow` is a filter; a route ends in a handler"));
}

#[test]
fn a_function_may_stand_anywhere_in_a_route() {
    let function = |id| Value::Function(FunctionId(id));
    let mut lua = Lua::listening();
    lua.site("a", vec![("/", list(vec![function(0), function(1)])), ("/b", function(2))]);
    let config = lua.config();
    let chain = &config.sites[0].routes[0].chain;
    assert!(matches!(
        (chain.filters.as_slice(), &chain.handler),
        ([Filter::Function(FunctionId(0))], Handler::Function(FunctionId(1)))
    ));
    assert!(matches!(config.sites[0].routes[1].chain.handler, Handler::Function(FunctionId(2))));
}

#[test]
fn what_is_no_handler_is_named() {
    let error = |value: Value| route_errors(|_| value).remove(0);
    assert!(error(text("./public")).starts_with("2:1 a route needs a handler, not a string"));
    assert!(error(list(vec![])).starts_with("2:1 a route needs a handler, not an empty table"));
    assert!(error(options(vec![("a", number(1.0))])).contains("a route's value has no options of its own"));
    assert!(
        error(list(vec![list(vec![]), Value::Function(FunctionId(0))])).contains("one list, without tables inside")
    );
    let upstream = route_errors(|lua| lua.named("upstream", "app", vec![text("a:80")], vec![]));
    assert_eq!(upstream, ["3:1 `upstream` is no handler | write proxy(…) around it"]);
}

#[test]
fn routes_that_no_request_can_tell_apart_point_at_both() {
    let mut lua = Lua::listening();
    let function = || Value::Function(FunctionId(0));
    lua.site(
        "a",
        vec![("/x/{a}", function()), ("GET /x/{a}", function()), ("/x/{b}", function()), ("/x/*", function())],
    );
    assert_eq!(
        lua.errors(),
        ["2:3 no request can tell \"/x/{b}\" from \"/x/{a}\" | remove one of them (2: the other one)"]
    );
}

#[test]
fn a_wrong_route_says_why() {
    let mut lua = Lua::listening();
    lua.site("a", vec![("x/y", Value::Function(FunctionId(0))), ("get /x", Value::Function(FunctionId(0)))]);
    let errors = lua.errors();
    assert!(
        errors[0].starts_with("2:1 \"x/y\" is no route: a path starts with '/' | for example \"/api/*\""),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("2:2 \"get /x\" is no route: \"get\" is no method in capitals"), "{errors:?}");
}

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
    let request = RequestContext { context: context(), sources: &lua.file.sources, upstream: &find, pattern: &pattern };
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
    assert_eq!((files.prefix, files.hidden.len()), (8, 1));
    let wrong =
        |what, values| check_handler(&Lua::new().made(what, vec![], values, vec![]), &request).unwrap_err().to_string();
    assert_eq!(wrong("redirect", vec![text("/{x}")]), "/etc/rsp/site.lua:1: nothing fills in {x} of `redirect`");
    assert_eq!(wrong("allow", vec![text("unix")]), "/etc/rsp/site.lua:1: `allow` is no handler");
    assert_eq!(wrong("proxy", vec![text("nobody")]), "/etc/rsp/site.lua:1: no upstream is called \"nobody\"");
    let mut other = Lua::new();
    let gone = other.named("upstream", "gone", vec![text("a:80")], vec![]);
    assert_eq!(wrong("proxy", vec![gone]), "/etc/rsp/site.lua:1: no upstream is called \"gone\"");
    assert_eq!(wrong("exec", vec![text("x")]), "/etc/rsp/site.lua:1: `exec` is not in this version");
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
