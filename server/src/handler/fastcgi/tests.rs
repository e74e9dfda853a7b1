//! Which script a path means, and what is told of a request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{collections::BTreeMap, time::Duration};

use http::Method;

use super::{params::params, script::find, *};
use crate::{message::Client, stream::Peer};

fn spec(root: Option<(&std::path::Path, bool)>) -> config::Fastcgi {
    let upstream = config::Upstream {
        name: "php".into(),
        endpoints: Vec::new(),
        balance: config::Balance::default(),
        key: config::HashKey::ClientIp,
        sticky: None,
        slow_start: Duration::ZERO,
        queue: config::Queue { size: 0, timeout: Duration::from_secs(1) },
        probe: None,
        outlier: config::Outlier {
            failures: 3,
            eject: Duration::from_secs(1),
            eject_max: Duration::from_secs(1),
            max_ejected: 0.5,
            slow: None,
        },
        connect_timeout: Duration::from_secs(1),
        keepalive: 0,
        keepalive_timeout: Duration::from_secs(1),
        retry: config::Retry { tries: 1, budget: 0.0 },
        proxy_protocol: None,
        http2: false,
        tls: Default::default(),
    };
    config::Fastcgi {
        upstream: Arc::new(upstream),
        scripts: root.map(|(folder, seen)| config::Scripts { folder: folder.to_owned(), seen }),
        index: "index.php".into(),
        split: ".php".into(),
        params: Vec::new(),
        keepalive: false,
        timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
    }
}

/// A root with scripts, a picture, and a link to a script beside it.
fn tree() -> tempfile::TempDir {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    std::fs::create_dir_all(root.join("admin/folder.php")).unwrap();
    for name in ["root/index.php", "root/admin/index.php", "root/a.php", "root/picture.jpg", "secret.php"] {
        std::fs::write(outer.path().join(name), "").unwrap();
    }
    std::os::unix::fs::symlink("../secret.php", root.join("linked.php")).unwrap();
    outer
}

/// `script` or `script|info`, `folder/`, or the status of the fault.
fn found(spec: &config::Fastcgi, raw: &str) -> String {
    let path = Path::new(raw.as_bytes()).unwrap();
    match find(spec, path.decoded()) {
        Ok(Found::Script(script)) => {
            let [name, info] = [script.name, script.info].map(|part| String::from_utf8(part).unwrap());
            if info.is_empty() { name } else { format!("{name}|{info}") }
        }
        Ok(Found::Folder) => "folder/".into(),
        Err(fault) => fault.kind.status().as_str().into(),
    }
}

#[test]
fn a_path_means_its_script_a_folders_or_the_roots() {
    let outer = tree();
    let root = outer.path().join("root");
    let spec = spec(Some((&root, true)));
    for (path, meant) in [
        ("/", "/index.php"),
        ("/a.php", "/a.php"),
        ("/a.php/b/c", "/a.php|/b/c"),
        ("/a.php/b.php", "/a.php|/b.php"),
        ("/a.php/", "/a.php|/"),
        ("/a%2ephp", "/a.php"),
        ("/linked.php", "/linked.php"),
        ("/admin/", "/admin/index.php"),
        ("/admin", "folder/"),
        ("/2024/hello/", "/index.php"),
        ("/2024/hello", "/index.php"),
        ("/picture.jpg", "/index.php"),
        ("/a.phpx", "/index.php"),
        ("/a.PHP", "/index.php"),
        ("/.php", "/index.php"),
        ("/missing.php", "404"),
        ("/picture.jpg/x.php", "404"),
        ("/picture.jpg%2fx.php", "404"),
        ("/picture.jpg%0a.php", "404"),
        ("/admin/folder.php", "404"),
        ("/admin/folder.php/x", "404"),
        ("/admin/../../secret.php", "400"),
        ("/x/..%2f..%2fsecret.php", "400"),
    ] {
        if meant == "400" {
            assert!(Path::new(path.as_bytes()).is_err(), "{path}");
        } else {
            assert_eq!(found(&spec, path), meant, "{path}");
        }
    }
    assert_eq!(find(&spec, b"/../secret.php").unwrap_err().kind, Kind::NotFound);
    std::fs::remove_file(root.join("index.php")).unwrap();
    assert_eq!(found(&spec, "/2024/hello"), "404");
}

#[test]
fn scripts_of_another_machine_are_asked_for_without_a_look() {
    for spec in [spec(None), spec(Some((std::path::Path::new("/nowhere"), false)))] {
        for (path, meant) in [
            ("/", "/index.php"),
            ("/a/b.php/c", "/a/b.php|/c"),
            ("/admin/", "/index.php"),
            ("/admin", "/index.php"),
            ("/x.jpg/y.php", "/x.jpg/y.php"),
        ] {
            assert_eq!(found(&spec, path), meant, "{path}");
        }
    }
}

/// The parameters of `request` for a script with path info, read back from the wire.
fn told(spec: &config::Fastcgi, request: &Request) -> BTreeMap<String, String> {
    let script = script::Script { name: b"/a.php".to_vec(), info: b"/b c".to_vec() };
    let mut out = Vec::new();
    fastcgi::begin(&mut out, false, &params(spec, request, &script, Some(3)));
    let mut rest = &out[24..out.len() - 8];
    let mut told = BTreeMap::new();
    while !rest.is_empty() {
        let lengths = [(); 2].map(|()| match rest[0] {
            short @ 0..=127 => {
                rest = &rest[1..];
                usize::from(short)
            }
            _ => {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) & !(1 << 31);
                rest = &rest[4..];
                length as usize
            }
        });
        let [name, value] = lengths.map(|length| {
            let (text, after) = rest.split_at(length);
            rest = after;
            String::from_utf8(text.to_vec()).unwrap()
        });
        assert_eq!(told.insert(name.clone(), value), None, "{name} is there twice");
    }
    told
}

#[test]
fn a_request_is_told_as_cgi_has_it() {
    let request = Request::example(Method::POST, "/a.php/b%20c?x=1&y")
        .with(header::HOST, "example.com:8080")
        .with(header::CONTENT_TYPE, "text/plain")
        .with(header::COOKIE, "a=1")
        .with(header::COOKIE, "b=2")
        .with(header::ACCEPT, "text/html")
        .with(header::ACCEPT, "*/*");
    let told = told(&spec(Some((std::path::Path::new("/srv/www"), true))), &request);
    let expected = [
        ("CONTENT_LENGTH", "3"),
        ("CONTENT_TYPE", "text/plain"),
        ("DOCUMENT_ROOT", "/srv/www"),
        ("DOCUMENT_URI", "/a.php/b c"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("HTTP_ACCEPT", "text/html, */*"),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("HTTP_HOST", "example.com:8080"),
        ("PATH_INFO", "/b c"),
        ("PATH_TRANSLATED", "/srv/www/b c"),
        ("QUERY_STRING", "x=1&y"),
        ("REDIRECT_STATUS", "200"),
        ("REMOTE_ADDR", "unix:"),
        ("REQUEST_METHOD", "POST"),
        ("REQUEST_SCHEME", "http"),
        ("REQUEST_URI", "/a.php/b%20c?x=1&y"),
        ("SCRIPT_FILENAME", "/srv/www/a.php"),
        ("SCRIPT_NAME", "/a.php"),
        ("SERVER_NAME", "example.com"),
        ("SERVER_PORT", "8080"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_SOFTWARE", concat!("rsp/", env!("CARGO_PKG_VERSION"))),
    ];
    assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn a_client_can_set_no_parameter_but_its_own_fields() {
    let name = |text: &'static str| header::HeaderName::from_static(text);
    let mut request = Request::example(Method::GET, "/a.php")
        .with(name("proxy"), "http://evil/")
        .with(name("x-forwarded-for"), "1.2.3.4")
        .with(name("x.forwarded.for"), "1.2.3.4")
        .with(name("x_forwarded_for"), "1.2.3.4")
        .with(name("x-forwarded-proto"), "https")
        .with(name("x-real-ip"), "1.2.3.4")
        .with(name("forwarded"), "for=1.2.3.4")
        .with(name("x-own"), "1");
    let http = |told: &BTreeMap<String, String>| {
        told.keys().filter(|name| name.starts_with("HTTP")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(http(&told(&spec(None), &request)), ["HTTP_X_OWN"]);
    request.client.trusted = true;
    let believed = told(&spec(None), &request);
    let names =
        ["HTTPS", "HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_OWN", "HTTP_X_REAL_IP"];
    assert_eq!(http(&believed), names);
    assert_eq!(believed["HTTPS"], "on");
}

#[test]
fn what_the_config_gives_stands_and_the_peer_is_no_client() {
    let mut spec = spec(None);
    spec.params = vec![("SERVER_NAME".into(), "fixed".into()), ("APP_ENV".into(), "x".repeat(200))];
    let mut request = Request::example(Method::GET, "/").with(header::HOST, "[::1]:81");
    let peer = Peer::Ip("127.0.0.1:5000".parse().unwrap());
    request.client = Client { ip: Some("10.0.0.1".parse().unwrap()), peer, trusted: true };
    let proxied = told(&spec, &request);
    assert_eq!((&*proxied["SERVER_NAME"], proxied["APP_ENV"].len()), ("fixed", 200));
    assert_eq!((&*proxied["REMOTE_ADDR"], proxied.get("REMOTE_PORT")), ("10.0.0.1", None));
    spec.params.clear();
    request.client.ip = Some("127.0.0.1".parse().unwrap());
    let direct = told(&spec, &request);
    assert_eq!((&*direct["REMOTE_PORT"], &*direct["SERVER_NAME"], &*direct["SERVER_PORT"]), ("5000", "[::1]", "81"));
}
