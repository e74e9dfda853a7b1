//! What a program is told, variable by variable.

use std::{collections::BTreeMap, net::IpAddr};

use testkit::{Message, WebSocket};

use super::{Beside, Starter, all_messages, handshake, variables};

/// What ours is where it differs; None: not there.
type Difference<'a> = (&'a str, Option<&'a str>);

/// The environments of a program that was asked for in the same words: ours, theirs.
#[track_caller]
fn told(both: &Beside, request: &str) -> [BTreeMap<String, String>; 2] {
    [both.ours.address(), both.theirs.address()].map(|address| {
        let opened = WebSocket::try_ask(&address, request);
        let messages = all_messages(&mut opened.unwrap_or_else(|refused| panic!("{address}: {refused:?}")));
        let names = messages.iter().filter(|message| matches!(message, Message::Text(_))).count();
        let variables = variables(&messages);
        assert_eq!(variables.len(), names, "every variable once: {messages:?}");
        variables
    })
}

/// Every variable is the same but for those that are of the moment, and for these.
#[track_caller]
fn assert_same(both: &Beside, request: &str, differences: &[Difference]) {
    let [mut ours, theirs] = told(both, request);
    let mut expected = theirs;
    // Debian's calls it `websocketd-CGI/0.1`, RFC 3875 §4.1.4 and later websocketds `CGI/1.1`.
    expected.insert("GATEWAY_INTERFACE".into(), "CGI/1.1".into());
    // Debian's believes what the client says; ours is where the request was received (RFC 3875 §4.1.15).
    expected.insert("SERVER_PORT".into(), both.ours.port().to_string());
    for (name, value) in differences {
        let before = match value {
            Some(value) => expected.insert((*name).into(), (*value).into()),
            None => expected.remove(*name),
        };
        assert_ne!(before.as_deref(), *value, "{name} is no difference");
    }
    let software = ours.remove("SERVER_SOFTWARE").unwrap();
    assert!(expected.remove("SERVER_SOFTWARE").is_some() && software.contains('/'), "{software:?}");
    // One for each connection.
    for name in ["REMOTE_PORT", "UNIQUE_ID"] {
        let values = [ours.remove(name).unwrap(), expected.remove(name).unwrap()];
        assert!(values.iter().all(|value| value.parse::<u64>().is_ok()), "{name}: {values:?}");
        assert_ne!(values[0], values[1]);
    }
    assert_eq!(ours, expected);
}

#[test]
fn the_environment_is_that_of_websocketd_variable_by_variable() {
    let both = Starter::new().start(&["env"]);
    let fields = "Origin: http://example.com:1234\r\nUser-Agent: one (two; three)\r\nCookie: a=1\r\nCookie: b=2; c=3\r\n\
                  X-Repeated: one\r\nx-repeated:  two \r\nX-REPEATED:three\r\nX-Empty:\r\nX-Equals: a=b=c\r\n\
                  Accept-Language: de,en;q=0.5\r\nAuthorization: Basic YTpi\r\nContent-Type: text/x; y=\"z\"\r\n\
                  X-Forwarded-For: 10.1.2.3\r\nX-Odd!Name: odd\r\nVia: 1.1 other\r\n\
                  Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Extensions: x-other\r\n";
    let path = "/a%20b/c%C3%A9?x=1&y=%20+z&x=2";
    let differences = [
        // The separator of cookies is a semicolon (RFC 6265 §4.2.1).
        ("HTTP_COOKIE", Some("a=1; b=2; c=3")),
        // Under its own name (RFC 3875 §4.1.3), and not under another beside it (§4.1.18).
        ("CONTENT_TYPE", Some("text/x; y=\"z\"")),
        ("HTTP_CONTENT_TYPE", None),
        // No shell can name it, and some programs take it for another.
        ("HTTP_X_ODD!NAME", None),
        // Of a client that is no trusted proxy.
        ("HTTP_X_FORWARDED_FOR", None),
    ];
    assert_same(&both, &handshake(path, "example.com:1234", fields), &differences);
}

#[test]
fn what_could_be_taken_for_another_variable_does_not_reach_a_program() {
    let both = Starter::new().start(&["env"]);
    let fields = "Proxy: http://evil:1\r\nX_Under: score\r\nX-Kept: yes\r\n";
    // A program would take the first for its own proxy (httpoxy), the second for `X-Under`.
    let differences = [("HTTP_PROXY", None), ("HTTP_X_UNDER", None)];
    assert_same(&both, &handshake("/", "example.com", fields), &differences);
    // Debian's says one or the other, as it comes.
    let [ours, _] = told(&both, &handshake("/", "example.com", "X_Under: score\r\nX-Under: line\r\n"));
    assert_eq!(ours["HTTP_X_UNDER"], "line");
}

#[test]
fn the_name_of_the_server_is_the_one_that_the_client_asked_for() {
    let both = Starter::new().start(&["env"]);
    for (host, name) in
        [("example.com", "example.com"), ("EXAMPLE.com:80", "EXAMPLE.com"), ("127.0.0.1:1", "127.0.0.1")]
    {
        let [ours, theirs] = told(&both, &handshake("/", host, ""));
        assert_eq!((ours["SERVER_NAME"].as_str(), theirs["SERVER_NAME"].as_str()), (name, name), "{host}");
    }
    // Debian's takes the brackets off where a port follows; they are part of the name (RFC 3875 §4.1.14).
    let [ours, theirs] = told(&both, &handshake("/", "[::1]:8080", ""));
    assert_eq!((ours["SERVER_NAME"].as_str(), theirs["SERVER_NAME"].as_str()), ("[::1]", "::1"));
}

#[test]
fn a_program_sees_the_variables_of_its_server_that_are_passed_and_no_others() {
    let starter = || Starter::new().variable("SECRET", "hidden").variable("KEPT", "k").variable("HTTPS", "on");
    let starter = || starter().variable("LD_LIBRARY_PATH", "/nowhere").variable("SERVER_NAME", "spoofed");
    let request = handshake("/", "example.com", "");
    assert_same(&starter().start(&["env"]), &request, &[]);
    let both = starter().start(&["--passenv=KEPT,HTTPS,MISSING,PATH", "env"]);
    assert_same(&both, &request, &[]);
    let [ours, _] = told(&both, &request);
    assert_eq!((ours.get("KEPT").map(String::as_str), ours.get("SECRET")), (Some("k"), None));
    assert_same(&starter().start(&["--passenv=", "env"]), &request, &[]);
}

#[test]
fn a_program_of_a_folder_is_told_its_name_and_what_follows_it() {
    let both = Starter::new().program("sub/env", "#!/bin/sh\nexec env\n").start(&["--dir=$HERE"]);
    for path in ["/sub/env", "/sub/env/", "/sub/env/a/b?x=/c", "/sub/env/a%20b/%C3%A9", "/%73ub/%65nv/x"] {
        assert_same(&both, &handshake(path, "example.com", ""), &[]);
    }
}

#[test]
fn the_name_of_a_client_is_looked_up_where_that_is_asked_for() {
    let both = Starter::new().start(&["--reverselookup", "env"]);
    let [ours, theirs] = told(&both, &handshake("/", "a", ""));
    for told in [ours, theirs] {
        assert_eq!(told["REMOTE_ADDR"], "127.0.0.1");
        // An address may have several names: each has one of them.
        assert!(!told["REMOTE_HOST"].is_empty() && told["REMOTE_HOST"].parse::<IpAddr>().is_err(), "{told:?}");
    }
}
