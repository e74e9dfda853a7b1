//! Heads of HTTP/2, whatever they hold: what goes upstream is one request of the same meaning, or nothing goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod judge;

use proptest::prelude::*;

/// Lines of a request, most of them right.
fn line(right: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![8 => proptest::sample::select(right).prop_map(str::to_owned), 1 => "[ -~]{0,20}", 1 => Just("-".to_owned())]
}

fn field() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "host",
        "cookie",
        "content-length",
        "te",
        "expect",
        "connection",
        "upgrade",
        "transfer-encoding",
        "x_y",
        "x-y",
        "forwarded",
        "x-forwarded-for",
        "via",
        "keep-alive",
        "sec-websocket-key",
    ];
    const VALUES: &[&str] =
        &["example.com", "a=1", "5", "0", "trailers", "100-continue", "close", "websocket", "chunked", "x", " x", ""];
    (line(NAMES), line(VALUES)).prop_map(|(name, value)| format!("{name}:{value}"))
}

proptest! {
    #[test]
    fn what_is_forwarded_is_the_request_that_came(
        first in 0_u8..4,
        method in line(&["GET", "POST", "OPTIONS", "CONNECT", "HEAD"]),
        scheme in line(&["https", "http"]),
        authority in line(&["example.com", "example.com:443", "[::1]:80"]),
        path in line(&["/", "/a?b", "*", "/%2e%2e/x"]),
        protocol in prop_oneof![3 => Just("-".to_owned()), 1 => Just("websocket".to_owned())],
        fields in proptest::collection::vec(field(), 0..6),
    ) {
        let pseudo = [method, scheme, authority, path, protocol];
        let text = pseudo.into_iter().chain(fields).collect::<Vec<_>>().join("\n");
        judge::judge_http2_request(&[&[first][..], text.as_bytes()].concat());
    }

    #[test]
    fn any_bytes_are_judged(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        judge::judge_http2_request(&input);
    }
}
