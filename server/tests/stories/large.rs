//! Bodies so large that the kernel moves them: to the byte, with all that holds for small ones.

use testkit::{Answer, Client, End, Gate, Origin, Pattern, Step, eventually};

use super::{SOON, front, proxy};

/// Several pipes full, and an odd rest.
const LARGE: u64 = (3 << 20) + 12_345;

fn large_and_small() -> Origin {
    Origin::start(|request| match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/large") => Answer::pattern(LARGE),
        _ => Answer::ok("small"),
    })
}

fn download(client: &mut Client) {
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    client.read_pattern(&mut Pattern::new(), LARGE);
}

fn upload(client: &mut Client) {
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send_pattern(&mut Pattern::new(), LARGE).unwrap();
    assert_eq!(client.read_response("PUT").text(), "small");
}

#[test]
fn large_bodies_both_ways_keep_both_connections() {
    let origin = large_and_small();
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for _ in 0..3 {
        download(&mut client);
        assert_eq!(client.get("/").text(), "small");
        upload(&mut client);
        upload(&mut client);
        download(&mut client);
    }
    assert_eq!(origin.connections_opened(), 1);
    let uploads: Vec<_> = origin.received().into_iter().filter(|one| one.request.method == "PUT").collect();
    assert_eq!(uploads.len(), 6);
    assert!(uploads.iter().all(|one| one.body_is_pattern && one.body_length == LARGE));
}

#[test]
fn large_bodies_pass_between_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start_unix(folder.path().join("app.sock"), |request| match request.method.as_str() {
        "GET" => Answer::pattern(LARGE),
        _ => Answer::ok("small"),
    });
    let path = folder.path().join("rsp.sock");
    let _rsp = front(&format!("listen \"unix:{}\"", path.display()), "proxy \"$ORIGIN\"")
        .set("ORIGIN", origin.address())
        .start();
    let mut client = Client::connect(&format!("unix:{}", path.display()));
    for _ in 0..3 {
        download(&mut client);
        upload(&mut client);
    }
    assert_eq!(origin.connections_opened(), 1);
    assert!(origin.received().iter().filter(|one| one.request.method == "PUT").all(|one| one.body_is_pattern));
}

#[test]
fn requests_behind_a_large_body_are_answered_and_bytes_behind_a_large_answer_are_nobody_s() {
    let late = Gate::new();
    let waits = late.clone();
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/more" => Answer::pattern(LARGE)
            .then(Step::Pass(waits.clone()))
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".into())),
        "/at-once" => {
            let mut lie = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").into_bytes();
            lie.extend(Pattern::bytes(LARGE as usize));
            lie.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL");
            Answer::raw(lie)
        }
        _ => Answer::ok("small"),
    });
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    for path in ["/at-once", "/more"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.read_head();
        client.read_pattern(&mut Pattern::new(), LARGE);
        late.open();
        // What came late may still be on its way to the next request, as after a small answer: that fails then.
        let answers: Vec<_> = (0..3).map(|_| client.get("/").text()).collect();
        assert!(answers[1..].iter().all(|text| text == "small"), "{path}: {answers:?}");
        assert!(path == "/more" || answers[0] == "small", "{path}: {answers:?}");
    }
    let mut bytes = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n").into_bytes();
    bytes.extend(Pattern::bytes(LARGE as usize));
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(bytes);
    assert_eq!(client.read_response("PUT").text(), "small");
    assert_eq!(client.read_response("GET").text(), "small");
}

#[test]
fn a_large_answer_that_breaks_off_or_stalls_is_a_cut() {
    let origin = Origin::start(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        let end = if request.target == "/cut" { Step::Close } else { Step::Hang };
        Answer::raw(head).then(Step::WritePattern(1 << 20)).then(end)
    });
    let rsp = front("", "proxy { \"$ORIGIN\", body_timeout = \"300ms\" }").set("ORIGIN", origin.address()).start();
    for (path, words) in [("/cut", "ended before the body did"), ("/stall", "no more of the body came in time")] {
        let mut client = rsp.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.try_read_response("GET").unwrap();
        assert_eq!((answer.end, answer.body.len()), (End::Cut, 1 << 20), "{path}");
        assert!(Pattern::new().matches(&answer.body));
        rsp.wait_for_line(SOON, |line| line.contains(words));
    }
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn a_client_that_reads_no_more_of_a_large_answer_is_cut() {
    let origin = Origin::start(|_| Answer::pattern(64 << 20));
    let rsp =
        front("limits { write_timeout = \"300ms\" }", "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let before = rsp.open_descriptors();
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    testkit::eventually(SOON, || origin.connections_open() == 0);
    // Neither the connection nor the pipe with what the client left in it.
    testkit::eventually(SOON, || rsp.open_descriptors() <= before);
}

#[test]
fn a_large_upload_whose_client_goes_away_or_stalls_is_no_request() {
    let origin = large_and_small();
    let rsp = front("limits { body_timeout = \"300ms\" }", "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    for goes in [true, false] {
        let mut client = rsp.client();
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
        client.send_pattern(&mut Pattern::new(), 1 << 20).unwrap();
        match goes {
            true => client.reset(),
            false => assert_eq!(client.read_response("PUT").status, 408),
        }
        testkit::eventually(SOON, || origin.connections_open() == 0);
    }
    assert!(origin.received().iter().all(|one| !one.complete && one.body_length <= 1 << 20));
}

#[test]
fn a_client_that_resets_while_its_large_upload_is_worked_on_is_noticed() {
    let origin = Origin::start(|_| Answer::never());
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send_pattern(&mut Pattern::new(), LARGE).unwrap();
    origin.wait_for_requests(1, SOON);
    client.reset();
    testkit::eventually(SOON, || origin.connections_open() == 0);
}

#[test]
fn a_client_that_resets_while_its_answer_stands_still_is_noticed() {
    for length in ["2", "100000000"] {
        let gate = Gate::new();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nx");
        let waits = gate.clone();
        let origin = Origin::start(move |_| {
            Answer(vec![Step::ReadBody, Step::Write(head.clone().into_bytes()), Step::Pass(waits.clone())])
        });
        let rsp = proxy(&origin);
        let mut client = rsp.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_head();
        client.reset();
        eventually(SOON, || {
            let output = rsp.control(&["status", "site.lua", "--json"]);
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            status["upstreams"][0]["endpoints"][0]["in_flight"] == 0
        });
        gate.open();
    }
}

#[test]
fn without_a_descriptor_left_a_large_body_is_copied() {
    let origin = large_and_small();
    let rsp = front("", "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).descriptors_max(64).start();
    let mut client = rsp.client();
    // The connection to the upstream is there before the descriptors are gone.
    assert_eq!(client.get("/").text(), "small");
    let mut idle = Vec::new();
    testkit::eventually(SOON, || {
        idle.extend(Client::try_connect(&rsp.address()));
        rsp.open_descriptors() >= 64
    });
    download(&mut client);
    upload(&mut client);
    assert_eq!(origin.connections_opened(), 1);
}

#[test]
fn large_bodies_that_pause_go_on() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))
            .then(Step::WritePattern(1 << 20))
            .then(Step::Pass(waits.clone()))
            .then(Step::Write(Pattern::bytes(LARGE as usize).split_off(1 << 20)))
    });
    let rsp = proxy(&origin);
    let mut clients: Vec<_> = (0..16).map(|_| (rsp.client(), Pattern::new())).collect();
    for (client, pattern) in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_head();
        client.read_pattern(pattern, 1 << 20);
    }
    gate.open();
    for (client, pattern) in &mut clients {
        client.read_pattern(pattern, LARGE - (1 << 20));
    }
}
