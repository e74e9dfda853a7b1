//! What becomes of a client's connection: pipelining, bodies nobody read, expectations, lingering, HTTP/1.0.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use testkit::{Answer, End, Gate, Origin, Pattern, Step};

use super::{SOON, front, proxy};

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/slow" => Answer::slow_head(Duration::from_millis(300), "/slow"),
        path => Answer::ok(path),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let post = "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let chunked =
        "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n";
    client
        .send(format!("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n{post}\r\n{chunked}GET /fast HTTP/1.1\r\nHost: a\r\n\r\n"));
    for path in ["/slow", "/post", "/chunked", "/fast"] {
        assert_eq!(client.read_response("GET").text(), path);
    }
    assert_eq!(origin.received()[1].body, b"body");
    assert_eq!(origin.received()[2].body, b"ab");
}

#[test]
fn a_thousand_pipelined_requests_in_pieces_of_any_size_are_all_answered() {
    let origin = Origin::start(|request| Answer::ok(&request.target));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let sending = client.socket().share().unwrap();
    let all: String = (0..1000).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let sender = std::thread::spawn(move || {
        let mut sending = &sending;
        all.as_bytes().chunks(37).try_for_each(|piece| sending.write_all(piece))
    });
    for n in 0..1000 {
        assert_eq!(client.read_response("GET").text(), format!("/{n}"));
    }
    sender.join().unwrap().unwrap();
}

#[test]
fn a_body_that_an_early_answer_left_unread_closes_the_connection() {
    let rsp = front("", "reply(200, \"early\")").start();
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.text().as_str(), answer.header("connection")), (200, "early", Some("close")));
    // What looks like a request is the body that nobody wanted.
    let _ = client.try_send("GET /evil HTTP/1.1\r\nHost: a\r\n\r\n          ");
    assert_eq!(client.read_to_end().0, b"");
}

#[test]
fn a_small_body_nobody_wanted_that_is_here_already_costs_no_connection() {
    let rsp = front("", "reply(200, \"early\")").start();
    let mut client = rsp.client();
    for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        let answer = client.request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("early", None), "{body}");
    }
}

#[test]
fn a_413_arrives_whole_while_the_client_is_still_uploading() {
    let origin = Origin::echoing();
    let rsp = front("limits { body = \"1MiB\" }", "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    for framing in ["Content-Length: 10485760", "Transfer-Encoding: chunked"] {
        let mut client = rsp.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        if framing.contains("chunked") {
            client.send("a00000\r\n");
        }
        // The answer is there long before. A reset for unread input could destroy it on its way, and shows here.
        let sent = client.send_pattern(&mut Pattern::new(), 10 << 20);
        let answer =
            client.try_read_response("POST").unwrap_or_else(|error| panic!("{framing}: {error}, sent {sent:?}"));
        assert_eq!((answer.status, answer.end), (413, End::Framed), "{framing}");
        sent.unwrap_or_else(|error| panic!("{framing}: the upload was reset: {error}"));
        assert!(client.is_closed_within(SOON), "{framing}");
    }
    assert!(origin.received().iter().all(|one| !one.complete));
}

#[test]
fn an_expectation_is_passed_on_and_the_upstream_answers_it() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/continue" => Answer::echo().after_interim("100 Continue"),
        _ => Answer(vec![Step::Write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".into()), Step::Close]),
    });
    let rsp = proxy(&origin);
    let head =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut client = rsp.client();
    client.send(head("/continue"));
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    client.send("body");
    assert!(client.read_response("POST").text().ends_with("body"));
    assert_eq!(origin.received()[0].header("expect"), Some("100-continue"));

    let mut client = rsp.client();
    client.send(head("/refuse"));
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.informational.len(), answer.text().as_str()), (403, 0, "no"));
    assert_eq!(answer.header("connection"), Some("close"), "the body was not read and may still come");
}

#[test]
fn an_expectation_is_not_answered_for_a_body_that_nobody_reads() {
    let rsp = front("", "reply(200, \"early\")").start();
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.informational.len()), (200, 0));
}

#[test]
fn a_client_that_sends_its_body_without_waiting_for_the_100_is_served() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let answer = client.request("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
    assert!(answer.text().ends_with("body"));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn an_http_1_0_client_is_kept_only_if_it_asks_and_gets_no_chunks() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/chunks" => Answer::chunked(&["one ", "two"], "X-T: 1\r\n"),
        _ => Answer::ok("whole"),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let kept = client.request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((kept.text().as_str(), kept.header("connection")), ("whole", Some("keep-alive")));
    let last = client.request("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((last.text().as_str(), last.header("connection")), ("whole", Some("close")));
    assert!(client.is_closed_within(SOON));
    let chunks = rsp.client().request("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((chunks.text().as_str(), chunks.end), ("one two", End::Closed));
    assert_eq!(chunks.header("transfer-encoding"), None);
    assert!(origin.received().iter().all(|one| one.request.head.start.ends_with("HTTP/1.1")));
}

#[test]
fn a_client_that_asks_for_the_close_gets_it() {
    let origin = Origin::replying("bye");
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let answer = client.request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("bye", Some("close")));
    assert!(client.is_closed_within(SOON));
    assert_eq!(origin.received()[0].header("connection"), None, "the upstream's connection may stay");
}

#[test]
fn a_client_that_ends_its_direction_still_gets_its_answer() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| Answer(vec![Step::ReadBody, Step::Pass(waits.clone()), Step::WriteReceived]));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    client.half_close();
    origin.wait_for_requests(1, SOON);
    gate.open();
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.end), (200, End::Framed));
    assert!(answer.text().ends_with("body"));
    assert!(client.is_closed_within(SOON));
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let origin = Origin::start(|_| Answer::never());
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_heads(1, SOON);
    client.reset();
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn what_is_pipelined_behind_the_last_request_is_not_served() {
    let origin = Origin::replying("last");
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /more HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response("GET").text(), "last");
    assert_eq!(client.read_to_end().0, b"");
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn our_own_errors_have_no_body_for_head_and_keep_the_connection() {
    let mut origin = Origin::replying("never");
    let rsp = proxy(&origin);
    origin.stop();
    let mut client = rsp.client();
    for _ in 0..2 {
        let answer = client.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status, answer.header("connection")), (502, None));
        assert!(answer.header("content-length").is_some_and(|length| length != "0"));
    }
    assert_eq!(client.get("/").status, 502);
}

#[test]
fn messages_in_single_bytes_pass_as_they_would_whole() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                  3;a=b\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n";
    let origin = Origin::start(|_| {
        let bytes = answer.bytes().map(|byte| Step::Write(vec![byte]));
        Answer([Step::ReadBody].into_iter().chain(bytes).collect())
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for _ in 0..2 {
        client.send_in_pieces(
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 2\r\n\r\n",
            1,
            Duration::from_micros(200),
        );
        let answer = client.read_response("POST");
        assert_eq!((answer.text().as_str(), answer.trailers.get("x-t")), ("abc0123456789", Some("1")));
        assert_eq!(answer.informational.len(), 1);
        let received = origin.received().pop().unwrap();
        assert_eq!((received.body.as_slice(), received.trailers.get("x-t")), (b"abcd".as_slice(), Some("2")));
    }
    assert_eq!(origin.connections_opened(), 1);
}

#[test]
fn an_answer_that_closes_survives_what_was_pipelined_behind_its_request() {
    let rsp = front("limits { requests_per_connection = 1 }", "reply(200, \"last\")").start();
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20_000));
    let answer = client.read_response("GET");
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("last", Some("close")));
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed), "a reset");
}

/// The kernel waits with an answer's last bytes for the close: it would wait 200 ms if that did not come.
#[test]
fn an_answer_that_closes_is_held_back_for_nothing() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/large" => Answer::pattern(1 << 20),
        _ => Answer::ok("ok"),
    });
    let rsp = proxy(&origin);
    let asked = [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /more",
        "BROKEN\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: keep\r\n\r\n",
    ];
    for request in asked {
        let once = || {
            let mut client = rsp.client();
            let begun = Instant::now();
            let answer = client.request(request);
            assert_ne!(answer.end, End::Cut, "{request}");
            if !request.ends_with("keep\r\n\r\n") {
                assert_eq!(client.read_to_end(), (Vec::new(), End::Closed), "{request}");
            }
            begun.elapsed()
        };
        let fastest = (0..5).map(|_| once()).min().unwrap();
        assert!(fastest < Duration::from_millis(150), "{request}: {fastest:?}");
    }
}
