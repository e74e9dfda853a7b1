//! `rewrite`: what handlers and functions see of the new path, and which paths are refused.

use testkit::{Origin, Rsp, curl};

use super::front;

#[track_caller]
fn rewriting(rewrites: &str, origin: &Origin) -> Rsp {
    front("", &format!("{{ {rewrites}, proxy \"$ORIGIN\" }}")).set("ORIGIN", origin.address()).start()
}

#[test]
fn the_upstream_sees_the_new_path_and_the_old_query() {
    let origin = Origin::echoing();
    let rsp = rewriting("rewrite(\"^/old/(.*)\", \"/new/$1\"), rewrite(\"^/u/([0-9]+)$\", \"/user?id=$1\")", &origin);
    for (asked, seen) in [
        ("/old/a%20b/%E2%82%AC?q=%2f", "/new/a%20b/%E2%82%AC?q=%2f"),
        ("/u/7?x", "/user?id=7"),
        ("/%6fld/x", "/new/x"),
        ("/other//a%2fb/../c?q", "/other//a%2fb/../c?q"),
    ] {
        let url = rsp.url(asked);
        assert_eq!(curl(&["-s", "-f", "--path-as-is", &url]).code, Some(0), "{asked}");
        assert_eq!(origin.received().last().unwrap().request.target, seen, "{asked}");
    }
}

#[test]
fn a_new_path_that_would_climb_or_split_is_400_and_goes_nowhere() {
    let origin = Origin::echoing();
    let rsp = rewriting("rewrite(\"^/a(.*)\", \"/public/$1\")", &origin);
    let mut client = rsp.client();
    for path in ["/a../secret", "/a%2e%2e/secret", "/a/%5c..%5csecret", "/a%0d%0aX-Evil:1", "/a."] {
        assert_eq!(client.get(path).status, 400, "{path}");
    }
    assert_eq!(client.get(&format!("/a{}", "x".repeat(8 * 1024 - 4))).status, 414);
    assert_eq!(origin.received().len(), 0);
    assert_eq!(client.get("/a/x").status, 200);
    assert_eq!(origin.received()[0].request.target, "/public/x");
}

#[test]
fn files_redirects_and_functions_see_the_new_path() {
    let text = "workers(1)\nlisten \"127.0.0.1:$PORT\"\n\
        site \"*\" {\n\
            [\"/static/*\"] = { rewrite(\"^/static/v[0-9]+/\", \"/static/\"), files \"public\" },\n\
            [\"/moved/*\"] = { rewrite(\"^/moved\", \"/to\"), redirect(\"https://b.example{path}\", 308) },\n\
            [\"/asked/*\"] = { rewrite(\"^/asked/\", \"/told/\"), function(request) return reply(200, request.path) end },\n\
            [\"/both/*\"] = { function(request) request.path = \"/one/x\" end, rewrite(\"^/one\", \"/two\"),\n\
                             function(request) return reply(200, request.path) end },\n\
        }";
    let rsp = Rsp::config(text).file("public/a.txt", "hello").start();
    let mut client = rsp.client();
    assert_eq!(client.get("/static/v12/a.txt").text(), "hello");
    assert_eq!(client.get("/static/a.txt").text(), "hello");
    assert_eq!(client.get("/moved/x?q").header("location"), Some("https://b.example/to/x"));
    assert_eq!(client.get("/asked/x").text(), "/told/x");
    assert_eq!(client.get("/both/y").text(), "/two/x");
}

#[test]
fn strip_takes_its_prefix_from_the_new_path() {
    let origin = Origin::echoing();
    let chain = "{ rewrite(\"^/v1/\", \"/api/\"), proxy { \"$ORIGIN\", strip = \"/api\" } }";
    let rsp = front("", chain).set("ORIGIN", origin.address()).start();
    assert_eq!(rsp.client().get("/v1/users?q").status, 200);
    assert_eq!(origin.received()[0].request.target, "/users?q");
}

#[test]
fn the_access_log_keeps_the_path_that_was_asked_for() {
    let rsp = front("log { format = \"common\" }", "{ rewrite(\"^/a\", \"/b\"), reply(200) }").start();
    assert_eq!(rsp.client().get("/a").status, 200);
    rsp.wait_for_line(super::SOON, |line| line.contains("\"GET /a HTTP/1.1\" 200"));
}
