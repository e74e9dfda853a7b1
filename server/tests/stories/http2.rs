//! HTTP/2 towards clients: the same requests and answers as by HTTP/1, many at once, each at its own pace.

use std::time::Duration;

use testkit::{
    Answer, Gate, Origin, Output, Pattern, Rsp, RspBuilder, Step, curl,
    http2::{END, END_HEADERS, Http2, fields, kind},
    run_program,
};

use super::SOON;

/// rsp without TLS that takes HTTP/2 by prior knowledge; `statements` stand before its one route.
pub fn front(statements: &str, handler: &str) -> RspBuilder {
    Rsp::config(&format!(
        "workers(1)\nlisten {{ \"127.0.0.1:$PORT\", http2 = true }}\n{statements}\n\
         site \"*\" {{ [\"/*\"] = {handler} }}\n"
    ))
}

/// The same with everything going to `origin`.
#[track_caller]
pub fn proxy(statements: &str, origin: &Origin) -> Rsp {
    front(statements, "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start()
}

fn curl2(arguments: &[&str]) -> Output {
    curl(&[&["-s", "-S", "--http2-prior-knowledge", "--max-time", "20"], arguments].concat())
}

fn post(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)];
    fields(&[&pseudo[..], more].concat())
}

#[test]
fn an_upstream_sees_the_same_request_as_by_http_1() {
    let origin = Origin::start(|_| {
        Answer::with_headers("201 Created", "X-From: origin\r\nConnection: x-gone\r\nX-Gone: 1\r\n", "made")
    });
    let rsp = proxy("", &origin);
    let fields = ["-H", "Cookie: a=1; b=2", "-H", "X-Own: 1", "-H", "x_forwarded_for: 6.6.6.6"];
    let answer = curl2(&[&["-i", "-d", "content"], &fields[..], &[&rsp.url("/path?query")]].concat());
    let answer = answer.text();
    assert!(answer.starts_with("HTTP/2 201"), "{answer}");
    assert!(answer.contains("x-from: origin\r\n") && answer.contains("via: 1.1 rsp\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nmade") && !answer.contains("x-gone"), "{answer}");
    let received = &origin.received()[0];
    assert_eq!(received.request.head.start, "POST /path?query HTTP/1.1");
    assert_eq!((received.header("host"), received.header("cookie")), (Some(&*rsp.address()), Some("a=1; b=2")));
    assert_eq!((received.header("x-own"), received.header("x_forwarded_for")), (Some("1"), None));
    assert_eq!((received.header("content-length"), received.header("via")), (Some("7"), Some("2.0 rsp")));
    assert_eq!(received.body, b"content");
}

#[test]
fn a_proxy_that_got_http_1_may_name_the_host_by_its_field() {
    let origin = Origin::start(|_| Answer::ok(""));
    let rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    let head = fields(&[(":method", "GET"), (":scheme", "https"), (":path", "/x"), ("host", "a.example:8443")]);
    client.frame(kind::HEADERS, END | END_HEADERS, 1, &head).unwrap();
    assert_eq!(client.status(1), 200);
    assert_eq!(origin.received()[0].header("host"), Some("a.example:8443"));
}

#[test]
fn http_1_is_served_beside_it() {
    let rsp = front("", "reply(200, \"hello\")").start();
    assert_eq!(curl(&["-s", &rsp.url("/")]).text(), "hello");
    let mut client = rsp.client();
    client.send_in_pieces("PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 3, Duration::from_millis(1));
    assert_eq!(client.read_response("PRI").status, 200, "no preface after all");
    assert_eq!(curl2(&["-o", "/dev/null", "-w", "%{http_version}", &rsp.url("/")]).text(), "2");
}

#[test]
fn bodies_of_every_kind_come_whole_and_a_head_has_none() {
    let origin = Origin::start(|head| match &*head.target {
        "/chunked" => Answer::chunked(&["one ", "two"], "X-Sum: 7\r\nContent-Length: 1\r\n"),
        "/close" => Answer::until_close("till the end"),
        "/empty" => Answer::status("204 No Content", ""),
        "/not-modified" => Answer::raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n"),
        _ => Answer::ok("whole"),
    });
    let rsp = proxy("", &origin);
    assert_eq!(curl2(&[&rsp.url("/close")]).text(), "till the end");
    assert_eq!(curl2(&[&rsp.url("/length")]).text(), "whole");
    for (path, status, length) in [("/empty", 204, ""), ("/not-modified", 304, "9")] {
        let told = curl2(&["-w", "%{http_code} %header{content-length}", &rsp.url(path)]).text();
        assert_eq!(told, format!("{status} {length}"));
    }
    let head = curl2(&["-I", &rsp.url("/length")]).text();
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.get(1, "/chunked");
    assert_eq!(client.status(1), 200);
    let body = client.wait_for(|frame| frame.kind == kind::DATA);
    let last = client.wait_for(|frame| frame.flags & END != 0 && frame.stream == 1);
    assert_eq!(last.kind, kind::HEADERS, "trailers end it: {body:?} {last:?}");
}

#[test]
fn trailers_of_an_upload_arrive_but_not_those_that_frame_or_route() {
    let origin = Origin::start(|_| Answer::ok("thanks"));
    let rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.frame(kind::HEADERS, END_HEADERS, 1, &post("/", &[("te", "trailers")])).unwrap();
    client.frame(kind::DATA, 0, 1, b"content").unwrap();
    let trailers = fields(&[("x-sum", "7"), ("host", "evil"), ("authorization", "me")]);
    client.frame(kind::HEADERS, END | END_HEADERS, 1, &trailers).unwrap();
    assert_eq!(client.status(1), 200);
    let received = &origin.received()[0];
    assert_eq!(received.body, b"content");
    assert_eq!(received.trailers.0, [("x-sum".to_owned(), "7".to_owned())]);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_and_other_news_pass() {
    let origin = Origin::start(|head| {
        let news = if &*head.target == "/hint" { "103 Early Hints\r\nLink: </a>" } else { "100 Continue" };
        Answer::ok("thanks").after_interim(news)
    });
    let asked = |path| post(path, &[("expect", "100-continue"), ("content-type", "text/plain")]);
    let rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.get(1, "/hint");
    assert_eq!((client.status(1), client.status(1)), (103, 200));
    client.frame(kind::HEADERS, END_HEADERS, 3, &asked("/")).unwrap();
    assert_eq!(client.status(3), 100, "by the upstream");
    client.frame(kind::DATA, END, 3, b"content").unwrap();
    assert_eq!(client.status(3), 200);
    let rsp = front("", "channel { \"room\" }").start();
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.frame(kind::HEADERS, END_HEADERS, 1, &asked("/")).unwrap();
    assert_eq!(client.status(1), 100, "by us, as we read it");
    client.frame(kind::DATA, END, 1, b"content").unwrap();
    assert!([200, 201, 202].contains(&client.status(1)));
}

#[test]
fn a_hundred_streams_are_served_at_once_though_one_reader_stalls() {
    let origin = Origin::start(|head| match &*head.target {
        "/large" => Answer::pattern(10 << 20),
        _ => Answer::ok("small"),
    });
    let rsp = proxy("", &origin);
    // Windows of streams that nobody widens, and a large one of the connection.
    let mut client = Http2::connect(&rsp.address(), &[(4, 1000)]);
    client.widen(0, 1 << 30).unwrap();
    client.get(1, "/large");
    client.wait_for(|frame| frame.stream == 1 && frame.kind == kind::DATA);
    for stream in 1..100 {
        client.get(2 * stream + 1, "/small");
    }
    let mut ended = 0;
    while ended < 99 {
        let frame = client.wait_for(|frame| frame.stream > 1 && frame.flags & END != 0 && frame.kind == kind::DATA);
        assert_eq!(frame.payload, b"small");
        ended += 1;
    }
}

#[test]
fn large_bodies_go_both_ways_without_being_gathered() {
    let length = 100 << 20;
    let origin = Origin::start(move |head| match &*head.method {
        "POST" => Answer(vec![Step::ReadBody, Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())]),
        _ => Answer::pattern(length),
    });
    let rsp = proxy("", &origin);
    let before = rsp.user_memory();
    let file = rsp.folder().join("upload");
    std::fs::write(&file, Pattern::bytes(length as usize)).unwrap();
    let upload = format!("@{}", file.display());
    assert_eq!(curl2(&["--data-binary", &upload, &rsp.url("/")]).text(), "ok");
    let received = &origin.received()[0];
    assert!(received.body_is_pattern && received.body_length == length, "{}", received.body_length);
    let download = rsp.folder().join("download");
    assert!(curl2(&["-o", download.to_str().unwrap(), &rsp.url("/")]).code == Some(0));
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
    assert!(std::fs::read(&download).unwrap() == std::fs::read(&file).unwrap());
}

#[test]
fn a_body_that_breaks_off_is_never_a_whole_one() {
    let origin = Origin::start(|head| match &*head.target {
        "/chunked" => {
            Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").then(Step::Close)
        }
        _ => Answer::cut_short(100, "hello"),
    });
    let rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    for (stream, path) in [(1, "/length"), (3, "/chunked")] {
        client.get(stream, path);
        assert_eq!(client.status(stream), 200);
        let end =
            client.wait_for(|frame| frame.stream == stream && (frame.flags & END != 0 || frame.error().is_some()));
        assert_eq!(end.error(), Some(2), "INTERNAL_ERROR: {end:?}");
    }
}

#[test]
fn a_client_that_resets_its_stream_ends_the_request_upstream_and_no_other() {
    let gate = Gate::new();
    let opened = gate.clone();
    let origin = Origin::start(move |head| match &*head.target {
        "/hang" => Answer::never(),
        _ => Answer(vec![Step::Pass(opened.clone())])
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())),
    });
    let rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.get(1, "/hang");
    client.get(3, "/wait");
    origin.wait_for_heads(2, SOON);
    client.frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes()).unwrap();
    testkit::eventually(SOON, || origin.connections_open() == 1);
    gate.open();
    assert_eq!(client.status(3), 200);
}

#[test]
fn an_answer_before_the_end_of_its_upload_is_whole_and_then_the_upload_is_stopped() {
    let rsp = front("", "reply(200, \"enough\")").start();
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.frame(kind::HEADERS, END_HEADERS, 1, &post("/", &[])).unwrap();
    client.frame(kind::DATA, 0, 1, &[0; 1000]).unwrap();
    assert_eq!(client.status(1), 200);
    let body = client.wait_for(|frame| frame.kind == kind::DATA);
    assert_eq!((&body.payload[..], body.flags & END), (&b"enough"[..], END));
    assert_eq!(client.error(1), 0, "NO_ERROR");
    client.get(3, "/");
    assert_eq!(client.status(3), 200);
}

#[test]
fn an_upload_that_ends_soon_behind_its_answer_is_not_stopped() {
    let rsp = front("", "reply(200, \"enough\")").start();
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.frame(kind::HEADERS, END_HEADERS, 1, &post("/", &[])).unwrap();
    client.wait_for(|frame| frame.kind == kind::DATA && frame.flags & END == END);
    client.frame(kind::DATA, END, 1, b"the rest").unwrap();
    client.get(3, "/");
    let next = client.wait_for(|frame| frame.kind == kind::RST_STREAM || frame.kind == kind::HEADERS);
    assert_eq!((next.kind, next.stream), (kind::HEADERS, 3));
}

#[test]
fn limits_of_a_request_answer_on_its_stream_and_the_connection_goes_on() {
    let origin = Origin::echoing();
    let limits = "limits { head = \"2KiB\", headers = 20, uri = 200, body = 1000 }";
    let rsp = proxy(limits, &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.get(1, &format!("/{}", "x".repeat(300)));
    assert_eq!(client.status(1), 414);
    client.frame(kind::HEADERS, END_HEADERS, 3, &post("/", &[("content-length", "2000")])).unwrap();
    assert_eq!(client.status(3), 413);
    client.frame(kind::HEADERS, END_HEADERS, 5, &post("/", &[])).unwrap();
    client.frame(kind::DATA, END, 5, &[0; 2000]).unwrap();
    assert_eq!(client.status(5), 413);
    let many: Vec<_> = (0..30).map(|_| ("x", "y")).collect();
    client.frame(kind::HEADERS, END | END_HEADERS, 7, &post("/", &many)).unwrap();
    assert_eq!(client.status(7), 431);
    client.frame(kind::HEADERS, END | END_HEADERS, 9, &post("/", &[("x", &"y".repeat(3000))])).unwrap();
    assert_eq!(client.status(9), 431);
    client.frame(kind::HEADERS, END | END_HEADERS, 11, &post("/", &[("expect", "tea")])).unwrap();
    assert_eq!(client.status(11), 417);
    client.get(13, "/");
    assert_eq!(client.status(13), 200);
}

#[test]
fn a_drain_tells_the_client_and_finishes_what_it_asked_for() {
    let gate = Gate::new();
    let opened = gate.clone();
    let origin = Origin::start(move |_| {
        Answer(vec![Step::Pass(opened.clone())])
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()))
    });
    let mut rsp = proxy("", &origin);
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.get(1, "/");
    origin.wait_for_heads(1, SOON);
    let stopping = std::thread::spawn(move || rsp.stop());
    let goaway = client.wait_for(|frame| frame.kind == kind::GOAWAY);
    assert_eq!(goaway.error(), Some(0), "NO_ERROR");
    gate.open();
    assert_eq!(client.status(1), 200);
    assert!(stopping.join().unwrap().success());
}

#[test]
fn a_connection_has_as_many_requests_as_the_config_allows() {
    let rsp = front("limits { requests_per_connection = 2, idle_timeout = \"60s\" }", "reply(200, \"x\")").start();
    let mut client = Http2::connect(&rsp.address(), &[]);
    client.get(1, "/");
    client.get(3, "/");
    assert_eq!((client.status(1), client.status(3)), (200, 200));
    let goaway = client.wait_for(|frame| frame.kind == kind::GOAWAY);
    assert_eq!((goaway.error(), &goaway.payload[..4]), (Some(0), &[0, 0, 0, 3][..]), "the last that was answered");
    assert_eq!(client.try_wait_for(|_| false), None, "it is closed");
}

#[test]
fn connections_that_nobody_uses_end_with_a_goaway() {
    let limits = "limits { head_timeout = \"300ms\", idle_timeout = \"600ms\" }";
    let rsp = front(limits, "reply(200, \"x\")").start();
    // Nothing at all, a preface only, and one that asked once.
    let mut silent = Http2::silent(&rsp.address());
    assert_eq!(silent.try_wait_for(|_| true), None);
    let mut prefaced = Http2::connect(&rsp.address(), &[]);
    assert_eq!(prefaced.wait_for(|frame| frame.kind == kind::GOAWAY).error(), Some(0));
    let mut used = Http2::connect(&rsp.address(), &[]);
    used.get(1, "/");
    assert_eq!(used.status(1), 200);
    assert_eq!(used.wait_for(|frame| frame.kind == kind::GOAWAY).error(), Some(0));
    assert_eq!(used.try_wait_for(|_| false), None);
}

#[test]
fn the_log_and_functions_tell_the_version() {
    let rsp = front("", "function(request) return reply(200, request.version) end").start();
    assert_eq!(curl2(&[&rsp.url("/")]).text(), "2");
    rsp.wait_for_line(SOON, |line| line.contains("\"GET / HTTP/2.0\" 200 1"));
}

#[test]
fn nghttp_and_h2load_are_content() {
    let origin = Origin::start(|_| Answer::pattern(100_000));
    let rsp = proxy("", &origin);
    let told = run_program("h2load", &["-n", "300", "-c", "3", "-m", "10", &rsp.url("/")]).text();
    assert!(told.contains("300 succeeded, 0 failed, 0 errored"), "{told}");
    let told = run_program("nghttp", &["-n", "-s", "-m", "20", &rsp.url("/")]).text();
    assert!(told.matches(" 200 ").count() == 20, "{told}");
}
