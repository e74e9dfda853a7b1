//! Requests of HTTP/2 by the sections of RFC 9113 and RFC 8441.

use super::*;

const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

fn get<'a>(fields: &[(&str, &str)]) -> Asked<'a> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Asked {
        method: Method::GET,
        scheme: Some("https"),
        authority: Some("example.com"),
        path: Some("/a?b"),
        protocol: None,
        headers,
        ended: true,
    }
}

fn read(asked: Asked<'_>) -> Result<RequestHead, Refusal> {
    request(asked, &LIMITS, || HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")).map(|(head, _)| head)
}

fn field<'a>(head: &'a RequestHead, name: &str) -> Vec<&'a str> {
    head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn pseudo_header_fields_become_method_target_and_host() {
    let head = read(get(&[("accept", "*/*")])).unwrap();
    assert_eq!((head.method, head.target.as_str(), head.version), (Method::GET, "/a?b", Version::HTTP_2));
    let head = read(get(&[("accept", "*/*")])).unwrap();
    assert_eq!((field(&head, "host"), field(&head, "accept")), (vec!["example.com"], vec!["*/*"]));
    assert_eq!((head.framing, head.keep_alive, head.expect_continue), (Framing::Empty, true, false));
    let options = Asked { method: Method::OPTIONS, path: Some("*"), ..get(&[]) };
    assert_eq!(read(options).unwrap().target.as_str(), "*");
}

/// RFC 9113 §8.1.1 to §8.3.1, a row a rule.
#[test]
fn what_is_malformed_is_no_request() {
    let long = "x".repeat(9 << 10);
    for (why, asked) in [
        ("§8.3.1 no :scheme", Asked { scheme: None, ..get(&[]) }),
        ("§8.3.1 another scheme", Asked { scheme: Some("ftp"), ..get(&[]) }),
        ("§8.3.1 no :path", Asked { path: None, ..get(&[]) }),
        ("§8.3.1 an empty :path", Asked { path: Some(""), ..get(&[]) }),
        ("§8.3.1 a :path without a slash", Asked { path: Some("a"), ..get(&[]) }),
        ("§8.3.1 a URL as :path", Asked { path: Some("http://example.com/"), ..get(&[]) }),
        ("§8.3.1 an asterisk that is not for OPTIONS", Asked { path: Some("*"), ..get(&[]) }),
        ("§8.3.1 a space in :path", Asked { path: Some("/a b"), ..get(&[]) }),
        ("§8.3.1 a fragment in :path", Asked { path: Some("/a#b"), ..get(&[]) }),
        ("§8.3.1 userinfo", Asked { authority: Some("user@example.com"), ..get(&[]) }),
        ("§8.3.1 an empty :authority", Asked { authority: Some(""), ..get(&[]) }),
        ("§8.3.1 two hosts", get(&[("host", "other.example")])),
        ("§8.3.1 another port", get(&[("host", "example.com:8443")])),
        ("§8.3.1 no host at all", Asked { authority: None, ..get(&[]) }),
        ("§8.3.1 Host twice", Asked { authority: None, ..get(&[("host", "a"), ("host", "a")]) }),
        ("§8.3.1 Host is no host", Asked { authority: None, ..get(&[("host", "a, b")]) }),
        ("§8.2.1 a blank before a value", get(&[("x", " a")])),
        ("§8.2.1 a tab behind a value", get(&[("x", "a\t")])),
        ("§8.2.2 Connection", get(&[("connection", "close")])),
        ("§8.2.2 Keep-Alive", get(&[("keep-alive", "5")])),
        ("§8.2.2 Proxy-Connection", get(&[("proxy-connection", "close")])),
        ("§8.2.2 Transfer-Encoding", get(&[("transfer-encoding", "chunked")])),
        ("§8.2.2 Upgrade", get(&[("upgrade", "websocket")])),
        ("§8.2.2 TE", get(&[("te", "gzip")])),
        ("§8.1.1 a length and no content", get(&[("content-length", "5")])),
        ("§8.1.1 two lengths", Asked { ended: false, ..get(&[("content-length", "5"), ("content-length", "5")]) }),
        ("§8.1.1 a length that is no number", Asked { ended: false, ..get(&[("content-length", "+5")]) }),
        ("§8.5 a WebSocket that has ended", Asked { ended: true, ..websocket(&[]) }),
        ("§8.5 a WebSocket with a length", websocket(&[("content-length", "5")])),
    ] {
        assert!(matches!(read(asked.clone()), Err(Refusal::Malformed(_))), "{why}: {:?}", read(asked));
    }
    let answered = |asked: Asked<'_>| match read(asked) {
        Err(Refusal::Refused(e)) => e.status().as_u16(),
        other => panic!("{other:?}"),
    };
    assert_eq!(answered(Asked { path: Some(&format!("/{long}")), ..get(&[]) }), 414);
    assert_eq!(answered(get(&[("a", &long), ("b", &long)])), 431);
    assert_eq!(answered(get(&vec![("a", "b"); 101])), 431);
    assert_eq!(answered(Asked { ended: false, ..get(&[("expect", "tea")]) }), 417);
    assert_eq!(answered(Asked { protocol: Some("connect-udp"), ..websocket(&[]) }), 501);
    for method in [Method::TRACE, Method::CONNECT] {
        assert_eq!(read(Asked { method, ..get(&[]) }).unwrap_err(), Refusal::Method);
    }
}

#[test]
fn hosts_agree_whatever_their_case_and_with_the_usual_port() {
    for (authority, host) in
        [("example.com", "EXAMPLE.com"), ("example.com:443", "example.com"), ("[::1]:8443", "[::1]:8443")]
    {
        let head = read(Asked { authority: Some(authority), ..get(&[("host", host)]) }).unwrap();
        assert_eq!(field(&head, "host"), [authority]);
    }
    let head = read(Asked { authority: None, ..get(&[("host", "example.com:1")]) }).unwrap();
    assert_eq!(field(&head, "host"), ["example.com:1"]);
}

#[test]
fn cookies_are_one_field_again_and_names_that_two_readers_take_for_one_are_dropped() {
    let fields =
        [("cookie", "a=1"), ("x_forwarded_for", "1.2.3.4"), ("cookie", "b=2"), ("te", "trailers"), ("cookie", "c")];
    let head = read(get(&fields)).unwrap();
    assert_eq!(field(&head, "cookie"), ["a=1; b=2; c"]);
    assert_eq!(head.headers.len(), 2, "{:?}", head.headers);
}

#[test]
fn the_length_of_a_body_is_what_was_stated_or_the_end_of_the_stream() {
    let post = |fields| Asked { method: Method::POST, ended: false, ..get(fields) };
    assert_eq!(read(post(&[])).unwrap().framing, Framing::Chunked);
    let head = read(post(&[("content-length", "5"), ("expect", "100-Continue")])).unwrap();
    assert_eq!((head.framing, head.expect_continue), (Framing::Length(5), true));
    assert_eq!(head.headers.len(), 1, "{:?}", head.headers);
    let head = read(Asked { ended: true, ..post(&[("content-length", "0"), ("expect", "100-continue")]) }).unwrap();
    assert_eq!((head.framing, head.expect_continue), (Framing::Length(0), true));
}

fn websocket<'a>(fields: &[(&str, &str)]) -> Asked<'a> {
    let protocol = Some("websocket");
    Asked { method: Method::CONNECT, protocol, ended: false, ..get(fields) }
}

#[test]
fn an_extended_connect_is_the_handshake_of_a_websocket() {
    let head = read(websocket(&[("sec-websocket-version", "13"), ("sec-websocket-key", "mine")])).unwrap();
    assert_eq!((&head.method, head.target.as_str(), head.framing), (&Method::GET, "/a?b", Framing::Empty));
    assert_eq!(head.upgrade, Some(HeaderValue::from_static("websocket")));
    assert_eq!(field(&head, "sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
    assert_eq!(field(&head, "sec-websocket-version"), ["13"]);
}
