//! Hostile peers: what a client or an upstream may send to get more, or less, than it is due.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;
use testkit::{Answer, Client, End, Origin, Step, eventually};

use super::{SOON, front};

/// A request that must never be one: it stands inside of a body.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";

fn chunked(path: &str, chunk: &str, behind: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n{behind}",
        chunk.len()
    )
}

#[test]
fn what_stands_in_a_body_that_breaks_off_is_never_read_as_a_request() {
    let handlers = ["proxy \"$ORIGIN\"", "function(request) return reply(200, request:body()) end"];
    for handler in handlers {
        let origin = Origin::replying("ok");
        let rsp = front("", handler).set("ORIGIN", origin.address()).start();
        let mut client = rsp.client();
        client.send(chunked("/", &format!("0\r\n\r\n{EVIL}"), "no size\r\n"));
        let (answers, end) = client.read_to_end();
        let answers = String::from_utf8_lossy(&answers);
        assert!(answers.starts_with("HTTP/1.1 400") && end == End::Closed, "{answers}");
        assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
        assert!(origin.received().iter().all(|one| one.request.target != "/evil"));
    }
}

#[test]
fn what_stands_in_a_body_over_the_limit_that_nobody_reads_is_never_read_as_a_request() {
    let rsp = front("limits { body = 8 }", "reply(200, \"early\")").start();
    let mut client = rsp.client();
    client.send(chunked("/", EVIL, "0\r\n\r\n"));
    assert_eq!(client.read_response("POST").status, 200);
    assert_eq!(String::from_utf8_lossy(&client.read_to_end().0), "");
}

#[test]
fn an_answer_that_closes_is_not_lost_to_a_reset_though_more_was_sent() {
    let body = "x".repeat(1 << 20);
    let text = format!("reply(200, (\"x\"):rep({}))", body.len());
    let rsp = front("", &text).start();
    for _ in 0..5 {
        let mut client = rsp.client();
        let more = "more".repeat(20_000);
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{more}"));
        assert_eq!(client.read_response("GET").body.len(), body.len());
        assert_eq!(client.read_to_end().1, End::Closed);
    }
}

#[test]
fn a_body_that_a_forgotten_coroutine_reads_is_not_forwarded_as_none() {
    let origin = Origin::echoing();
    let function = "function(request)
        coroutine.resume(coroutine.create(function() return request:body() end))
        return proxy \"$ORIGIN\"
    end";
    let rsp = front("", function).set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.read_response("POST").status, 500);
    assert!(origin.received().is_empty());
}

#[test]
fn interim_answers_without_end_do_not_outlast_the_timeout() {
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    let origin = Origin::start(move |_| {
        (0..2000).fold(Answer::raw(flood.clone()), |answer, _| answer.then(Step::Write(flood.clone().into())))
    });
    let rsp = front("", "proxy { \"$ORIGIN\", timeout = \"300ms\" }").set("ORIGIN", origin.address()).start();
    let begun = Instant::now();
    let mut client = rsp.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    // Which of the two bounds comes first depends on the machine.
    let status = client.read_response("GET").status;
    assert!([502, 504].contains(&status), "{status}");
    assert!(begun.elapsed() < SOON);
}

#[test]
fn descriptors_that_run_out_are_no_fault_of_an_endpoint() {
    let (one, other) = (Origin::replying("ok"), Origin::replying("ok"));
    let group = format!("local app = upstream \"app\" {{ \"{}\", \"{}\" }}", one.address(), other.address());
    let rsp = front(&group, "proxy(app)").descriptors_max(40).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").status, 200);
    one.close_connections();
    other.close_connections();
    let flood: Vec<_> = (0..60).map(|_| rsp.client()).collect();
    eventually(SOON, || {
        // The last descriptor may serve a request or two.
        one.close_connections();
        other.close_connections();
        let answer = client.get("/");
        assert!(answer.status == 200 || answer.header("retry-after") == Some("1"), "{}", answer.status);
        answer.status == 503
    });
    drop(flood);
    eventually(SOON, || client.get("/").status == 200);
    let (before_one, before_other) = (one.received().len(), other.received().len());
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((one.received().len() - before_one, other.received().len() - before_other), (5, 5));
}

/// rsp whose messages go into a pipe that the test holds; every request to it is a 502, and so a message.
fn with_messages_unread() -> (Child, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rsp"))
        .args(["proxy", "--listen", "127.0.0.1:0", "127.0.0.1:1"])
        .env("XDG_RUNTIME_DIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim_end().trim_end_matches('.').rsplit(' ').next().unwrap().to_owned();
    (child, format!("127.0.0.1:{port}"), folder)
}

#[test]
fn messages_that_nobody_reads_stop_no_request_and_no_end() {
    let (mut child, address, _folder) = with_messages_unread();
    let mut client = Client::connect(&address);
    let path = format!("/{}", "x".repeat(4000));
    for _ in 0..3000 {
        assert_eq!(client.get(&path).status, 502);
    }
    drop(client);
    terminate(&child);
    eventually(SOON, || child.try_wait().unwrap().is_some_and(|status| status.success()));
}

#[test]
fn messages_with_nowhere_to_go_stop_no_request_and_no_end() {
    let (mut child, address, _folder) = with_messages_unread();
    drop((child.stdout.take(), child.stderr.take()));
    let mut client = Client::connect(&address);
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 502);
    }
    drop(client);
    terminate(&child);
    eventually(SOON, || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
}

fn terminate(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
}
