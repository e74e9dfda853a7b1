//! Stories of the end: a drain finishes what is running, a second signal does not, and nothing is left behind.

use std::time::{Duration, Instant};

use testkit::{Answer, Client, End, Gate, Origin, Rsp, Signal, Step, eventually};

use super::{HELLO, SOON, assert_closed, assert_echoes, tunnel, wait_for_message};

/// A drain that would outlast the test.
const LONG: &str = r#"listen "127.0.0.1:$PORT" drain "1h" site "*" { ["/*"] = proxy "$ORIGIN" }"#;

/// Answers when the gate opens; what asks for an upgrade becomes an echo.
fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |request| {
        if request.head.headers.get("upgrade").is_some() {
            return Answer::upgrade("echo");
        }
        let mut answer = Answer::ok("done");
        answer.0.insert(1, Step::Pass(gate.clone()));
        answer
    })
}

fn is_refused(rsp: &Rsp) -> bool {
    Client::try_connect(&rsp.address()).is_err()
}

#[test]
fn a_drain_finishes_open_requests_and_says_close() {
    for by_command in [false, true] {
        let gate = Gate::new();
        let origin = held(&gate);
        let mut rsp = Rsp::config(LONG).set("ORIGIN", origin.address()).start();
        let mut idle = rsp.client();
        gate.open();
        assert_eq!(idle.get("/").text(), "done");
        let gate = Gate::new();
        let waiting = held(&gate);
        rsp.rewrite_config(&LONG.replace("$ORIGIN", &waiting.address()));
        assert_eq!(rsp.reload().code, Some(0));
        let mut busy = rsp.client();
        busy.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        waiting.wait_for_heads(1, SOON);

        if by_command {
            let output = rsp.control(&["drain", "site.lua"]);
            assert_eq!(output.code, Some(0), "{}", output.stderr);
        } else {
            rsp.signal(Signal::TERM);
        }
        assert_closed(&mut idle);
        eventually(SOON, || is_refused(&rsp));
        assert!(rsp.is_running());
        gate.open();
        let answer = busy.read_response("GET");
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("done", Some("close")));
        assert_closed(&mut busy);
        assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    }
}

#[test]
fn an_idle_rsp_ends_at_once_on_term_and_int_and_takes_its_sockets_along() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut rsp = Rsp::config(&format!("{HELLO} listen \"unix:front.sock\" drain \"1h\"")).start();
        let sockets = ["front.sock", "site.lua.sock"].map(|name| rsp.folder().join(name));
        assert!(sockets.iter().all(|path| path.exists()));
        rsp.signal(signal);
        assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
        assert!(!sockets.iter().any(|path| path.exists()));
    }
}

#[test]
fn tunnels_are_cut_at_the_end_of_the_drain() {
    let origin = held(&Gate::new());
    let text = LONG.replace("1h", "1s");
    let mut rsp = Rsp::config(&text).set("ORIGIN", origin.address()).start();
    let mut tunnel = tunnel(&rsp.address(), "/");
    let began = Instant::now();
    rsp.signal(Signal::TERM);
    eventually(SOON, || is_refused(&rsp));
    assert_echoes(&mut tunnel);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_closed(&mut tunnel);
    wait_for_message(&rsp, "the drain took too long");
}

#[test]
fn a_second_signal_or_a_stop_ends_a_drain_at_once() {
    for by_command in [false, true] {
        let origin = held(&Gate::new());
        let mut rsp = Rsp::config(LONG).set("ORIGIN", origin.address()).start();
        let mut tunnel = tunnel(&rsp.address(), "/");
        rsp.signal(Signal::TERM);
        wait_for_message(&rsp, "draining");
        assert_echoes(&mut tunnel);
        if by_command {
            assert_eq!(rsp.control(&["stop", "site.lua"]).code, Some(0));
        } else {
            rsp.signal(Signal::TERM);
        }
        assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
        assert_closed(&mut tunnel);
    }
}

#[test]
fn a_draining_rsp_still_shows_its_status_and_refuses_a_reload() {
    let origin = held(&Gate::new());
    let rsp = Rsp::config(LONG).set("ORIGIN", origin.address()).start();
    let _tunnel = tunnel(&rsp.address(), "/");
    assert_eq!(rsp.control(&["drain", "site.lua"]).code, Some(0));
    eventually(SOON, || is_refused(&rsp));
    assert_eq!(rsp.control(&["status", "site.lua"]).code, Some(0));
    let refused = rsp.reload();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("draining"), "{}", refused.stderr);
}

#[test]
fn stop_ends_at_once_whatever_is_open() {
    let origin = held(&Gate::new());
    let mut rsp = Rsp::config(LONG).set("ORIGIN", origin.address()).start();
    let mut tunnel = tunnel(&rsp.address(), "/");
    let output = rsp.control(&["stop", "site.lua"]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert_closed(&mut tunnel);
    assert!(!rsp.folder().join("site.lua.sock").exists());
}

#[test]
fn a_body_that_is_being_sent_is_sent_to_its_end() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
        Answer::raw(head).then(Step::Pass(waits.clone())).then(Step::Write(b"rest".to_vec()))
    });
    let mut rsp = Rsp::config(LONG).set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.read_head();
    assert_eq!(client.read_exactly(4), b"half");
    rsp.signal(Signal::TERM);
    wait_for_message(&rsp, "draining");
    gate.open();
    assert_eq!(client.read_to_end(), (b"rest".to_vec(), End::Closed));
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_connection_that_never_asked_for_anything_does_not_hold_a_drain_up() {
    let mut rsp = Rsp::config(&format!("{HELLO} drain \"1h\" limits {{ head_timeout = \"1h\" }}")).start();
    let mut silent = rsp.client();
    eventually(SOON, || super::metric(&rsp, &format!("rsp_connections_open{{listener=\"{}\"}}", rsp.address())) == 1.0);
    rsp.signal(Signal::TERM);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert_closed(&mut silent);
}
