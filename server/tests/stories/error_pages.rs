//! Error pages: which one an error answer gets, what is filled in, and what no page can change.

use testkit::{Answer, End, Origin, Response, Rsp, RspBuilder, eventually};

use super::SOON;

/// The process and one site have pages; `extra` stands in the site.
fn paged(errors: &str, site: &str) -> RspBuilder {
    let text =
        format!("workers(1) listen \"127.0.0.1:$PORT\" log {{ format = \"json\" }}\n{errors}\nsite \"a\" {{ {site} }}");
    Rsp::config(&text)
        .file("404.html", "<p>none here: {status} {reason}, {id}")
        .file("5xx.html", "<p>broken: {status}")
        .file("own.html", "<p>own")
        .file("own.json", "{\"code\":{status}}")
        .file("bytes.png", b"\xff{id}")
}

#[track_caller]
fn get(rsp: &Rsp, host: &str, path: &str, fields: &str) -> Response {
    rsp.client().request(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
}

const DEAD: &str = "[\"/dead\"] = proxy \"127.0.0.1:1\"";

#[test]
fn a_status_wins_over_its_class_and_a_site_over_the_process() {
    let errors = "errors { [404] = \"./404.html\", [\"5xx\"] = \"./5xx.html\" }";
    let rsp = paged(errors, &format!("errors = {{ [\"4xx\"] = \"own.html\", [504] = \"404.html\" }}, {DEAD}")).start();
    let page = get(&rsp, "a", "/none", "");
    assert_eq!((page.status, page.text().as_str()), (404, "<p>own"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = get(&rsp, "a", "/dead", "");
    assert_eq!((page.status, page.text().as_str()), (502, "<p>broken: 502"));
    let page = get(&rsp, "b", "/", "");
    assert!(page.text().starts_with("<p>none here: 404 Not Found, "), "{}", page.text());
    let page = get(&rsp, "b", "/%zz", "");
    assert_eq!(page.text().lines().next(), Some("400 Bad Request"), "a status without a page has the built-in one");
}

#[test]
fn the_id_on_a_page_is_the_one_in_the_log() {
    let rsp = paged("errors { [404] = \"./404.html\", [400] = function(r) return reply(400, r.id) end }", DEAD).start();
    let page = get(&rsp, "a", "/none", "").text();
    let of_file = page.rsplit(' ').next().unwrap().to_owned();
    let of_function = get(&rsp, "a", "/%zz", "").text();
    for id in [of_file, of_function] {
        assert_eq!(id.len(), 16, "{id}");
        rsp.wait_for_line(SOON, |line| line.contains(&format!("\"id\":\"{id}\"")));
    }
}

#[test]
fn who_prefers_json_gets_json_unless_the_page_is_none() {
    let site = "errors = { [404] = \"own.html\", [405] = \"own.json\" }, [\"POST /x\"] = reply(200)";
    let rsp = paged("", site).start();
    let json = "Accept: application/json\r\n";
    let page = get(&rsp, "a", "/none", json);
    assert_eq!((page.status, page.header("content-type")), (404, Some("application/json")));
    assert!(page.text().starts_with("{\"status\":404,\"error\":\"Not Found\",\"request\":\""), "{}", page.text());
    let page = get(&rsp, "a", "/x", json);
    assert_eq!((page.status, page.text().as_str(), page.header("allow")), (405, "{\"code\":405}", Some("POST")));
    let browser = "Accept: text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8\r\n";
    assert_eq!(get(&rsp, "a", "/none", browser).text(), "<p>own");
}

#[test]
fn a_page_changes_neither_the_connection_nor_the_fields_of_a_refusal() {
    let rsp = paged("errors { [\"4xx\"] = \"./404.html\" }", "[\"POST /x\"] = reply(200)").start();
    let mut client = rsp.client();
    let page = client.request("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((page.status, page.body.len(), page.header("allow")), (405, 0, Some("POST")));
    assert!(page.header("content-length").is_some_and(|length| length != "0"), "{page:?}");
    assert_eq!(client.get("/").status, 404, "the connection goes on");
    let page = client.request("GET / HTTP/1.1\r\nHost: a\r\n bad\r\n\r\n");
    assert!(page.text().starts_with("<p>none here: 400 "), "{}", page.text());
    assert_eq!(page.header("connection"), Some("close"));
}

#[test]
fn an_upstreams_own_errors_and_replies_pass_as_they_are() {
    let origin = Origin::start(|_| Answer::status("502 Bad Gateway", "its own"));
    let site = "[\"/up\"] = proxy \"$ORIGIN\", [\"/reply\"] = reply(404, \"mine\")";
    let errors = "errors { [\"4xx\"] = \"./404.html\", [\"5xx\"] = \"./5xx.html\" }";
    let rsp = paged(errors, site).set("ORIGIN", origin.address()).start();
    assert_eq!(get(&rsp, "a", "/up", "").text(), "its own");
    assert_eq!(get(&rsp, "a", "/reply", "").text(), "mine");
}

#[test]
fn a_function_sees_the_request_as_it_came_and_its_status_is_the_answers() {
    let origin = Origin::replying("unused");
    let site = r#"
        errors = {
          [502] = function(request, status)
            return reply(503, `{status} {request.method} {request.path} {request.headers["X-A"]} [{request:body()}]`)
          end,
          [404] = function() return redirect("/sorry{path}") end,
          [405] = function() return nil end,
        },
        ["/dead/{name}"] = { function(request) request.path = "/other" end, proxy "127.0.0.1:1" },
        ["POST /post"] = reply(200),"#;
    let rsp = paged("", site).set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    let page = client.request("POST /dead/x HTTP/1.1\r\nHost: a\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!((page.status, page.text().as_str()), (503, "502 POST /dead/x b []"));
    let page = get(&rsp, "a", "/none", "");
    assert_eq!((page.status, page.header("location")), (302, Some("/sorry/none")));
    let page = get(&rsp, "a", "/post", "");
    assert_eq!((page.status, page.header("allow")), (405, Some("POST")));
    assert!(page.text().starts_with("405 Method Not Allowed\nrequest "), "{}", page.text());
}

#[test]
fn a_function_that_fails_or_runs_too_long_leaves_the_built_in_page() {
    let site = r#"
        errors = {
          [404] = function() error("a broken page") end,
          [405] = function() while true do end end,
          [500] = function() error("again") end,
          [502] = function() return proxy "127.0.0.1:1" end,
        },
        ["POST /post"] = reply(200), ["/dead"] = proxy "127.0.0.1:1", ["/bad"] = function() error("no") end"#;
    let rsp = paged("", site).start();
    for (path, status) in [("/none", 404), ("/post", 405), ("/bad", 500), ("/dead", 502)] {
        let page = get(&rsp, "a", path, "");
        assert_eq!((page.status, page.end), (status, End::Framed), "{path}");
        assert!(page.text().starts_with(&format!("{status} ")), "{}", page.text());
    }
    for said in ["a broken page", "it ran for more than 50 ms", "again", "an error page is `reply`, `redirect` or nil"]
    {
        rsp.wait_for_line(SOON, |line| line.contains(said));
    }
}

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let rsp = paged("errors { [404] = \"bytes.png\" }", DEAD).start();
    let page = get(&rsp, "a", "/none", "");
    assert_eq!((page.body.as_slice(), page.header("content-type")), (&b"\xff{id}"[..], Some("image/png")));
}

#[test]
fn a_page_is_read_again_by_a_reload() {
    let rsp = paged("errors { [404] = \"own.html\" }", DEAD).start();
    std::fs::write(rsp.folder().join("own.html"), "<p>new").unwrap();
    assert_eq!(get(&rsp, "a", "/none", "").text(), "<p>own");
    assert_eq!(rsp.reload().code, Some(0));
    eventually(SOON, || get(&rsp, "a", "/none", "").text() == "<p>new");
}

#[test]
fn a_body_that_is_broken_from_its_first_byte_on_gets_a_page_too() {
    let origin = Origin::start(|_| Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"));
    let site = "errors = { [502] = function(r, status) return reply(status, `{status} for {r.path}`) end }, \
                [\"/*\"] = proxy \"$ORIGIN\"";
    let rsp = paged("", site).set("ORIGIN", origin.address()).start();
    let page = get(&rsp, "a", "/broken", "");
    assert_eq!((page.status, page.text().as_str()), (502, "502 for /broken"));
}
