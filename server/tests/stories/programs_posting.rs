//! Stories of clients without WebSocket: messages come by event stream, and are posted.

use std::{
    io::{Read, Write},
    time::Duration,
};

use testkit::{EventStream, Response, Rsp, Signal, eventually};

use super::{
    SOON,
    bridge::{Server, bridge, read},
    front,
};

/// The session that a stream names first.
fn session(stream: &mut EventStream) -> String {
    let (name, data) = stream.told();
    assert_eq!(name, "session");
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    data["session"].as_str().unwrap().to_owned()
}

fn post(rsp: &Rsp, session: &str, message: impl AsRef<[u8]>) -> Response {
    post_with(rsp, session, "", message)
}

fn post_with(rsp: &Rsp, session: &str, fields: &str, message: impl AsRef<[u8]>) -> Response {
    let message = message.as_ref();
    let mut client = rsp.client();
    let length = message.len();
    let host = rsp.address();
    client
        .send(format!("POST /?session={session} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{fields}\r\n"));
    client.send(message);
    client.read_response("POST")
}

#[test]
fn messages_come_as_events_and_what_is_posted_is_a_line() {
    let server = Server::start();
    // From whichever worker.
    let config = "workers(4)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" { [\"/*\"] = bridge \"$SERVER\" }\n";
    let rsp = Rsp::config(config).set("SERVER", server.address()).start();
    let mut stream = EventStream::open(&rsp.address(), "/");
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let mut far = server.accept();
    let session = session(&mut stream);
    assert_eq!(session.len(), 32);
    for number in 0..20 {
        assert_eq!(post(&rsp, &session, format!("number {number:02}")).status, 204);
    }
    for number in 0..20 {
        assert_eq!(read(&mut far, 10), format!("number {number:02}\n"));
    }
    far.write_all(b"one\ntwo\xff\n").unwrap();
    assert_eq!(stream.told(), ("message".to_owned(), "one".to_owned()));
    assert_eq!(stream.told(), ("binary".to_owned(), "dHdv/w==".to_owned()));
    drop(far);
    assert_eq!(stream.told(), ("close".to_owned(), "{\"code\":1000,\"reason\":\"\"}".to_owned()));
    assert_eq!(stream.next_event(), None);
    assert_eq!(post(&rsp, &session, "too late").status, 404);
}

#[test]
fn the_far_side_ends_with_the_stream() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let mut stream = EventStream::open(&rsp.address(), "/");
    let mut far = server.accept();
    let session = session(&mut stream);
    drop(stream);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    eventually(SOON, || post(&rsp, &session, "x").status == 404);
}

#[test]
fn what_can_not_be_posted_is_refused() {
    let server = Server::start();
    let rsp = bridge(&server, "message_max = 10");
    let mut stream = EventStream::open(&rsp.address(), "/");
    let mut far = server.accept();
    let session = session(&mut stream);
    assert_eq!(post(&rsp, &session, "12345678901").status, 413);
    assert_eq!(post(&rsp, &session, b"\xff").status, 415);
    assert_eq!(post_with(&rsp, &session, "Content-Type: application/octet-stream\r\n", "x").status, 415);
    assert_eq!(post_with(&rsp, &session, "Origin: http://evil.example\r\n", "x").status, 403);
    assert_eq!(post(&rsp, "0123456789abcdef0123456789abcdef", "x").status, 404);
    assert_eq!(post(&rsp, "nonsense", "x").status, 404);
    assert_eq!(rsp.client().request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status, 404);
    let chunked = format!(
        "POST /?session={session} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n",
        rsp.address()
    );
    assert_eq!(rsp.client().request(&chunked).status, 413);
    assert_eq!(post(&rsp, &session, "1234567890").status, 204);
    assert_eq!(read(&mut far, 11), "1234567890\n", "the only one that arrived");
}

#[test]
fn a_far_side_that_takes_nothing_slows_who_posts_and_few_wait() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let mut stream = EventStream::open(&rsp.address(), "/");
    let mut far = server.accept();
    let session = session(&mut stream);
    let large = "x".repeat(1 << 20);
    let (answers, answered) = std::sync::mpsc::sync_channel(40);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            let (rsp, session, large, answers) = (&rsp, &session, &large, answers.clone());
            scope.spawn(move || answers.send(post(rsp, session, large).status).unwrap());
        }
        // Those for whom there is no room are told so at once.
        let is_refused = |status| status == 503;
        while !is_refused(answered.recv_timeout(SOON).unwrap()) {}
        // All others wait, until it reads.
        let mut all = Vec::new();
        scope.spawn(move || {
            let _ = far.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = far.read_to_end(&mut all);
            assert_eq!(all.len() % ((1 << 20) + 1), 0, "whole messages only");
        });
        drop(answers);
        let mut waited: Vec<u16> = answered.iter().collect();
        waited.retain(|status| *status != 503);
        assert!(!waited.is_empty() && waited.iter().all(|status| *status == 204), "{waited:?}");
    });
}

#[test]
fn the_head_alone_begins_nothing() {
    let server = Server::start();
    let builder = front("", "bridge \"$SERVER\"").set("SERVER", server.address());
    drop(server);
    let rsp = builder.start();
    let head = rsp.client().request("HEAD / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
}

#[test]
fn a_stream_is_kept_alive_by_comments_and_told_of_a_drain() {
    let server = Server::start();
    let handler = "bridge { \"$SERVER\", ping = \"100ms\" }";
    let mut rsp = front("drain \"2s\"", handler).set("SERVER", server.address()).start();
    let mut stream = EventStream::open(&rsp.address(), "/");
    let _far = server.accept();
    session(&mut stream);
    for _ in 0..3 {
        assert_eq!(stream.next_line().as_deref(), Some(":"));
        assert_eq!(stream.next_line().as_deref(), Some(""));
    }
    rsp.signal(Signal::TERM);
    let (name, data) = stream.told();
    assert_eq!((name.as_str(), data.contains("1001")), ("close", true), "{data}");
    assert_eq!(stream.next_event(), None);
    assert!(rsp.wait_exit(SOON).success());
}

#[test]
fn a_listed_page_may_read_the_stream_and_post() {
    let server = Server::start();
    let rsp = bridge(&server, "origins = { \"http://a.example\" }");
    let origin = "Origin: http://a.example\r\n";
    let fields = format!("Accept: text/event-stream\r\n{origin}");
    let mut stream = EventStream::open_with(&rsp.address(), "/", &fields);
    let _far = server.accept();
    assert_eq!(stream.header("access-control-allow-origin"), Some("http://a.example"));
    let answer = post_with(&rsp, &session(&mut stream), origin, "x");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("http://a.example")));
    let foreign = "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nOrigin: http://b.example\r\n\r\n";
    assert_eq!(rsp.client().request(foreign).status, 403);
}
