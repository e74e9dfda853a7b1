//! Who is taken for ill: by probes, by answers that break off or come late, by connects that fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use testkit::{Answer, Origin, Rsp, eventually};

use super::{SOON, front};

#[track_caller]
fn before(options: &str, origins: &[&Origin]) -> Rsp {
    let list: Vec<_> = origins.iter().map(|origin| format!("\"{}\"", origin.address())).collect();
    front(&format!("local app = upstream \"app\" {{ {}, {options} }}", list.join(", ")), "proxy(app)").start()
}

/// An origin that answers its name, and to probes whatever is set.
fn patient(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let ill = Arc::new(AtomicBool::new(false));
    let is_ill = Arc::clone(&ill);
    let origin = Origin::start(move |request| match (request.target.as_str(), is_ill.load(Ordering::SeqCst)) {
        ("/healthz", true) => Answer::status("500 Internal Server Error", "ill"),
        ("/healthz", false) => Answer::ok("healthy"),
        _ => Answer::ok(name),
    });
    (origin, ill)
}

const QUICK: &str = "every = \"50ms\", timeout = \"5s\"";

#[test]
fn probes_take_an_ill_endpoint_out_and_bring_it_back() {
    let ((a, ill), (b, _)) = (patient("a"), patient("b"));
    let rsp = before(&format!("probe = {{ path = \"/healthz\", {QUICK} }}"), &[&a, &b]);
    a.wait_for_requests(2, SOON);
    ill.store(true, Ordering::SeqCst);
    let line = rsp.wait_for_line(SOON, |line| line.contains("is down, probes say"));
    assert!(line.contains("status 500"), "{line}");
    let mut client = rsp.client();
    (0..10).for_each(|_| assert_eq!(client.get("/").text(), "b"));
    let status = rsp.control(&["status", "site.lua", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["upstreams"][0]["endpoints"][0]["available"], false);
    ill.store(false, Ordering::SeqCst);
    rsp.wait_for_line(SOON, |line| line.contains("is up again, probes say"));
    let mut answers: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["a", "a", "b", "b"]);
}

#[test]
fn a_probe_is_a_request_of_its_own_as_configured() {
    let (origin, _) = patient("a");
    let rsp = before(
        "probe = { path = \"/healthz\", host = \"app.example\", body = \"healthy\", status = \"200,204\", every = \"50ms\" }",
        &[&origin],
    );
    let probe = origin.wait_for_requests(3, SOON).remove(0);
    assert_eq!(probe.request.head.start, "GET /healthz HTTP/1.1");
    assert_eq!((probe.header("host"), probe.header("connection")), (Some("app.example"), Some("close")));
    assert_eq!(rsp.client().get("/").text(), "a");
    let wrong = before("probe = { path = \"/healthz\", body = \"wonderful\", every = \"50ms\" }", &[&origin]);
    wrong.wait_for_line(SOON, |line| line.contains("is down, probes say: no \"wonderful\" in its body"));
    let refused = wrong.client().get("/");
    assert_eq!(refused.status, 502, "all down");
}

#[test]
fn hostile_answers_to_probes_are_failures_and_cost_little() {
    let endless = Origin::start(|_| Answer::pattern(64 << 20));
    let silent = Origin::start(|_| Answer::never());
    let garbage = Origin::start(|_| Answer::raw("ICY 200 OK\r\n\r\n"));
    let probe = "probe = { path = \"/\", body = \"wonderful\", every = \"50ms\", timeout = \"300ms\" }";
    let rsp = before(probe, &[&endless, &silent, &garbage]);
    for origin in [&endless, &silent, &garbage] {
        let address = origin.address();
        rsp.wait_for_line(SOON, |line| line.contains(&address) && line.contains("is down"));
    }
    // What is allocated once is here.
    let before = rsp.user_memory();
    endless.wait_for_requests(endless.received().len() + 20, SOON);
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
    eventually(SOON, || silent.connections_open() <= 1);
}

#[test]
fn a_tcp_probe_needs_no_more_than_a_connect_and_a_backup_stands_in() {
    let (mut main, backup) = (Origin::replying("main"), Origin::replying("backup"));
    let upstream = "local app = upstream \"app\" { \"$A\", { \"$B\", backup = true }, \
                    probe = { tcp = true, every = \"50ms\" } }";
    let rsp = front(upstream, "proxy(app)").set("A", main.address()).set("B", backup.address()).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "main");
    main.stop();
    rsp.wait_for_line(SOON, |line| line.contains("is down, probes say: connect"));
    assert_eq!(client.get("/").text(), "backup");
    main.restart();
    rsp.wait_for_line(SOON, |line| line.contains("is up again"));
    assert_eq!(client.get("/").text(), "main");
}

#[test]
fn what_probes_found_outlives_a_reload_and_probes_end_with_their_upstream() {
    let ((a, ill), (b, _)) = (patient("a"), patient("b"));
    let text = |options: &str| {
        format!(
            "listen \"127.0.0.1:$PORT\" local app = upstream \"app\" {{ \"{}\", \"{}\", {options} }} \
             site \"*\" (proxy(app))",
            a.address(),
            b.address()
        )
    };
    ill.store(true, Ordering::SeqCst);
    let mut rsp = Rsp::config(&text("probe = { path = \"/healthz\", every = \"50ms\" }")).start();
    rsp.wait_for_line(SOON, |line| line.contains("is down, probes say"));
    rsp.rewrite_config(&text("keepalive = 1, probe = { path = \"/healthz\", every = \"1h\" }"));
    assert_eq!(rsp.reload().code, Some(0));
    let mut client = rsp.client();
    (0..6).for_each(|_| assert_eq!(client.get("/").text(), "b"));
    rsp.rewrite_config(&text("keepalive = 1"));
    assert_eq!(rsp.reload().code, Some(0));
    let mut answers: Vec<_> = (0..4).map(|_| client.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["a", "a", "b", "b"], "nobody probes any more");
    let probes = || a.received().iter().filter(|one| one.request.target == "/healthz").count();
    let before = probes();
    let until = Instant::now() + Duration::from_millis(300);
    eventually(SOON, || Instant::now() > until);
    assert!(probes() <= before + 1, "one may have been on its way");
}

#[test]
fn all_down_waits_in_the_queue_for_a_probe_that_succeeds() {
    let (origin, ill) = patient("a");
    ill.store(true, Ordering::SeqCst);
    let options = format!("probe = {{ path = \"/healthz\", {QUICK} }}, queue = {{ size = 5, timeout = \"30s\" }}");
    let rsp = before(&options, &[&origin]);
    rsp.wait_for_line(SOON, |line| line.contains("is down, probes say"));
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let queued = || {
        let status = rsp.control(&["status", "site.lua", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        status["upstreams"][0]["queued"] == 1
    };
    eventually(SOON, queued);
    ill.store(false, Ordering::SeqCst);
    assert_eq!(client.read_response("GET").text(), "a");
}

#[test]
fn answers_that_break_off_eject_an_endpoint() {
    let (cut, good) = (Origin::start(|_| Answer::cut_short(100, "half")), Origin::replying("good"));
    let rsp = before("outlier = { eject = \"5m\" }", &[&cut, &good]);
    for _ in 0..6 {
        rsp.client().get("/");
    }
    rsp.wait_for_line(SOON, |line| line.contains("ejected for"));
    assert_eq!(cut.received().len(), 3);
    (0..6).for_each(|_| assert_eq!(rsp.client().get("/").text(), "good"));
}

#[test]
fn a_whole_answer_between_them_ends_the_row_of_broken_ones() {
    let uneven = Origin::start(|request| match request.number % 3 {
        0 => Answer::ok("whole"),
        _ => Answer::cut_short(100, "half"),
    });
    let good = Origin::replying("good");
    let rsp = before("outlier = { eject = \"5m\" }", &[&uneven, &good]);
    (0..24).for_each(|_| _ = rsp.client().get("/"));
    assert_eq!(uneven.received().len(), 12);
}

#[test]
fn answers_slower_than_the_config_wants_eject() {
    let (slow, good) =
        (Origin::start(|_| Answer::slow_head(Duration::from_millis(150), "slow")), Origin::replying("good"));
    let rsp = before("outlier = { slow = \"100ms\", eject = \"5m\" }", &[&slow, &good]);
    let mut client = rsp.client();
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!(slow.received().len(), 3);
}

#[test]
fn two_dead_ones_of_three_are_both_left_out() {
    let [mut a, mut b, c] = ["a", "b", "c"].map(Origin::replying);
    a.stop();
    b.stop();
    let rsp = before("outlier = { eject = \"5m\" }", &[&a, &b, &c]);
    let mut client = rsp.client();
    (0..20).for_each(|_| _ = client.get("/"));
    let mut admin = testkit::Client::connect(&format!("unix:{}", rsp.folder().join("site.lua.sock").display()));
    let text = admin.get("/metrics").text();
    let failures: Vec<_> = text.lines().filter(|line| line.starts_with("rsp_connect_failures_total{")).collect();
    let count = failures.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).sum::<u32>();
    assert_eq!(count, 2, "{failures:?}");
}

#[test]
fn an_endpoint_that_is_back_gets_its_share_bit_by_bit() {
    let [mut a, b] = ["a", "b"].map(Origin::replying);
    let rsp = before("slow_start = \"10m\", outlier = { eject = \"200ms\" }", &[&a, &b]);
    let mut client = rsp.client();
    assert_eq!((client.get("/").text(), client.get("/").text()), ("a".into(), "b".into()), "whole at the start");
    a.stop();
    client.get("/");
    rsp.wait_for_line(SOON, |line| line.contains("ejected for"));
    a.restart();
    let until = Instant::now() + Duration::from_millis(400);
    eventually(SOON, || Instant::now() > until);
    let before = a.received().len();
    (0..200).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert!(a.received().len() - before < 10, "{}", a.received().len() - before);
}
