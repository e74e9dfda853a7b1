//! What the README promises: its config runs, and its links lead somewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;

use testkit::{Origin, Rsp};

const README: &str = include_str!("../../README.md");
const INDEX: &str = include_str!("../../example/public/index.html");

#[test]
fn the_config_of_the_readme_runs() {
    let apps = [Origin::replying("from the app"), Origin::replying("from the app")];
    let moved = [("127.0.0.1:8080", "127.0.0.1:$PORT"), ("127.0.0.1:3000", "$ONE"), ("127.0.0.1:3001", "$TWO")];
    let config = moved.iter().fold(config().to_owned(), |config, (from, to)| config.replace(from, to));
    let builder = Rsp::config(&config).set("ONE", apps[0].address()).set("TWO", apps[1].address());
    let rsp = builder.file("example/public/index.html", INDEX).start();
    let get = |path: &str| {
        let answer = rsp.client().get(path);
        (answer.status, answer.text())
    };
    assert_eq!(get("/"), (200, INDEX.to_owned()));
    assert_eq!(get("/api/x"), (200, "from the app".to_owned()));
    assert_eq!(get("/admin/x"), (200, "from the app".to_owned()));
    assert_eq!(get("/old").0, 301);
    assert_eq!(get("/hello"), (200, "hello\n".to_owned()));
    assert_eq!(get("/who"), (200, "127.0.0.1\n".to_owned()));
}

#[test]
fn the_links_of_the_readme_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let links: Vec<_> = README.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 3);
    for link in links {
        assert!(root.join(link).exists(), "{link}");
    }
}

fn config() -> &'static str {
    let (_, from) = README.split_once("```lua\n").expect("a config");
    from.split_once("```").expect("its end").0
}
