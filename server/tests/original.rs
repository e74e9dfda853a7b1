//! The behaviours that the original rsp's own functional tests asked for, with its own three-line config.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::time::Duration;

use testkit::{Answer, Client, End, Gate, Origin, Pattern, Rsp, RspBuilder, Step, Stream};

const SOON: Duration = Duration::from_secs(10);

fn in_front_of(origin: &Origin) -> RspBuilder {
    let address = origin.address();
    let (host, port) = address.split_once(':').unwrap();
    let config = "listenPort = \"$PORT\"\nbackendAddress = \"$HOST\"\nbackendPort = \"$BACKEND\"\n";
    Rsp::config(config).set("HOST", host).set("BACKEND", port)
}

#[test]
fn two_requests_one_after_the_other_are_proxied() {
    let origin = Origin::replying("from the backend");
    let rsp = in_front_of(&origin).start();
    for _ in 0..2 {
        let answer = rsp.client().get("/page");
        assert_eq!((answer.status, answer.text().as_str()), (200, "from the backend"));
    }
    assert!(origin.received().iter().all(|received| received.request.target == "/page"));
}

#[test]
fn an_answer_of_eleven_megabytes_arrives_intact() {
    let origin = Origin::start(|_| Answer::pattern(11 << 20));
    let rsp = in_front_of(&origin).start();
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_head().headers.get("content-length"), Some("11534336"));
    client.read_pattern(&mut Pattern::new(), 11 << 20);
}

#[test]
fn four_requests_wait_for_a_slow_backend_at_the_same_time() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        let mut answer = Answer::ok("at last");
        answer.0.insert(0, Step::Pass(waits.clone()));
        answer
    });
    let rsp = in_front_of(&origin).start();
    let mut clients: Vec<Client> = (0..4).map(|_| rsp.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n"));
    // All four are with the backend before it answers any.
    origin.wait_for_heads(4, SOON);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response("GET").text(), "at last");
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_harms_nobody() {
    let origin = Origin::start(|_| Answer::pattern(64 << 20));
    let rsp = in_front_of(&origin).start();
    let mut leaving = rsp.client();
    leaving.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    leaving.read_head();
    leaving.reset();
    let mut staying = rsp.client();
    staying.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    staying.read_head();
    staying.read_pattern(&mut Pattern::new(), 64 << 20);
    assert_eq!(staying.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn a_missing_config_and_a_wrong_one_are_reported_in_the_old_words() {
    let first_line = |builder: RspBuilder| {
        let output = builder.run();
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        output.stderr.lines().next().unwrap_or_default().to_owned()
    };
    let missing = first_line(Rsp::command(&["absent.lua"]));
    assert!(missing.contains("Error parsing config file: cannot open "), "{missing}");
    assert!(missing.ends_with("absent.lua: No such file or directory"), "{missing}");
    let buggy = first_line(Rsp::config("listenPort = "));
    assert!(buggy.contains("Error parsing config file: "), "{buggy}");
    let wrong = "listenPort = \"8000\"\nbackendAddress = 127\nbackendPort = \"80\"\n";
    let wrong = first_line(Rsp::config(wrong));
    assert!(wrong.contains("backendAddress must be a string"), "{wrong}");
}

#[test]
fn the_start_is_logged_with_its_time_and_port() {
    let origin = Origin::replying("");
    let rsp = in_front_of(&origin).start();
    let line = rsp.lines(Stream::Stdout).into_iter().find(|line| line.contains("Started.")).unwrap();
    let (stamp, rest) = line.split_once("] ").unwrap();
    assert_eq!(rest, format!("Started.  Listening on port {}.", rsp.port()));
    let shape: String = stamp.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
    assert_eq!(shape.replace('-', "+"), "[0000+00+00 00:00:00.000000 +0000");
}

#[test]
fn a_head_that_is_too_long_is_refused_and_never_forwarded() {
    let origin = Origin::replying("");
    let rsp = in_front_of(&origin).start();
    let long = "x".repeat(9 * 1024);
    assert_eq!(rsp.client().get(&format!("/{long}")).status, 414);
    let header = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {long}{long}\r\n\r\n");
    assert_eq!(rsp.client().request(&header).status, 431);
    assert!(origin.received().is_empty());
}
