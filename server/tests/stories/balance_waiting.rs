//! No more requests than an endpoint may have, and where the others wait meanwhile.

use std::time::{Duration, Instant};

use testkit::{Answer, Client, Gate, Origin, Pattern, Rsp, Step, eventually};

use super::{SOON, front};

/// An origin whose answers, but that of `/quick`, wait for a gate.
fn held() -> (Origin, Gate) {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |request| {
        let answer = Answer(vec![Step::ReadBody]);
        let answer = if request.target == "/quick" { answer } else { answer.then(Step::Pass(waits.clone())) };
        answer.then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()))
    });
    (origin, gate)
}

#[track_caller]
fn before(options: &str, origins: &[&Origin]) -> Rsp {
    let list: Vec<_> = origins.iter().map(|origin| format!("\"{}\"", origin.address())).collect();
    front(&format!("local app = upstream \"app\" {{ {}, {options} }}", list.join(", ")), "proxy(app)").start()
}

fn sent(rsp: &Rsp, path: &str) -> Client {
    let mut client = rsp.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

fn queued(rsp: &Rsp) -> u64 {
    let output = rsp.control(&["status", "site.lua", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["upstreams"][0]["queued"].as_u64().unwrap()
}

fn metric(rsp: &Rsp, name: &str) -> f64 {
    let mut admin = Client::connect(&format!("unix:{}", rsp.folder().join("site.lua.sock").display()));
    let text = admin.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{upstream=\"app\"} ")?.parse().ok());
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

#[test]
fn an_endpoint_never_has_more_than_it_may_and_without_a_queue_the_rest_is_refused() {
    let (origin, gate) = held();
    let rsp = before("max_connections = 2", &[&origin]);
    let mut first = [sent(&rsp, "/1"), sent(&rsp, "/2")];
    origin.wait_for_heads(2, SOON);
    let refused = rsp.client().get("/3");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    gate.open();
    first.iter_mut().for_each(|client| assert_eq!(client.read_response("GET").status, 200));
    assert_eq!(rsp.client().get("/4").status, 200);
    assert_eq!(origin.received().len(), 3);
}

#[test]
fn workers_together_keep_to_the_limit_under_load() {
    let origin = Origin::start(|_| Answer::slow_head(Duration::from_millis(2), "ok"));
    let text = "workers(2)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" (proxy(upstream { \"$A\", max_connections = 3, \
                queue = { size = 100, timeout = \"30s\" } }))\n";
    let rsp = Rsp::config(text).set("A", origin.address()).start();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = rsp.client();
                (0..40).for_each(|_| assert_eq!(client.get("/").status, 200));
            });
        }
        while origin.received().len() < 480 {
            // Idle ones are counted too: a worker keeps at most what it had in flight.
            assert!(origin.connections_open() <= 6, "{} connections", origin.connections_open());
            std::thread::yield_now();
        }
    });
    assert_eq!(origin.received().len(), 480);
}

#[test]
fn who_waits_is_served_in_order_and_one_too_many_is_refused() {
    let (origin, gate) = held();
    let rsp = before("max_connections = 1, queue = { size = 3, timeout = \"20s\" }", &[&origin]);
    let mut clients = vec![sent(&rsp, "/0")];
    origin.wait_for_heads(1, SOON);
    for number in 1..=3 {
        clients.push(sent(&rsp, &format!("/{number}")));
        eventually(SOON, || queued(&rsp) == number);
    }
    let begun = Instant::now();
    let refused = rsp.client().get("/4");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(begun.elapsed() < Duration::from_secs(5));
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response("GET").status, 200));
    let order: Vec<_> = origin.received().into_iter().map(|one| one.request.target).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3"]);
    assert_eq!(queued(&rsp), 0);
    assert_eq!((metric(&rsp, "rsp_queued"), metric(&rsp, "rsp_queue_refused_total")), (0.0, 1.0));
}

#[test]
fn waiting_ends_with_503_when_its_time_is_over() {
    let (origin, gate) = held();
    let rsp = before("max_connections = 1, queue = { size = 5, timeout = \"300ms\" }", &[&origin]);
    let mut first = sent(&rsp, "/0");
    origin.wait_for_heads(1, SOON);
    let begun = Instant::now();
    let late = rsp.client().get("/1");
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(metric(&rsp, "rsp_queue_timeouts_total"), 1.0);
    gate.open();
    assert_eq!(first.read_response("GET").status, 200);
    assert_eq!(rsp.client().get("/2").status, 200);
}

#[test]
fn a_client_that_leaves_the_line_frees_its_place_at_once() {
    let (origin, gate) = held();
    let rsp = before("max_connections = 1, queue = { size = 4, timeout = \"20s\" }", &[&origin]);
    let mut first = sent(&rsp, "/0");
    origin.wait_for_heads(1, SOON);
    let leaves = sent(&rsp, "/leaves");
    eventually(SOON, || queued(&rsp) == 1);
    let resets = sent(&rsp, "/resets");
    eventually(SOON, || queued(&rsp) == 2);
    let mut uploads = rsp.client();
    uploads.send("POST /uploads HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!");
    eventually(SOON, || queued(&rsp) == 3);
    let mut old = rsp.client();
    old.send("GET /old HTTP/1.0\r\nHost: a\r\n\r\n");
    eventually(SOON, || queued(&rsp) == 4);
    drop(leaves);
    resets.reset();
    drop(uploads);
    drop(old);
    eventually(SOON, || queued(&rsp) == 0);
    let mut last = sent(&rsp, "/last");
    eventually(SOON, || queued(&rsp) == 1);
    gate.open();
    assert_eq!(first.read_response("GET").status, 200);
    assert_eq!(last.read_response("GET").status, 200);
    let targets: Vec<_> = origin.received().into_iter().map(|one| one.request.target).collect();
    assert_eq!(targets, ["/0", "/last"]);
}

#[test]
fn with_a_queue_requests_wait_for_a_dead_upstream_to_come_back() {
    let [mut a, mut b] = ["a", "b"].map(Origin::replying);
    let rsp = before("queue = { size = 10, timeout = \"20s\" }", &[&a, &b]);
    a.stop();
    b.stop();
    let mut clients: Vec<_> = (0..5).map(|_| sent(&rsp, "/")).collect();
    eventually(SOON, || queued(&rsp) == 5);
    b.restart();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_response("GET").text(), "b"));
    assert_eq!(queued(&rsp), 0);
    let without = before("keepalive = 1", &[&a]);
    let begun = Instant::now();
    assert_eq!(without.client().get("/").status, 502);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_dead_upstream_that_stays_dead_is_503_after_the_wait_and_full_lines_at_once() {
    let mut origin = Origin::replying("never");
    origin.stop();
    let rsp = before("queue = { size = 1, timeout = \"700ms\" }", &[&origin]);
    let mut waits = sent(&rsp, "/");
    eventually(SOON, || queued(&rsp) == 1);
    assert_eq!(rsp.client().get("/").status, 503);
    assert_eq!(waits.read_response("GET").status, 503);
    eventually(SOON, || queued(&rsp) == 0);
}

#[test]
fn a_fast_uploader_through_cookie_line_and_limit_stays_within_its_buffers() {
    const LARGE: u64 = 64 << 20;
    const USER_MEMORY_MAX: u64 = 128 << 10;
    let (begin, read_on) = (Gate::new(), Gate::new());
    let gates = (begin.clone(), read_on.clone());
    let origin = Origin::start(move |request| match request.target.as_str() {
        "/first" => Answer(vec![Step::ReadBody, Step::Pass(gates.0.clone())])
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())),
        "/upload" => Answer(vec![Step::ReadSome(10), Step::Pass(gates.1.clone()), Step::ReadBody])
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())),
        _ => Answer::pattern(1 << 20),
    });
    let app = "local app = upstream \"app\" { \"$A\", sticky = \"app\", max_connections = 1, queue = { size = 5, timeout = \"30s\" } }";
    let rsp =
        front(app, "{ limit { rate = \"100/s\", concurrent = 10 }, proxy(app) }").set("A", origin.address()).start();
    let mut client = rsp.client();
    let warm = client.request("POST /warm HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    let cookie = warm.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let mut first = sent(&rsp, "/first");
    origin.wait_for_heads(2, SOON);
    let before = rsp.user_memory();
    client.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: {LARGE}\r\n\r\n"));
    let sending = client.socket().share().unwrap();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut &sending, &Pattern::bytes(LARGE as usize)));
    eventually(SOON, || queued(&rsp) == 1);
    let mut most = 0;
    let mut watch = |time: Duration| {
        let until = Instant::now() + time;
        eventually(SOON, || {
            most = most.max(rsp.user_memory());
            Instant::now() > until
        });
    };
    watch(Duration::from_secs(1));
    assert!(!sender.is_finished(), "64 MiB went into buffers while it waited in line");
    begin.open();
    assert_eq!(first.read_response("GET").status, 200);
    origin.wait_for_heads(3, SOON);
    watch(Duration::from_secs(1));
    assert!(!sender.is_finished(), "64 MiB went into buffers before a slow upstream");
    let grown = most.saturating_sub(before);
    assert!(grown < USER_MEMORY_MAX, "{grown} bytes");
    read_on.open();
    sender.join().unwrap().unwrap();
    let answer = client.read_response("POST");
    assert_eq!((answer.text().as_str(), answer.header("set-cookie")), ("ok", None));
    let received = origin.received().pop().unwrap();
    assert!(received.body_is_pattern && received.body_length == LARGE);
}

#[test]
fn who_waits_gets_what_a_reload_puts_in_place_of_an_endpoint() {
    let (stuck, gate) = held();
    let quick = Origin::replying("quick");
    let config = |origin: &Origin| {
        format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" (proxy(upstream \"app\" {{ \"{}\", max_connections = 1, \
             queue = {{ size = 5, timeout = \"60s\" }} }}))\n",
            origin.address()
        )
    };
    let mut rsp = Rsp::config(&config(&stuck)).start();
    let mut first = sent(&rsp, "/0");
    stuck.wait_for_heads(1, SOON);
    let mut waiting = [sent(&rsp, "/1"), sent(&rsp, "/2")];
    eventually(SOON, || queued(&rsp) == 2);
    rsp.rewrite_config(&config(&quick));
    assert_eq!(rsp.reload().code, Some(0));
    // Nobody has to stand behind those who wait for an endpoint that is gone.
    assert_eq!(rsp.client().get("/3").text(), "quick");
    waiting.iter_mut().for_each(|client| assert_eq!(client.read_response("GET").text(), "quick"));
    gate.open();
    assert_eq!(first.read_response("GET").text(), "ok");
}
