//! Pages of other origins: kept out by default, let in by `origins`, and told so in the browser's own words.

use testkit::{Response, Rsp, WebSocket};

use super::channel::{Channel, channel, post};

fn ask(rsp: &Rsp, request: &str) -> Response {
    rsp.client().request(request)
}

fn grants(answer: &Response) -> [Option<&str>; 3] {
    ["access-control-allow-origin", "access-control-allow-credentials", "vary"].map(|name| answer.header(name))
}

/// A channel with a little past, whose polls are short.
fn listed(origins: &str) -> Channel {
    channel(&format!("history = 1, presence = true, poll_timeout = \"1s\"{origins}"))
}

#[test]
fn a_foreign_page_can_neither_publish_nor_open_a_websocket() {
    let rsp = listed("").start();
    for origin in ["https://evil.example", "null", "https://test", "http://test:81", "http://test, http://test"] {
        let field = format!("Origin: {origin}\r\n");
        let answer = post(&rsp, &field, "x");
        assert_eq!((answer.status, answer.text().contains("origin")), (403, true), "{origin}");
        assert_eq!(WebSocket::try_open(&rsp.address(), "/room", &field).unwrap_err().status, 403, "{origin}");
        let delete = format!("DELETE /room HTTP/1.1\r\nHost: test\r\n{field}\r\n");
        assert_eq!(ask(&rsp, &delete).status, 403, "{origin}");
    }
    assert_eq!(post(&rsp, "Origin: http://test\r\nOrigin: http://test\r\n", "x").status, 403);
    // What it asks for without harm it gets, and its browser keeps it from the page.
    let answer = ask(&rsp, "GET /room?history=1 HTTP/1.1\r\nHost: test\r\nOrigin: https://evil.example\r\n\r\n");
    assert_eq!((answer.status, grants(&answer)), (200, [None; 3]));
}

#[test]
fn the_page_of_the_url_itself_and_whoever_is_no_page_may_come() {
    let rsp = listed("").start();
    assert_eq!(post(&rsp, "", "x").status, 202);
    assert_eq!(post(&rsp, "Origin: http://test\r\n", "x").status, 202);
    let own = format!("Origin: http://{}\r\n", rsp.address());
    WebSocket::open_with(&rsp.address(), "/room", &own);
    WebSocket::open(&rsp.address(), "/room");
}

#[test]
fn behind_a_trusted_proxy_the_origin_is_the_one_that_the_browser_sees() {
    let fields = "Origin: https://a.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\n";
    let rsp = listed("").with("trust \"127.0.0.0/8\"").start();
    assert_eq!(post(&rsp, fields, "x").status, 202);
    assert_eq!(post(&rsp, "Origin: http://test\r\nX-Forwarded-Proto: https\r\n", "x").status, 403);
    let rsp = listed("").start();
    assert_eq!(post(&rsp, fields, "x").status, 403, "nobody's word counts unless it is trusted");
}

#[test]
fn a_listed_origin_may_come_and_its_browser_is_told_so() {
    let rsp = listed(", origins = { \"https://a.example\", \"https://*.b.example\" }").start();
    for origin in ["https://a.example", "https://x.b.example"] {
        let field = format!("Origin: {origin}\r\n");
        let expected = [Some(origin), Some("true"), Some("Origin")];
        let answer = post(&rsp, &field, "x");
        assert_eq!((answer.status, grants(&answer)), (202, expected));
        WebSocket::open_with(&rsp.address(), "/room", &field);
        for target in ["/room", "/room?history=1", "/room?presence", "/room?since=x", "/room?since=0000000000000-0"] {
            let answer = ask(&rsp, &format!("GET {target} HTTP/1.1\r\nHost: test\r\n{field}\r\n"));
            assert_eq!(grants(&answer), expected, "{target}");
            assert!(answer.header("access-control-expose-headers").unwrap().contains("ETag"));
        }
        let mut stream = rsp.client();
        stream.send(format!("GET /room HTTP/1.1\r\nHost: test\r\n{field}Accept: text/event-stream\r\n\r\n"));
        assert_eq!(stream.read_head().headers.get("access-control-allow-origin"), Some(origin));
        // A page must be able to read why something failed.
        let large = ask(&rsp, &format!("POST /room HTTP/1.1\r\nHost: test\r\n{field}Content-Length: 99999\r\n\r\n"));
        assert_eq!((large.status, grants(&large)), (413, expected));
    }
    let answer = post(&rsp, "Origin: https://b.example\r\n", "x");
    assert_eq!((answer.status, grants(&answer)), (403, [None, None, Some("Origin")]));
    assert_eq!(post(&rsp, "Origin: http://test\r\n", "x").status, 202, "its own page still may");
    assert_eq!(grants(&post(&rsp, "", "x")), [None, None, Some("Origin")]);
}

#[test]
fn any_origin_may_come_without_its_cookies() {
    let rsp = listed(", origins = \"*\"").start();
    let answer = post(&rsp, "Origin: https://anywhere.example\r\n", "x");
    assert_eq!((answer.status, grants(&answer)), (202, [Some("*"), None, None]));
}

#[test]
fn a_preflight_is_answered_for_listed_origins_only() {
    let preflight = |rsp: &Rsp, origin: &str| {
        ask(
            rsp,
            &format!(
                "OPTIONS /room HTTP/1.1\r\nHost: test\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Headers: idempotency-key\r\n\r\n"
            ),
        )
    };
    let text = listed(", origins = \"https://a.example\"").text();
    for text in [text.clone(), text.replace("[\"/room\"]", "[\"POST /room\"]")] {
        let rsp = Rsp::config(&text).start();
        let answer = preflight(&rsp, "https://a.example");
        assert_eq!((answer.status, grants(&answer)[0]), (204, Some("https://a.example")), "{text}");
        assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));
        assert!(answer.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
        let answer = preflight(&rsp, "https://b.example");
        assert_eq!((grants(&answer)[0], answer.header("access-control-allow-methods")), (None, None));
    }
    let rsp = listed("").start();
    assert_eq!(grants(&preflight(&rsp, "https://a.example"))[0], None);
}

#[test]
fn what_a_cors_filter_says_stands() {
    let text = channel("history = 1, origins = { \"https://a.example\", \"https://b.example\" }").text();
    let text = text
        .replace("= channel", "= { cors { origins = \"https://a.example\" }, channel")
        .replace(" } }\n", " } } }\n");
    let rsp = Rsp::config(&text).start();
    let get =
        |origin: &str| ask(&rsp, &format!("GET /room?history=1 HTTP/1.1\r\nHost: test\r\nOrigin: {origin}\r\n\r\n"));
    let answer = get("https://a.example");
    assert_eq!(grants(&answer), [Some("https://a.example"), None, Some("Origin")]);
    assert_eq!(answer.head.headers.all("vary").count(), 1);
    assert_eq!(grants(&get("https://b.example"))[0], None);
}

#[test]
fn every_page_can_make_itself_null_so_that_it_gets_no_credentials() {
    let rsp = listed(", origins = { \"null\", \"https://a.example\" }").start();
    let granted = |origin: &str| {
        let get = format!("GET /room?history=1 HTTP/1.1\r\nHost: test\r\nOrigin: {origin}\r\n\r\n");
        let answer = ask(&rsp, &get);
        let [origin, credentials, _] = grants(&answer).map(|value| value.map(str::to_owned));
        (origin, credentials)
    };
    assert_eq!(granted("null"), (Some("null".to_owned()), None));
    let named = "https://a.example";
    assert_eq!(granted(named), (Some(named.to_owned()), Some("true".to_owned())));
}
