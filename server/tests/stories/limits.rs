//! The bounds of a head and of every wait on a client, and what goes over them.

use std::time::{Duration, Instant};

use testkit::{End, Origin};

use super::{SOON, front};

#[test]
fn heads_over_a_limit_are_431_and_targets_414() {
    let origin = Origin::echoing();
    let limits = "limits { head = 2048, headers = 10, uri = 256 }";
    let rsp = front(limits, "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let cases = [
        ("a long field", 431, format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "x".repeat(4000))),
        ("many fields", 431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(20))),
        ("a head without end", 431, format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat(10_000))),
        ("a long target", 414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(300))),
        ("a target without end", 414, format!("GET /{}", "x".repeat(10_000))),
    ];
    for (what, status, bytes) in cases {
        let mut client = rsp.client();
        let answer = client.request(&bytes);
        assert_eq!(
            (answer.status, answer.end, answer.header("connection")),
            (status, End::Framed, Some("close")),
            "{what}"
        );
        assert!(client.is_closed_within(SOON), "{what}");
    }
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn a_head_that_dribbles_in_is_408_counted_from_its_first_byte() {
    let rsp = front("limits { head_timeout = \"400ms\" }", "reply(200, \"ok\")").start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").status, 200);
    let begun = Instant::now();
    client.send("GET / HTTP/1.1\r\n");
    // A byte now and then must not buy more time.
    for _ in 0..3 {
        client.send_in_pieces("X: ", 1, Duration::from_millis(60));
    }
    let answer = client.read_response("GET");
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let limits = "limits { head_timeout = \"300ms\", idle_timeout = \"300ms\" }";
    let rsp = front(limits, "reply(200, \"ok\")").start();
    assert!(rsp.client().is_closed_within(SOON), "before its first request");
    let mut client = rsp.client();
    assert_eq!(client.get("/").status, 200);
    assert!(client.is_closed_within(SOON), "after a request");
}

#[test]
fn a_body_that_stops_coming_is_408_and_a_cut_upstream() {
    let origin = Origin::echoing();
    let limits = "limits { body_timeout = \"300ms\" }";
    let rsp = front(limits, "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    let answer = client.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    testkit::eventually(SOON, || origin.connections_open() == 0);
    assert!(!origin.received()[0].complete);
}

#[test]
fn a_client_that_reads_nothing_is_cut_off() {
    let origin = Origin::start(|_| testkit::Answer::pattern(64 << 20));
    let limits = "limits { write_timeout = \"300ms\" }";
    let rsp = front(limits, "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.socket().set_receive_buffer(4096).unwrap();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1, SOON);
    testkit::eventually(SOON, || origin.connections_open() == 0);
    assert_eq!(client.read_response("GET").end, End::Cut);
}

#[test]
fn a_connection_ends_after_its_number_of_requests() {
    let rsp = front("limits { requests_per_connection = 2 }", "reply(200, \"ok\")").start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").header("connection"), None);
    assert_eq!(client.get("/").header("connection"), Some("close"));
    assert!(client.is_closed_within(SOON));
}

#[test]
fn bodies_over_a_limit_are_413_with_a_length_and_in_chunks() {
    let origin = Origin::echoing();
    let rsp = front("limits { body = 10 }", "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let post = |body: &str| rsp.client().request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{body}")).status;
    assert_eq!(post("Content-Length: 10\r\n\r\n0123456789"), 200);
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"), 200);
    assert_eq!(origin.received().len(), 2);
    assert_eq!(post("Content-Length: 11\r\n\r\n0123456789a"), 413);
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n"), 413);
    assert!(origin.received().iter().skip(2).all(|one| !one.complete));
}

#[test]
fn a_connection_idles_as_long_after_a_body_as_after_none() {
    let limits = "limits { head_timeout = \"200ms\", idle_timeout = \"30s\" }";
    let rsp = front(limits, "reply(200, \"ok\")").start();
    let mut client = rsp.client();
    let mut post = || client.request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").status;
    assert_eq!(post(), 200);
    assert!(!client.is_closed_within(Duration::from_millis(800)), "closed after the time for a head");
    assert_eq!(client.get("/").status, 200);
}
