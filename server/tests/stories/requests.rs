//! What a request may not say: it is answered, the connection is closed, and the origin hears nothing of it.

use testkit::{Answer, Client, End, Origin, Rsp};

use super::{SOON, proxy};

/// Bytes of a whole request, broken in one place.
type Broken<'a> = (&'a str, &'a str);

const LENGTHS: &[Broken] = &[
    ("both framings", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
    ("both framings, the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
    ("unlike lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"),
    ("the same length twice", "Content-Length: 3\r\nContent-Length: 3\r\n"),
    ("a list of lengths", "Content-Length: 3, 3\r\n"),
    ("a length with a sign", "Content-Length: +3\r\n"),
    ("a negative length", "Content-Length: -3\r\n"),
    ("a hexadecimal length", "Content-Length: 0x3\r\n"),
    ("an empty length", "Content-Length:\r\n"),
    ("a length with a letter", "Content-Length: 3a\r\n"),
    ("two words of length", "Content-Length: 3 3\r\n"),
    ("a length that overflows", "Content-Length: 18446744073709551616\r\n"),
    ("a coding that is not chunked", "Transfer-Encoding: identity\r\n"),
    ("chunked is not last", "Transfer-Encoding: chunked, gzip\r\n"),
    ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n"),
    ("chunked twice in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("nearly chunked", "Transfer-Encoding: xchunked\r\n"),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    ("an empty coding", "Transfer-Encoding:\r\n"),
];

const FIELDS: &[Broken] = &[
    ("a space before the colon", "X-A : b\r\n"),
    ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
    ("a folded line", "X-A: b\r\n c\r\n"),
    ("a first line that is folded", " X-A: b\r\n"),
    ("a bare CR in a value", "X-A: b\rX-B: c\r\n"),
    ("a bare LF as line end", "X-A: b\nX-B: c\r\n"),
    ("a NUL in a value", "X-A: b\0c\r\n"),
    ("a control character in a value", "X-A: b\x01c\r\n"),
    ("a control character in a name", "X-\x01A: b\r\n"),
    ("an empty name", ": b\r\n"),
    ("a name that is no token", "X(A): b\r\n"),
    ("no colon", "X-A b\r\n"),
];

const STARTS: &[Broken] = &[
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("a host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a host with user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("a method that is no token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an empty method", " / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no version", "GET /\r\nHost: a\r\n\r\n"),
    ("version 0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    ("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("another protocol", "GET / HTTQ/1.1\r\nHost: a\r\n\r\n"),
    ("two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target that is no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("bare LFs throughout", "GET / HTTP/1.1\nHost: a\n\n"),
    ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("bytes that are no HTTP", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n"),
];

const CHUNKS: &[Broken] = &[
    ("a sign", "+3\r\nabc\r\n0\r\n\r\n"),
    ("a minus", "-3\r\nabc\r\n0\r\n\r\n"),
    ("a 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("a space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
    ("a space behind the size", "3 \r\nabc\r\n0\r\n\r\n"),
    ("an underscore", "0_3\r\nabc\r\n0\r\n\r\n"),
    ("17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("no digit", "\r\nabc\r\n0\r\n\r\n"),
    ("a letter", "g\r\nabc\r\n0\r\n\r\n"),
    ("no CRLF behind the data", "3\r\nabcd\r\n0\r\n\r\n"),
    ("a bare LF behind the data", "3\r\nabc\n0\r\n\r\n"),
    ("a bare LF behind the size", "3\nabc\r\n0\r\n\r\n"),
    ("a bare CR in an extension", "3;a=\rb\r\nabc\r\n0\r\n\r\n"),
    ("a broken trailer", "3\r\nabc\r\n0\r\nX A: b\r\n\r\n"),
];

#[test]
fn a_request_with_two_readings_is_refused_and_goes_nowhere() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    for (what, lines) in LENGTHS.iter().chain(FIELDS) {
        refused(&rsp, what, &format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n0\r\n\r\n"));
    }
    for (what, bytes) in STARTS {
        refused(&rsp, what, bytes);
    }
    assert_eq!(origin.received().len(), 0, "{:?}", origin.received());
}

#[test]
fn a_chunk_with_two_readings_that_came_with_its_head_is_refused_and_goes_nowhere() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let extension = format!("3;a={}\r\nabc\r\n0\r\n\r\n", "x".repeat(300));
    for (what, chunks) in CHUNKS.iter().copied().chain([("a long extension", extension.as_str())]) {
        // A good chunk in front would be on its way before the fault is seen.
        if !what.contains("behind the data") && !what.contains("trailer") {
            refused(&rsp, what, &format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        }
    }
    assert_eq!(origin.received().len(), 0, "{:?}", origin.received());
}

#[test]
fn a_chunk_fault_behind_a_forwarded_head_is_a_cut_to_the_upstream_and_400_to_the_client() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    for (count, (what, chunks)) in CHUNKS.iter().enumerate() {
        let mut client = rsp.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        origin.wait_for_heads(count + 1, SOON);
        client.send(chunks);
        let answer = client.try_read_response("POST").unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{what}");
        assert!(client.is_closed_within(SOON), "{what}");
        testkit::eventually(SOON, || origin.connections_open() == 0);
        let received = &origin.received()[count];
        assert!(!received.complete, "{what}: the upstream took it for a whole request");
    }
    assert_eq!(origin.connections_opened(), CHUNKS.len() as u64, "a cut connection was used again");
}

#[test]
fn a_chunk_fault_after_the_answer_began_is_a_cut_on_both_sides() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun";
    let origin = Origin::start(move |_| Answer(vec![testkit::Step::Write(head.into()), testkit::Step::ReadBody]));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
    assert_eq!(client.read_exactly(5), b"begun");
    client.send("0x1\r\na\r\n0\r\n\r\n");
    assert_eq!(client.read_to_end().0, b"");
    testkit::eventually(SOON, || origin.connections_open() == 0);
    assert!(!origin.received()[0].complete);
}

#[test]
fn a_body_that_the_client_breaks_off_never_looks_whole_upstream() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    for (count, begun) in
        ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"].iter().enumerate()
    {
        let mut client = rsp.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{begun}"));
        origin.wait_for_heads(count + 1, SOON);
        drop(client);
        testkit::eventually(SOON, || origin.connections_open() == 0);
        assert!(!origin.received()[count].complete, "{begun}");
    }
}

#[test]
fn absolute_form_wins_over_host_and_names_with_underscores_are_dropped() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let answer = rsp.client().request(
        "GET http://example.com/a?b HTTP/1.1\r\nHost: other\r\nX_Forwarded_For: 6.6.6.6\r\nX-Good: yes\r\n\r\n",
    );
    assert_eq!((answer.status, answer.end), (200, End::Framed));
    let received = &origin.received()[0];
    assert_eq!(received.request.target, "/a?b");
    assert_eq!((received.header("host"), received.header("x-good")), (Some("example.com"), Some("yes")));
    assert_eq!(received.header("x_forwarded_for"), None);
}

#[test]
fn trace_and_connect_are_refused_and_the_connection_is_closed() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    for request in ["TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"] {
        let mut client = rsp.client();
        assert_eq!(client.request(request).status, 405, "{request}");
        assert!(client.is_closed_within(SOON), "{request}");
    }
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn a_coding_before_chunked_is_501() {
    let origin = Origin::replying("never");
    let rsp = proxy(&origin);
    let coded = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(rsp.client().request(coded).status, 501);
    assert!(origin.received().is_empty());
}

#[test]
fn an_expectation_nobody_knows_is_417() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let answer = client.request("POST / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(answer.status, 417);
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn what_stands_behind_a_refused_request_is_never_taken_for_the_next_one() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response("POST").status, 400);
    assert_eq!(client.read_to_end().0, b"");
    assert_eq!(origin.received().len(), 0);
}

#[track_caller]
fn refused(rsp: &Rsp, what: &str, bytes: &str) {
    let mut client = Client::connect(&rsp.address());
    client.send(bytes);
    let answer = client.try_read_response("POST").unwrap_or_else(|error| panic!("{what}: no answer, {error}"));
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{what}");
    assert_eq!(answer.end, End::Framed, "{what}");
    assert!(client.is_closed_within(SOON), "{what}: the connection stays open");
}

#[test]
fn absolute_forms_without_a_path_or_with_user_information() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    assert_eq!(client.request("GET http://example.com HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(client.request("GET http://example.com?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let targets: Vec<_> = origin.received().iter().map(|one| one.request.target.clone()).collect();
    assert_eq!(targets, ["/", "/?x=1"]);
    refused(&rsp, "user information", "GET http://u:p@example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    refused(&rsp, "no host", "GET http:///a HTTP/1.1\r\nHost: example.com\r\n\r\n");
    refused(&rsp, "no host even with one", "GET http://example.com/ HTTP/1.1\r\n\r\n");
}
