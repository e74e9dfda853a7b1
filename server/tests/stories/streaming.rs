//! Bodies on their way: each piece is passed on when it comes, in both directions at once.

use std::time::Duration;

use testkit::{Answer, End, Gate, Origin, Pattern, Step};

use super::{SOON, front, proxy};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_piece_of_an_answer_arrives_before_the_next_is_sent() {
    let gates: [Gate; 3] = std::array::from_fn(|_| Gate::new());
    let waits = gates.clone();
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let event = |gate: &Gate, text: &str| {
            [Step::Pass(gate.clone()), Step::Write(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())]
        };
        let mut steps = vec![Step::ReadBody, Step::Write(head.into())];
        steps.extend(
            waits.iter().zip(["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"]).flat_map(|(gate, text)| event(gate, text)),
        );
        steps.push(Step::Write(b"0\r\n\r\n".into()));
        Answer(steps)
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().headers.get("content-type"), Some("text/event-stream"));
    for (index, gate) in gates.iter().enumerate() {
        gate.open();
        assert_eq!(client.read_exactly(14), format!("9\r\ndata: {index}\n\n\r\n").as_bytes());
    }
    assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
}

#[test]
fn a_piece_of_a_request_arrives_before_the_next_is_sent() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    for (count, framing) in ["Content-Length: 6", "Transfer-Encoding: chunked"].into_iter().enumerate() {
        let piece = |text: &str| match framing {
            "Content-Length: 6" => text.to_owned(),
            _ => format!("{:x}\r\n{text}\r\n", text.len()),
        };
        let mut client = rsp.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        origin.wait_for_heads(count + 1, SOON);
        for (text, so_far) in [("ab", "ab"), ("cd", "abcd"), ("ef", "abcdef")] {
            client.send(piece(text));
            testkit::eventually(SOON, || origin.received()[count].body == so_far.as_bytes());
        }
        if framing.starts_with("Transfer") {
            client.send("0\r\n\r\n");
        }
        assert_eq!(client.read_response("POST").end, End::Framed);
    }
}

#[test]
fn a_header_that_is_removed_from_an_answer_does_not_come_as_a_trailer() {
    let lines = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Secret: 1\r\nX-Sum: 2\r\n\r\n";
    let origin = Origin::start(move |_| Answer::raw(lines));
    let filter = "headers { response = { remove = \"X-Secret\" } }";
    let rsp = front("", &format!("{{ {filter}, proxy \"$ORIGIN\" }}")).set("ORIGIN", origin.address()).start();
    let answer = rsp.client().get("/");
    assert_eq!((answer.trailers.get("x-secret"), answer.trailers.get("x-sum")), (None, Some("2")));
}

#[test]
fn an_answer_in_chunks_keeps_its_trailers() {
    let origin =
        Origin::start(|_| Answer::chunked(&["ab", "cd"], "X-Sum: 4\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n"));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.text().as_str(), answer.end), ("abcd", End::Framed));
        let names: Vec<_> =
            answer.trailers.0.iter().map(|(name, value)| (name.to_lowercase(), value.as_str())).collect();
        assert_eq!(names, [("x-sum".to_owned(), "4")]);
    }
    assert_eq!(origin.connections_opened(), 1);
}

#[test]
fn request_and_answer_stream_at_the_same_time() {
    let origin = Origin::start(|_| {
        Answer(vec![
            Step::Write(CHUNKED.into()),
            Step::ReadSome(2),
            Step::Write(b"2\r\ngo\r\n".into()),
            Step::ReadBody,
            Step::Write(b"4\r\ndone\r\n0\r\n\r\n".into()),
        ])
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
    client.send("ab");
    assert_eq!(client.read_exactly(7), b"2\r\ngo\r\n");
    client.send("cd");
    assert_eq!(client.read_exactly(14), b"4\r\ndone\r\n0\r\n\r\n");
    assert_eq!(origin.received()[0].body, b"abcd");
}

#[test]
fn an_early_answer_arrives_while_the_upload_goes_on_and_the_upload_reaches_its_end() {
    let origin = Origin::start(|_| Answer::early("200 OK", "early"));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let mut pattern = Pattern::new();
    client.send_pattern(&mut pattern, 1000).unwrap();
    let head = client.read_head();
    assert_eq!(head.start, "HTTP/1.1 200 OK");
    assert_eq!(client.read_exactly(5), b"early");
    // The answer is whole; the rest of the upload is either taken or refused by a close, but never mistaken.
    let sent = client.send_pattern(&mut pattern, 999_000);
    if head.headers.get("connection") != Some("close") {
        sent.unwrap();
        assert!(origin.wait_for_requests(1, SOON)[0].body_is_pattern);
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn an_early_refusal_that_ends_the_upstreams_connection_reaches_an_uploading_client() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    let origin = Origin::start(move |_| Answer(vec![Step::Write(refusal.into()), Step::HalfClose]));
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    let sent = client.send_pattern(&mut Pattern::new(), 10_000_000);
    let answer = client.try_read_response("POST").unwrap_or_else(|error| panic!("{error}; sent {sent:?}"));
    assert_eq!((answer.status, answer.text().as_str(), answer.end), (403, "no", End::Framed));
    sent.unwrap();
}

#[test]
fn eight_megabytes_go_both_ways_at_once_intact() {
    const PIECE: u64 = 128 << 10;
    let origin = Origin::start(|_| {
        let head = Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n".into());
        let rounds = (0..64).flat_map(|_| [Step::ReadSome(PIECE), Step::WritePattern(PIECE)]);
        Answer([head].into_iter().chain(rounds).chain([Step::ReadBody]).collect())
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let sending = client.socket().share().unwrap();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n");
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut &sending, &Pattern::bytes(8 << 20)));
    client.read_head();
    for _ in 0..64 {
        client.read_pattern(&mut Pattern::new(), PIECE);
    }
    sender.join().unwrap().unwrap();
    let received = &origin.wait_for_requests(1, SOON)[0];
    assert!(received.body_is_pattern && received.body_length == 8 << 20);
}

#[test]
fn a_slow_stream_outlives_the_time_for_a_head() {
    let origin = Origin::start(|_| Answer::slow_body(&["a", "b", "c"], Duration::from_millis(400)));
    let rsp = front("", "proxy { \"$ORIGIN\", timeout = \"1s\" }").set("ORIGIN", origin.address()).start();
    assert_eq!(rsp.client().get("/").text(), "abc");
}

#[test]
fn an_answer_that_stops_coming_is_a_cut() {
    let origin = Origin::start(|_| Answer::raw(CHUNKED).then(Step::Write(b"2\r\nab\r\n".into())).then(Step::Hang));
    let rsp = front("", "proxy { \"$ORIGIN\", body_timeout = \"300ms\" }").set("ORIGIN", origin.address()).start();
    let answer = rsp.client().get("/");
    assert_eq!((answer.text().as_str(), answer.end), ("ab", End::Cut));
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn an_early_refusal_with_a_reset_behind_it_still_reaches_the_client() {
    let origin = Origin::start(|_| {
        let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        Answer(vec![Step::Write(refusal.into()), Step::Reset])
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    let sent = client.send_pattern(&mut Pattern::new(), 10_000_000);
    let answer = client.try_read_response("POST").unwrap_or_else(|error| panic!("{error}; sent {sent:?}"));
    assert_eq!((answer.status, answer.text().as_str(), answer.end), (413, "no", End::Framed));
    sent.unwrap();
}

#[test]
fn an_upstream_that_takes_no_more_of_an_upload_is_504() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| Answer(vec![Step::Pass(waits.clone()), Step::Close]));
    let limits = "limits { write_timeout = \"300ms\" }";
    let rsp = front(limits, "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n");
    let sent = client.send_pattern(&mut Pattern::new(), 32 << 20);
    let answer = client.try_read_response("POST").unwrap_or_else(|error| panic!("{error}; sent {sent:?}"));
    assert_eq!((answer.status, answer.end), (504, End::Framed));
    gate.open();
}

#[test]
fn an_upstream_that_breaks_inside_an_upload_is_502_and_the_upload_is_not_repeated() {
    let origin = Origin::start(|_| Answer(vec![Step::ReadSome(1000), Step::Reset]));
    let rsp = proxy(&origin);
    for method in ["POST", "PUT"] {
        let mut client = rsp.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"));
        let sent = client.send_pattern(&mut Pattern::new(), 10_000_000);
        let answer = client.try_read_response(method).unwrap_or_else(|error| panic!("{error}; sent {sent:?}"));
        assert_eq!(answer.status, 502, "{method}");
    }
    assert_eq!(origin.received().len(), 2);
}
