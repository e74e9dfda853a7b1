//! An upgraded connection becomes a tunnel: any bytes, both ways, until both sides have ended.

use std::time::Duration;

use testkit::{Answer, Client, End, Gate, Origin, Pattern, Step};

use super::{SOON, front, proxy};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: y\r\n\r\n";

#[test]
fn bytes_go_both_ways_after_a_101() {
    let origin = Origin::start(|_| Answer::upgrade("websocket"));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let answer = client.request(ASK);
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert!(answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    let received = &origin.received()[0];
    assert_eq!((received.header("upgrade"), received.header("sec-websocket-key")), (Some("websocket"), Some("x")));
    for text in ["\0\x01\u{ff}", "GET / HTTP/1.1\r\n\r\n", "last"] {
        client.send(text);
        assert_eq!(client.read_exactly(text.len() as u64), text.as_bytes());
    }
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn bytes_right_behind_either_head_are_the_tunnels_first() {
    let origin = Origin::start(|_| Answer(vec![Step::Write(format!("{SWITCH}hello ").into_bytes()), Step::Tunnel]));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send(format!("{ASK}early bytes"));
    assert_eq!(client.read_head().start, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(client.read_exactly(17), b"hello early bytes");
}

#[test]
fn a_megabyte_each_way_arrives_intact() {
    let origin = Origin::start(|_| Answer::upgrade("websocket"));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    assert_eq!(client.request(ASK).status, 101);
    let sending = client.socket().share().unwrap();
    let sender = std::thread::spawn(move || {
        std::io::Write::write_all(&mut &sending, &Pattern::bytes(1 << 20)).unwrap();
        sending.shutdown(std::net::Shutdown::Write).unwrap();
    });
    client.read_pattern(&mut Pattern::new(), 1 << 20);
    sender.join().unwrap();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn an_end_of_one_direction_leaves_the_other_open() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        // Speaks only once the client has ended.
        Answer(vec![Step::Write(SWITCH.into()), Step::Pass(waits.clone()), Step::Write(b"after your end".into())])
            .then(Step::HalfClose)
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    assert_eq!(client.request(ASK).status, 101);
    client.half_close();
    gate.open();
    assert_eq!(client.read_to_end(), (b"after your end".to_vec(), End::Closed));
    testkit::eventually(SOON, || origin.connections_open() == 0);

    let talking = Origin::start(move |_| Answer(vec![Step::Write(SWITCH.into()), Step::HalfClose]));
    let rsp = proxy(&talking);
    let mut client = rsp.client();
    assert_eq!(client.request(ASK).status, 101);
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
    client.send("still listening?");
    assert_eq!(talking.connections_open(), 1);
    client.half_close();
    testkit::eventually(SOON, || talking.connections_open() == 0);
}

#[test]
fn a_break_of_either_side_ends_the_tunnel() {
    let origin = Origin::start(|_| Answer::upgrade("websocket"));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    assert_eq!(client.request(ASK).status, 101);
    client.reset();
    testkit::eventually(SOON, || origin.connections_open() == 0);
    let mut client = rsp.client();
    assert_eq!(client.request(ASK).status, 101);
    origin.close_connections();
    assert_eq!(client.read_to_end().0, b"");
}

#[test]
fn a_tunnel_outlives_every_time_out_but_its_own() {
    let origin = Origin::start(|_| Answer::upgrade("websocket"));
    let limits = "limits { head_timeout = \"200ms\", idle_timeout = \"200ms\", body_timeout = \"200ms\", write_timeout = \"200ms\" }";
    let rsp = front(limits, "proxy { \"$ORIGIN\", timeout = \"200ms\", body_timeout = \"200ms\" }")
        .set("ORIGIN", origin.address())
        .start();
    let mut client = rsp.client();
    assert_eq!(client.request(ASK).status, 101);
    assert!(!client.is_closed_within(Duration::from_secs(1)));
    client.send("alive");
    assert_eq!(client.read_exactly(5), b"alive");

    let rsp = front("", "proxy { \"$ORIGIN\", tunnel_timeout = \"1s\" }").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    assert_eq!(client.request(ASK).status, 101);
    for _ in 0..6 {
        client.send_in_pieces("ab", 1, Duration::from_millis(100));
        assert_eq!(client.read_exactly(2), b"ab");
    }
    assert!(client.is_closed_within(SOON));
}

#[test]
fn an_upgrade_that_the_upstream_declines_is_an_ordinary_answer() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/chat" => Answer::with_headers("426 Upgrade Required", "Connection: upgrade\r\nUpgrade: other\r\n", "no"),
        _ => Answer::ok("next"),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let answer = client.request(ASK);
    assert_eq!((answer.status, answer.text().as_str()), (426, "no"));
    assert_eq!(client.get("/").text(), "next");
}

#[test]
fn an_upgrade_is_not_offered_where_it_is_off_or_can_not_be() {
    let origin = Origin::echoing();
    let rsp = front("", "proxy { \"$ORIGIN\", upgrade = false }").set("ORIGIN", origin.address()).start();
    assert_eq!(rsp.client().request(ASK).status, 200);
    assert_eq!(origin.received()[0].header("upgrade"), None);
    let rsp = proxy(&origin);
    for request in [
        ASK.replace("HTTP/1.1", "HTTP/1.0"),
        ASK.replace("keep-alive, Upgrade", "keep-alive"),
        ASK.replace("websocket", "h2c"),
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab".into(),
    ] {
        assert_eq!(rsp.client().request(&request).status, 200, "{request}");
        assert_eq!(origin.received().last().unwrap().header("upgrade"), None, "{request}");
    }
}

#[test]
fn a_full_tunnel_stops_its_writer_and_loses_nothing() {
    let origin = Origin::start(|_| Answer(vec![Step::Write(SWITCH.into()), Step::WritePattern(20 << 20), Step::Close]));
    let rsp = proxy(&origin);
    let mut client = Client::connect(&rsp.address());
    client.send(ASK);
    client.read_head();
    let mut pattern = Pattern::new();
    client.read_slowly(&mut pattern, 50, Duration::from_millis(500));
    let left = (20 << 20) - pattern.position();
    client.read_pattern(&mut pattern, left);
    client.half_close();
    assert_eq!(client.read_to_end().0, b"");
}
