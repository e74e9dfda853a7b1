//! Stories of metrics: what the page counts while requests, tunnels, ejections and reloads happen.

use std::time::Duration;

use testkit::{Answer, Gate, Origin, Rsp, Step, eventually};

use super::{SOON, assert_metric, get, get_from, metric, metrics, tunnel};

#[test]
fn requests_are_counted_by_site_upstream_and_status() {
    let origin = Origin::start(|request| match &*request.target {
        "/teapot" => Answer::status("418 I'm a teapot", ""),
        _ => Answer::ok("0123456789"),
    });
    let text = r#"listen "127.0.0.1:$PORT" local app = upstream "app" { "$ORIGIN" }
        site "a.example" { ["/*"] = proxy(app), ["/own"] = reply(204) } site "*" (reply(200))"#;
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    for path in ["/", "/", "/teapot", "/own"] {
        get_from(&rsp, "a.example", path);
    }
    get(&rsp, "/");
    for (labels, count) in [
        ("site=\"a.example\",upstream=\"app\",status=\"418\"", 1.0),
        ("site=\"a.example\",upstream=\"\",status=\"204\"", 1.0),
        ("site=\"*\",upstream=\"\",status=\"200\"", 1.0),
    ] {
        eventually(SOON, || metrics(&rsp).contains(&format!("rsp_requests_total{{{labels}}} ")));
        assert_metric(&rsp, &format!("rsp_requests_total{{{labels}}}"), count);
    }
    assert_metric(&rsp, "rsp_request_seconds_count{site=\"*\",upstream=\"\"}", 1.0);
    assert!(metric(&rsp, "rsp_upstream_seconds_sum{site=\"a.example\",upstream=\"app\"}") > 0.0);
    assert!(metric(&rsp, "rsp_bytes_total{site=\"a.example\",upstream=\"app\",direction=\"out\"}") > 20.0);
    assert!(metrics(&rsp).ends_with("# EOF\n"));
}

#[test]
fn bytes_of_request_bodies_are_counted() {
    let origin = Origin::replying("ok");
    let text = "listen \"127.0.0.1:$PORT\" local app = upstream \"app\" { \"$ORIGIN\" } site \"*\" (proxy(app))";
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    let body = "a".repeat(5_000);
    rsp.client().request(&format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\n{body}"));
    let chunked = format!("1388\r\n{body}\r\n0\r\n\r\n");
    rsp.client().request(&format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"));
    let name = "rsp_bytes_total{site=\"*\",upstream=\"app\",direction=\"in\"}";
    eventually(SOON, || metrics(&rsp).contains(name) && metric(&rsp, name) >= 10_000.0);
    assert!(metric(&rsp, name) < 10_300.0);
}

#[test]
fn what_is_open_rises_and_falls() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |request| {
        if request.head.headers.get("upgrade").is_some() {
            return Answer::upgrade("echo");
        }
        let mut answer = Answer::ok("done");
        answer.0.insert(1, Step::Pass(waits.clone()));
        answer
    });
    let text = "listen \"127.0.0.1:$PORT\" local app = upstream \"app\" { \"$ORIGIN\" } site \"*\" (proxy(app))";
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    let open = format!("rsp_connections_open{{listener=\"{}\"}}", rsp.address());
    // The request for the page is in flight itself.
    let levels = |rsp: &Rsp| {
        let idle = metric(rsp, "rsp_upstream_connections_idle{upstream=\"app\"}");
        [metric(rsp, "rsp_requests_in_flight") - 1.0, metric(rsp, "rsp_tunnels_open"), metric(rsp, &open), idle]
    };
    assert_eq!(levels(&rsp), [0.0; 4]);
    let tunnel = tunnel(&rsp.address(), "/");
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_for_heads(2, SOON);
    eventually(SOON, || levels(&rsp) == [1.0, 1.0, 2.0, 0.0]);
    gate.open();
    assert_eq!(client.read_response("GET").text(), "done");
    eventually(SOON, || levels(&rsp) == [0.0, 1.0, 2.0, 1.0]);
    drop(tunnel);
    eventually(SOON, || levels(&rsp) == [0.0, 0.0, 1.0, 1.0]);
    drop(client);
    eventually(SOON, || levels(&rsp) == [0.0, 0.0, 0.0, 1.0]);
    // Seen by the sweep, which comes every few seconds.
    origin.close_connections();
    eventually(SOON, || levels(&rsp) == [0.0; 4]);
}

#[test]
fn connections_to_upstreams_are_opened_once_and_used_again() {
    let origin = Origin::replying("ok");
    let text =
        "workers(1) listen \"127.0.0.1:$PORT\" local app = upstream \"app\" { \"$ORIGIN\" } site \"*\" (proxy(app))";
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    for _ in 0..5 {
        get(&rsp, "/");
    }
    assert_metric(&rsp, "rsp_upstream_connections_opened_total{upstream=\"app\"}", 1.0);
    assert_metric(&rsp, "rsp_upstream_connections_reused_total{upstream=\"app\"}", 4.0);
}

#[test]
fn a_connection_is_used_again_after_a_slow_answer_too() {
    // Longer than two looks at the idle connections.
    let origin = Origin::start(|_| Answer::slow_head(Duration::from_millis(2_500), "late"));
    let text = "workers(1) listen \"127.0.0.1:$PORT\" site \"*\" (proxy \"$ORIGIN\")";
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    for _ in 0..2 {
        assert_eq!(get(&rsp, "/").text(), "late");
    }
    assert_eq!(origin.connections_opened(), 1);
}

#[test]
fn an_ejected_endpoint_is_down_until_its_time_is_over() {
    let [one, mut two] = ["one", "two"].map(Origin::replying);
    let text = r#"workers(1) listen "127.0.0.1:$PORT"
        local app = upstream "app" { { "$ONE", name = "one" }, { "$TWO", name = "two" }, outlier = { eject = "3s" } }
        site "*" (proxy(app))"#;
    let rsp = Rsp::config(text).set("ONE", one.address()).set("TWO", two.address()).start();
    let up = |name: &str| metric(&rsp, &format!("rsp_endpoint_up{{upstream=\"app\",endpoint=\"{name}\"}}"));
    assert_eq!((up("one"), up("two")), (1.0, 1.0));
    two.stop();
    for _ in 0..4 {
        assert_eq!(get(&rsp, "/").text(), "one");
    }
    assert_eq!((up("one"), up("two")), (1.0, 0.0));
    for name in ["rsp_ejections_total", "rsp_connect_failures_total"] {
        assert_eq!(metric(&rsp, &format!("{name}{{upstream=\"app\",endpoint=\"two\"}}")), 1.0, "{name}");
    }
    assert_metric(&rsp, "rsp_retries_total{upstream=\"app\"}", 1.0);
    two.restart();
    eventually(SOON, || up("two") == 1.0);
    eventually(SOON, || get(&rsp, "/").text() == "two");
}

#[test]
fn counters_live_over_reloads() {
    let text = "listen \"127.0.0.1:$PORT\" site \"*\" (reply(200))";
    let mut rsp = Rsp::config(text).start();
    get(&rsp, "/");
    rsp.rewrite_config(&text.replace("200", "201"));
    assert_eq!(rsp.reload().code, Some(0));
    get(&rsp, "/");
    for status in [200, 201] {
        assert_metric(&rsp, &format!("rsp_requests_total{{site=\"*\",upstream=\"\",status=\"{status}\"}}"), 1.0);
    }
}

#[test]
fn functions_that_fail_are_counted() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" {
        ["/*"] = function() error("on purpose") end, ["/loop"] = function() while true do end end }"#;
    let rsp = Rsp::config(text).start();
    assert_eq!((get(&rsp, "/").status, get(&rsp, "/loop").status), (500, 500));
    assert_metric(&rsp, "rsp_script_errors_total", 2.0);
}
