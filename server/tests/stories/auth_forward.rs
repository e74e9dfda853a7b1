//! Who may pass because another server says so: what it is asked, what its answers mean, and how long they hold.

use std::time::Duration;

use testkit::{Answer, Gate, Nginx, Origin, RequestHead, Rsp, Step};

use super::{SOON, front};

const ASK: &str = "GET /private?x=1 HTTP/1.1\r\nHost: example.com\r\nCookie: s=1\r\n\r\n";

/// rsp before `app`, with every request asked about at `auth`.
#[track_caller]
fn guarded(auth: &Origin, app: &Origin, options: &str) -> Rsp {
    front("", &format!("{{ auth {{ forward = {{ \"$AUTH\", path = \"/check\", {options} }} }}, proxy \"$ORIGIN\" }}"))
        .set("AUTH", auth.address())
        .set("ORIGIN", app.address())
        .start()
}

fn yes() -> Answer {
    Answer::with_headers("200 OK", "X-User: alice\r\nX-Groups: a\r\nX-Groups: b\r\n", "ignored")
}

/// Yes to whoever has the cookie.
fn by_cookie(request: &RequestHead) -> Answer {
    match request.head.headers.get("cookie") {
        Some("s=1") => yes(),
        _ => Answer::with_headers("302 Found", "Location: /login\r\nSet-Cookie: nonce=1\r\n", "log in"),
    }
}

#[test]
fn the_server_is_asked_with_the_requests_fields_and_without_its_body() {
    let (auth, app) = (Origin::start(|_| yes()), Origin::replying("inside"));
    let rsp = guarded(&auth, &app, "copy = { \"X-User\", \"X-Groups\", \"X-None\" }");
    let mut client = rsp.client();
    client.send(
        "POST /private?x=1 HTTP/1.1\r\nHost: example.com\r\nCookie: s=1\r\nAuthorization: Bearer t\r\nX-User: root\r\n\
         X-None: forged\r\nX-Forwarded-Uri: /public\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\n\
         Content-Length: 4\r\n\r\n",
    );
    app.wait_for_heads(1, SOON);
    client.send("body");
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "inside"));
    let asked = &auth.received()[0];
    assert_eq!((asked.request.method.as_str(), asked.request.target.as_str()), ("GET", "/check"));
    for (name, value) in [
        ("host", "example.com"),
        ("cookie", "s=1"),
        ("authorization", "Bearer t"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/private?x=1"),
        ("x-forwarded-host", "example.com"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    for absent in ["content-length", "content-type", "transfer-encoding", "expect"] {
        assert_eq!(asked.header(absent), None, "{absent}");
    }
    let received = &app.received()[0];
    assert_eq!((&*received.body, received.header("authorization")), (&b"body"[..], Some("Bearer t")));
    let all = |name| received.request.head.headers.all(name).collect::<Vec<_>>();
    assert_eq!((all("x-user"), all("x-groups")), (vec!["alice"], vec!["a", "b"]));
    assert_eq!(received.header("x-none"), None, "nobody but the auth server says it");
}

#[test]
fn a_no_is_the_clients_answer_with_its_fields_and_body() {
    let noes = [
        ("302 Found", "Location: /login\r\nSet-Cookie: nonce=1\r\n", "location", "/login"),
        ("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", "www-authenticate", "Bearer"),
        ("403 Forbidden", "X-Why: banned\r\n", "x-why", "banned"),
        ("429 Too Many Requests", "Retry-After: 9\r\n", "retry-after", "9"),
    ];
    for (status, lines, name, value) in noes {
        let auth = Origin::start(move |_| Answer::with_headers(status, lines, "no entry"));
        let app = Origin::replying("inside");
        let rsp = guarded(&auth, &app, "");
        let mut client = rsp.client();
        let answer = client.request(ASK);
        assert_eq!((answer.head.start.split_once(' ').unwrap().1, &*answer.text()), (status, "no entry"));
        assert_eq!(answer.header(name), Some(value), "{status}");
        let head = client.request(&ASK.replace("GET", "HEAD"));
        assert_eq!((head.status, head.header("content-length")), (answer.status, Some("8")), "{status}");
        assert_eq!(client.request(ASK).status, answer.status, "the connection goes on");
        assert_eq!(app.received().len(), 0, "{status} lets nobody pass");
    }
}

#[test]
fn an_upload_that_is_refused_is_never_asked_for() {
    let (auth, app) = (Origin::start(by_cookie), Origin::replying("inside"));
    let rsp = guarded(&auth, &app, "");
    let mut client = rsp.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n");
    let answer = client.read_response("PUT");
    assert_eq!((answer.status, answer.informational.len()), (302, 0));
    assert_eq!(app.connections_opened(), 0);
}

#[test]
fn a_server_that_fails_lies_or_stalls_lets_nobody_pass() {
    let interims = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    let failures: Vec<(&str, Answer)> = vec![
        ("500", Answer::status("500 Internal Server Error", "stack trace")),
        ("503", Answer::status("503 Service Unavailable", "stack trace")),
        ("304", Answer::raw("HTTP/1.1 304 Not Modified\r\n\r\n")),
        ("101", Answer::upgrade("websocket")),
        ("1xx without end", Answer::raw(interims).then(Step::Close)),
        ("garbage", Answer::raw("200 OK, come in\r\n\r\n").then(Step::Close)),
        ("two lengths", Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("half a head", Answer::raw("HTTP/1.1 200 OK\r\nX-User: al").then(Step::Close)),
        ("a head without end", Answer::raw(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000)))),
        ("600", Answer::status("600 Odd", "")),
        ("silence", Answer::never()),
        ("a close", Answer::close()),
    ];
    for (name, answer) in failures {
        let (auth, app) = (Origin::start(move |_| answer.clone()), Origin::replying("inside"));
        let rsp = guarded(&auth, &app, "timeout = \"300ms\", cache = \"1m\"");
        let mut client = rsp.client();
        for _ in 0..2 {
            let answer = client.request(ASK);
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{name}");
            assert!(!answer.text().contains("stack") && answer.informational.is_empty(), "{name}: {answer:?}");
        }
        assert_eq!(app.received().len(), 0, "{name} lets nobody pass");
    }
    let (mut auth, app) = (Origin::start(|_| yes()), Origin::replying("inside"));
    let rsp = guarded(&auth, &app, "");
    auth.stop();
    assert_eq!(rsp.client().request(ASK).status, 503, "nobody there");
    auth.restart();
    testkit::eventually(SOON, || rsp.client().request(ASK).status == 200);
}

#[test]
fn what_comes_before_and_behind_a_yes_is_nobodys() {
    let endless = Answer::raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nx");
    let auth = Origin::start(move |_| endless.clone().then(Step::Hang));
    let app = Origin::echoing();
    let rsp = guarded(&auth, &app, "");
    let mut client = rsp.client();
    let answer = client.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!((answer.status, answer.informational.len()), (200, 0));
    assert!(answer.text().ends_with("\r\n\r\nbody"), "{}", answer.text());
}

#[test]
fn questions_share_a_connection() {
    let (auth, app) = (Origin::start(|_| yes()), Origin::replying("inside"));
    let rsp = guarded(&auth, &app, "");
    let mut client = rsp.client();
    for _ in 0..5 {
        assert_eq!(client.request(ASK).status, 200);
    }
    assert_eq!((auth.received().len(), auth.connections_opened()), (5, 1), "each is asked about, on one connection");
}

#[test]
fn a_yes_holds_for_the_same_question_only() {
    let (auth, app) = (Origin::start(by_cookie), Origin::replying("inside"));
    let rsp = guarded(&auth, &app, "cache = \"1h\", copy = \"X-User\"");
    let mut client = rsp.client();
    for _ in 0..3 {
        assert_eq!(client.request(ASK).status, 200);
    }
    assert_eq!(auth.received().len(), 1);
    assert!(app.received().iter().all(|received| received.header("x-user") == Some("alice")));
    let others = [
        ASK.replace("s=1", "s=2"),
        ASK.replace("Cookie: s=1\r\n", ""),
        ASK.replace("Cookie: s=1\r\n", "Cookie: s=1\r\nX-Api-Key: 1\r\n"),
        ASK.replace("x=1 ", "x=2 "),
        ASK.replace("GET", "POST"),
        ASK.replace("example.com", "example.org"),
    ];
    for (number, other) in others.iter().enumerate() {
        client.request(other);
        assert_eq!(auth.received().len(), number + 2, "another question: {other}");
    }
    let answers = [client.request(&others[0]), client.request(&others[1])];
    assert!(answers.iter().all(|answer| answer.status == 302 && answer.header("set-cookie").is_some()));
    assert_eq!(auth.received().len(), others.len() + 3, "a no is not kept");
}

#[test]
fn an_answer_may_shorten_how_long_it_holds() {
    for (field, asked) in [("no-store", 3), ("no-cache", 3), ("max-age=0", 3), ("max-age=3600", 1), ("private", 1)] {
        let auth = Origin::start(move |_| Answer::with_headers("200 OK", &format!("Cache-Control: {field}\r\n"), ""));
        let app = Origin::replying("inside");
        let rsp = guarded(&auth, &app, "cache = \"1h\"");
        for _ in 0..3 {
            assert_eq!(rsp.client().request(ASK).status, 200);
        }
        assert_eq!(auth.received().len(), asked, "{field}");
    }
    let (auth, app) = (Origin::start(|_| yes()), Origin::replying("inside"));
    let rsp = guarded(&auth, &app, "cache = \"300ms\"");
    let mut client = rsp.client();
    testkit::eventually(SOON, || {
        assert_eq!(client.request(ASK).status, 200);
        auth.received().len() == 3
    });
    assert!(app.received().len() > 3, "some were let pass on what was known");
}

#[test]
fn many_who_ask_the_same_at_once_are_one_question() {
    let gate = Gate::new();
    let waits = gate.clone();
    let auth = Origin::start(move |_| {
        let Answer(steps) = yes();
        Answer([vec![Step::Pass(waits.clone())], steps].concat())
    });
    let app = Origin::replying("inside");
    let rsp = guarded(&auth, &app, "cache = \"1m\"");
    let mut clients: Vec<_> = (0..20).map(|_| rsp.client()).collect();
    clients.iter_mut().for_each(|client| client.send(ASK));
    // Sent last, and asked about on its own: when it is, the others are there.
    let mut other = rsp.client();
    other.send(ASK.replace("x=1", "x=2"));
    auth.wait_for_heads(2, SOON);
    gate.open();
    for client in clients.iter_mut().chain([&mut other]) {
        assert_eq!(client.read_response("GET").status, 200);
    }
    assert_eq!(auth.received().len(), 2);
    assert_eq!(app.received().len(), 21);
}

#[test]
fn who_asked_the_same_as_one_who_went_away_asks_again() {
    for ask in [ASK.to_owned(), ASK.replace("HTTP/1.1", "HTTP/1.0")] {
        let gate = Gate::new();
        let waits = gate.clone();
        let auth = Origin::start(move |request| match request.number {
            1 => Answer(vec![Step::Pass(waits.clone()), Step::Close]),
            _ => yes(),
        });
        let app = Origin::replying("inside");
        let rsp = guarded(&auth, &app, "cache = \"1m\", timeout = \"1h\"");
        let (mut first, mut second) = (rsp.client(), rsp.client());
        first.send(&ask);
        auth.wait_for_heads(1, SOON);
        second.send(&ask);
        first.reset();
        auth.wait_for_heads(2, SOON);
        assert_eq!(second.read_response("GET").status, 200);
        gate.open();
    }
}

#[test]
fn a_websocket_is_asked_about_before_it_opens() {
    let (auth, app) = (Origin::start(by_cookie), Origin::start(|_| Answer::upgrade("websocket")));
    let rsp = guarded(&auth, &app, "");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut stranger = rsp.client();
    assert_eq!(stranger.request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}")).status, 302);
    assert_eq!(app.connections_opened(), 0);
    let mut friend = rsp.client();
    assert_eq!(friend.request(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: s=1\r\n{upgrade}")).status, 101);
    friend.send("ping");
    assert_eq!(friend.read_exactly(4), b"ping");
    assert!(auth.received().iter().all(|asked| asked.header("upgrade").is_none()));
}

#[test]
fn nginx_says_who_may_pass() {
    let nginx = Nginx::start(
        "server { listen 127.0.0.1:$PORT; location = /check { add_header X-User $http_x_forwarded_method;
           if ($http_x_forwarded_uri ~ ^/public) { return 204; } return 403 \"not you\"; } }",
    );
    let app = Origin::replying("inside");
    let text = "{ auth { forward = { \"$AUTH\", path = \"/check\", copy = \"X-User\" } }, proxy \"$ORIGIN\" }";
    let rsp = front("", text).set("AUTH", nginx.address()).set("ORIGIN", app.address()).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/public/a").text(), "inside");
    assert_eq!(app.received()[0].header("x-user"), Some("GET"));
    let refused = client.get("/secret");
    assert_eq!((refused.status, &*refused.text()), (403, "not you"));
    assert_eq!(client.get("/public/b").text(), "inside");
}

#[test]
fn a_slow_server_holds_up_nobody_else() {
    let (auth, app) = (Origin::start(|_| Answer::never()), Origin::replying("inside"));
    let text = "workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"open\" (reply(200))\n\
                site \"*\" { auth { forward = { \"$AUTH\", path = \"/\" } }, proxy \"$ORIGIN\" }";
    let rsp = Rsp::config(text).set("AUTH", auth.address()).set("ORIGIN", app.address()).start();
    let mut waiting: Vec<_> = (0..10).map(|_| rsp.client()).collect();
    waiting.iter_mut().for_each(|client| client.send(ASK));
    auth.wait_for_heads(10, SOON);
    let begun = std::time::Instant::now();
    assert_eq!(rsp.client().request("GET / HTTP/1.1\r\nHost: open\r\n\r\n").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
