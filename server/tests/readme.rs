//! What the README and the guide promise: their configs are right, and their links lead somewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::{Path, PathBuf};

use testkit::{Authority, Origin, Rsp, Signed};

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
fn the_links_of_readme_and_guide_lead_somewhere() {
    assert!(links(README).len() > 3);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = [(root.join("README.md"), README.to_owned())];
    for (page, text) in guide().into_iter().chain(readme) {
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            assert!(page.with_file_name(link).exists(), "{link} in {}", page.display());
        }
    }
}

#[test]
fn every_config_of_the_guide_is_right() {
    let pages = guide();
    assert!(pages.len() >= 6);
    let certificates = certificates();
    for (page, text) in pages {
        let configs: Vec<_> = text.split("```lua\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!configs.is_empty(), "{} shows no config", page.display());
        for config in configs {
            let builder = Rsp::command(&["check", "site.lua"]).file("site.lua", config);
            let builder = builder.environment("TOKEN_SECRET", "0123456789abcdef0123456789abcdef");
            let files = ["5xx.html", "public/index.html", "assets/app.css", "scripts/chat.py", "cgi-bin/hello.sh"];
            let builder = files.iter().fold(builder, |builder, file| builder.file(file, ""));
            let checked = certificates.iter().fold(builder, |builder, (file, pem)| builder.file(file, pem)).run();
            assert_eq!(checked.code, Some(0), "{}\n{}", page.display(), checked.stderr);
            assert_eq!(checked.stderr, "", "{}", page.display());
        }
    }
}

/// What the configs of the guide name as certificates, keys and authorities.
fn certificates() -> Vec<(String, String)> {
    let authority = Authority::new();
    let mut files = vec![("staff.pem".to_owned(), authority.pem())];
    for name in ["example.com", "internal"] {
        let Signed { cert, key } = authority.sign(&[name]);
        files.extend([(format!("{name}.pem"), cert), (format!("{name}.key"), key)]);
    }
    files
}

fn guide() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/guide");
    let pages = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    pages.map(|page| (page.clone(), std::fs::read_to_string(page).unwrap())).collect()
}

fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

fn config() -> &'static str {
    let (_, from) = README.split_once("```lua\n").expect("a config");
    from.split_once("```").expect("its end").0
}
