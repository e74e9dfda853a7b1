//! A file of 100,000 sites is checked in about a second (release build).

use std::{path::Path, sync::Arc, time::Instant};

use rsp_core::config::{
    Context, PathKind, check,
    raw::{Entry, File, Item, Key, Made, Span, Table, Value},
};

fn list(value: Value) -> Table {
    Table { items: vec![Item { value, span: Span::default() }], entries: Vec::new() }
}

fn text(text: String) -> Value {
    Value::Text(text)
}

fn made(what: &'static str, name: Table, arguments: Table) -> Arc<Made> {
    Arc::new(Made { what, name, arguments, complete: true, span: Span::default() })
}

/// So many sites, each with ten routes of its own to one upstream.
fn file(sites: usize) -> File {
    let app = made("upstream", list(text("app".into())), list(text("127.0.0.1:3000".into())));
    let listen = made("listen", Table::default(), list(text(":8080".into())));
    let site = |index| {
        let route = |route| Entry {
            key: Key::Text(format!("/part{route}/{{id}}")),
            value: Value::Made(made("proxy", Table::default(), list(Value::Made(app.clone())))),
            span: Span::default(),
        };
        let routes = Table { items: Vec::new(), entries: (0..10).map(route).collect() };
        made("site", list(text(format!("site{index}.example"))), routes)
    };
    let statements = [listen, app.clone()].into_iter().chain((0..sites).map(site)).collect();
    File { statements, ..File::default() }
}

fn check_timed(sites: usize) -> f64 {
    let file = file(sites);
    let probe = |_: &Path| PathKind::Missing;
    let real = |path: &Path| Some(path.to_owned());
    let read = |_: &Path, _: u64| Err("cannot open it".to_owned());
    let (folder, admin_socket) = (Path::new("/"), Path::new("/run/rsp.sock"));
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
    let start = Instant::now();
    let (config, _) = check(&file, &context).unwrap_or_else(|findings| unreachable!("a right file: {findings:?}"));
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(config.sites.len(), sites);
    seconds
}

/// Ten times the sites take about ten times as long; a quadratic check would take a hundred times.
#[test]
fn the_time_of_a_check_grows_with_the_file() {
    let (small, large) = (check_timed(1_000), check_timed(10_000));
    assert!(large < small * 50.0, "1,000 sites took {small:.3} s, 10,000 took {large:.3} s");
}
