//! WebSockets: messages as they are, or objects with positions and acknowledgements.

use std::time::{Duration, Instant};

use testkit::{Message, Signal, WebSocket, eventually};

use super::{
    SOON,
    channel::{channel, metric, publish, wait_for_subscribers},
};

const OBJECTS: &str = "Sec-WebSocket-Protocol: rsp.json\r\n";

#[test]
fn each_message_reaches_everybody_as_it_was_sent() {
    let rsp = channel("").start();
    let mut sockets: Vec<_> = (0..3).map(|_| WebSocket::open(&rsp.address(), "/room")).collect();
    wait_for_subscribers(&rsp, 3);
    sockets[0].send("hi \u{1f600}");
    sockets[0].send_binary(b"\0\xff");
    publish(&rsp, "");
    for socket in &mut sockets {
        assert_eq!(socket.read(), Message::Text("hi \u{1f600}".into()));
        assert_eq!(socket.read(), Message::Binary(b"\0\xff".to_vec()));
        assert_eq!(socket.read(), Message::Text(String::new()));
    }
    sockets[0].close(1000);
    assert_eq!(sockets[0].read(), Message::Close(1000, String::new()));
    wait_for_subscribers(&rsp, 2);
}

#[test]
fn objects_say_where_they_stand_and_acknowledge_what_was_sent() {
    let rsp = channel("history = 10").start();
    let mut socket = WebSocket::open_with(&rsp.address(), "/room", OBJECTS);
    assert_eq!(socket.object()["event"], "subscribed");
    socket.send("{\"data\":\"hi\",\"id\":7}");
    let (one, other) = (socket.object(), socket.object());
    let (ack, item) = if one["event"] == "ack" { (one, other) } else { (other, one) };
    assert_eq!((&ack["event"], &ack["id"]), (&"ack".into(), &7.into()));
    assert_eq!((&item["data"], &item["position"]), (&"hi".into(), &ack["position"]));
    socket.send("nonsense");
    let error = socket.object();
    assert_eq!((&error["event"], &error["status"]), (&"error".into(), &400.into()));
}

#[test]
fn a_subprotocol_that_is_not_ours_is_echoed() {
    let rsp = channel("").start();
    let socket = WebSocket::open_with(&rsp.address(), "/room", "Sec-WebSocket-Protocol: ex1, ex2\r\n");
    assert_eq!(socket.header("sec-websocket-protocol"), Some("ex1"));
    let socket = WebSocket::open_with(&rsp.address(), "/room", "Sec-WebSocket-Protocol: ex1, rsp.json\r\n");
    assert_eq!(socket.header("sec-websocket-protocol"), Some("rsp.json"));
    assert_eq!(WebSocket::open(&rsp.address(), "/room").header("sec-websocket-protocol"), None);
}

#[test]
fn a_socket_resumes_from_its_position_or_is_told_that_it_cannot() {
    let rsp = channel("history = 2").start();
    let positions: Vec<_> = ["a", "b", "c"].iter().map(|text| publish(&rsp, text)).collect();
    let mut socket = WebSocket::open(&rsp.address(), &format!("/room?since={}", positions[0]));
    assert_eq!([socket.text(), socket.text()], ["b", "c"]);
    publish(&rsp, "d");
    assert_eq!(socket.text(), "d");

    let lost = format!("/room?since={}", positions[0]);
    let refused = WebSocket::try_open(&rsp.address(), &lost, "").unwrap_err();
    assert_eq!(refused.status, 410);
    let mut objects = WebSocket::open_with(&rsp.address(), &lost, OBJECTS);
    assert_eq!([objects.object()["event"].clone(), objects.object()["event"].clone()], ["subscribed", "reset"]);
    assert_eq!(WebSocket::try_open(&rsp.address(), "/room?since=x", "").unwrap_err().status, 400);
    assert_eq!(metric(&rsp, "rsp_channel_resumes_total{result=\"lost\"}"), 2);
}

#[test]
fn a_handshake_that_is_wrong_is_refused() {
    let rsp = channel("").start();
    let ask = |fields: &str| {
        rsp.client().request(&format!(
            "GET /room HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        ))
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let old = ask(&format!("{key}Sec-WebSocket-Version: 8\r\n"));
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
    for fields in ["Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"] {
        assert_eq!(ask(fields).status, 400, "{fields}");
    }
    wait_for_subscribers(&rsp, 0);
}

#[test]
fn who_may_not_publish_or_sends_too_much_is_closed_with_the_reason() {
    let rsp = channel("publish = \"server\"").start();
    let mut socket = WebSocket::open(&rsp.address(), "/room");
    socket.send("x");
    assert!(matches!(socket.read(), Message::Close(1008, reason) if !reason.is_empty()));
    let mut objects = WebSocket::open_with(&rsp.address(), "/room", OBJECTS);
    objects.object();
    objects.send("{\"data\":\"x\",\"id\":1}");
    assert_eq!(objects.object()["status"], 403);
    let rsp = channel("message_max = \"1KiB\"").start();
    let mut socket = WebSocket::open(&rsp.address(), "/room");
    socket.send(&"x".repeat(1025));
    assert!(matches!(socket.read(), Message::Close(1009, _)));
    wait_for_subscribers(&rsp, 0);
}

#[test]
fn a_client_that_answers_no_ping_is_cut_and_one_that_does_stays() {
    let rsp = channel("ping = \"1s\"").start();
    let began = Instant::now();
    let mut silent = WebSocket::open(&rsp.address(), "/room");
    let mut alive = WebSocket::open(&rsp.address(), "/room");
    wait_for_subscribers(&rsp, 2);
    let patience = alive.client().socket().set_timeout(Some(Duration::from_millis(100)));
    patience.unwrap();
    eventually(SOON, || {
        // Reading answers the pings.
        assert!(alive.try_read().is_err(), "nothing was published");
        metric(&rsp, "rsp_channel_subscribers") == 1
    });
    assert!(began.elapsed() >= Duration::from_secs(1), "a ping and its interval");
    alive.client().socket().set_timeout(Some(SOON)).unwrap();
    publish(&rsp, "x");
    assert_eq!(alive.text(), "x");
    assert_eq!(silent.read(), Message::Cut);
}

#[test]
fn a_drop_of_the_connection_is_a_leave() {
    let rsp = channel("presence = true, join_leave = true").start();
    let mut watcher = WebSocket::open_with(&rsp.address(), "/room", OBJECTS);
    assert_eq!(watcher.object()["event"], "subscribed");
    let mut coming = WebSocket::open(&rsp.address(), "/room");
    coming.send("here");
    let mut events = Vec::new();
    while !events.iter().any(|event| event == "here") {
        let object = watcher.object();
        events.push(object["event"].as_str().or(object["data"].as_str()).unwrap().to_owned());
    }
    drop(coming);
    assert_eq!(watcher.object()["event"], "leave");
}

#[test]
fn who_floods_in_one_buffer_leaves_others_their_turn() {
    const FLOOD: usize = 500;
    let rsp = channel("").start();
    let mut floods = ["a", "b"].map(|text| (text, WebSocket::open(&rsp.address(), "/room")));
    wait_for_subscribers(&rsp, 2);
    // Both are there as a whole before the only worker goes on.
    rsp.signal(Signal::STOP);
    eventually(SOON, || is_stopped(rsp.pid()));
    for (text, socket) in &mut floods {
        let frame = [b"\x81\x81\0\0\0\0", text.as_bytes()].concat();
        socket.client().send(frame.repeat(FLOOD));
    }
    rsp.signal(Signal::CONT);
    let heard: Vec<_> = (0..2 * FLOOD).map(|_| floods[0].1.text()).collect();
    let ends = floods.map(|(text, _)| {
        assert_eq!(heard.iter().filter(|one| *one == text).count(), FLOOD, "nothing of it is lost");
        let of = |one: &String| one == text;
        (heard.iter().position(of).unwrap(), heard.iter().rposition(of).unwrap())
    });
    let [(first_a, last_a), (first_b, last_b)] = ends;
    assert!(first_b < last_a && first_a < last_b, "one had to wait until the other was done: {ends:?}");
}

/// Whether every thread of a process has stopped.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default());
    stats.into_iter().all(|stat| stat.contains(") T "))
}
