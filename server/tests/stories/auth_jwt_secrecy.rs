//! A token in a query is in no log, on no page and in no request of others, whatever becomes of the request.

use testkit::{Client, Origin, Rsp, eventually};

use super::{
    SOON,
    auth_jwt::{SECRET, alice, by_secret},
};

/// rsp with routes on which a request with a token may end in every way; everything is logged in this format.
fn every_way(format: &str, origin: &Origin) -> Rsp {
    let jwt = format!("auth {{ jwt = {{ secret = \"{SECRET}\" }} }}");
    let text = format!(
        "workers(1) listen \"127.0.0.1:$PORT\" log {{ format = \"{format}\" }}\n\
         site \"a\" {{ [\"/pass/*\"] = {{ {jwt}, proxy \"$ORIGIN\" }},\n\
         [\"/early/*\"] = {{ deny {{ \"127.0.0.0/8\" }}, {jwt}, reply(200) }},\n\
         [\"/dead/*\"] = {{ {jwt}, proxy \"127.0.0.1:1\" }},\n\
         [\"/broken/*\"] = {{ {jwt}, function(request) error(\"query \" .. request.query) end }},\n\
         [\"POST /post\"] = {{ {jwt}, reply(200) }}, [\"/open\"] = reply(200), [\"/folder/*\"] = files \".\" }}"
    );
    Rsp::config(&text).set("ORIGIN", origin.address()).environment("RSP_LOG", "debug").start()
}

#[test]
fn a_token_in_a_query_is_in_no_log_whatever_becomes_of_the_request() {
    let origin = Origin::replying("inside");
    let token = alice();
    // The parts say as much as the whole.
    let parts: Vec<_> = token.split('.').skip(1).collect();
    for format in ["combined", "common", "json"] {
        let rsp = every_way(format, &origin);
        let mut asked = 0;
        let mut ask = |method: &str, host: &str, target: &str, fields: &str| {
            asked += 1;
            let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
            rsp.client().request(&head)
        };
        for (method, host, path, expected) in [
            ("GET", "a", "/pass/x", 200),
            ("GET", "a", "/early/x", 403),
            ("GET", "a", "/dead/x", 502),
            ("GET", "a", "/broken/x", 500),
            ("GET", "a", "/post", 405),
            ("GET", "a", "/open", 200),
            ("GET", "a", "/folder", 301),
            ("GET", "a", "/nowhere", 404),
            ("GET", "a", "/%zz", 400),
            ("GET", "b", "/pass/x", 404),
            ("OPTIONS", "a", "/pass/x", 200),
        ] {
            let answer = ask(method, host, &format!("{path}?b=2&token={token}"), "");
            assert_eq!(answer.status, expected, "{host}{path}");
            assert!(!answer.text().contains(parts[0]), "{}", answer.text());
        }
        assert_eq!(ask("GET", "a", &format!("/pass/x?%74ok%65n={token}&token={token}"), "").status, 200);
        // Wrong ones are right ones somewhere else.
        for wrong in [format!("{token}x"), format!("x{token}"), format!("{token}.{token}"), format!("{token}%20")] {
            assert_eq!(ask("GET", "a", &format!("/pass/x?token={wrong}"), "").status, 401, "{wrong}");
        }
        let referer = format!("Referer: http://a/pass/x?token={token}\r\n");
        assert_eq!(ask("GET", "a", "/open", &referer).status, 200);
        assert_eq!(ask("GET", "a", "/pass/x", &referer).status, 401, "a page that was left is no token");
        assert_eq!(ask("GET", "a", "/pass/x", &format!("Authorization: Bearer {token}\r\n{referer}")).status, 200);
        let lines = || rsp.output().lines().filter(|line| line.contains("HTTP/1.1")).count();
        eventually(SOON, || lines() == asked);
        let output = rsp.output();
        let leaks: Vec<_> = output.lines().filter(|line| parts.iter().any(|part| line.contains(part))).collect();
        assert!(leaks.is_empty(), "{format}: {leaks:#?}");
        assert!(output.contains("/pass/x?b=2&token=-"), "what was asked for is still to be seen: {output}");
    }
    for seen in origin.received() {
        let others = seen.text().replace(&format!("Bearer {token}"), "");
        assert!(!parts.iter().any(|part| others.contains(part)), "{others}");
    }
}

#[test]
fn a_function_for_error_pages_does_not_see_the_token_of_a_query() {
    let errors = "errors { [401] = function(request) return reply(401, \"asked \" .. request.query) end,\n\
                  [404] = function(request) return reply(404, \"asked \" .. request.query) end }";
    let text = format!(
        "workers(1) listen \"127.0.0.1:$PORT\"\n{errors}\n\
         site \"a\" {{ [\"/x\"] = {{ auth {{ jwt = {{ secret = \"{SECRET}\" }} }}, reply(200) }} }}"
    );
    let rsp = Rsp::config(&text).start();
    let ask = |host: &str, path: &str| {
        let token = format!("{}x", alice());
        let head = format!("GET {path}?a=1&token={token}&b=2 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = rsp.client().request(&head);
        (answer.status, answer.text())
    };
    assert_eq!(ask("a", "/x"), (401, "asked a=1&b=2".to_owned()));
    assert_eq!(ask("a", "/none"), (404, "asked a=1&b=2".to_owned()));
    assert_eq!(ask("b", "/x"), (404, "asked a=1&b=2".to_owned()));
}

#[test]
fn sites_without_tokens_log_what_was_asked_for() {
    let text = format!(
        "listen \"127.0.0.1:$PORT\"\nsite \"a\" {{ [\"/x\"] = {{ auth {{ jwt = {{ secret = \"{SECRET}\" }} }}, reply(200) }} }}\n\
         site \"b\" {{ [\"/x\"] = reply(200) }}"
    );
    let rsp = Rsp::config(&text).start();
    assert_eq!(rsp.client().request("GET /x?token=reset-7 HTTP/1.1\r\nHost: b\r\n\r\n").status, 200);
    rsp.wait_for_line(SOON, |line| line.contains("GET /x?token=reset-7 HTTP/1.1"));
}

#[test]
fn the_admin_api_shows_no_secret() {
    let rsp = by_secret("reply(200)").start();
    let admin = format!("unix:{}", rsp.folder().join("site.lua.sock").display());
    assert_eq!(rsp.client().get(&format!("/?token={}", alice())).status, 200);
    for path in ["/status", "/metrics"] {
        let page = Client::connect(&admin).get(path).text();
        assert!(!page.is_empty() && !page.contains(SECRET) && !page.contains("eyJ"), "{page}");
    }
}
