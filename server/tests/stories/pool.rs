//! Connections to an upstream: kept, used again, and never trusted too far.

use std::time::Duration;

use testkit::{Answer, Gate, Origin, Step};

use super::{SOON, front, proxy};

#[test]
fn requests_of_many_clients_share_a_kept_connection() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    for _ in 0..20 {
        assert_eq!(rsp.client().get("/").status, 200);
        rsp.client().request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    }
    assert_eq!(origin.connections_opened(), 1);
    assert_eq!(origin.received().last().unwrap().request.on_connection, 40);
}

#[test]
fn an_upstream_that_closes_or_speaks_http_1_0_gets_a_fresh_connection_each_time() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/close" => Answer::with_headers("200 OK", "Connection: close\r\n", "ok"),
        "/old" => Answer::raw("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        _ => Answer::until_close("ok"),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for path in ["/close", "/close", "/old", "/old", "/until-close", "/until-close"] {
        assert_eq!(client.get(path).text(), "ok", "{path}");
    }
    assert_eq!(origin.connections_opened(), 6);
}

#[test]
fn a_kept_connection_that_ended_costs_no_request() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for method in ["GET", "POST", "POST"] {
        let answer = client.request(&format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"));
        assert_eq!(answer.status, 200, "{method}");
        origin.close_connections();
        testkit::eventually(SOON, || origin.connections_open() == 0);
    }
    assert_eq!(origin.received().len(), 3);
}

#[test]
fn the_race_with_a_closing_upstream_is_repeated_for_get_and_told_for_post() {
    // The connection is open when the request is sent, and closed in answer to it.
    let origin = Origin::start(|request| if request.on_connection > 1 { Answer::close() } else { Answer::ok("ok") });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    assert_eq!(client.get("/1").text(), "ok");
    assert_eq!(client.get("/2").text(), "ok");
    let paths: Vec<_> = origin.received().iter().map(|one| one.request.target.clone()).collect();
    assert_eq!(paths, ["/1", "/2", "/2"]);

    let answer = client.request("POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(answer.status, 502);
    assert_eq!(origin.received().iter().filter(|one| one.request.method == "POST").count(), 1, "sent twice");
}

#[test]
fn an_idempotent_request_whose_body_went_out_is_not_repeated() {
    let origin = Origin::start(|request| if request.on_connection > 1 { Answer::close() } else { Answer::ok("ok") });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(client.request("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").status, 502);
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn bytes_that_nobody_asked_for_spoil_a_kept_connection() {
    let late = Gate::new();
    let waits = late.clone();
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/1" => Answer::ok("one")
            .then(Step::Pass(waits.clone()))
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".into())),
        _ => Answer::ok("two"),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    assert_eq!(client.get("/1").text(), "one");
    late.open();
    // Whether the late bytes are there already or come just now, they are nobody's answer, or that of a fault.
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(client.get("/2").text());
    }
    assert!(answers[1..].iter().all(|text| text == "two"), "{answers:?}");
}

#[test]
fn an_idle_connection_is_kept_for_its_time_and_no_longer() {
    let origin = Origin::replying("ok");
    let rsp = front("local app = upstream \"app\" { \"$ORIGIN\", keepalive_timeout = \"300ms\" }", "proxy(app)")
        .set("ORIGIN", origin.address())
        .start();
    assert_eq!(rsp.client().get("/").text(), "ok");
    testkit::eventually(SOON, || origin.connections_open() == 0);
    assert_eq!(rsp.client().get("/").text(), "ok");
    assert_eq!(origin.connections_opened(), 2);
}

#[test]
fn no_more_idle_connections_are_kept_than_allowed() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        let mut answer = Answer::ok("ok");
        answer.0.insert(1, Step::Pass(waits.clone()));
        answer
    });
    let rsp = front("local app = upstream \"app\" { \"$ORIGIN\", keepalive = 2 }", "proxy(app)")
        .set("ORIGIN", origin.address())
        .start();
    let mut clients: Vec<_> = (0..6).map(|_| rsp.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    origin.wait_for_requests(6, SOON);
    assert_eq!(origin.connections_open(), 6);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response("GET").text(), "ok"));
    testkit::eventually(SOON, || origin.connections_open() == 2);
}

#[test]
fn an_upstream_on_a_unix_socket_and_one_by_name_are_reached() {
    let folder = tempfile::tempdir().unwrap();
    let unix = Origin::start_unix(folder.path().join("app.sock"), |_| Answer::ok("unix"));
    let named = Origin::replying("named");
    let port = named.address().rsplit_once(':').unwrap().1.to_owned();
    for (address, text) in [(unix.address(), "unix"), (format!("localhost:{port}"), "named")] {
        let rsp = front("", "proxy \"$ORIGIN\"").set("ORIGIN", address).start();
        let mut client = rsp.client();
        assert_eq!((client.get("/").text().as_str(), client.get("/").text().as_str()), (text, text));
    }
    assert_eq!(unix.connections_opened(), 1);
    assert_eq!(unix.received()[0].header("host"), Some("test"));
}

#[test]
fn a_name_that_nobody_knows_is_502() {
    let rsp = front("", "proxy \"no-such-host.invalid:80\"").start();
    assert_eq!(rsp.client().get("/").status, 502);
}

#[test]
fn a_dead_upstream_is_502_and_a_slow_one_504() {
    let mut origin = Origin::start(|_| Answer::never());
    let rsp = front("", "proxy { \"$ORIGIN\", timeout = \"300ms\" }").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/slow").status, 504);
    testkit::eventually(Duration::from_secs(5), || origin.connections_open() == 0);
    // The request was read whole, so its connection goes on.
    assert_eq!(client.get("/slow").status, 504);
    assert_eq!(origin.received().len(), 2, "a request that may have been taken is not repeated");
    origin.stop();
    let dead = client.request("POST / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nContent-Length: 1\r\n\r\na");
    assert_eq!((dead.status, dead.header("content-type")), (502, Some("application/json")));
    assert!(dead.text().starts_with("{\"status\":502,"), "{}", dead.text());
}

#[test]
fn an_idle_connection_that_ends_under_a_post_is_no_failure_of_its_endpoint() {
    let closing = Origin::start(|request| if request.on_connection > 1 { Answer::close() } else { Answer::ok("ok") });
    let other = Origin::replying("ok");
    let app = "local app = upstream \"app\" { \"$ORIGIN\", \"$OTHER\", outlier = { failures = 1 } }";
    let rsp = front(app, "proxy(app)").set("ORIGIN", closing.address()).set("OTHER", other.address()).start();
    let mut client = rsp.client();
    assert_eq!((client.get("/").status, client.get("/").status), (200, 200));
    assert_eq!(client.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").status, 502);
    let before = closing.received().len();
    assert_eq!((client.get("/").status, client.get("/").status), (200, 200));
    assert_eq!(closing.received().len(), before + 1, "its turn was not its own");
}

#[test]
fn connections_to_an_address_in_a_route_outlive_reloads() {
    let origin = Origin::replying("ok");
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
        assert_eq!(rsp.reload().code, Some(0));
    }
    assert_eq!(origin.connections_opened(), 1);
}
