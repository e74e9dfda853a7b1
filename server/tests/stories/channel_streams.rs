//! Event streams and lines: what browsers and programs read for as long as they like.

use std::time::Duration;

use serde_json::Value;
use testkit::EventStream;

use super::channel::{channel, metric, post, publish, wait_for_subscribers};

const LINES: &str = "Accept: application/x-ndjson\r\n";

#[test]
fn an_event_stream_says_where_it_is_and_then_tells_every_message() {
    let rsp = channel("history = 10").start();
    let before = publish(&rsp, "before");
    let mut stream = EventStream::open(&rsp.address(), "/room");
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    let first = stream.next_event().unwrap();
    assert_eq!(
        (first.name.as_deref(), first.id),
        (Some("subscribed"), Some(before)),
        "whoever is cut off now has an id"
    );
    let position = publish(&rsp, "two\nlines");
    let event = stream.next_event().unwrap();
    assert_eq!((event.id, event.name, event.data), (Some(position), None, Some("two\nlines".into())));
    rsp.client().send(b"POST /room HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\xff\0");
    assert_eq!(stream.told(), ("binary".into(), "/wA=".into()));
}

#[test]
fn lines_are_objects() {
    let rsp = channel("history = 10").start();
    let mut lines = EventStream::open_with(&rsp.address(), "/room", LINES);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let subscribed = lines.object();
    assert_eq!(subscribed["event"], "subscribed");
    let position = publish(&rsp, "hi");
    let item = lines.object();
    assert_eq!((item["position"].as_str(), item["data"].as_str()), (Some(&*position), Some("hi")));
    assert_eq!(item.get("event"), None);
}

#[test]
fn whoever_comes_back_gets_what_it_missed_under_any_name_of_its_position() {
    let rsp = channel("history = 10").start();
    let position = publish(&rsp, "seen");
    publish(&rsp, "missed");
    let accept = "Accept: text/event-stream\r\n";
    let encoded = position.replace('-', "%2D");
    for (path, fields) in [
        (format!("/room?since={position}"), accept.to_owned()),
        (format!("/room?since={encoded}"), accept.to_owned()),
        (format!("/room?last_event_id={position}"), accept.to_owned()),
        (format!("/room?lastEventId={position}"), accept.to_owned()),
        ("/room".to_owned(), format!("{accept}Last-Event-ID: {position}\r\n")),
        ("/room?since=0000000000000-0".to_owned(), format!("{accept}Last-Event-ID: {position}\r\n")),
    ] {
        let mut stream = EventStream::open_with(&rsp.address(), &path, &fields);
        assert_eq!(stream.told(), ("message".into(), "missed".into()), "{path}");
    }
    let mut lines = EventStream::open_with(&rsp.address(), &format!("/room?since={position}"), LINES);
    assert_eq!(
        (lines.object()["event"].clone(), lines.object()["data"].clone()),
        ("subscribed".into(), "missed".into())
    );
    assert_eq!(metric(&rsp, "rsp_channel_resumes_total{result=\"kept\"}"), 7);
}

#[test]
fn who_missed_something_is_told_first_and_goes_on() {
    let rsp = channel("").start();
    let position = publish(&rsp, "lost");
    let gone = publish(&rsp, "lost, too");
    for id in [&*position, "0000000000000-1", "nonsense", "1", "\u{ff}"] {
        let fields = format!("Accept: text/event-stream\r\nLast-Event-ID: {id}\r\n");
        let mut stream = EventStream::open_with(&rsp.address(), "/room", &fields);
        let (name, data) = stream.told();
        let object: Value = serde_json::from_str(&data).unwrap();
        assert_eq!((&*name, object["position"].as_str()), ("reset", Some(&*gone)), "{id}");
        wait_for_subscribers(&rsp, 1);
        drop(stream);
        wait_for_subscribers(&rsp, 0);
    }
    let mut lines = EventStream::open_with(&rsp.address(), &format!("/room?since={position}"), LINES);
    assert_eq!([lines.object()["event"].clone(), lines.object()["event"].clone()], ["subscribed", "reset"]);
    assert_eq!(rsp.client().request(&format!("GET /room?since=x HTTP/1.1\r\nHost: a\r\n{LINES}\r\n")).status, 400);
}

#[test]
fn a_history_larger_than_one_look_arrives_whole_and_in_order() {
    let rsp = channel("history = 1000").start();
    let start = publish(&rsp, "start");
    let mut client = rsp.client();
    for number in 0..700 {
        let text = number.to_string();
        let length = text.len();
        client.request(&format!("POST /room HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{text}"));
    }
    let mut stream = EventStream::open(&rsp.address(), &format!("/room?since={start}"));
    for number in 0..700 {
        assert_eq!(stream.told().1, number.to_string());
    }
    publish(&rsp, "live");
    assert_eq!(stream.told().1, "live");
}

#[test]
fn a_client_of_http_1_0_reads_until_the_close() {
    let rsp = channel("history = 10").start();
    let request = "GET /room HTTP/1.0\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    let mut stream = EventStream::ask(&rsp.address(), request);
    assert_eq!((stream.header("transfer-encoding"), stream.header("connection")), (None, Some("close")));
    wait_for_subscribers(&rsp, 1);
    publish(&rsp, "x");
    assert_eq!(stream.told().1, "x");
}

#[test]
fn what_a_client_sends_behind_its_request_means_nothing_and_its_end_is_seen() {
    let rsp = channel("history = 10").start();
    for (fields, behind) in [
        ("", "GET /room HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("Connection: close\r\n", ""),
        ("Content-Length: 3\r\n", "abc and more"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nab"),
    ] {
        let request = format!("GET /room HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n{fields}\r\n{behind}");
        let mut stream = EventStream::ask(&rsp.address(), &request);
        wait_for_subscribers(&rsp, 1);
        publish(&rsp, "x");
        assert_eq!(stream.told().1, "x", "{fields}");
        stream.client().send("still here");
        publish(&rsp, "y");
        assert_eq!(stream.told().1, "y", "{fields}");
        drop(stream);
        wait_for_subscribers(&rsp, 0);
    }
}

#[test]
fn a_silent_stream_is_kept_alive_with_comments() {
    let rsp = channel("ping = \"1s\"").start();
    let mut stream = EventStream::open(&rsp.address(), "/room");
    let mut lines = EventStream::open_with(&rsp.address(), "/room", LINES);
    stream.next_event();
    lines.object();
    assert_eq!(stream.next_line().as_deref(), Some(":"));
    assert_eq!(lines.next_line().as_deref(), Some(""));
}

#[test]
fn a_message_reaches_the_subscribers_of_every_worker_once_and_in_order() {
    let rsp = channel("history = 10").workers(2).start();
    let mut streams: Vec<_> = (0..16).map(|_| EventStream::open(&rsp.address(), "/room")).collect();
    wait_for_subscribers(&rsp, 16);
    let answer = post(&rsp, "", "0");
    assert!(answer.text().contains("\"subscribers\":16"), "{}", answer.text());
    for number in 1..50 {
        publish(&rsp, &number.to_string());
    }
    for stream in &mut streams {
        for number in 0..50 {
            assert_eq!(stream.told().1, number.to_string());
        }
        assert!(!stream.client().is_closed_within(Duration::from_millis(1)));
    }
    assert_eq!(metric(&rsp, "rsp_channel_delivered_total"), 16 * 50);
    drop(streams);
    wait_for_subscribers(&rsp, 0);
}
