//! The rules for heads, a sentence each, on requests and on responses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use http::{Method, StatusCode, Version};
use rsp_core::frame::http1::{
    Framing, HeadError, HeadLimits, RequestHead, ResponseHead, head_end, parse_request, parse_response,
};

const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

fn try_request(text: &str) -> Result<RequestHead, HeadError> {
    parse_request(text.as_bytes(), &LIMITS).map(|head| head.expect("half a head").0)
}

fn request(text: &str) -> RequestHead {
    try_request(text).unwrap()
}

/// A request with these lines besides a Host.
fn with(fields: &str) -> Result<RequestHead, HeadError> {
    try_request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

fn answer(method: Method, text: &str) -> Result<ResponseHead, HeadError> {
    parse_response(text.as_bytes(), &method, &LIMITS).map(|head| head.expect("half a head").0)
}

/// Fields that neither a request nor a response may hold.
fn refused_on_both_sides(fields: &str) {
    let got = with(fields);
    assert!(matches!(got, Err(HeadError::Malformed(_))), "{fields:?}: {got:?}");
    let got = answer(Method::GET, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
    assert!(got.is_err(), "{fields:?}: {got:?}");
}

fn malformed(text: &str) {
    let got = parse_request(text.as_bytes(), &LIMITS);
    assert!(matches!(got, Err(HeadError::Malformed(_))), "{text:?}: {got:?}");
    assert_eq!(got.unwrap_err().status(), StatusCode::BAD_REQUEST);
}

#[test]
fn a_request_is_read() {
    let head = request("GET /a%2Fb/../c?x=1&y HTTP/1.1\r\nHost: Example.com:81\r\nX-A:  1 \r\nx-a: 2\r\n\r\n");
    assert_eq!((head.method, head.version, head.framing), (Method::GET, Version::HTTP_11, Framing::Empty));
    assert_eq!(head.target.as_str(), "/a%2Fb/../c?x=1&y");
    assert_eq!((head.target.path(), head.target.query()), (&b"/a%2Fb/../c"[..], Some(&b"x=1&y"[..])));
    assert_eq!(head.headers["host"], "Example.com:81");
    assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(head.keep_alive && head.upgrade.is_none() && !head.expect_continue);
}

#[test]
fn pipelined_requests_are_read_one_by_one() {
    let input = b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\nrest";
    let (first, used) = parse_request(input, &LIMITS).unwrap().unwrap();
    let (second, more) = parse_request(&input[used..], &LIMITS).unwrap().unwrap();
    assert_eq!((first.target.as_str(), second.target.as_str()), ("/1", "/2"));
    assert_eq!(&input[used + more..], b"rest");
}

#[test]
fn both_content_length_and_transfer_encoding_is_refused() {
    refused_on_both_sides("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    refused_on_both_sides("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n");
}

#[test]
fn several_or_unlike_or_impossible_content_lengths_are_refused() {
    for value in ["5, 5", "5, 6", "+5", "-5", "0x5", "5 5", "", "5;", "18446744073709551616", "\u{0665}", "1_0", "5."] {
        refused_on_both_sides(&format!("Content-Length: {value}\r\n"));
    }
    refused_on_both_sides("Content-Length: 5\r\nContent-Length: 5\r\n");
    refused_on_both_sides("Content-Length: 5\r\ncontent-length: 6\r\n");
    assert_eq!(with("Content-Length: 18446744073709551615\r\n").unwrap().framing, Framing::Length(u64::MAX));
    assert_eq!(with("Content-Length: 0\r\n").unwrap().framing, Framing::Length(0));
}

#[test]
fn a_transfer_encoding_must_end_in_one_chunked() {
    for value in [
        "gzip",
        "chunked, gzip",
        "chunked, chunked",
        "identity",
        "",
        "chunked;x=1",
        "xchunked",
        "chunked,",
        ", chunked",
        "\"chunked\"",
        "chunked chunked",
        "cow",
        "\u{b}chunked",
    ] {
        refused_on_both_sides(&format!("Transfer-Encoding: {value}\r\n"));
    }
    refused_on_both_sides("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n");
    refused_on_both_sides("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n");
    assert_eq!(with("Transfer-Encoding: \tCHUNKED \r\n").unwrap().framing, Framing::Chunked);
    let mixed = with("Transfer-Encoding: gzip, chunked\r\n").unwrap_err();
    assert_eq!(mixed.status(), StatusCode::NOT_IMPLEMENTED, "we can neither undo nor announce it");
}

#[test]
fn any_transfer_encoding_in_http_1_0_is_refused() {
    malformed("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(answer(Method::GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
}

#[test]
fn space_before_the_colon_folds_and_bare_line_ends_are_refused() {
    for fields in [
        "X-A : 1\r\n",
        "X-A\t: 1\r\n",
        "X-A: 1\r\n folded\r\n",
        "X-A: 1\r\n\tfolded\r\n",
        "X-A: 1\n",
        "X-A: 1\nX-B: 2\r\n",
        "X-A: 1\rX-B: 2\r\n",
        "X-A: 1\r\r\n",
        "X-A\r\n",
        "X-A\r: 1\r\n",
        "X-A:\r1\r\n",
        "X-A:\n\r\n",
    ] {
        refused_on_both_sides(fields);
    }
    malformed("GET / HTTP/1.1\nHost: a\r\n\r\n");
    malformed("GET / HTTP/1.1\r\n Host: a\r\n\r\n");
    malformed("GET / HTTP/1.1\r\nHost: a\r\n\n");
    malformed("GET / HTTP/1.1\rHost: a\r\r");
    malformed("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer(Method::GET, "HTTP/1.1 200 OK\nA: b\r\n\r\n").is_err());
    assert!(answer(Method::GET, "\r\nHTTP/1.1 200 OK\r\n\r\n").is_err());
}

#[test]
fn a_head_with_bare_line_feeds_is_refused_before_its_end_comes() {
    malformed("GET / HTTP/1.1\nHost: a\n");
    assert!(head_end(b"GET / HTTP/1.1\nHo", 0).is_some());
    assert!(head_end(b"\x16\x03\x01", 0).is_some(), "TLS on a plain port");
}

#[test]
fn control_characters_are_refused() {
    for byte in (0..=0x1f_u8).filter(|byte| *byte != b'\t').chain([0x7f]) {
        let byte = char::from(byte);
        refused_on_both_sides(&format!("X-A: 1{byte}2\r\n"));
        refused_on_both_sides(&format!("X-{byte}A: 1\r\n"));
        malformed(&format!("GET /{byte} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    assert!(with("X-A: 1\t2 \u{e9}\r\n").is_ok());
}

#[test]
fn empty_and_non_token_names_and_methods_are_refused() {
    for name in ["", "X A", "X(A)", "X\u{e9}", "X@A", "\"X\"", "X/A", "X[1]"] {
        refused_on_both_sides(&format!("{name}: 1\r\n"));
    }
    for method in ["", "G(ET", "G\u{e9}T", "GE,T", "\"GET\"", " GET"] {
        malformed(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    assert_eq!(request("PROPPATCH-2 / HTTP/1.1\r\nHost: a\r\n\r\n").method.as_str(), "PROPPATCH-2");
}

#[test]
fn exactly_one_legal_host_is_wanted() {
    malformed("GET / HTTP/1.1\r\n\r\n");
    malformed("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n");
    malformed("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n");
    for host in [
        "a b", "a/b", "a@b", "a,b", "a\\b", "a?", "a#", "\"a\"", "a:b", "a:1:2", "a:65536", "a:+80", "[::1", "::1",
        "[a]", "[::1]x", "\u{e9}", "<a>", "a%", "a%zz", "{}", "a:000080",
    ] {
        malformed(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        malformed(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"));
        if !host.contains(['/', '?']) {
            malformed(&format!("GET http://{host}/ HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
    }
    for host in ["", "a", "a.", "A-1.b_c:8080", "[::1]:80", "[2001:db8::1]", "127.0.0.1", "a:", "a%20b"] {
        let head = request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(head.headers["host"], host);
    }
    assert!(!request("GET / HTTP/1.0\r\n\r\n").headers.contains_key("host"));
}

#[test]
fn an_absolute_url_wins_over_host() {
    let head = request("GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.target.as_str(), &head.headers["host"]), ("/x?y", &"b:81".parse().unwrap()));
    assert_eq!(request("GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n").target.as_str(), "/");
    assert_eq!(request("GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n").target.as_str(), "/?q");
    assert_eq!(request("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n").target.as_str(), "*");
    assert_eq!(request("GET http://b/ HTTP/1.0\r\n\r\n").headers["host"], "b");
    for target in ["http://u@b/", "http://u:p@b/", "http:///x", "http://:80/", "ftp://b/", "b/x", "http:/x", "x"] {
        malformed(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    malformed("GET http://b/ HTTP/1.1\r\n\r\n");
}

#[test]
fn other_targets_go_with_their_methods_only() {
    assert_eq!(request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target.as_str(), "*");
    assert_eq!(request("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n").target.as_str(), "b:443");
    malformed("GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    malformed("GET b:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    malformed("CONNECT b HTTP/1.1\r\nHost: a\r\n\r\n");
    malformed("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n");
    malformed("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n");
    malformed("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n");
    malformed("GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    malformed("GET HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn versions_other_than_1_0_and_1_1_are_refused() {
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/1.", "HTTP/1.10", "http/1.1", "HTTP/11", ""] {
        malformed(&format!("GET / {version}\r\nHost: a\r\n\r\n"));
        assert!(answer(Method::GET, &format!("{version} 200 OK\r\n\r\n")).is_err());
    }
    malformed("GET /\r\n\r\n");
    malformed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn a_header_name_with_an_underscore_is_dropped() {
    let head = with("X_A: 1\r\nTransfer_Encoding: chunked\r\nContent_Length: 9\r\nX-A: 2\r\n").unwrap();
    assert_eq!((head.framing, head.headers.len(), &head.headers["x-a"]), (Framing::Empty, 2, &"2".parse().unwrap()));
}

#[test]
fn hop_by_hop_fields_and_nominated_ones_are_removed() {
    let fields = "Connection: X-A, keep-alive\r\nX-A: 1\r\nX-B: 2\r\nConnection: Authorization\r\nAuthorization: x\r\n\
        Keep-Alive: 1\r\nTE: trailers\r\nProxy-Connection: close\r\nUpgrade: x\r\n";
    let head = with(fields).unwrap();
    assert_eq!(head.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["host", "x-b"]);
    let head = answer(Method::GET, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap();
    assert_eq!(head.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-b"]);
}

#[test]
fn a_client_may_not_nominate_away_host_content_length_or_cookie() {
    let head = with("Connection: Host, Cookie, Content-Length\r\nCookie: a\r\nContent-Length: 5\r\n").unwrap();
    assert_eq!((head.framing, &head.headers["cookie"]), (Framing::Length(5), &"a".parse().unwrap()));
    assert_eq!(head.headers["host"], "a");
}

#[test]
fn keep_alive_is_the_default_in_1_1_and_asked_for_in_1_0() {
    assert!(with("").unwrap().keep_alive);
    assert!(!with("Connection: Close\r\n").unwrap().keep_alive);
    assert!(!with("Connection: keep-alive, close\r\n").unwrap().keep_alive);
    assert!(!request("GET / HTTP/1.0\r\n\r\n").keep_alive);
    assert!(request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
    assert!(!request("GET / HTTP/1.0\r\nKeep-Alive: 300\r\n\r\n").keep_alive);
}

#[test]
fn an_upgrade_must_be_nominated_and_never_is_http_2() {
    let offer = |fields: &str| with(fields).unwrap().upgrade;
    assert_eq!(offer("Connection: Upgrade\r\nUpgrade: websocket\r\n").unwrap(), "websocket");
    assert!(offer("Upgrade: websocket\r\n").is_none());
    assert!(offer("Connection: upgrade\r\n").is_none());
    assert!(offer("Connection: upgrade\r\nUpgrade: websocket, H2C\r\n").is_none());
    let old = request("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(old.upgrade.is_none());
}

#[test]
fn only_one_expectation_is_known() {
    assert!(with("Expect: 100-Continue\r\nContent-Length: 1\r\n").unwrap().expect_continue);
    assert!(!with("Expect: 100-continue\r\n").unwrap().expect_continue, "there is no body to wait with");
    let refused = with("Expect: 100-continue, x\r\n").unwrap_err();
    assert_eq!(refused.status(), StatusCode::EXPECTATION_FAILED);
    let old = request("POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\n");
    assert!(!old.expect_continue && !old.headers.contains_key("expect"));
}

#[test]
fn a_response_body_ends_where_rfc_9112_says() {
    let framing = |method: Method, text: &str| answer(method, &format!("HTTP/1.1 {text}\r\n")).unwrap().framing;
    assert_eq!(framing(Method::GET, "200 OK\r\n"), Framing::UntilClose);
    assert_eq!(framing(Method::GET, "200\r\nContent-Length: 5\r\n"), Framing::Length(5));
    assert_eq!(framing(Method::GET, "200 \r\nTransfer-Encoding: chunked\r\n"), Framing::Chunked);
    for status in ["100", "101", "103", "204", "304"] {
        assert_eq!(framing(Method::GET, &format!("{status} x\r\nContent-Length: 5\r\n")), Framing::Empty);
        assert_eq!(framing(Method::GET, &format!("{status} x\r\nTransfer-Encoding: chunked\r\n")), Framing::Empty);
    }
    assert_eq!(framing(Method::HEAD, "200 x\r\nContent-Length: 5\r\n"), Framing::Empty);
    let head = answer(Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
    assert_eq!((head.content_length, head.keep_alive), (Some(5), true));
}

#[test]
fn a_response_connection_is_kept_only_if_its_end_is_certain() {
    let keeps = |text: &str| answer(Method::GET, &format!("HTTP/{text}\r\n")).unwrap().keep_alive;
    assert!(keeps("1.1 200 OK\r\nContent-Length: 5\r\n"));
    assert!(!keeps("1.1 200 OK\r\n"));
    assert!(!keeps("1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n"));
    assert!(!keeps("1.0 200 OK\r\nContent-Length: 5\r\n"));
    assert!(keeps("1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n"));
    assert!(!keeps("1.1 204 x\r\nContent-Length: 5\r\n"), "the body that can't be may come");
    assert!(keeps("1.1 304 x\r\nContent-Length: 5\r\n"));
}

#[test]
fn impossible_status_lines_are_refused() {
    for line in
        ["HTTP/1.1 099 x", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "HTTP/1.1 200\tOK", "200 OK"]
    {
        assert!(answer(Method::GET, &format!("{line}\r\n\r\n")).is_err(), "{line}");
    }
}

#[test]
fn a_head_too_large_is_refused_with_and_without_its_end() {
    let limits = HeadLimits { head: 100, headers: 3, uri: 20 };
    let refused = |text: &str| parse_request(text.as_bytes(), &limits).err();
    let fill = "x".repeat(200);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {fill}")), Some(HeadError::TooLarge));
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {fill}\r\n\r\n")), Some(HeadError::TooLarge));
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nA:1\r\nB:2\r\nC:3\r\n\r\n"), Some(HeadError::TooLarge));
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nA:1\r\nB:2\r\n\r\n"), None);
    assert_eq!(refused(&format!("GET /{fill}")), Some(HeadError::UriTooLong));
    assert_eq!(refused(&format!("GET /{fill} HTTP/1.1\r\nHost: a\r\n\r\n")), Some(HeadError::UriTooLong));
    assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &fill[..19])), None);
    assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &fill[..20])), Some(HeadError::UriTooLong));
    let exact = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", &fill[..length - 32]);
    assert_eq!((exact(100).len(), refused(&exact(100))), (100, None));
    assert_eq!(refused(&exact(101)), Some(HeadError::TooLarge));
    assert!(parse_response(format!("HTTP/1.1 200 {fill}").as_bytes(), &Method::GET, &limits).is_err());
    assert_eq!(HeadError::TooLarge.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(HeadError::UriTooLong.status(), StatusCode::URI_TOO_LONG);
}

#[test]
fn more_fields_than_the_stack_holds_are_read_if_the_limit_allows() {
    let limits = HeadLimits { head: 64 << 10, headers: 1000, uri: 100 };
    let fields: String = (0..900).map(|number| format!("x-{number}: {number}\r\n")).collect();
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let (head, _) = parse_request(text.as_bytes(), &limits).unwrap().unwrap();
    assert_eq!((head.headers.len(), &head.headers["x-899"]), (901, &"899".parse().unwrap()));
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped() {
    let text = |lines: usize| format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(lines));
    assert_eq!(parse_request(text(4).as_bytes(), &LIMITS).unwrap().unwrap().1, text(4).len());
    malformed(&text(5));
}
