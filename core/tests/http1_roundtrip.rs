//! Properties of the HTTP/1.1 codec over bytes of every kind, with the judge's second parser as the arbiter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod judge;

use http::{Method, Version};
use judge::{LIMITS, judge_chunks, judge_request, judge_response};
use proptest::{collection::vec, prelude::*};
use rsp_core::frame::http1::{head_end, parse_request, parse_response};

/// Lines and pieces of lines that heads are made of, legal and not.
const PIECES: [&str; 66] = [
    "GET / HTTP/1.1\r\n",
    "POST /a?b=c HTTP/1.1\r\n",
    "HEAD http://b:81/x HTTP/1.1\r\n",
    "GET http://u@h/ HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "OPTIONS http://h HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "POST / HTTP/1.0\r\n",
    "GET / HTTP/2.0\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.1 101 Switching\r\n",
    "Host: a\r\n",
    "Host: [::1]:80\r\n",
    "Host:\r\n",
    "Host: a b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, x\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, X-A\r\n",
    "Connection: Host, Cookie, Content-Length, Via\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: h2c\r\n",
    "Cookie: a=b\r\n",
    "X-A: 1\r\n",
    "X-A:\t2 \r\n",
    "X-A:\r\n",
    "x_b: 1\r\n",
    "Expect: 100-continue\r\n",
    "Expect: 200-ok\r\n",
    "Via: 1.0 x\r\n",
    "Forwarded: for=1.2.3.4\r\n",
    "X-Forwarded-For: 1.2.3.4\r\n",
    "X-Forwarded-For:\r\n",
    "X-Forwarded-Port: 1\r\n",
    "X-Real-IP: 1.1.1.1\r\n",
    "TE: trailers\r\n",
    "Keep-Alive: 1\r\n",
    "Trailer: x\r\n",
    "Date: now\r\n",
    " folded\r\n",
    "\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    ":",
    " ",
    "\u{e9}",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n",
    "0\r\nX-T: 1\r\n\r\n",
    "a;x=1\r\n0123456789\r\n",
    "GET /second HTTP/1.1\r\nHost: b\r\n\r\n",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(&PIECES[..14]);
    let host = prop::sample::select(vec!["Host: a\r\n", "Host: a\r\n", "Host: a\r\n", ""]);
    let rest = vec(prop::sample::select(&PIECES[14..]), 0..8);
    (start, host, rest, any::<bool>(), vec(prop::sample::select(&PIECES[51..]), 0..5)).prop_map(
        |(start, host, rest, ended, after)| {
            let end = if ended { "\r\n" } else { "" };
            [start, host].into_iter().chain(rest).chain([end]).chain(after).collect::<String>().into_bytes()
        },
    )
}

/// Requests that are mostly legal, with their body and another request behind.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST http://b:81?q HTTP/1.1\r\nhost: [::1]:80\r\n",
        "POST /a?b=c HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.1\r\nHost:\r\n",
    ]);
    let fields: Vec<&str> = PIECES[26..50].iter().copied().filter(|piece| *piece != "Expect: 200-ok\r\n").collect();
    let framing = prop::sample::select(vec![
        ("", ""),
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\na;x=1\r\n0123456789\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\nX-T: 1\r\nHost: evil\r\nX-T: 2\r\n\r\n"),
    ]);
    (start, vec(prop::sample::select(fields.clone()), 0..6), framing, vec(prop::sample::select(fields), 0..3)).prop_map(
        |(start, before, (framing, body), after)| {
            let next = "GET /second HTTP/1.1\r\nHost: b\r\n\r\n";
            [&[start][..], &before, &[framing], &after, &["\r\n", body, next]].concat().concat().into_bytes()
        },
    )
}

fn chunk_soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "5\r\nhello\r\n",
        "1\r\na\r\n",
        "1\r\n\n\r\n",
        "A;x=y\r\n0123456789\r\n",
        "0010\r\n0123456789abcdef\r\n",
        "3;\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\n\r\n",
        "0\r\nA: b\r\n\r\n",
        "0\r\nContent-Length: 3\r\nx: y\r\n\r\n",
        "0;e\r\n\r\n",
        "0\r\n x\r\n\r\n",
        "+1\r\n",
        "0x1\r\na\r\n",
        "1 \r\na\r\n",
        "1_0\r\n",
        "2\r\nabc\r\n",
        "1\na\r\n",
        "1\r\na\n",
        "00000000000000001\r\na\r\n",
        "FFFFFFFFFFFFFFFF\r\n",
        "\r\n",
        "\n",
        "\r",
        "1;a\n\r\na\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ];
    vec(prop::sample::select(pieces.to_vec()), 0..9).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn what_goes_upstream_is_one_request_with_the_same_meaning_or_nothing(input in soup()) {
        judge_request(&input);
    }

    #[test]
    fn a_legal_request_goes_upstream_with_the_same_meaning(input in plausible()) {
        judge_request(&input);
        let old = input.windows(8).any(|text| text == b"HTTP/1.0") && input.windows(9).any(|text| text == b"Transfer-");
        prop_assert_eq!(parse_request(&input, &LIMITS).is_err(), old);
    }

    #[test]
    fn a_changed_byte_never_makes_two_requests_of_one(input in plausible(), at: prop::sample::Index, byte: u8) {
        let mut input = input;
        let at = at.index(input.len());
        input[at] = byte;
        judge_request(&input);
        judge_response(&input, &Method::GET, Version::HTTP_11);
    }

    #[test]
    fn what_goes_to_the_client_is_one_response_with_the_same_meaning_or_nothing(
        input in soup(), head: bool, old: bool,
    ) {
        let method = if head { Method::HEAD } else { Method::GET };
        judge_response(&input, &method, if old { Version::HTTP_10 } else { Version::HTTP_11 });
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in vec(any::<u8>(), 0..400), sizes in vec(1_usize..50, 1..5)) {
        judge_request(&input);
        judge_response(&input, &Method::GET, Version::HTTP_11);
        judge_chunks(&input, &sizes);
        head_end(&input, 0);
    }

    #[test]
    fn a_head_split_anywhere_parses_the_same(input in prop_oneof![soup(), plausible()], cut: prop::sample::Index) {
        let whole = parse_request(&input, &LIMITS);
        let cut = cut.index(input.len() + 1);
        match parse_request(&input[..cut], &LIMITS) {
            Ok(None) => {}
            // Decided on a part: the rest must not change it.
            early => prop_assert_eq!(format!("{early:?}"), format!("{whole:?}")),
        }
        let whole = parse_response(&input, &Method::GET, &LIMITS);
        match parse_response(&input[..cut], &Method::GET, &LIMITS) {
            Ok(None) => {}
            early => prop_assert_eq!(format!("{early:?}"), format!("{whole:?}")),
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_whatever_was_searched_before(input in prop_oneof![soup(), plausible()], cut: prop::sample::Index) {
        let end = head_end(&input, 0);
        let cut = cut.index(input.len() + 1);
        if head_end(&input[..cut], 0).is_none() {
            prop_assert_eq!(head_end(&input, cut), end);
        }
        match (end, parse_request(&input, &LIMITS)) {
            (end, Ok(Some((_, length)))) => prop_assert_eq!(end, Some(length)),
            (None, Ok(None) | Err(_)) => {}
            (Some(end), whole) => {
                prop_assert!(whole.is_err() && parse_request(&input[..end], &LIMITS).is_err());
            }
        }
    }

    #[test]
    fn a_chunked_body_in_any_split_is_what_a_naive_decoder_reads(input in chunk_soup(), sizes in vec(1_usize..9, 0..4)) {
        judge_chunks(&input, &sizes);
        judge_chunks(&input, &[1]);
    }
}
