//! Stories of the check: values as the evaluation would give them, and what comes of them.

mod auth;
mod channels;
mod filters;
mod programs;
mod routes;
mod sites;
mod statements;
mod tls;
mod upstreams;

use std::{path::Path, sync::Arc};

use super::*;
use crate::{
    auth::token::tests as keys,
    config::{
        checked::*,
        raw::{Entry, FunctionId, Item, Key, Span, Table, Value},
    },
};

/// Of `open sesame`, as cheap as bcrypt can be.
const HASH: &str = "$2y$04$2m/cwqLoplQT1je8GxRh7u9zv8xPdijkvSlpzgoiaJK.kkdDFQ9iS";

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
    fn real(path: &Path) -> Option<PathBuf> {
        // Not made yet.
        if path.extension().is_some_and(|ending| ending == "secret") {
            return None;
        }
        path.strip_prefix("/etc/rsp").ok().map(|below| Path::new("/releases/7").join(below))
    }
    fn read(path: &Path, _: u64) -> Result<Vec<u8>, String> {
        let text = match path.to_str().unwrap() {
            "/etc/rsp/htpasswd" => format!("# ours\nalice:{HASH}\nbob:{HASH}\n"),
            "/etc/rsp/wrong" => format!("alice:{HASH}\nbob:$apr1$x$y\ncarol\n"),
            "/etc/rsp/old" => (0..25).map(|number| format!("u{number}:$apr1$x$y\n")).collect(),
            "/etc/rsp/rsa.pem" => keys::RSA.to_owned(),
            "/etc/rsp/jwks.json" => keys::RFC_KEYS.to_owned(),
            "/etc/rsp/502.html" => "<p>{status}".to_owned(),
            "/etc/rsp/large.html" => "{id}".to_owned() + &" ".repeat(64 << 10),
            "/etc/rsp/photo.jpg" => return Ok([b"\xff{id}".as_slice(), &[b' '; 64 << 10]].concat()),
            other => return Err(format!("cannot open {other}: No such file or directory")),
        };
        Ok(text.into_bytes())
    }
    fn account(name: &str, group: Option<&str>) -> Result<(), String> {
        match (name, group) {
            ("www-data", None | Some("adm")) => Ok(()),
            _ => Err(format!("there is no user \"{name}\"")),
        }
    }
    fn program(path: &Path) -> Result<PathBuf, String> {
        match path.to_str().unwrap() {
            "cat" => Ok("/bin/cat".into()),
            "/etc/rsp/clock.sh" => Ok(path.to_owned()),
            other => Err(format!("there is no program {other}")),
        }
    }
    fn certificate(files: &CertificateFiles) -> Result<(), String> {
        match files.cert.to_str().unwrap() {
            gone if gone.contains("gone") => Err(format!("cannot open {gone}: No such file or directory")),
            _ => Ok(()),
        }
    }
    fn authorities(path: &Path) -> Result<(), String> {
        certificate(&CertificateFiles { cert: path.to_owned(), key: path.to_owned(), ocsp: None })
    }
    Context {
        folder: Path::new("/srv"),
        admin_socket: Path::new("/etc/rsp/site.lua.sock"),
        probe: &probe,
        real: &real,
        read: &read,
        account: &account,
        program: &program,
        certificate: &certificate,
        authorities: &authorities,
    }
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
    let mut lua = Lua::listening();
    lua.say("cache_disk", vec![], vec![]);
    lua.say("every", vec![], vec![]);
    let outlier = options(vec![("error_rate", number(0.5))]);
    lua.named("upstream", "a", vec![text("a:80")], vec![("outlier", outlier)]);
    let cache = lua.make("cache", vec![], vec![("ttl", text("nonsense"))]);
    let routes = lua.make("routes", vec![], vec![]);
    let proxy = lua.make("proxy", vec![routes], vec![]);
    lua.site("a", vec![("/", list(vec![cache, proxy]))]);
    assert_eq!(
        lua.errors(),
        [
            "0:1 `error_rate` of `outlier` is not in this version | ",
            "2:0 `cache_disk` is not in this version | ",
            "3:0 `every` is not in this version | ",
            "5:0 `cache` is not in this version | ",
            "7:1 `routes` is not in this version | ",
        ]
    );
}
