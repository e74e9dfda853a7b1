//! Stories of sites: which one answers, what it answers itself, and how far its files reach.

use std::os::unix::fs::symlink;

use testkit::{Client, Origin, Rsp};

use super::{get, get_from};

#[test]
fn a_site_is_chosen_by_exact_host_then_longest_suffix_then_any() {
    let text = r#"listen "127.0.0.1:$PORT"
        site "*" (reply(200, "any"))
        site "*.example.com" (reply(200, "suffix"))
        site "*.deep.example.com" (reply(200, "deep"))
        site { "example.com", "www.example.com" } (reply(200, "exact"))"#;
    let rsp = Rsp::config(text).start();
    for (host, site) in [
        ("example.com", "exact"),
        ("www.example.com", "exact"),
        ("WWW.Example.COM.:8080", "exact"),
        ("a.example.com", "suffix"),
        ("a.b.example.com", "suffix"),
        ("deep.example.com", "suffix"),
        ("a.deep.example.com", "deep"),
        ("badexample.com", "any"),
        ("127.0.0.1", "any"),
        ("[::1]:80", "any"),
    ] {
        assert_eq!(get_from(&rsp, host, "/").text(), site, "{host}");
    }
}

#[test]
fn no_site_for_a_host_is_404() {
    let rsp = Rsp::config(r#"listen "127.0.0.1:$PORT" site "example.com" (reply(200))"#).start();
    assert_eq!(get_from(&rsp, "other.com", "/").status, 404);
}

#[test]
fn a_site_on_its_own_listener_is_nowhere_else() {
    let text = r#"listen "127.0.0.1:$PORT" listen "127.0.0.1:$PORT2" listen "unix:in.sock"
        site { "a.com", listen = "127.0.0.1:$PORT2" } (reply(200, "own"))
        site { "b.com", listen = "unix:in.sock" } (reply(200, "unix"))
        site { "a.com", listen = { "127.0.0.1:$PORT", "unix:in.sock" } } (reply(200, "elsewhere"))
        site "*" (reply(200, "any"))"#;
    let rsp = Rsp::config(text).start();
    let ask = |address: &str, host: &str| {
        Client::connect(address).request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).text()
    };
    let (first, second) = (rsp.address(), format!("127.0.0.1:{}", rsp.port_of(2)));
    let unix = format!("unix:{}", rsp.folder().join("in.sock").display());
    assert_eq!([ask(&first, "a.com"), ask(&second, "a.com"), ask(&unix, "a.com")], ["elsewhere", "own", "elsewhere"]);
    assert_eq!(ask(&unix, "b.com"), "unix");
    assert_eq!([ask(&first, "b.com"), ask(&unix, "c.com")], ["any", "any"]);
}

#[test]
fn unknown_paths_are_404_and_other_methods_405_with_allow() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" {
        ["GET /a"] = reply(200, "a"), ["POST /a"] = reply(201), ["DELETE /a/{id}"] = reply(204) }"#;
    let rsp = Rsp::config(text).start();
    let ask = |method: &str, path: &str| rsp.client().request(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!((ask("GET", "/a").status, ask("HEAD", "/a").status, ask("POST", "/a").status), (200, 200, 201));
    assert_eq!((ask("DELETE", "/a/7").status, ask("GET", "/b").status), (204, 404));
    let refused = ask("PUT", "/a");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, POST, HEAD")));
    assert_eq!(ask("GET", "/a/7").header("allow"), Some("DELETE"));
}

#[test]
fn errors_are_json_for_those_who_accept_it() {
    let rsp = Rsp::config(r#"listen "127.0.0.1:$PORT" site "*" { ["GET /a"] = reply(200) }"#).start();
    let ask =
        |accept: &str| rsp.client().request(&format!("GET /none HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"));
    for accept in ["application/json", "application/problem+json, text/html", "application/json, */*"] {
        let page = ask(accept);
        assert_eq!(page.header("content-type"), Some("application/json"), "{accept}");
        let json: serde_json::Value = serde_json::from_str(&page.text()).unwrap();
        assert_eq!((&json["status"], &json["error"]), (&404.into(), &"Not Found".into()));
        assert_eq!(json["request"].as_str().unwrap().len(), 16);
    }
    for accept in ["*/*", "text/html, application/json", ""] {
        let page = ask(accept);
        assert!(page.header("content-type").unwrap().starts_with("text/plain"), "{accept}");
        assert!(page.text().starts_with("404 Not Found\nrequest "), "{}", page.text());
    }
}

#[test]
fn replies_say_what_they_were_told_to() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" {
        ["/text"] = reply(201, "hello", { ["X-A"] = "1" }), ["/json"] = reply(200, { a = { 1, 2 } }), ["/none"] = reply(204) }"#;
    let rsp = Rsp::config(text).start();
    let text = get(&rsp, "/text");
    assert_eq!((text.status, &*text.text(), text.header("x-a")), (201, "hello", Some("1")));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    let json = get(&rsp, "/json");
    assert_eq!((json.header("content-type"), &*json.text()), (Some("application/json"), r#"{"a":[1,2]}"#));
    let none = get(&rsp, "/none");
    assert_eq!((none.status, none.header("content-length"), none.body.len()), (204, None, 0));
    let head = rsp.client().request("HEAD /text HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (201, Some("5")));
}

#[test]
fn redirects_fill_in_what_was_asked_for() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" {
        ["/old"] = redirect("/new", 301), ["/u/{name}"] = redirect("/users?n={name}"),
        ["/*"] = redirect("https://{host}{uri}", 308), ["/p/*"] = redirect("/q{path}?{query}", 307) }"#;
    let rsp = Rsp::config(text).start();
    let ask = |path: &str| {
        let answer = get_from(&rsp, "example.com:80", path);
        (answer.status, answer.header("location").unwrap().to_owned())
    };
    assert_eq!(ask("/old?x"), (301, "/new".into()));
    assert_eq!(ask("/u/a%20b%26c"), (302, "/users?n=a%20b%26c".into()));
    assert_eq!(ask("/x/y?z=1"), (308, "https://example.com:80/x/y?z=1".into()));
    assert_eq!(ask("/p/y?z=1"), (307, "/q/p/y?z=1".into()));
}

#[test]
fn header_edits_reach_the_upstream_and_the_client() {
    let origin = Origin::echoing();
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = {
        headers { request = { set = { ["X-Set"] = "set" }, add = { ["X-Add"] = "added" }, remove = { "X-Gone" } },
                  response = { set = { ["X-Frame-Options"] = "DENY" }, remove = { "X-Powered-By" } } },
        proxy "$ORIGIN" } }"#;
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    let answer =
        rsp.client().request("GET / HTTP/1.1\r\nHost: x\r\nX-Set: theirs\r\nX-Add: theirs\r\nX-Gone: 1\r\n\r\n");
    let seen = answer.text().to_ascii_lowercase();
    assert!(seen.contains("x-set: set\r\n") && !seen.contains("x-set: theirs"), "{seen}");
    assert!(seen.contains("x-add: theirs\r\n") && seen.contains("x-add: added\r\n"), "{seen}");
    assert!(!seen.contains("x-gone"), "{seen}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
}

#[test]
fn allow_and_deny_judge_the_peer_unless_it_is_trusted() {
    let routes = r#"site "*" { ["/local"] = { allow { "127.0.0.0/8" }, reply(200) }, ["/far"] = { allow { "203.0.113.0/24" }, reply(200) },
        ["/banned"] = { deny { "203.0.113.0/24" }, reply(200) }, ["/unix"] = { allow { "unix" }, reply(200) } }"#;
    let listeners = r#"listen "127.0.0.1:$PORT" listen "unix:in.sock" "#;
    let ask = |rsp: &Rsp, path: &str, forwarded: &str| {
        rsp.client().request(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{forwarded}\r\n")).status
    };
    let far = "X-Forwarded-For: 203.0.113.9\r\n";
    let all = |rsp: &Rsp, forwarded: &str| ["/local", "/far", "/banned", "/unix"].map(|path| ask(rsp, path, forwarded));
    let strict = Rsp::config(&format!("{listeners}{routes}")).start();
    assert_eq!(all(&strict, ""), [200, 403, 200, 403]);
    assert_eq!(all(&strict, far), [200, 403, 200, 403], "nobody's word is taken");
    let trusting = Rsp::config(&format!("{listeners} trust {{ \"127.0.0.1\" }} {routes}")).start();
    assert_eq!(all(&trusting, ""), [200, 403, 200, 403]);
    assert_eq!(all(&trusting, far), [403, 200, 403, 403]);
    let forged = "X-Forwarded-For: 127.0.0.1, 203.0.113.9\r\n";
    assert_eq!(all(&trusting, forged), [403, 200, 403, 403], "only what the trusted peer added counts");
    let unix = Client::connect(&format!("unix:{}", strict.folder().join("in.sock").display())).get("/unix");
    assert_eq!(unix.status, 200);
}

#[test]
fn a_refused_request_never_reaches_the_upstream() {
    let origin = Origin::echoing();
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = { deny { "127.0.0.1" }, proxy "$ORIGIN" } }"#;
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    let answer = get(&rsp, "/");
    assert_eq!((answer.status, answer.text().contains("127.0.0.1")), (403, false));
    assert_eq!(origin.connections_opened(), 0);
}

/// A folder of files beside things that must not get out of it.
fn files() -> Rsp {
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/static/*"] = files "public" }"#;
    let rsp = Rsp::config(text)
        .file("secret.txt", "secret")
        .file("public/index.html", "<h1>index</h1>")
        .file("public/a b.txt", "0123456789")
        .file("public/.hidden", "hidden")
        .file("public/docs/index.html", "docs")
        .file("public/empty/deep/x", "x")
        .start();
    let public = rsp.folder().join("public");
    symlink(rsp.folder().join("secret.txt"), public.join("absolute")).unwrap();
    symlink("../secret.txt", public.join("relative")).unwrap();
    symlink("..", public.join("up")).unwrap();
    symlink("a b.txt", public.join("inside")).unwrap();
    rsp
}

#[test]
fn files_come_whole_in_parts_and_not_again() {
    let rsp = files();
    let ask =
        |fields: &str| rsp.client().request(&format!("GET /static/a%20b.txt HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
    let whole = ask("");
    assert_eq!((whole.status, &*whole.text(), whole.header("accept-ranges")), (200, "0123456789", Some("bytes")));
    assert_eq!(whole.header("content-type"), Some("text/plain; charset=utf-8"));
    let (etag, modified) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    for fields in [format!("If-None-Match: {etag}\r\n"), format!("If-Modified-Since: {modified}\r\n")] {
        let answer = ask(&fields);
        assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (304, 0, Some(etag)));
    }
    let part = ask("Range: bytes=2-4\r\n");
    assert_eq!((part.status, &*part.text(), part.header("content-range")), (206, "234", Some("bytes 2-4/10")));
    assert_eq!(ask("Range: bytes=-3\r\n").text(), "789");
    let beyond = ask("Range: bytes=10-\r\n");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(ask("Range: bytes=2-4\r\nIf-Range: \"other\"\r\n").status, 200);
    assert_eq!(ask("If-Match: \"other\"\r\n").status, 412);
    let head = rsp.client().request("HEAD /static/a%20b.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    let post = rsp.client().request("POST /static/a%20b.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn folders_have_an_index_and_a_slash() {
    let rsp = files();
    assert_eq!(get(&rsp, "/static/").text(), "<h1>index</h1>");
    assert_eq!(get(&rsp, "/static/docs/").text(), "docs");
    for (path, location) in
        [("/static", "/static/"), ("/static?a=b", "/static/?a=b"), ("/static/docs", "/static/docs/")]
    {
        let moved = get(&rsp, path);
        assert_eq!((moved.status, moved.header("location")), (301, Some(location)), "{path}");
    }
    assert_eq!((get(&rsp, "/static/empty/").status, get(&rsp, "/static/none/").status), (403, 404));
}

#[test]
fn there_is_no_way_out_of_the_folder() {
    let rsp = files();
    assert_eq!(get(&rsp, "/static/inside").text(), "0123456789", "a link that stays inside is followed");
    for path in [
        "/static/../secret.txt",
        "/static/..%2fsecret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2e%2e%2fsecret.txt",
        "/static/.%2e/secret.txt",
        "/static/docs/../../secret.txt",
        "/static/docs/..%2f..%2fsecret.txt",
        "/static/..\\secret.txt",
        "/static/..%5csecret.txt",
        "/static/%252e%252e/secret.txt",
        "/static//../secret.txt",
        "/static/absolute",
        "/static/relative",
        "/static/up/secret.txt",
        "/static/.hidden",
        "/static/%2ehidden",
        "/static/a%20b.txt%00.html",
        "/static/a%20b.txt/",
        "/secret.txt",
    ] {
        let answer = get(&rsp, path);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret") && !answer.text().contains("hidden"), "{path}");
    }
}

#[test]
fn a_large_file_arrives_whole_over_one_connection() {
    let mut pattern = testkit::Pattern::new();
    let mut content = vec![0; 3_000_000];
    pattern.fill(&mut content);
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = files "." }"#;
    let rsp = Rsp::config(text).file("large.bin", &content).start();
    let mut client = rsp.client();
    for _ in 0..3 {
        assert_eq!(client.get("/large.bin").body, content);
    }
    let part = client.request("GET /large.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=1000000-1999999\r\n\r\n");
    assert_eq!(part.body, content[1_000_000..2_000_000]);
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = reply(200, "rest"), ["/a/{x}"] = reply(200, "name"),
        ["/a/b"] = reply(200, "literal"), ["/a/*"] = reply(200, "below"), ["POST /a/b"] = reply(200, "post") }"#;
    let rsp = Rsp::config(text).start();
    for (path, which) in
        [("/a/b", "literal"), ("/a/c", "name"), ("/a/c/d", "below"), ("/a", "rest"), ("/a/", "below"), ("/", "rest")]
    {
        assert_eq!(get(&rsp, path).text(), which, "{path}");
    }
    assert_eq!(rsp.client().request("POST /a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").text(), "post");
}

#[test]
fn a_path_that_could_mean_two_routes_is_refused() {
    let origin = Origin::echoing();
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = proxy "$ORIGIN", ["/admin/*"] = { deny { "127.0.0.1" }, proxy "$ORIGIN" } }"#;
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    for path in ["/admin/%2e%2e/x", "/x/..%2fadmin/y", "/x/../admin/y", "//admin/y", "/x\\..\\admin/y"] {
        assert!(matches!(get(&rsp, path).status, 400 | 403), "{path}");
    }
    assert_eq!(origin.connections_opened(), 0);
    assert_eq!(get(&rsp, "/x/./y").status, 200);
}
