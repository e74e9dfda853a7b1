//! `?history=N` and `?presence`: what was said, and who is there.

use serde_json::Value;
use testkit::{EventStream, Response, Rsp, WebSocket, eventually};

use super::{
    SOON,
    channel::{channel, publish, wait_for_subscribers},
};

fn object(answer: &Response) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

fn get(rsp: &Rsp, target: &str) -> Value {
    object(&rsp.client().get(target))
}

#[test]
fn history_is_the_latest_messages_and_where_the_stream_ends() {
    let rsp = channel("history = 3").start();
    let positions: Vec<_> = ["a", "b", "c", "d"].iter().map(|text| publish(&rsp, text)).collect();
    let all = get(&rsp, "/room?history=100");
    assert_eq!(all["position"], *positions[3]);
    let items = all["items"].as_array().unwrap();
    let seen: Vec<_> = items.iter().map(|item| item["data"].as_str().unwrap()).collect();
    assert_eq!(seen, ["b", "c", "d"]);
    assert_eq!(items[0]["position"], *positions[1]);
    assert!(items[0]["time"].as_str().unwrap().contains('T'), "{all}");
    assert_eq!(get(&rsp, "/room?history=1")["items"].as_array().unwrap().len(), 1);
    assert_eq!(get(&rsp, "/room?history=0")["items"], Value::Array(Vec::new()));
    // It goes on without a gap from where it was read.
    let mut stream = EventStream::open(&rsp.address(), &format!("/room?since={}", all["position"].as_str().unwrap()));
    publish(&rsp, "e");
    assert_eq!(stream.told(), ("message".into(), "e".into()));
}

#[test]
fn history_of_nonsense_is_400_and_head_has_its_length() {
    let rsp = channel("history = 3").start();
    for target in ["/room?history", "/room?history=x", "/room?history=-1", "/room?history=1&history=1"] {
        assert_eq!(rsp.client().get(target).status, 400, "{target}");
    }
    let head = rsp.client().request("HEAD /room?history=3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.header("cache-control")), (200, Some("no-store")));
    assert!(head.header("content-length").is_some());
}

#[test]
fn more_than_fits_one_answer_leaves_out_the_oldest() {
    let rsp = channel("history = 100, message_max = \"1MiB\"").start();
    let large = "x".repeat(1 << 20);
    for _ in 0..6 {
        publish(&rsp, &large);
    }
    let last = publish(&rsp, "last");
    let items = get(&rsp, "/room?history=100")["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 4, "4 MiB with the last one");
    assert_eq!(items[3]["position"], *last);
}

#[test]
fn presence_lists_who_is_connected_and_forgets_who_left() {
    let rsp = channel("presence = true, poll_timeout = \"1h\"").start();
    assert_eq!(get(&rsp, "/room?presence"), serde_json::json!({"clients": [], "count": 0}));
    let socket = WebSocket::open(&rsp.address(), "/room");
    let stream = EventStream::open(&rsp.address(), "/room");
    eventually(SOON, || get(&rsp, "/room?presence")["count"] == 2);
    let clients = get(&rsp, "/room?presence")["clients"].as_array().unwrap().clone();
    assert!(clients[0]["since"].as_str() <= clients[1]["since"].as_str());
    assert_ne!(clients[0]["id"], clients[1]["id"]);
    // A poll comes and goes with each message, so it counts as a subscriber only.
    let mut poll = rsp.client();
    poll.send("GET /room HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_subscribers(&rsp, 3);
    assert_eq!(get(&rsp, "/room?presence")["count"], 2);
    drop((socket, stream));
    eventually(SOON, || get(&rsp, "/room?presence")["count"] == 0);
}

#[test]
fn presence_that_is_not_kept_is_404_with_its_reason() {
    let rsp = channel("join_leave = true").start();
    let answer = rsp.client().get("/room?presence");
    assert_eq!((answer.status, answer.text().contains("presence")), (404, true));
}

#[test]
fn those_who_are_there_are_told_who_comes_and_goes() {
    let rsp = channel("presence = true, join_leave = true").start();
    let objects = "Sec-WebSocket-Protocol: rsp.json\r\n";
    let mut first = WebSocket::open_with(&rsp.address(), "/room", objects);
    assert_eq!(first.header("sec-websocket-protocol"), Some("rsp.json"));
    assert_eq!(first.object()["event"], "subscribed");
    eventually(SOON, || get(&rsp, "/room?presence")["count"] == 1);
    let mut lines = EventStream::open_with(&rsp.address(), "/room", "Accept: application/x-ndjson\r\n");
    assert_eq!(lines.object()["event"], "subscribed");
    let mut joined = first.object();
    if joined["id"] == get(&rsp, "/room?presence")["clients"][0]["id"] {
        // Its own coming, which it may hear of.
        joined = first.object();
    }
    assert_eq!(joined["event"], "join");
    drop(lines);
    let left = first.object();
    assert_eq!((&left["event"], &left["id"]), (&"leave".into(), &joined["id"]));
}

#[test]
fn whoever_leaves_with_much_to_come_is_gone_soon() {
    let rsp = channel("history = 1000, presence = true, message_max = \"1MiB\"").start();
    let first = publish(&rsp, "first");
    (0..16).for_each(|_| drop(publish(&rsp, &"x".repeat(1 << 20))));
    for fields in [
        "Accept: text/event-stream\r\n",
        "Accept: application/x-ndjson\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let mut client = rsp.client();
        client.socket().set_receive_buffer(32 << 10).unwrap();
        client.send(format!("GET /room?since={first} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        client.read_head();
        eventually(SOON, || get(&rsp, "/room?presence")["count"] == 1);
        client.half_close();
        eventually(SOON, || get(&rsp, "/room?presence")["count"] == 0);
    }
}

#[test]
fn histories_that_nobody_reads_are_bounded_together() {
    let rsp = channel("history = 10, message_max = \"1MiB\"").start();
    // Each of its bytes is six in JSON.
    (0..4).for_each(|_| drop(publish(&rsp, &"\u{1}".repeat(1 << 20))));
    let ask = |client: &mut testkit::Client| {
        client.send("GET /room?history=4 HTTP/1.1\r\nHost: test\r\n\r\n");
        client.read_head()
    };
    let mut held = Vec::new();
    let refused = loop {
        let mut client = rsp.client();
        let head = ask(&mut client);
        if head.start != "HTTP/1.1 200 OK" {
            break head;
        }
        let length: u64 = head.headers.get("content-length").unwrap().parse().unwrap();
        held.push((client, length));
        assert!(held.iter().map(|(_, length)| length).sum::<u64>() <= 64 << 20, "more than 64 MiB wait");
    };
    assert_eq!(
        (refused.start.as_str(), refused.headers.get("retry-after")),
        ("HTTP/1.1 503 Service Unavailable", Some("1"))
    );
    let (mut client, length) = held.pop().expect("there was room for one");
    client.read_exactly(length);
    eventually(SOON, || rsp.client().get("/room?history=4").status == 200);
}
