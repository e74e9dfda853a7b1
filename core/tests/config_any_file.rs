//! Whatever the evaluation of a file yields, the check answers: a config that is complete, or errors.

use std::{path::Path, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::select};
use rsp_core::config::{
    Config, Context, Diagnostic, PathKind, Severity, check,
    options::{self, Kind, Type},
    raw::{Entry, File, FunctionId, Item, Key, Made, Source, Span, Table, Value},
};

/// Strings that are right somewhere, and some that are right nowhere.
const TEXTS: [&str; 30] = [
    "",
    "*",
    "a",
    "app",
    "*.a.example",
    "a.example:80",
    "127.0.0.1:80",
    ":80",
    "[::1]:0",
    "unix:a.sock",
    "https://a:443",
    "5s",
    "0s",
    "99999999999999999999d",
    "64KiB",
    "10.0.0.0/8",
    "10.0.0.1/8",
    "unix",
    "0660",
    "./public",
    "stdout",
    "json",
    "keep",
    "/x/{id}",
    "/{",
    "a\r\nb",
    "chat:{id}",
    "plain",
    "redis://:a@127.0.0.1/0",
    "redis-sentinel://a,b/main",
];

const ROUTES: [&str; 8] = ["/", "/*", "/x/{id}", "/x/{name}", "POST /x/{id}", "x/", "get /x", "/a/*/b"];

fn keys() -> Vec<String> {
    let options =
        options::constructors().flat_map(|constructor| constructor.options).map(|option| option.name.to_owned());
    options
        .chain(ROUTES.map(str::to_owned))
        .chain(["tries", "weight", "set", "remove", "X-A", "Host"].map(str::to_owned))
        .collect()
}

fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![Just(200.0), Just(2.0), Just(-1.0), Just(0.5), any::<f64>()];
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(Value::Number),
        select(TEXTS.to_vec()).prop_map(|text| Value::Text(text.to_owned())),
        any::<String>().prop_map(Value::Text),
        Just(Value::Function(FunctionId(0))),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            table(inner.clone()).prop_map(Value::Table),
            made(inner).prop_map(|made| Value::Made(Arc::new(made))),
        ]
    })
}

fn table(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Table> {
    let key = prop_oneof![6 => select(keys()).prop_map(Key::Text), 1 => any::<i64>().prop_map(Key::Number)];
    let entry = (key, inner.clone(), span()).prop_map(|(key, value, span)| Entry { key, value, span });
    let item = (inner, span()).prop_map(|(value, span)| Item { value, span });
    (vec(item, 0..4), vec(entry, 0..4)).prop_map(|(items, entries)| Table { items, entries })
}

fn made(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Made> {
    let names: Vec<&'static str> = options::constructors().map(|constructor| constructor.name).collect();
    (select(names), table(inner.clone()), table(inner), any::<bool>(), span())
        .prop_map(|(what, name, arguments, complete, span)| Made { what, name, arguments, complete, span })
}

/// Also places in files that there are not.
fn span() -> impl Strategy<Value = Span> {
    (0..3u32, 0..50u32).prop_map(|(file, line)| Span { file, line, column: 0, length: 0 })
}

/// A value that an option of this type takes.
fn right(of: Type) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    let options = |entries: Vec<(&str, Value)>| {
        Value::Table(Table { items: Vec::new(), entries: entries.into_iter().map(entry).collect() })
    };
    match of {
        Type::Bool => Value::Bool(false),
        Type::Integer(min, _) | Type::Size(min, _) => Value::Number(min as f64),
        Type::Share => Value::Number(0.5),
        Type::Duration(..) => text("5s"),
        Type::Rate => text("5/s"),
        Type::Mode => text("0600"),
        Type::Choice(words) => text(words[0].name),
        Type::Text => text("x"),
        Type::Lines => text("x\ny"),
        Type::Path => text("public"),
        Type::Address => text("unix:a.sock"),
        Type::Network => text("unix"),
        Type::Table(inner) => {
            options(inner.iter().filter(|option| option.landed).map(|option| (option.name, right(option.of))).collect())
        }
        Type::Other("a function", _) => Value::Function(FunctionId(0)),
        Type::Other("\"memory\"", _) => text("memory"),
        Type::Other("a table of headers", _) => options(vec![("X-A", text("1"))]),
        Type::Other(..) => text("[::]:8080"),
    }
}

fn entry((key, value): (&str, Value)) -> Entry {
    Entry { key: Key::Text(key.to_owned()), value, span: Span::default() }
}

fn list(values: Vec<Value>) -> Table {
    Table {
        items: values.into_iter().map(|value| Item { value, span: Span::default() }).collect(),
        entries: Vec::new(),
    }
}

/// A call with what it requires and some of its options, nearly always right.
fn plausible(kind: Kind) -> impl Strategy<Value = Made> {
    let landed: Vec<_> =
        options::constructors().filter(|each| each.landed && each.kind == kind && each.name != "site").collect();
    (select(landed), any::<u32>(), prop_oneof![9 => Just(None), 1 => value().prop_map(Some)]).prop_map(
        |(constructor, bits, odd)| {
            let mut arguments = list(constructor.positional.iter().map(|argument| right(argument.of)).collect());
            let chosen = constructor
                .options
                .iter()
                .enumerate()
                .filter(|(index, option)| option.landed && bits >> index & 1 == 1);
            arguments.entries = chosen.map(|(_, option)| entry((option.name, right(option.of)))).collect();
            if let (Some(odd), Some(entry)) = (odd, arguments.entries.first_mut()) {
                entry.value = odd;
            }
            Made { what: constructor.name, name: list(vec![]), arguments, complete: true, span: Span::default() }
        },
    )
}

/// A listener and a site, and around them what is right or anything at all.
fn file() -> impl Strategy<Value = File> {
    let statement = prop_oneof![9 => plausible(Kind::Statement), 1 => made(value().boxed())];
    let plausible = |kind| plausible(kind).prop_map(|made| Value::Made(Arc::new(made)));
    let handler = prop_oneof![9 => plausible(Kind::Handler), 1 => value()];
    let chain = (vec(plausible(Kind::Filter), 0..3), handler);
    (vec(statement, 0..3), chain, any::<bool>()).prop_map(|(statements, (mut chain, handler), short)| {
        chain.push(handler);
        let routes =
            Table { items: Vec::new(), entries: vec![entry(("GET /x/{id}", Value::Table(list(chain.clone()))))] };
        let call = |what, name, arguments| Made { what, name, arguments, complete: true, span: Span::default() };
        let host = || list(vec![Value::Text("a.example".into())]);
        let around = [
            call("listen", list(vec![]), list(vec![Value::Text(":8080".into())])),
            call("site", host(), if short { list(chain) } else { routes }),
        ];
        let statements = statements.into_iter().chain(around).map(Arc::new).collect();
        let sources = vec![Source { path: "site.lua".into(), text: "".into() }];
        File { statements, sources, functions: 1, legacy: None }
    })
}

fn checked(file: &File) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let probe = |path: &Path| if path.ends_with("public") { PathKind::Folder } else { PathKind::Missing };
    let real = |path: &Path| Some(path.to_owned());
    let read = |_: &Path, _: u64| Err("cannot open it".to_owned());
    let (folder, admin_socket) = (Path::new("/etc/rsp"), Path::new("/run/rsp.sock"));
    let context = Context {
        folder,
        admin_socket,
        probe: &probe,
        real: &real,
        read: &read,
        account: &|_, _| Ok(()),
        program: &|path| Ok(path.to_owned()),
        certificate: &|_| Ok(()),
        authorities: &|_| Ok(()),
    };
    check(file, &context)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_file_is_a_complete_config_or_has_errors(file in file()) {
        match checked(&file) {
            Ok((config, warnings)) => {
                prop_assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
                prop_assert!(!config.listeners.is_empty());
                for site in &config.sites {
                    prop_assert!(!site.hosts.is_empty());
                    let listeners = site.listeners.iter().flatten();
                    prop_assert!(listeners.clone().all(|index| *index < config.listeners.len()));
                    prop_assert!(site.listeners.is_none() || listeners.count() > 0);
                }
                for upstream in &config.upstreams {
                    prop_assert!(!upstream.name.is_empty() && !upstream.endpoints.is_empty());
                    prop_assert!(upstream.endpoints.iter().all(|endpoint| endpoint.weight > 0));
                }
            }
            Err(findings) => prop_assert!(findings.iter().any(|finding| finding.severity == Severity::Error)),
        }
    }

    #[test]
    fn the_same_file_gives_the_same_diagnostics(file in file()) {
        prop_assert_eq!(checked(&file).err(), checked(&file).err());
    }
}
