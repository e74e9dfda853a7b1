//! `limit`: what passes, what is refused and with which words, and what outlives a reload.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use testkit::{Answer, Gate, Origin, Rsp, Step, curl, eventually};

use super::{SOON, front};

fn limited(limit: &str) -> Rsp {
    front("", &format!("{{ limit {{ {limit} }}, reply(200, \"ok\") }}")).start()
}

#[test]
fn a_burst_passes_and_the_next_is_429_with_the_time_to_come_back() {
    let rsp = limited("rate = \"2/m\", burst = 3");
    let mut client = rsp.client();
    let statuses: Vec<_> = (0..5).map(|_| client.get("/").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let refused = client.get("/");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((29..=30).contains(&wait), "half a minute, rounded up: {wait}");
    assert!(refused.text().starts_with("429 Too Many Requests\n"), "{}", refused.text());
    let json = client.request("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    assert!(json.text().starts_with("{\"status\":429,"), "{}", json.text());
}

#[test]
fn who_comes_back_when_told_to_passes() {
    let rsp = limited("rate = \"1/s\"");
    let mut client = rsp.client();
    assert_eq!(client.get("/").status, 200);
    let refused = client.get("/");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    let told = Instant::now();
    eventually(SOON, || told.elapsed() >= Duration::from_secs(1));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn all_workers_and_connections_count_together() {
    let text = "workers(2)\nlisten \"127.0.0.1:$PORT\"\n\
                site \"*\" { [\"/*\"] = { limit { rate = \"20/h\" }, reply(200) } }";
    let rsp = Rsp::config(text).start();
    let passed = (0..60).filter(|_| rsp.client().get("/").status == 200).count();
    assert_eq!(passed, 20);
}

#[test]
fn keys_are_counted_apart_and_curl_reads_the_status_of_choice() {
    let rsp = limited("rate = \"1/h\", key = \"header:X-Key\", status = 503");
    let ask = |key: &str| {
        let url = rsp.url("/");
        let field = format!("X-Key: {key}");
        curl(&["-s", "-o", "/dev/null", "-w", "%{http_code} %header{retry-after}", "-H", &field, &url]).text()
    };
    assert_eq!([ask("a"), ask("b")], ["200 ", "200 "]);
    assert_eq!([ask("a"), ask("b")], ["503 3600", "503 3600"]);
}

#[test]
fn one_limit_in_two_routes_counts_them_together_and_two_limits_do_not() {
    let text = "workers(1)\nlisten \"127.0.0.1:$PORT\"\nlocal shared = limit { rate = \"1/h\" }\n\
                site \"*\" { [\"/a\"] = { shared, reply(200) }, [\"/b\"] = { shared, reply(200) },\n\
                            [\"/c\"] = { limit { rate = \"1/h\" }, reply(200) } }";
    let rsp = Rsp::config(text).start();
    let mut client = rsp.client();
    let statuses: Vec<_> = ["/a", "/b", "/c", "/c"].iter().map(|path| client.get(path).status).collect();
    assert_eq!(statuses, [200, 429, 200, 429]);
}

#[test]
fn a_reload_forgets_nothing_of_a_limit_that_it_leaves_as_it_is() {
    let text = |rate: &str, body: &str| {
        format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\n\
             site \"*\" {{ [\"/*\"] = {{ limit {{ rate = \"{rate}\" }}, reply(200, \"{body}\") }} }}"
        )
    };
    let mut rsp = Rsp::config(&text("1/h", "one")).start();
    assert_eq!(rsp.client().get("/").status, 200);
    rsp.rewrite_config(&text("1/h", "two"));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(rsp.client().get("/").status, 429);
    rsp.rewrite_config("site {");
    assert_eq!(rsp.reload().code, Some(2));
    assert_eq!(rsp.client().get("/").status, 429);
    rsp.rewrite_config(&text("2/h", "three"));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(rsp.client().get("/").text(), "three");
}

#[test]
fn as_many_as_allowed_are_here_at_once_until_their_answers_are_out() {
    let gate = Gate::new();
    let waits = gate.clone();
    // Heads and half of their bodies are out when others ask.
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo".to_vec();
    let origin = Origin::start(move |_| {
        Answer(vec![Step::ReadBody, Step::Write(half.clone()), Step::Pass(waits.clone()), Step::Write(b"ne".to_vec())])
    });
    let rsp = front("", "{ limit { concurrent = 2 }, proxy \"$ORIGIN\" }").set("ORIGIN", origin.address()).start();
    let mut held: Vec<_> = (0..2).map(|_| rsp.client()).collect();
    held.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    held.iter_mut().for_each(|client| assert_eq!(client.read_head().start, "HTTP/1.1 200 OK"));
    let refused = rsp.client().get("/");
    assert_eq!((refused.status, refused.header("retry-after")), (429, None));
    gate.open();
    held.iter_mut().for_each(|client| assert_eq!(client.read_exactly(4), b"done"));
    eventually(SOON, || rsp.client().get("/").status == 200);
}

#[test]
fn a_client_that_goes_away_gives_its_place_back() {
    let origin = Origin::start(|head| if head.target == "/slow" { Answer::never() } else { Answer::ok("ok") });
    let rsp = front("", "{ limit { concurrent = 1 }, proxy \"$ORIGIN\" }").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1, SOON);
    assert_eq!(rsp.client().get("/").status, 429);
    client.reset();
    eventually(SOON, || rsp.client().get("/").status == 200);
}

#[test]
fn a_tunnel_keeps_its_place_until_it_ends() {
    let origin = Origin::start(|head| if head.target == "/ws" { Answer::upgrade("echo") } else { Answer::ok("ok") });
    let rsp = front("", "{ limit { concurrent = 1 }, proxy \"$ORIGIN\" }").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(rsp.client().get("/").status, 429);
    drop(client);
    eventually(SOON, || rsp.client().get("/").status == 200);
}

#[test]
fn what_was_refused_is_counted_logged_and_never_reaches_the_upstream() {
    let origin = Origin::replying("ok");
    let rsp = front("log { format = \"json\" }", "{ limit { rate = \"1/h\" }, proxy \"$ORIGIN\" }")
        .set("ORIGIN", origin.address())
        .start();
    let mut client = rsp.client();
    assert_eq!([client.get("/").status, client.get("/").status, client.get("/").status], [200, 429, 429]);
    rsp.wait_for_line(SOON, |line| line.contains("\"status\":429") && line.contains("\"limited\""));
    let socket = rsp.folder().join("site.lua.sock");
    let metrics = Command::new("curl").arg("-s").arg("--unix-socket").arg(socket).arg("http://rsp/metrics").output();
    let metrics = String::from_utf8(metrics.unwrap().stdout).unwrap();
    assert!(metrics.contains("rsp_limited_total{site=\"*\"} 2"), "{metrics}");
    assert_eq!(origin.received().len(), 1);
}
