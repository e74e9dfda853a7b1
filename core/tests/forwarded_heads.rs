//! What a head looks like on the other side, and whose word is believed on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use rsp_core::{
    config::{Forwarded, HeaderEdit},
    frame::http1::{Framing, HeadLimits, RequestHead, parse_request},
    head::{Clientward, Upstreamward, client_framing, client_ip, edit, write_client_response, write_upstream_request},
};

const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

fn request(fields: &str) -> RequestHead {
    let text = format!("GET /x?y HTTP/1.1\r\nHost: a:81\r\n{fields}\r\n");
    parse_request(text.as_bytes(), &LIMITS).unwrap().unwrap().0
}

fn upstreamward(head: &RequestHead) -> Upstreamward<'_> {
    Upstreamward {
        head,
        target: head.target.as_bytes(),
        host: None,
        client: Some([192, 0, 2, 9].into()),
        real_ip: None,
        trusted: false,
        scheme: "https",
        forwarded: Forwarded::X,
        framing: head.framing,
        upgrade: true,
    }
}

/// The lines that go upstream, without the empty one.
fn lines(request: &Upstreamward<'_>) -> Vec<String> {
    let mut out = Vec::new();
    write_upstream_request(&mut out, request);
    let text = String::from_utf8(out).unwrap();
    text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").map(str::to_owned).collect()
}

#[test]
fn an_untrusted_client_is_named_and_its_claims_are_replaced() {
    let head = request(
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\n\
         Forwarded: for=6.6.6.6\r\nX-A: 1\r\n",
    );
    let expected = [
        "GET /x?y HTTP/1.1",
        "host: a:81",
        "x-a: 1",
        "x-forwarded-for: 192.0.2.9",
        "x-forwarded-proto: https",
        "x-forwarded-host: a:81",
        "x-real-ip: 192.0.2.9",
        "via: 1.1 rsp",
    ];
    assert_eq!(lines(&upstreamward(&head)), expected);
    let off = lines(&Upstreamward { forwarded: Forwarded::Off, ..upstreamward(&head) });
    assert_eq!(off, ["GET /x?y HTTP/1.1", "host: a:81", "x-a: 1", "via: 1.1 rsp"]);
}

#[test]
fn a_trusted_proxy_is_believed_and_its_list_extended() {
    let head = request(
        "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 1\r\n\
         X-Forwarded-Host: b\r\nX-Real-IP: 1.1.1.1\r\nVia: 1.0 x\r\n",
    );
    let got = lines(&Upstreamward { trusted: true, ..upstreamward(&head) });
    for line in [
        "x-forwarded-for: 1.1.1.1, 2.2.2.2, 192.0.2.9",
        "x-forwarded-proto: http",
        "x-forwarded-host: b",
        "x-real-ip: 1.1.1.1",
        "via: 1.0 x, 1.1 rsp",
        "x-forwarded-port: 1",
    ] {
        assert_eq!(got.iter().filter(|got| *got == line).count(), 1, "{line} in {got:?}");
    }
    assert_eq!(got.len(), 8);
}

#[test]
fn a_unix_peer_has_no_address_to_add() {
    let head = request("X-Forwarded-For: 1.1.1.1\r\n");
    let unix = Upstreamward { client: None, forwarded: Forwarded::Both, ..upstreamward(&head) };
    let got = lines(&Upstreamward { trusted: true, real_ip: Some([1, 1, 1, 1].into()), ..unix });
    assert!(got.contains(&"x-forwarded-for: 1.1.1.1".to_owned()), "{got:?}");
    assert!(got.contains(&"x-real-ip: 1.1.1.1".to_owned()), "{got:?}");
    assert!(got.contains(&"forwarded: for=unknown;host=\"a:81\";proto=https".to_owned()), "{got:?}");
    assert!(!lines(&unix).iter().any(|line| line.starts_with("x-forwarded-for")));
}

#[test]
fn forwarded_quotes_an_ipv6_client() {
    let head = request("Forwarded: for=1.1.1.1\r\n");
    let client = Some("2001:db8::1".parse().unwrap());
    let six = Upstreamward { client, forwarded: Forwarded::Rfc, ..upstreamward(&head) };
    assert_eq!(lines(&six)[2], "forwarded: for=\"[2001:db8::1]\";host=\"a:81\";proto=https");
    let trusted = lines(&Upstreamward { trusted: true, ..six });
    assert_eq!(trusted[2], "forwarded: for=1.1.1.1, for=\"[2001:db8::1]\";host=\"a:81\";proto=https");
    let mapped = Upstreamward { client: Some("::ffff:1.2.3.4".parse().unwrap()), ..six };
    assert!(lines(&mapped)[2].starts_with("forwarded: for=1.2.3.4;"));
}

#[test]
fn an_upgrade_a_body_and_an_expectation_go_on() {
    let head = request("Connection: upgrade, x-a\r\nUpgrade: websocket\r\nX-A: 1\r\n");
    let got = lines(&upstreamward(&head));
    assert!(got.ends_with(&["connection: upgrade".to_owned(), "upgrade: websocket".to_owned()]), "{got:?}");
    assert!(
        !lines(&Upstreamward { upgrade: false, ..upstreamward(&head) }).iter().any(|line| line.contains("upgrade"))
    );
    let head = request("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n");
    let got = lines(&Upstreamward { host: Some(&HeaderValue::from_static("b")), target: b"/y", ..upstreamward(&head) });
    assert_eq!(got[..2], ["GET /y HTTP/1.1", "host: b"]);
    assert!(got.contains(&"x-forwarded-host: a:81".to_owned()), "what the client asked for, not what we ask for");
    assert!(got.ends_with(&["transfer-encoding: chunked".to_owned(), "expect: 100-continue".to_owned()]), "{got:?}");
}

#[test]
fn an_old_request_is_forwarded_as_1_1_with_a_host() {
    let head = parse_request(b"GET / HTTP/1.0\r\n\r\n", &LIMITS).unwrap().unwrap().0;
    let got = lines(&Upstreamward { forwarded: Forwarded::Off, ..upstreamward(&head) });
    assert_eq!(got, ["GET / HTTP/1.1", "host: ", "via: 1.0 rsp"]);
}

#[test]
fn framing_fields_that_a_filter_added_are_not_written() {
    let mut head = request("Content-Length: 5\r\n");
    for name in ["content-length", "transfer-encoding", "connection", "te", "keep-alive"] {
        head.headers.append(name, HeaderValue::from_static("9"));
    }
    let got = lines(&Upstreamward { forwarded: Forwarded::Off, ..upstreamward(&head) });
    assert_eq!(got, ["GET /x?y HTTP/1.1", "host: a:81", "via: 1.1 rsp", "content-length: 5"]);
}

const GET: Method = Method::GET;

fn clientward(headers: &HeaderMap) -> Clientward<'_> {
    Clientward {
        status: StatusCode::OK,
        headers,
        framing: Framing::Length(5),
        content_length: Some(5),
        method: &GET,
        version: Version::HTTP_11,
        keep_alive: true,
        upgrade: None,
        via: Some(Version::HTTP_11),
        date: b"now",
    }
}

fn response(response: &Clientward<'_>) -> String {
    let mut out = Vec::new();
    write_client_response(&mut out, response);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_response_gets_a_date_a_via_and_its_length() {
    let mut headers = HeaderMap::new();
    headers.insert("server", HeaderValue::from_static("x"));
    let plain = response(&clientward(&headers));
    assert_eq!(plain, "HTTP/1.1 200 OK\r\nserver: x\r\ndate: now\r\nvia: 1.1 rsp\r\ncontent-length: 5\r\n\r\n");
    headers.insert("date", HeaderValue::from_static("then"));
    headers.insert("via", HeaderValue::from_static("1.1 b"));
    headers.insert("content-length", HeaderValue::from_static("6"));
    let kept = response(&Clientward { keep_alive: false, ..clientward(&headers) });
    let expected = "HTTP/1.1 200 OK\r\nserver: x\r\ndate: then\r\nvia: 1.1 b, 1.1 rsp\r\ncontent-length: 5\r\n\
        connection: close\r\n\r\n";
    assert_eq!(kept, expected);
    assert!(response(&Clientward { via: None, ..clientward(&headers) }).contains("via: 1.1 b\r\n"));
}

#[test]
fn answers_without_a_body_frame_none() {
    let headers = HeaderMap::new();
    let framed = |response_: Clientward<'_>| {
        let text = response(&response_);
        text.lines().find(|line| line.starts_with("content-l") || line.starts_with("transfer")).map(str::to_owned)
    };
    let base = clientward(&headers);
    for status in [StatusCode::NO_CONTENT, StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS] {
        assert_eq!(framed(Clientward { status, ..base }), None);
        assert_eq!(framed(Clientward { status, framing: Framing::Chunked, ..base }), None);
    }
    let stated = Some("content-length: 5".to_owned());
    let empty = Clientward { framing: Framing::Empty, ..base };
    assert_eq!(framed(Clientward { status: StatusCode::NOT_MODIFIED, ..empty }), stated);
    assert_eq!(framed(Clientward { method: &Method::HEAD, ..empty }), stated);
    assert_eq!(framed(Clientward { method: &Method::HEAD, content_length: None, ..empty }), None);
    let chunked = Clientward { framing: Framing::Chunked, content_length: None, ..base };
    assert_eq!(framed(Clientward { method: &Method::HEAD, ..chunked }), None);
    assert_eq!(framed(empty), Some("content-length: 0".to_owned()), "a GET would wait for the end");
    assert!(!response(&Clientward { status: StatusCode::CONTINUE, via: None, ..empty }).contains("date"));
}

#[test]
fn an_old_client_gets_no_chunks_and_is_told_that_the_connection_stays() {
    let headers = HeaderMap::new();
    let old = Clientward { version: Version::HTTP_10, via: None, ..clientward(&headers) };
    assert!(response(&old).ends_with("connection: keep-alive\r\n\r\n"));
    let chunked = response(&Clientward { framing: Framing::Chunked, content_length: None, ..old });
    assert_eq!(chunked, "HTTP/1.1 200 OK\r\ndate: now\r\nconnection: close\r\n\r\n");
    let framing = |received, version| client_framing(received, StatusCode::OK, &GET, version);
    assert_eq!(framing(Framing::UntilClose, Version::HTTP_11), Framing::Chunked);
    assert_eq!(framing(Framing::Chunked, Version::HTTP_10), Framing::UntilClose);
}

#[test]
fn a_switch_of_protocols_is_passed_on() {
    let headers = HeaderMap::new();
    let protocol = HeaderValue::from_static("websocket");
    let status = StatusCode::SWITCHING_PROTOCOLS;
    let text = response(&Clientward { status, upgrade: Some(&protocol), via: None, ..clientward(&headers) });
    assert_eq!(text, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
}

#[test]
fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
    let trusted = |address: IpAddr| matches!(address, IpAddr::V4(four) if four.octets()[0] == 10);
    let ip = |peer: &str, fields: &str| client_ip(peer.parse().unwrap(), &request(fields).headers, trusted).to_string();
    assert_eq!(ip("6.6.6.6", "X-Forwarded-For: 1.1.1.1\r\n"), "6.6.6.6");
    assert_eq!(ip("10.0.0.1", ""), "10.0.0.1");
    assert_eq!(ip("::ffff:10.0.0.1", "X-Forwarded-For: 9.9.9.9, 1.1.1.1 , 10.0.0.2\r\n"), "1.1.1.1");
    assert_eq!(ip("10.0.0.1", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.1.1.1,10.0.0.2\r\n"), "1.1.1.1");
    assert_eq!(ip("10.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n"), "10.0.0.3");
    assert_eq!(ip("10.0.0.1", "X-Forwarded-For: 1.1.1.1, nonsense, 10.0.0.2\r\n"), "10.0.0.2");
    assert_eq!(ip("10.0.0.1", "X-Forwarded-For: [2001:db8::1]:443\r\n"), "2001:db8::1");
    assert_eq!(ip("10.0.0.1", "X-Forwarded-For: 1.1.1.1:443\r\n"), "1.1.1.1");
    assert_eq!(
        ip("10.0.0.1", "Forwarded: for=9.9.9.9, proto=http;For=\"[2001:db8::1]:80\", for=10.0.0.2\r\n"),
        "2001:db8::1"
    );
    assert_eq!(ip("10.0.0.1", "Forwarded: for=unknown\r\nX-Real-IP: 1.1.1.1\r\n"), "10.0.0.1");
    assert_eq!(ip("10.0.0.1", "X-Real-IP: 1.1.1.1\r\n"), "1.1.1.1");
}

#[test]
fn edits_remove_then_set_then_add() {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let mut headers = HeaderMap::from_iter([(name("a"), value("1")), (name("b"), value("1")), (name("c"), value("1"))]);
    headers.append("b", value("2"));
    let asked = HeaderEdit {
        set: vec![(name("b"), value("3"))],
        add: vec![(name("a"), value("4")), (name("c"), value("5"))],
        remove: vec![name("a")],
    };
    edit(&mut headers, &asked);
    let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((all("a"), all("b"), all("c")), (vec!["4".into()], vec!["3".into()], vec!["1".into(), "5".into()]));
}
