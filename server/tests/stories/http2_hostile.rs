//! Clients that use HTTP/2 against us: each violation gets the RFC's error code, and each flood ends, at others' small cost.

use std::{
    thread,
    time::{Duration, Instant},
};

use testkit::{
    Answer, Origin, Rsp,
    http2::{END, END_HEADERS, Http2, PREFACE, encoded, fields, get, kind},
};

use super::{
    SOON,
    http2::{front, proxy},
};

/// Error codes (RFC 9113 §7).
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Who passes connections on is not left alone for what one of them did.
fn hello(statements: &str) -> Rsp {
    front(&format!("trust \"127.0.0.1\"\n{statements}"), "reply(200, \"hello\")").start()
}

fn asked(more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    fields(&[&pseudo[..], more].concat())
}

/// Sends the same bytes until the connection ends; the code that it ends with.
#[track_caller]
fn flood(rsp: &Rsp, first: &[u8], then: impl Fn(u32) -> Vec<u8>) -> u32 {
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.send(first).unwrap();
    // Else what comes back fills both sides.
    let mut reading = client.shared();
    let ended =
        thread::spawn(move || reading.try_wait_for(|frame| frame.kind == kind::GOAWAY && frame.error() != Some(0)));
    let end = Instant::now() + Duration::from_secs(20);
    for n in 0.. {
        if client.send(&then(n)).is_err() || ended.is_finished() {
            break;
        }
        assert!(Instant::now() < end, "it goes on for ever");
    }
    let goaway = ended.join().unwrap().expect("a GOAWAY");
    assert_still_served(rsp);
    goaway.error().unwrap()
}

#[track_caller]
fn assert_still_served(rsp: &Rsp) {
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.get(1, "/");
    assert_eq!(client.status(1), 200);
}

#[test]
fn a_malformed_request_costs_its_stream_and_is_heard_by_nobody() {
    let origin = Origin::start(|_| Answer::ok(""));
    let rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    let pseudo = |fields: &[(&str, &str)]| testkit::http2::fields(fields);
    let malformed = [
        ("no path", pseudo(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")])),
        ("no method", pseudo(&[(":scheme", "http"), (":authority", "a"), (":path", "/")])),
        ("no host", pseudo(&[(":method", "GET"), (":scheme", "http"), (":path", "/")])),
        ("a pseudo-header field behind others", asked(&[("x", "y"), (":path", "/")])),
        ("one of answers", asked(&[(":status", "200")])),
        ("Connection", asked(&[("connection", "close")])),
        ("Transfer-Encoding", asked(&[("transfer-encoding", "chunked")])),
        ("another host", asked(&[("host", "b")])),
        ("a blank in front", asked(&[("x", " y")])),
        ("a length and no content", asked(&[("content-length", "7")])),
    ];
    for (n, (why, block)) in malformed.iter().enumerate() {
        let stream = 2 * u32::try_from(n).unwrap() + 1;
        client.frame(kind::HEADERS, END | END_HEADERS, stream, block).unwrap();
        let end =
            client.wait_for(|frame| frame.stream == stream && matches!(frame.kind, kind::HEADERS | kind::RST_STREAM));
        assert_eq!(end.error(), Some(PROTOCOL_ERROR), "{why}: {end:?}");
    }
    client.get(101, "/");
    assert_eq!(client.status(101), 200);
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn more_or_less_content_than_was_stated_is_an_error_and_reaches_nobody_as_a_whole() {
    let origin = Origin::echoing();
    let rsp = proxy("", &origin);
    for (content, code) in [(&b"1234567890"[..], PROTOCOL_ERROR), (b"1", PROTOCOL_ERROR)] {
        let mut client = Http2::connect(&rsp.address(), &[]);
        client.frame(kind::HEADERS, END_HEADERS, 1, &asked(&[("content-length", "5")])).unwrap();
        client.frame(kind::DATA, END, 1, content).unwrap();
        assert_eq!(client.error(1), code);
    }
    testkit::eventually(SOON, || origin.connections_open() == 0);
    assert!(origin.received().iter().all(|received| !received.complete));
}

#[test]
fn violations_of_a_connection_end_it_with_their_code() {
    let rsp = hello("");
    let get = get("/");
    for (why, bytes, code) in [
        ("§4.2 a frame that is too large", encoded(kind::DATA, 0, 1, &[0; 16_385]), FRAME_SIZE_ERROR),
        // The RFC would have COMPRESSION_ERROR here; h2 says this.
        ("§4.3 no HPACK", encoded(kind::HEADERS, END | END_HEADERS, 1, &[0xff; 20]), PROTOCOL_ERROR),
        (
            "§8.2.1 an upper-case name",
            encoded(kind::HEADERS, END | END_HEADERS, 1, &asked(&[("X", "y")])),
            PROTOCOL_ERROR,
        ),
        (
            "§8.3 an unknown pseudo-header field",
            encoded(kind::HEADERS, END | END_HEADERS, 1, &asked(&[(":x", "y")])),
            PROTOCOL_ERROR,
        ),
        ("§5.1.1 an even stream", encoded(kind::HEADERS, END | END_HEADERS, 2, &get), PROTOCOL_ERROR),
        ("§6.1 DATA of the connection", encoded(kind::DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        ("§6.1 DATA of a stream that never was", encoded(kind::DATA, 0, 1, b"x"), PROTOCOL_ERROR),
        ("§6.5 SETTINGS of a stream", encoded(kind::SETTINGS, 0, 1, b""), PROTOCOL_ERROR),
        ("§6.5 SETTINGS of five bytes", encoded(kind::SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE_ERROR),
        (
            "§6.5.2 a window that can't be: the RFC would have FLOW_CONTROL_ERROR",
            encoded(kind::SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
            PROTOCOL_ERROR,
        ),
        ("§6.7 PING of seven bytes", encoded(kind::PING, 0, 0, &[0; 7]), FRAME_SIZE_ERROR),
        ("§6.9 a window of nothing", encoded(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL_ERROR),
        (
            "§6.9.1 a window that overflows",
            encoded(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            FLOW_CONTROL_ERROR,
        ),
        ("§6.10 CONTINUATION of nothing", encoded(kind::CONTINUATION, END_HEADERS, 1, &get), PROTOCOL_ERROR),
        (
            "§6.10 another frame within a head",
            [encoded(kind::HEADERS, END, 1, &get), encoded(kind::PING, 0, 0, &[0; 8])].concat(),
            PROTOCOL_ERROR,
        ),
        ("§8.4 a push from a client", encoded(5, END_HEADERS, 1, &[0; 8]), PROTOCOL_ERROR),
    ] {
        let mut client = Http2::connect(&rsp.address(), &[]);
        client.send(&bytes).unwrap();
        let goaway = client.try_wait_for(|frame| frame.kind == kind::GOAWAY);
        assert_eq!(goaway.and_then(|frame| frame.error()), Some(code), "{why}");
        assert_eq!(client.try_wait_for(|_| false), None, "{why}: it is closed");
    }
    assert_still_served(&rsp);
}

#[test]
fn each_flood_of_frames_that_cost_nothing_is_told_to_calm_down() {
    let rsp = hello("");
    let many = |frame: Vec<u8>| move |_| frame.repeat(64);
    for (why, first, then) in [
        ("pings", vec![], encoded(kind::PING, 0, 0, &[0; 8])),
        ("settings", vec![], encoded(kind::SETTINGS, 0, 0, b"")),
        ("priorities", vec![], encoded(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("windows", vec![], encoded(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", vec![], encoded(250, 0, 0, b"x")),
        ("empty content", encoded(kind::HEADERS, END_HEADERS, 1, &get("/")), encoded(kind::DATA, 0, 1, b"")),
    ] {
        assert_eq!(flood(&rsp, &first, many(then)), ENHANCE_YOUR_CALM, "{why}");
    }
    let (head, more) = (encoded(kind::HEADERS, END, 1, b""), encoded(kind::CONTINUATION, 0, 1, b""));
    // h2 counts these itself.
    assert!([PROTOCOL_ERROR, ENHANCE_YOUR_CALM].contains(&flood(&rsp, &head, many(more))), "a head without end");
}

#[test]
fn a_head_without_end_and_a_list_that_unpacks_to_much_more_are_bounded() {
    let rsp = hello("");
    let before = rsp.user_memory();
    let field = fields(&[("x", &"y".repeat(100))]);
    let first = encoded(kind::HEADERS, END, 1, &asked(&[]));
    let ended = flood(&rsp, &first, |_| encoded(kind::CONTINUATION, 0, 1, &field.repeat(100)));
    assert!([PROTOCOL_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM].contains(&ended), "{ended}");
    // A field of 3 KiB in the table, and then a byte for each of thousands.
    let mut bomb = asked(&[]);
    bomb.extend([0x40, 1, b'x']);
    bomb.extend(fields(&[("", &"y".repeat(3000))]).split_off(2));
    bomb.extend([0xbe; 10_000]);
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.frame(kind::HEADERS, END | END_HEADERS, 1, &bomb).unwrap();
    let end = client.wait_for(|frame| frame.error().is_some() || frame.kind == kind::HEADERS);
    assert!(end.error().is_some() || end.status() == Some(431), "{end:?}");
    assert_still_served(&rsp);
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
}

#[test]
fn heads_that_dribble_in_are_waited_for_as_long_as_any_head() {
    let rsp = hello("limits { head_timeout = \"500ms\" }");
    let whole = encoded(kind::HEADERS, END | END_HEADERS, 1, &get("/"));
    for part in [&PREFACE[..10], &whole[..5], &whole[..20], &encoded(kind::HEADERS, END, 1, &get("/"))[..]] {
        let mut client =
            if part.starts_with(b"PRI") { Http2::silent(&rsp.address()) } else { Http2::connect(&rsp.address(), &[]) };
        client.send(part).unwrap();
        let begun = Instant::now();
        assert_eq!(client.try_wait_for(|_| false), None);
        assert!(begun.elapsed() < Duration::from_secs(5), "{part:?}");
    }
}

#[test]
fn a_client_that_opens_no_window_is_cut_stream_by_stream() {
    let origin = Origin::start(|_| Answer::pattern(1 << 20));
    let rsp = proxy("limits { write_timeout = \"500ms\" }", &origin);
    // The settings say that nothing may be sent.
    let mut client = Http2::connect(&rsp.address(), &[(4, 0)]);
    client.get(1, "/");
    client.get(3, "/");
    assert_eq!(client.status(1), 200);
    let cut = |client: &mut Http2| client.wait_for(|frame| frame.stream > 0 && frame.error().is_some());
    let mut ends = [cut(&mut client), cut(&mut client)].map(|frame| (frame.stream, frame.error()));
    ends.sort();
    assert_eq!(ends, [(1, Some(CANCEL)), (3, Some(CANCEL))]);
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let origin = Origin::start(|_| Answer::pattern(64 << 20));
    let rsp = proxy("limits { write_timeout = \"500ms\" }", &origin);
    let mut client = Http2::connect(&rsp.address(), &[(4, 1 << 30)]);
    client.socket().set_receive_buffer(8 << 10).unwrap();
    client.widen(0, 1 << 30).unwrap();
    client.get(1, "/");
    origin.wait_for_heads(1, SOON);
    testkit::eventually(SOON, || origin.connections_open() == 0);
    assert_still_served(&rsp);
}

#[test]
fn an_upload_that_stalls_is_a_408() {
    let origin = Origin::echoing();
    let rsp = proxy("limits { body_timeout = \"300ms\" }", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.frame(kind::HEADERS, END_HEADERS, 1, &asked(&[])).unwrap();
    client.frame(kind::DATA, 0, 1, b"some").unwrap();
    assert_eq!(client.status(1), 408);
}

#[test]
fn an_upload_that_nobody_reads_waits_with_its_client() {
    let origin = Origin::start(|_| Answer(vec![testkit::Step::Wait(Duration::from_secs(60))]));
    let rsp = proxy("", &origin);
    let before = rsp.user_memory();
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.frame(kind::HEADERS, END_HEADERS, 1, &asked(&[])).unwrap();
    origin.wait_for_heads(1, SOON);
    // As much as the window takes, and a byte more.
    for _ in 0..4 {
        client.frame(kind::DATA, 0, 1, &[0; 16_000]).unwrap();
    }
    client.frame(kind::HEADERS, END | END_HEADERS, 3, &get("/")).unwrap();
    origin.wait_for_heads(2, SOON);
    assert!(rsp.user_memory().saturating_sub(before) < 4 << 20);
}

#[test]
fn no_more_streams_are_open_at_once_than_were_offered() {
    let origin = Origin::start(|_| Answer::never());
    let rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    for n in 0..200 {
        client.get(2 * n + 1, "/");
    }
    let refused = client.wait_for(|frame| frame.kind == kind::RST_STREAM);
    assert_eq!((refused.stream, refused.error()), (2 * 128 + 1, Some(7)), "REFUSED_STREAM");
    origin.wait_for_heads(128, SOON);
}

#[test]
fn streams_that_are_opened_and_reset_end_with_calm() {
    let origin = Origin::start(|_| Answer::never());
    let rsp = proxy("trust \"127.0.0.1\"", &origin);
    let reset = |n: u32| {
        let stream = 2 * n + 1;
        let head = encoded(kind::HEADERS, END | END_HEADERS, stream, &get("/"));
        [head, encoded(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let mut client = Http2::connect(&rsp.address(), &[]);
    let mut all = Vec::new();
    (0..100_000).for_each(|n| all.extend(reset(n)));
    // The end of it is not taken any more.
    let _ = client.send(&all);
    let goaway = client.try_wait_for(|frame| frame.kind == kind::GOAWAY);
    assert_eq!(goaway.and_then(|frame| frame.error()), Some(ENHANCE_YOUR_CALM));
    // Slowly, each is seen, and they count all the same.
    let mut client = Http2::connect(&rsp.address(), &[]);
    let mut ended = None;
    for n in 0..2000 {
        if client.send(&reset(n)).is_err() {
            break;
        }
        client.frame(kind::PING, 0, 0, &[0; 8]).unwrap();
        ended = client.try_wait_for(|frame| frame.kind == kind::GOAWAY || frame.kind == kind::PING);
        if ended.as_ref().is_none_or(|frame| frame.kind == kind::GOAWAY) {
            break;
        }
    }
    assert_eq!(ended.and_then(|frame| frame.error()), Some(ENHANCE_YOUR_CALM));
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn who_was_told_to_calm_down_is_left_alone_for_a_moment_and_then_served_again() {
    let rsp = front("", "reply(200, \"hello\")").start();
    let mut client = Http2::connect(&rsp.address(), &[]);
    // The end of it is not taken any more.
    let _ = client.send(&encoded(kind::PING, 0, 0, &[0; 8]).repeat(5000));
    assert!(
        client.try_wait_for(|frame| frame.kind == kind::GOAWAY && frame.error() == Some(ENHANCE_YOUR_CALM)).is_some()
    );
    let mut again = Http2::silent(&rsp.address());
    let _ = again.send(&[PREFACE, &encoded(kind::SETTINGS, 0, 0, b"")].concat());
    assert_eq!(again.try_wait_for(|_| true), None, "closed unread");
    testkit::eventually(SOON, || {
        let mut later = Http2::silent(&rsp.address());
        let head = encoded(kind::HEADERS, END | END_HEADERS, 1, &get("/"));
        let all = [PREFACE, &encoded(kind::SETTINGS, 0, 0, b""), &head].concat();
        later.send(&all).is_ok() && later.try_wait_for(|frame| frame.kind == kind::HEADERS).is_some()
    });
}
