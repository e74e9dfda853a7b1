//! Long polls: one message an answer, as it was published, and the position to go on from.

use std::time::{Duration, Instant};

use testkit::{Client, Response, Rsp, Signal, eventually};

use super::{
    SOON,
    channel::{channel, metric, post, publish, wait_for_subscribers},
};

/// A poll from a position, whose connection is its own.
fn poll(rsp: &Rsp, since: &str) -> Response {
    rsp.client().get(&format!("/room?since={since}"))
}

/// The position that an answer names.
fn position(answer: &Response) -> String {
    answer.header("etag").expect("an ETag").trim_matches('"').to_owned()
}

/// A poll that waits.
fn waiting(rsp: &Rsp, target: &str) -> Client {
    let mut client = rsp.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    wait_for_subscribers(rsp, 1);
    client
}

#[test]
fn a_poll_is_held_for_the_next_message_and_gets_it_as_it_was_published() {
    let rsp = channel("history = 10").start();
    let mut client = waiting(&rsp, "/room");
    let published = publish(&rsp, "hi \u{e4}\n");
    let answer = client.read_response("GET");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi \u{e4}\n"));
    assert_eq!(position(&answer), published);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(post(&rsp, "Content-Type: application/octet-stream\r\n", "<b>").status, 202);
    let answer = client.get(&format!("/room?since={published}"));
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("<b>", Some("application/octet-stream")));
}

#[test]
fn what_comes_between_two_polls_is_got_by_the_next_ones() {
    let rsp = channel("history = 10, poll_timeout = \"1s\"").start();
    let start = position(&rsp.client().get("/room"));
    publish(&rsp, "one");
    publish(&rsp, "two");
    let first = poll(&rsp, &start);
    let second = poll(&rsp, &position(&first));
    assert_eq!((first.text(), second.text()), ("one".into(), "two".into()));
    let mut client = rsp.client();
    let tagged =
        format!("GET /room?since={start} HTTP/1.1\r\nHost: a\r\nIf-None-Match: W/\"{}\"\r\n\r\n", position(&first));
    assert_eq!(client.request(&tagged).text(), "two", "the entity tag is newer than the URL");
    let last = poll(&rsp, &position(&second));
    assert_eq!((last.status, position(&last)), (204, position(&second)));
}

#[test]
fn a_poll_without_a_message_is_204_after_its_time_out_and_says_where_to_go_on() {
    let rsp = channel("poll_timeout = \"1s\"").start();
    let began = Instant::now();
    let mut client = rsp.client();
    let answer = client.get("/room");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    wait_for_subscribers(&rsp, 0);
    let again = client.get(&format!("/room?since={}", position(&answer)));
    assert_eq!((again.status, position(&again)), (204, position(&answer)), "the connection goes on");
}

#[test]
fn a_gap_that_cannot_be_filled_is_410_with_the_position_to_go_on_from() {
    let rsp = channel("poll_timeout = \"1s\"").start();
    let start = position(&rsp.client().get("/room"));
    let last = publish(&rsp, "nobody was there");
    let answer = poll(&rsp, &start);
    assert_eq!((answer.status, position(&answer)), (410, last.clone()));
    assert!(answer.text().contains(&last), "{}", answer.text());
    assert_eq!(poll(&rsp, &last).status, 204);
    assert_eq!(poll(&rsp, "0000000000000-0").status, 410, "another epoch");

    let rsp = channel("history = 2, poll_timeout = \"1s\"").start();
    let positions: Vec<_> = ["a", "b", "c", "d"].iter().map(|text| publish(&rsp, text)).collect();
    assert_eq!(poll(&rsp, &positions[0]).status, 410);
    assert_eq!(poll(&rsp, &positions[1]).text(), "c");
}

#[test]
fn what_is_no_position_is_400() {
    let rsp = channel("").start();
    for target in ["/room?since=1", "/room?since=", "/room?since=0000000000000-0&since=0000000000000-0"] {
        assert_eq!(rsp.client().get(target).status, 400, "{target}");
    }
    let tagged = "GET /room HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n";
    assert_eq!(rsp.client().request(tagged).status, 400);
}

#[test]
fn a_client_that_goes_away_ends_its_poll_at_once() {
    let rsp = channel("").start();
    drop(waiting(&rsp, "/room"));
    wait_for_subscribers(&rsp, 0);
    waiting(&rsp, "/room").reset();
    wait_for_subscribers(&rsp, 0);
    // Its next request hides its end for a moment.
    let mut client = waiting(&rsp, "/room");
    client.send("GET /room HTTP/1.1\r\n");
    drop(client);
    wait_for_subscribers(&rsp, 0);
    assert_eq!(post(&rsp, "", "x").status, 202, "nobody is listening");
}

#[test]
fn a_drain_answers_polls_before_its_end() {
    let mut rsp = channel("").drain("2s").start();
    let mut clients: Vec<_> = (0..20).map(|_| rsp.client()).collect();
    for client in &mut clients {
        client.send("GET /room HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    wait_for_subscribers(&rsp, 20);
    let began = Instant::now();
    rsp.signal(Signal::TERM);
    for client in &mut clients {
        let answer = client.read_response("GET");
        assert_eq!((answer.status, answer.header("connection")), (204, Some("close")));
        assert!(!position(&answer).is_empty());
    }
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(2), "not cut, but answered");
}

#[test]
fn many_polls_get_one_message_each_and_are_counted() {
    let rsp = channel("history = 10").start();
    let mut clients: Vec<_> = (0..50).map(|_| rsp.client()).collect();
    for client in &mut clients {
        client.send("GET /room HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    wait_for_subscribers(&rsp, 50);
    assert_eq!(metric(&rsp, "rsp_channel_subscribers{transport=\"poll\"}"), 50);
    let answer = post(&rsp, "", "all");
    assert_eq!((answer.status, answer.text().contains("\"subscribers\":50")), (201, true), "{}", answer.text());
    assert!(clients.iter_mut().all(|client| client.read_response("GET").text() == "all"));
    eventually(SOON, || metric(&rsp, "rsp_channel_delivered_total") == 50);
    wait_for_subscribers(&rsp, 0);
}

#[test]
fn head_names_the_position_and_waits_for_nothing() {
    let rsp = channel("history = 1").start();
    let published = publish(&rsp, "x");
    let answer = rsp.client().request("HEAD /room HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((answer.status, position(&answer)), (204, published));
    assert_eq!(rsp.client().request("HEAD /room?since=x HTTP/1.1\r\nHost: test\r\n\r\n").status, 400);
    let stream = rsp.client().request("HEAD /room HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    wait_for_subscribers(&rsp, 0);
}

#[test]
fn a_poll_of_http_1_0_is_answered_and_closed() {
    let rsp = channel("history = 1").start();
    let position = publish(&rsp, "x");
    let mut client = rsp.client();
    client.send(format!("GET /room?since={position} HTTP/1.0\r\nHost: test\r\n\r\n"));
    wait_for_subscribers(&rsp, 1);
    publish(&rsp, "y");
    let answer = client.read_response("GET");
    assert_eq!((answer.status, answer.text().as_str()), (200, "y"));
    assert!(client.is_closed_within(SOON));
}

#[test]
fn a_poll_with_a_body_and_one_that_accepts_anything_are_polls() {
    let rsp = channel("history = 1").start();
    for request in [
        "GET /room HTTP/1.1\r\nHost: test\r\nAccept: */*\r\n\r\n",
        "GET /room HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream;q=0, */*\r\n\r\n",
        "GET /room HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let mut client = rsp.client();
        client.send(request);
        wait_for_subscribers(&rsp, 1);
        publish(&rsp, "x");
        assert_eq!(client.read_response("GET").text(), "x");
        wait_for_subscribers(&rsp, 0);
    }
}
