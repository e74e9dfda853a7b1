//! WebSockets and streams without end on a stream of HTTP/2 (RFC 8441): the same talks as on connections of their own.

use testkit::{
    Answer, Origin, Rsp, curl, curl_follows,
    http2::{END, END_HEADERS, Http2, fields, kind},
};

use super::{
    SOON,
    http2::{front, proxy},
};

/// `SETTINGS_ENABLE_CONNECT_PROTOCOL`
const CONNECT_PROTOCOL: u16 = 8;

/// A WebSocket on stream 1; the status of its answer.
fn open(rsp: &Rsp, path: &str) -> (Http2, u16) {
    let mut client = Http2::connect(&rsp.address(), &[]);
    let settings = client.wait_for(|frame| frame.kind == kind::SETTINGS && frame.flags & END == 0);
    let offers = settings
        .payload
        .chunks(6)
        .any(|one| one == [&CONNECT_PROTOCOL.to_be_bytes()[..], &1_u32.to_be_bytes()].concat());
    assert!(offers, "{settings:?}");
    client.frame(kind::HEADERS, END_HEADERS, 1, &handshake(path)).unwrap();
    let status = client.status(1);
    (client, status)
}

fn handshake(path: &str) -> Vec<u8> {
    fields(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ])
}

/// A text as clients send it, with a mask that changes nothing.
fn text(text: &str) -> Vec<u8> {
    let length = 0x80 | u8::try_from(text.len()).unwrap();
    [&[0x81, length, 0, 0, 0, 0][..], text.as_bytes()].concat()
}

/// What comes on stream 1 until so many bytes are there.
fn read(client: &mut Http2, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        all.extend(client.wait_for(|frame| frame.stream == 1 && frame.kind == kind::DATA).payload);
    }
    all
}

#[test]
fn a_websocket_goes_to_an_upstream_that_speaks_http_1() {
    let origin = Origin::start(|_| Answer::upgrade("websocket"));
    let rsp = proxy("", &origin);
    let (mut client, status) = open(&rsp, "/chat");
    assert_eq!(status, 200);
    let received = &origin.received()[0];
    assert_eq!(received.request.head.start, "GET /chat HTTP/1.1");
    assert_eq!((received.header("upgrade"), received.header("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!(received.header("sec-websocket-key").map(str::len), Some(24));
    assert_eq!(received.header("sec-websocket-version"), Some("13"));
    for bytes in [&b"one"[..], &[0; 40_000], b"last"] {
        for piece in bytes.chunks(16_000) {
            client.frame(kind::DATA, 0, 1, piece).unwrap();
        }
        assert_eq!(read(&mut client, bytes.len()), bytes);
    }
    client.frame(kind::DATA, END, 1, b"").unwrap();
    client.wait_for(|frame| frame.stream == 1 && frame.flags & END != 0);
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn a_reset_of_its_stream_ends_the_tunnel_and_an_upstream_that_refuses_is_heard() {
    let origin = Origin::start(|head| match &*head.target {
        "/no" => Answer::status("403 Forbidden", "no"),
        _ => Answer::upgrade("websocket"),
    });
    let rsp = proxy("", &origin);
    let (_, status) = open(&rsp, "/no");
    assert_eq!(status, 403);
    let (mut client, status) = open(&rsp, "/chat");
    assert_eq!(status, 200);
    let before = origin.connections_open();
    client.frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes()).unwrap();
    testkit::eventually(SOON, || origin.connections_open() < before);
}

#[test]
fn an_answer_that_is_no_websocket_never_opens_one() {
    let origin = Origin::start(|_| Answer::ok("\u{81}\u{5}hello"));
    let rsp = proxy("", &origin);
    let (_, status) = open(&rsp, "/page");
    assert_eq!(status, 405);
    let (_, status) = open(&front("", "reply(200, \"hello\")").start(), "/");
    assert_eq!(status, 405);
}

#[test]
fn a_channel_and_a_program_talk_on_a_stream() {
    let rsp = front("", "channel { \"room\" }").start();
    let (mut client, status) = open(&rsp, "/");
    assert_eq!(status, 200);
    testkit::eventually(SOON, || {
        curl(&["-H", "Content-Type: text/plain", "-d", "hello", &rsp.url("/")]).text().contains("\"subscribers\":1")
    });
    let frame = read(&mut client, 7);
    assert!(frame.windows(5).any(|part| part == b"hello"), "{frame:?}");

    let rsp = front("", "exec { \"cat\" }").start();
    let (mut client, status) = open(&rsp, "/");
    assert_eq!(status, 200);
    client.frame(kind::DATA, 0, 1, &text("to the program\n")).unwrap();
    let echoed = read(&mut client, 16);
    assert_eq!(&echoed[2..16], b"to the program", "{echoed:?}");
    client.frame(kind::DATA, 0, 1, &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).unwrap();
    let close = read(&mut client, 2);
    assert_eq!(close[0], 0x88, "{close:?}");
    client.wait_for(|frame| frame.stream == 1 && (frame.flags & END != 0 || frame.error().is_some()));
}

#[test]
fn an_event_stream_has_no_chunk_sizes_and_ends_with_its_stream() {
    let mut rsp = front("", "channel { \"room\" }").start();
    let follower = curl_follows(&["--http2-prior-knowledge", "-i", "-H", "Accept: text/event-stream", &rsp.url("/")]);
    testkit::eventually(SOON, || {
        curl(&["-H", "Content-Type: text/plain", "-d", "hello", &rsp.url("/")]).text().contains("\"subscribers\":1")
    });
    follower.wait_for_line(SOON, |line| line.contains("hello"));
    let text = follower.output();
    assert!(text.contains("HTTP/2 200"), "{text}");
    let sizes =
        text.lines().filter(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit())).count();
    assert_eq!(sizes, 0, "{text}");
    assert!(rsp.stop().success());
    let mut follower = follower;
    assert!(follower.wait_exit(SOON).success(), "a drain is a clean end: {}", follower.output());
}

#[test]
fn what_is_no_handshake_of_a_websocket_is_refused() {
    let rsp = front("", "channel { \"room\" }").start();
    let mut client = Http2::connect(&rsp.address(), &[]);
    let of = |protocol: &str, version: &str| {
        fields(&[
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
            ("sec-websocket-version", version),
        ])
    };
    client.frame(kind::HEADERS, END_HEADERS, 1, &of("websocket", "12")).unwrap();
    assert_eq!(client.status(1), 426);
    client.frame(kind::HEADERS, END_HEADERS, 3, &of("connect-udp", "13")).unwrap();
    assert_eq!(client.status(3), 501);
    client.frame(kind::HEADERS, END | END_HEADERS, 5, &of("websocket", "13")).unwrap();
    assert_eq!(client.error(5), 1, "PROTOCOL_ERROR");
    let plain = fields(&[(":method", "CONNECT"), (":authority", "a:443")]);
    client.frame(kind::HEADERS, END_HEADERS, 7, &plain).unwrap();
    assert_eq!(client.status(7), 405);
}
