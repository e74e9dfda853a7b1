//! Stories of the check: values as the evaluation would give them, and what comes of them.

use std::{path::Path, sync::Arc};

use super::*;
use crate::config::{
    checked::*,
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

    fn made(
        &mut self,
        what: &'static str,
        name: Vec<Value>,
        values: Vec<Value>,
        entries: Vec<(&str, Value)>,
    ) -> Made {
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
        shown(&self.check().map(|(config, _)| config).expect_err("this file is wrong"))
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
    Context { folder: Path::new("/work"), admin_socket: Path::new("/etc/rsp/site.lua.sock"), probe: &probe }
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
    let errors = route_errors(|lua| lua.make("proxy", vec![text("a:80")], vec![("timeuot", text("5s")), ("color", text("red"))]));
    assert_eq!(errors[0], "2:2 `proxy` has no option `timeuot` | did you mean `timeout`?");
    assert!(errors[1].starts_with("2:3 `proxy` has no option `color` | it has strip, host, timeout"), "{errors:?}");
}
