//! Second attempts: on another endpoint, only while repeating is safe, and within a budget.

use testkit::{Answer, Origin, Rsp, Step};

use super::{SOON, front};

/// rsp before these endpoints in turn; `options` are the upstream's.
#[track_caller]
fn before(endpoints: &[&Origin], options: &str) -> Rsp {
    let list: Vec<_> = endpoints.iter().map(|origin| format!("\"{}\"", origin.address())).collect();
    let group = format!("local app = upstream \"app\" {{ {}, {options} }}", list.join(", "));
    front(&group, "proxy(app)").start()
}

/// An origin that refuses connections.
fn refusing() -> Origin {
    let mut origin = Origin::replying("never");
    origin.stop();
    origin
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const CHUNKS: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
/// Nothing is ejected, so that every request may meet the bad endpoint.
const PATIENT: &str = "outlier = { failures = 1000 }";

#[test]
fn a_failed_connect_moves_any_request_to_another_endpoint() {
    let (dead, live) = (refusing(), Origin::echoing());
    let rsp = before(&[&dead, &live], PATIENT);
    let mut client = rsp.client();
    for request in
        ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", POST, CHUNKS, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", POST, CHUNKS]
    {
        assert_eq!(client.request(request).status, 200, "{request}");
    }
    let received = live.received();
    assert_eq!(received.len(), 6);
    assert!(received.iter().filter(|one| one.request.method == "POST").all(|one| one.body == b"body"));
}

#[test]
fn a_request_that_was_not_answered_moves_on_only_if_it_is_idempotent_and_its_body_is_here() {
    let (bad, good) = (Origin::start(|_| Answer::close()), Origin::echoing());
    let rsp = before(&[&bad, &good], PATIENT);
    let mut client = rsp.client();
    for _ in 0..4 {
        assert_eq!(client.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    assert!(!bad.received().is_empty() && good.received().len() == 4);
    let mut refused = 0;
    for request in [POST, POST, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", CHUNKS] {
        let (at_bad, at_good) = (bad.received().len(), good.received().len());
        let status = rsp.client().request(request).status;
        refused += usize::from(status == 502);
        let sent = bad.received().len() - at_bad + good.received().len() - at_good;
        assert_eq!(sent, 1, "{request} was sent more than once");
    }
    assert!(refused > 0, "no request met the bad endpoint");
}

#[test]
fn an_answer_that_has_begun_or_says_an_error_is_never_asked_for_again() {
    let answers = [
        Answer::cut_short(100, "begun"),
        Answer::raw("HTTP/1.1 200").then(Step::Close),
        Answer::status("503 Service Unavailable", "busy"),
    ];
    for answer in answers {
        let origins = [answer.clone(), answer.clone()].map(|answer| Origin::start(move |_| answer.clone()));
        let rsp = before(&[&origins[0], &origins[1]], PATIENT);
        rsp.client().get("/");
        let sent: usize = origins.iter().map(|origin| origin.received().len()).sum();
        assert_eq!(sent, 1, "{answer:?}");
    }
}

#[test]
fn tries_counts_all_attempts() {
    let (dead, live) = (refusing(), Origin::replying("ok"));
    let once = before(&[&dead, &live], "retry = { tries = 1 }, outlier = { failures = 1000 }");
    let mut client = once.client();
    let mut statuses: Vec<_> = (0..4).map(|_| client.get("/").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    let third = before(&[&dead, &refusing(), &live], "retry = { tries = 3 }, outlier = { failures = 1000 }");
    assert_eq!(third.client().get("/").status, 200);
}

#[test]
fn a_spent_budget_ends_second_attempts() {
    let (dead, live) = (refusing(), Origin::replying("ok"));
    let rsp = before(&[&dead, &live], "retry = { budget = 0 }, outlier = { failures = 1000 }");
    let mut client = rsp.client();
    let refused = (0..10).filter(|_| client.get("/").status == 502).count();
    assert_eq!(refused, 5);
}

#[test]
fn endpoints_that_restart_one_after_another_cost_no_request() {
    let mut origins = [Origin::replying("ok"), Origin::replying("ok"), Origin::replying("ok")];
    let rsp = before(&[&origins[0], &origins[1], &origins[2]], "outlier = { eject = \"1m\" }");
    let mut client = rsp.client();
    for origin in &mut origins[..2] {
        origin.stop();
        // The first one is still ejected when the second one goes, and only one may be: half of these meet a dead one.
        assert!((0..150).all(|_| client.get("/").status == 200), "while {} was down", origin.address());
        origin.restart();
    }
}

#[test]
fn all_endpoints_down_is_502_at_once() {
    let rsp = before(&[&refusing(), &refusing()], "");
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(rsp.client().get("/").status, 502);
    }
    assert!(begun.elapsed() < SOON);
}

#[test]
fn an_endpoint_that_takes_no_connection_in_time_is_left_for_another_also_by_post() {
    // A queue of one, filled: the kernel drops every further attempt.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap().to_string();
    let _waiting = testkit::Client::connect(&address);
    let live = Origin::echoing();
    let group = format!(
        "local app = upstream \"app\" {{ \"{address}\", \"{}\", connect_timeout = \"300ms\" }}",
        live.address()
    );
    let rsp = front(&group, "proxy(app)").start();
    let mut client = rsp.client();
    for _ in 0..2 {
        assert_eq!(client.request(POST).status, 200);
    }
    assert_eq!(live.received().len(), 2);

    let alone = front("", &format!("proxy(upstream {{ \"{address}\", connect_timeout = \"300ms\" }})")).start();
    assert_eq!(alone.client().get("/").status, 504);
}
