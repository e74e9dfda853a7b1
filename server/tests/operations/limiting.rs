//! Stories of limits: each bound has its answer when it is reached, and what is within it goes on.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use testkit::{Answer, Client, Gate, Origin, Rsp, Step, eventually};

use super::{SOON, assert_closed, assert_status, get, metric, tunnel};

/// Far below the time a story may take, far above what a busy machine needs between two steps.
const BRIEF: &str = "400ms";

fn limited(limits: &str) -> Rsp {
    let text = format!("listen \"127.0.0.1:$PORT\" limits {{ {limits} }} site \"*\" (reply(200, \"hello\\n\"))");
    Rsp::config(&text).start()
}

fn limited_proxy(limits: &str, origin: &Origin) -> Rsp {
    let text = format!("listen \"127.0.0.1:$PORT\" limits {{ {limits} }} site \"*\" (proxy \"{}\")", origin.address());
    Rsp::config(&text).start()
}

fn request_of(bytes: usize) -> String {
    let start = "GET / HTTP/1.1\r\nHost: test\r\nX-Fill: ";
    format!("{start}{}\r\n\r\n", "a".repeat(bytes - start.len() - 4))
}

#[test]
fn a_head_a_field_count_and_a_target_have_their_bounds() {
    let rsp = limited("head = \"4KiB\", headers = 10, uri = 100");
    let ask = |head: &str| rsp.client().request(head);
    assert_status(&ask(&request_of(4096)), 200);
    assert_status(&ask(&request_of(4097)), 431);
    assert_status(&ask(&request_of(40_000)), 431);
    let fields = |count| {
        let more: String = (1..count).map(|n| format!("X-{n}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: test\r\n{more}\r\n")
    };
    assert_status(&ask(&fields(10)), 200);
    assert_status(&ask(&fields(11)), 431);
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(length - 1));
    assert_status(&ask(&target(100)), 200);
    assert_status(&ask(&target(101)), 414);
    assert_status(&ask(&target(50_000)), 414);
}

#[test]
fn a_target_without_an_end_is_414_before_the_head_is_full() {
    let rsp = limited("uri = 100");
    let mut client = rsp.client();
    client.send(format!("GET /{}", "a".repeat(9_000)));
    assert_eq!(client.read_response("GET").status, 414);
}

#[test]
fn a_head_that_does_not_end_in_time_is_408_however_steadily_it_drips() {
    let rsp = limited("head_timeout = \"1s\"");
    let mut client = rsp.client();
    let began = Instant::now();
    let head = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Slow: {}", "a".repeat(1000));
    let mut bytes = head.bytes();
    let socket = client.socket().share().unwrap();
    socket.set_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 1024];
    // The read that waits for an answer paces the bytes.
    while began.elapsed() < SOON && seen.is_empty() {
        if client.try_send([bytes.next().unwrap()]).is_err() {
            break;
        }
        seen.extend((&socket).read(&mut piece).map_or(Vec::new(), |n| piece[..n].to_vec()));
    }
    assert!(seen.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&seen));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_connection_that_sends_nothing_is_closed_without_a_word() {
    let rsp = limited(&format!("head_timeout = \"{BRIEF}\", idle_timeout = \"{BRIEF}\""));
    let mut silent = rsp.client();
    assert_closed(&mut silent);
    let mut idle = rsp.client();
    assert_eq!(idle.get("/").status, 200);
    assert_closed(&mut idle);
}

#[test]
fn a_body_over_its_limit_is_413_by_its_length_and_by_its_chunks() {
    let origin = Origin::start(|_| Answer::ok("taken"));
    let rsp = limited_proxy("body = 1000", &origin);
    let sized = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{}", "a".repeat(length))
    };
    let chunked = |size: usize| {
        let chunk = format!("1f4\r\n{}\r\n", "a".repeat(500));
        let last = format!("{:x}\r\n{}\r\n", size - 500, "a".repeat(size - 500));
        format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{last}0\r\n\r\n")
    };
    for fine in [sized(1000), chunked(1000)] {
        assert_status(&rsp.client().request(&fine), 200);
    }
    for large in [sized(1001), chunked(1001)] {
        assert_status(&rsp.client().request(&large), 413);
    }
    for larger in [sized(3_000_000), chunked(3_000_000)] {
        let answer = rsp.client().request(&larger);
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    }
    let heads = origin.received();
    assert!(heads.iter().filter(|one| one.complete).count() <= 2, "no body over the limit reached the upstream whole");
}

#[test]
fn a_body_that_stalls_is_408() {
    let origin = Origin::start(|_| Answer::ok("taken"));
    let rsp = limited_proxy(&format!("body_timeout = \"{BRIEF}\""), &origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(client.read_response("POST").status, 408);
}

#[test]
fn a_client_that_takes_nothing_is_cut_and_a_slow_one_is_not() {
    let origin = Origin::start(|_| Answer::pattern(64 << 20));
    let rsp = limited_proxy("write_timeout = \"1s\"", &origin);
    let mut client = rsp.client();
    client.socket().set_receive_buffer(8 << 10).unwrap();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_head();
    eventually(SOON, || metric(&rsp, &connections_open(&rsp)) == 0.0);
    let (body, _) = client.read_to_end();
    assert!(body.len() < 64 << 20);
}

fn connections_open(rsp: &Rsp) -> String {
    format!("rsp_connections_open{{listener=\"{}\"}}", rsp.address())
}

#[test]
fn one_connection_too_many_gets_503_and_a_place_that_is_free_is_given_again() {
    let rsp = limited("connections = 3");
    let mut held: Vec<_> = (0..3).map(|_| rsp.client()).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    let mut more = rsp.client();
    assert_eq!(more.read_response("GET").status, 503);
    assert_closed(&mut more);
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    held.pop();
    eventually(SOON, || Client::connect(&rsp.address()).request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200);
    let refused = format!("rsp_connections_refused_total{{listener=\"{}\"}}", rsp.address());
    assert!(metric(&rsp, &refused) >= 1.0);
}

#[test]
fn one_client_can_not_take_every_place() {
    let text = "listen \":$PORT\" limits { connections_per_client = 2 } site \"*\" (reply(200))";
    let rsp = Rsp::config(text).start();
    let connect = |host: &str| Client::connect(&format!("{host}:{}", rsp.port()));
    let mut held = [connect("127.0.0.1"), connect("127.0.0.1")];
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert_eq!(connect("127.0.0.1").read_response("GET").status, 503);
    assert_eq!(connect("[::1]").get("/").status, 200);
}

#[test]
fn a_connection_ends_after_its_last_request() {
    let rsp = limited("requests_per_connection = 2");
    let mut client = rsp.client();
    assert_eq!(client.get("/").header("connection"), None);
    assert_eq!(client.get("/").header("connection"), Some("close"));
    assert_closed(&mut client);
}

#[test]
fn a_site_may_be_narrower_than_the_process() {
    let text = r#"listen "127.0.0.1:$PORT"
        site "narrow" { limits = { head = 1000, headers = 3, uri = 20, body = 10 }, ["/*"] = reply(200) }
        site "*" (reply(200))"#;
    let rsp = Rsp::config(text).start();
    let ask = |host: &str, target: &str, more: &str| {
        rsp.client().request(&format!("POST {target} HTTP/1.1\r\nHost: {host}\r\n{more}")).status
    };
    let (long, fields) = (format!("/{}", "a".repeat(30)), "A: 1\r\nB: 1\r\nC: 1\r\n\r\n");
    let large = format!("A: {}\r\n\r\n", "a".repeat(1000));
    let body = format!("Content-Length: 11\r\n\r\n{}", "a".repeat(11));
    let all = |host: &str| {
        [
            ask(host, "/", "\r\n"),
            ask(host, &long, "\r\n"),
            ask(host, "/", fields),
            ask(host, "/", &large),
            ask(host, "/", &body),
        ]
    };
    assert_eq!(all("narrow"), [200, 414, 431, 431, 413]);
    assert_eq!(all("wide"), [200; 5]);
}

#[test]
fn one_tunnel_too_many_is_503_and_never_reaches_the_upstream() {
    let origin = Origin::start(|request| match request.head.headers.get("upgrade") {
        Some(_) => Answer::upgrade("echo"),
        None => Answer::ok("plain"),
    });
    let rsp = limited_proxy("tunnels = 2", &origin);
    let first = tunnel(&rsp.address(), "/");
    let _second = tunnel(&rsp.address(), "/");
    eventually(SOON, || metric(&rsp, "rsp_tunnels_open") == 2.0);
    let upgrade = "GET /third HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let refused = rsp.client().request(upgrade);
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
    assert!(origin.received().iter().all(|one| one.request.target != "/third"));
    assert_eq!(get(&rsp, "/").text(), "plain");
    drop(first);
    eventually(SOON, || rsp.client().request(upgrade).status == 101);
}

#[test]
fn without_descriptors_what_is_open_goes_on_and_accepting_comes_back() {
    let origin = Origin::replying("from upstream");
    let text = "workers(1) listen \"127.0.0.1:$PORT\" site \"*\" { [\"/\"] = reply(200, \"hello\\n\"), [\"/up\"] = proxy \"$ORIGIN\" }";
    let mut rsp = Rsp::config(text).set("ORIGIN", origin.address()).descriptors_max(64).start();
    let mut first = rsp.client();
    assert_eq!(first.get("/up").text(), "from upstream");
    // The backlog takes what rsp can't.
    let mut held: Vec<_> = (0..80).map(|_| rsp.client()).collect();
    eventually(SOON, || rsp.open_descriptors() >= 64);
    wait_until_exhausted(&rsp);
    for _ in 0..20 {
        assert_eq!(first.get("/").text(), "hello\n");
        assert_eq!(first.get("/up").text(), "from upstream");
    }
    assert_eq!(held[0].get("/").text(), "hello\n");
    assert!(rsp.is_running());
    held.drain(..60);
    for client in &mut held {
        assert_eq!(client.get("/").text(), "hello\n", "those that waited are served");
    }
    assert_eq!(get(&rsp, "/").text(), "hello\n");
    assert!(metric(&rsp, "rsp_accept_backoffs_total") >= 1.0);
    let warnings = rsp.output().lines().filter(|line| line.contains("accept on")).count();
    assert!((1..5).contains(&warnings), "said once, not ten times a second: {warnings}");
}

fn wait_until_exhausted(rsp: &Rsp) {
    rsp.wait_for_line(SOON, |line| line.contains("accept on") && line.contains("open files"));
}

#[test]
fn without_descriptors_an_upstream_is_not_to_blame() {
    let [one, two] = ["one", "two"].map(Origin::replying);
    let text = "workers(1) listen \"127.0.0.1:$PORT\" site \"*\" { [\"/*\"] = proxy(upstream { \"$ONE\", \"$TWO\" }) }";
    let rsp = Rsp::config(text).set("ONE", one.address()).set("TWO", two.address()).descriptors_max(64).start();
    let mut held: Vec<_> = (0..80).map(|_| rsp.client()).collect();
    wait_until_exhausted(&rsp);
    let refused = held[0].get("/");
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{}", rsp.output());
    drop(held);
    eventually(SOON, || get(&rsp, "/").status == 200);
    let endpoints = super::status(&rsp)["upstreams"][0]["endpoints"].as_array().unwrap().clone();
    assert!(
        endpoints.iter().all(|endpoint| endpoint["available"] == true && endpoint["ejections"] == 0),
        "{endpoints:?}"
    );
}

#[test]
fn what_a_slow_upstream_costs_is_bounded_too() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        let mut answer = Answer::ok("late");
        answer.0.insert(0, Step::Pass(waits.clone()));
        answer
    });
    let rsp = limited_proxy("buffer = \"16KiB\"", &origin);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 67108864\r\n\r\n");
    let before = rsp.user_memory();
    let writer = client.socket().share().unwrap();
    writer.set_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut pattern = testkit::Pattern::new();
    assert!(
        client.send_pattern(&mut pattern, 64 << 20).is_err(),
        "the upstream reads nothing, so the client must stop"
    );
    assert!(rsp.user_memory() < before + (1 << 20));
    gate.open();
}
