//! The request head that asks an auth server whether another request may pass.

use http::{HeaderName, Method};

use super::{
    Upstreamward,
    upstream::{goes_on, write_host, write_x_forwarded},
    write_via,
};
use crate::frame::http1::{write_field, write_request_line};

/// Appends a `GET` for `request.target` that has the end-to-end fields of the request in question and says in
/// `X-Forwarded-Method` and `-Uri` what that one asks for. It has no body and none of the fields that describe or
/// expect one; nor conditions and ranges, which are about the representation asked for and not about the answer to
/// this question (a 304 or 206 would be none).
///
/// Equal heads are equal questions: an answer may depend on nothing else.
pub fn write_question(out: &mut Vec<u8>, request: &Upstreamward<'_>) {
    let head = request.head;
    out.reserve(512 + request.target.len());
    write_request_line(out, &Method::GET, request.target);
    write_host(out, request);
    for (name, value) in &head.headers {
        if goes_on(name, request) && is_asked_with(name) {
            write_field(out, name, value);
        }
    }
    write_x_forwarded(out, request);
    out.extend_from_slice(b"x-forwarded-method: ");
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.extend_from_slice(b"\r\nx-forwarded-uri: ");
    out.extend_from_slice(head.target.as_bytes());
    out.extend_from_slice(b"\r\n");
    write_via(out, &head.headers, head.version);
    out.extend_from_slice(b"\r\n");
}

fn is_asked_with(name: &HeaderName) -> bool {
    let name = name.as_str();
    let written_here = matches!(name, "x-forwarded-method" | "x-forwarded-uri");
    let of_a_body = name.starts_with("content-") || name == "digest" || name == "repr-digest";
    let of_a_representation = name.starts_with("if-") || name == "range";
    !(written_here || of_a_body || of_a_representation)
}

#[cfg(test)]
mod tests {
    use crate::{
        config::Forwarded,
        frame::http1::{Framing, HeadLimits, RequestHead, parse_request},
    };

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

    fn question(head: &str, trusted: bool) -> (String, RequestHead) {
        let bytes = head.replace('\n', "\r\n").into_bytes();
        let (head, _) = parse_request(&bytes, &LIMITS).unwrap().unwrap();
        let request = Upstreamward {
            head: &head,
            target: b"/auth?x",
            host: None,
            client: Some("192.0.2.7".parse().unwrap()),
            real_ip: Some("192.0.2.7".parse().unwrap()),
            trusted,
            scheme: "http",
            forwarded: Forwarded::X,
            framing: Framing::Empty,
            upgrade: false,
        };
        let mut out = Vec::new();
        write_question(&mut out, &request);
        let text = String::from_utf8(out.clone()).unwrap();
        let (asked, length) = parse_request(&out, &LIMITS).unwrap().unwrap();
        assert_eq!(length, text.len(), "one head and nothing behind it");
        (text, asked)
    }

    #[test]
    fn a_question_is_a_get_with_the_fields_of_the_request_and_without_its_body() {
        let (text, asked) = question(
            "POST /form?a=1 HTTP/1.1\nHost: example.com\nCookie: s=1\nAuthorization: Basic x\nContent-Type: text/plain\n\
             Content-Length: 5\nExpect: 100-continue\nIf-None-Match: \"a\"\nRange: bytes=0-1\nX-Key: k\n\n",
            false,
        );
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/auth?x"));
        assert_eq!(asked.framing, Framing::Empty);
        assert!(!asked.expect_continue);
        let value = |name: &str| asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        for (name, expected) in [
            ("host", "example.com"),
            ("cookie", "s=1"),
            ("authorization", "Basic x"),
            ("x-key", "k"),
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/form?a=1"),
            ("x-forwarded-host", "example.com"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-real-ip", "192.0.2.7"),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
        for absent in ["content-type", "content-length", "if-none-match", "range", "expect"] {
            assert_eq!(value(absent), None, "{absent} in\n{text}");
        }
    }

    #[test]
    fn what_a_client_says_of_method_and_uri_is_never_asked_about() {
        let lies = "GET /secret HTTP/1.1\nHost: a\nX-Forwarded-Method: HEAD\nX-Forwarded-Uri: /public\n\
                    X-Forwarded-For: 10.0.0.1\nX-Forwarded-Prefix: /p\n\n";
        for trusted in [false, true] {
            let (text, asked) = question(lies, trusted);
            let all = |name: &str| asked.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
            assert_eq!(all("x-forwarded-uri"), ["/secret"], "{text}");
            assert_eq!(all("x-forwarded-method"), ["GET"], "{text}");
            assert_eq!(all("x-forwarded-prefix").len(), usize::from(trusted), "{text}");
            let hops = if trusted { "10.0.0.1, 192.0.2.7" } else { "192.0.2.7" };
            assert_eq!(all("x-forwarded-for"), [hops], "{text}");
        }
    }
}
