//! Who is not let in, and with which words.

use testkit::{WebSocket, eventually};

use super::{Beside, Starter, beside, handshake};
use crate::SOON;

/// Whether a page of this origin gets its WebSocket: ours, theirs; all others get 403.
#[track_caller]
fn lets_in(both: &Beside, host: &str, origin: Option<&str>) -> [bool; 2] {
    let field = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    both.ask(&handshake("/", host, &field)).map(|answer| {
        assert!([101, 403].contains(&answer.status), "{origin:?}: {answer:?}");
        answer.status == 101
    })
}

#[test]
fn pages_of_the_same_origin_are_told_by_host_and_port() {
    let both = Starter::new().start(&["--sameorigin", "cat"]);
    for (host, origin, expected) in [
        ("a.example", None, [false, false]),
        ("a.example", Some("null"), [false, false]),
        ("a.example", Some("file://"), [false, false]),
        ("a.example", Some("http://a.example"), [true, true]),
        ("a.example", Some("http://a.example:80"), [true, true]),
        ("a.example:81", Some("http://a.example:81"), [true, true]),
        ("a.example:81", Some("http://a.example"), [false, false]),
        ("a.example", Some("http://a.example:81"), [false, false]),
        ("a.example", Some("http://b.example"), [false, false]),
        ("a.example", Some("http://x.a.example"), [false, false]),
        ("a.example", Some("https://a.example"), [false, false]),
        // A browser writes hosts in lower case, and some clients don't: the same host all the same (RFC 9110 §4.2.3).
        ("A.example", Some("http://a.EXAMPLE"), [true, false]),
    ] {
        assert_eq!(lets_in(&both, host, origin), expected, "{host} {origin:?}");
    }
}

#[test]
fn pages_are_let_in_by_a_list_of_origins() {
    let both = Starter::new().start(&["--origin=a.example,https://c.example,e.example:88,http://g.example:99", "cat"]);
    for (origin, expected) in [
        (None, false),
        (Some("null"), false),
        (Some("http://a.example"), true),
        (Some("https://a.example:77"), true),
        (Some("http://x.a.example"), false),
        (Some("http://c.example"), false),
        (Some("https://c.example"), true),
        (Some("https://c.example:9"), true),
        (Some("http://e.example"), false),
        (Some("http://e.example:88"), true),
        (Some("https://e.example:88"), true),
        (Some("http://g.example:99"), true),
        (Some("https://g.example:99"), false),
        (Some("http://g.example"), false),
    ] {
        assert_eq!(lets_in(&both, "server.example", origin), [expected; 2], "{origin:?}");
    }
}

#[test]
fn every_page_may_come_where_nothing_is_said_of_origins() {
    let both = beside(&["cat"]);
    for origin in [None, Some("null"), Some("http://anywhere.example"), Some("file://")] {
        assert_eq!(lets_in(&both, "server.example", origin), [true; 2], "{origin:?}");
    }
}

#[test]
fn a_request_that_is_no_websocket_gets_the_same_status() {
    let both = beside(&["cat"]);
    let upgrade = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), [404, 404]),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), [404, 404]),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n".to_owned(), [404, 404]),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n".to_owned(), [404, 404]),
        // A WebSocket begins with a GET (RFC 6455 §4.1): this is none.
        (format!("POST / HTTP/1.1\r\n{upgrade}{key}Sec-WebSocket-Version: 13\r\n\r\n"), [404, 405]),
        (format!("GET / HTTP/1.1\r\n{upgrade}Sec-WebSocket-Version: 13\r\n\r\n"), [400, 400]),
        // RFC 6455 §4.2.2: 426 says which version would do.
        (format!("GET / HTTP/1.1\r\n{upgrade}{key}Sec-WebSocket-Version: 8\r\n\r\n"), [426, 400]),
        // RFC 6455 §4.2.1: a key has 16 bytes.
        (
            format!("GET / HTTP/1.1\r\n{upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n"),
            [400, 101],
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n{key}Sec-WebSocket-Version: 13\r\n\r\n"
            ),
            [101, 101],
        ),
    ] {
        assert_eq!(both.ask(&request).map(|answer| answer.status), expected, "{request}");
    }
}

#[test]
fn the_first_subprotocol_is_agreed_on_and_messages_may_be_compressed() {
    let both = beside(&["cat"]);
    let names = ["sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions"];
    let agreed = |fields: &str| {
        let of = |address: String| {
            let socket = WebSocket::open_with(&address, "/", fields);
            names.map(|name| socket.header(name).map(str::to_owned))
        };
        [of(both.ours.address()), of(both.theirs.address())]
    };
    let [ours, theirs] = agreed("");
    assert_eq!(ours, theirs);
    // Debian's agrees on none, and browsers end a WebSocket whose subprotocol was not agreed on.
    let [ours, theirs] = agreed("Sec-WebSocket-Protocol: one, two\r\n");
    assert_eq!((ours[1].as_deref(), theirs[1].as_deref()), (Some("one"), None));
    let [ours, theirs] = agreed("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert!(ours[2].as_deref().is_some_and(|agreed| agreed.starts_with("permessage-deflate")), "{ours:?}");
    assert_eq!(theirs[2], None);
}

#[test]
fn one_client_too_many_is_told_to_come_later() {
    let both = Starter::new().start(&["--maxforks=2", "cat"]);
    let held = [both.open("/"), both.open("/")];
    assert_eq!(both.ask(&handshake("/", "a", "")).map(|answer| answer.status), [429, 429]);
    drop(held);
    for address in [both.ours.address(), both.theirs.address()] {
        eventually(SOON, || WebSocket::try_open(&address, "/", "").is_ok());
    }
}
