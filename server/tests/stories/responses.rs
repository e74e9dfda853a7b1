//! What an upstream may not answer, what its answers mean, and how a cut stays a cut.

use testkit::{Answer, End, Gate, Origin, Step};

use super::proxy;

/// Whole answers, each broken in one place.
const BROKEN: &[(&str, &str)] = &[
    ("both framings", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("unlike lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab"),
    ("a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"),
    ("a length that overflows", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab"),
    ("a coding that is not chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nab"),
    ("chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab"),
    ("a folded line", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nab"),
    ("a bare CR", "HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 2\r\n\r\nab"),
    ("bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nab"),
    ("a NUL", "HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nab"),
    ("a name that is no token", "HTTP/1.1 200 OK\r\nX(A: b\r\nContent-Length: 2\r\n\r\nab"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nab"),
    ("a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nab"),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nab"),
    ("no HTTP at all", "SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    ("a 101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    ("a broken first chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"),
];

#[test]
fn an_answer_with_two_readings_becomes_502_and_its_connection_is_not_used_again() {
    let origin = Origin::start(|request| match request.target[1..].parse::<usize>() {
        Ok(index) => Answer::raw(BROKEN[index].1),
        Err(_) => Answer::ok("good"),
    });
    let rsp = proxy(&origin);
    for (index, (what, _)) in BROKEN.iter().enumerate() {
        let answer = rsp.client().get(&format!("/{index}"));
        assert_eq!((answer.status, answer.end), (502, End::Framed), "{what}");
        let text = answer.text();
        assert!(text.starts_with("502 Bad Gateway\nrequest ") && text.lines().count() == 2, "{what}: {text}");
        assert_eq!(rsp.client().get("/good").text(), "good", "behind {what}");
    }
    let on_broken =
        origin.received().into_iter().filter(|one| one.request.target == "/good" && one.request.on_connection > 1);
    // A good connection may carry the next request, which breaks it.
    assert_eq!(on_broken.count(), 0);
}

#[test]
fn a_head_without_end_is_502() {
    let origin = Origin::start(|_| {
        Answer::raw(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Long: yes yes yes yes yes yes\r\n".repeat(10_000)))
    });
    assert_eq!(proxy(&origin).client().get("/").status, 502);
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_502() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/close" => Answer::close(),
        "/reset" => Answer(vec![Step::ReadBody, Step::Reset]),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nContent-Le").then(Step::Close),
    });
    let rsp = proxy(&origin);
    for path in ["/close", "/reset", "/inside-the-head"] {
        assert_eq!(rsp.client().request(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n\r\n")).status, 502, "{path}");
    }
}

/// How an answer begins, and how it breaks off.
const CUTS: &[(&str, Ending)] = &[
    ("Content-Length: 100\r\n\r\nbegun", Ending::Close),
    ("Content-Length: 100\r\n\r\nbegun", Ending::Reset),
    ("Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", Ending::Close),
    ("Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", Ending::Reset),
    ("Transfer-Encoding: chunked\r\n\r\n64\r\nbegun", Ending::Close),
    ("Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n0\r\nX-A: b\r\n", Ending::Close),
    ("Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", Ending::Write("0x1\r\na\r\n0\r\n\r\n")),
    ("Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n", Ending::Write("1\r\nab\r\n0\r\n\r\n")),
    // A close is the end of such a body; only a reset tells a cut.
    ("X-Until: close\r\n\r\nbegun", Ending::Reset),
];

#[derive(Debug, Clone, Copy)]
enum Ending {
    Close,
    Reset,
    Write(&'static str),
}

#[test]
fn an_answer_that_is_cut_short_reaches_the_client_as_a_cut() {
    let gates: [Gate; CUTS.len() * 2] = std::array::from_fn(|_| Gate::new());
    let waits = gates.clone();
    let origin = Origin::start(move |request| {
        let index: usize = request.target[1..].parse().unwrap();
        let (head, ending) = CUTS[index % CUTS.len()];
        let begun = Answer::raw(format!("HTTP/1.1 200 OK\r\n{head}")).then(Step::Pass(waits[index].clone()));
        match ending {
            Ending::Close => begun.then(Step::Close),
            Ending::Reset => begun.then(Step::Reset),
            Ending::Write(bytes) => begun.then(Step::Write(bytes.into())).then(Step::Hang),
        }
    });
    let rsp = proxy(&origin);
    for (index, gate) in gates.iter().enumerate() {
        let (begin, ending) = CUTS[index % CUTS.len()];
        let version = index / CUTS.len();
        let what = format!("{begin:?}, then {ending:?}, to HTTP/1.{version}");
        let mut client = rsp.client();
        client.send(format!("GET /{index} HTTP/1.{version}\r\nHost: a\r\n\r\n"));
        let head = client.read_head();
        gate.open();
        let (rest, end) = client.read_to_end();
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.contains("begun"), "{what}: {rest:?}");
        match (head.headers.get("content-length"), head.headers.get("transfer-encoding")) {
            (Some(length), None) => assert!(rest.len() < length.parse().unwrap(), "{what}: {rest:?}"),
            (None, Some("chunked")) => assert!(!rest.contains("0\r\n"), "{what}: {rest:?}"),
            _ => assert_eq!(end, End::Cut, "{what}: {rest:?}"),
        }
    }
}

#[test]
fn an_answer_until_close_ends_cleanly_for_every_client() {
    let origin = Origin::start(|_| Answer::until_close("all of it"));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let answer = client.get("/");
    assert_eq!((answer.end, answer.header("transfer-encoding")), (End::Framed, Some("chunked")));
    assert_eq!(answer.text(), "all of it");
    assert_eq!(client.get("/").text(), "all of it");
    let old = rsp.client().request("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.end, old.text().as_str()), (End::Closed, "all of it"));
}

#[test]
fn interim_answers_are_passed_on_as_they_come() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        let early =
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n";
        Answer(vec![Step::Write(early.into()), Step::Pass(waits.clone()), Step::ReadBody])
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into()))
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().headers.get("link"), Some("</a.css>"));
    assert_eq!(client.read_head().headers.get("link"), Some("</b.css>"));
    gate.open();
    let answer = client.read_response("GET");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(client.get("/").text(), "ok");
    // HTTP/1.0 knows no 1xx (RFC 9110 §15.2).
    let old = rsp.client().request("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, old.informational.len()), (200, 0));
}

#[test]
fn interim_answers_without_end_are_502() {
    let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
    let origin = Origin::start(move |_| Answer::raw(format!("{flood}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")));
    let rsp = proxy(&origin);
    let answer = rsp.client().get("/");
    assert_eq!((answer.status, answer.informational.len()), (502, 64));
}

#[test]
fn answers_without_a_body_have_none_whatever_their_head_says() {
    let origin = Origin::start(|request| {
        let status = &request.target[1..];
        Answer::raw(format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n"))
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let head = client.request("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    let not_modified = client.get("/304");
    assert_eq!((not_modified.status, not_modified.header("etag")), (304, Some("\"a\"")));
    let empty = client.get("/204");
    assert_eq!((empty.status, empty.header("content-length")), (204, None));
    assert_eq!(client.request("HEAD /404 HTTP/1.1\r\nHost: a\r\n\r\n").status, 404);
    assert_eq!(origin.received().len(), 4);
}

#[test]
fn a_body_sent_where_none_can_be_is_not_taken_for_the_next_answer() {
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/204" => Answer::raw(format!("HTTP/1.1 204 No Content\r\n\r\n{smuggled}")),
        "/304" => Answer::raw(format!("HTTP/1.1 304 Not Modified\r\n\r\n{smuggled}")),
        "/long" => Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{smuggled}")),
        "/head" => Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{smuggled}")),
        _ => Answer::ok("good"),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for request in ["GET /204", "GET /304", "GET /long", "HEAD /head"] {
        client.request(&format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.get("/good").text(), "good", "behind {request}");
    }
    // Nothing more is read from such a connection, though the next request may have met a clean one.
    let good = origin.received().into_iter().filter(|one| one.request.target == "/good");
    assert_eq!(good.map(|one| one.request.on_connection).collect::<Vec<_>>(), [1; 4]);
}

#[test]
fn fields_of_the_upstreams_connection_stay_there() {
    let lines = "Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nProxy-Connection: x\r\nTE: y\r\n\
                 Upgrade: h2c\r\nX-End: 2\r\n";
    let origin = Origin::start(move |_| Answer::with_headers("200 OK", lines, "ok"));
    let answer = proxy(&origin).client().get("/");
    for name in ["connection", "keep-alive", "x-hop", "proxy-connection", "te", "upgrade"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!((answer.header("x-end"), answer.header("via")), (Some("2"), Some("1.1 rsp")));
    assert!(answer.header("date").is_some());
}

#[test]
fn a_head_request_ends_at_the_head_whatever_frames_the_answer() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/chunked" => Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "/unframed" => Answer::raw("HTTP/1.1 200 OK\r\n\r\n"),
        _ => Answer::raw("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for request in ["HEAD /chunked", "HEAD /unframed", "GET /304", "HEAD /304"] {
        let answer = client.request(&format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(matches!(answer.status, 200 | 304) && answer.header("content-length") != Some("0"), "{request}");
    }
    assert_eq!(origin.connections_opened(), 1);
}

#[test]
fn trailers_over_the_limit_are_a_cut() {
    let origin = Origin::start(|_| Answer::chunked(&["begun"], &"X-Long: yes yes yes yes yes\r\n".repeat(10_000)));
    let answer = proxy(&origin).client().get("/");
    assert!(answer.status == 502 || answer.end == End::Cut, "{:?}", answer.end);
}
