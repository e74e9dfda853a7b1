//! Stories of the access log: its formats, its file over rotation and full disks, and what no client can forge.

use std::path::Path;

use testkit::{Answer, Origin, Rsp, Signal, eventually};

use super::{SOON, assert_metric, get, log_lines, metric};

fn logging(options: &str) -> String {
    format!("listen \"127.0.0.1:$PORT\" log {{ {options} }} site \"*\" {{ [\"/*\"] = reply(200, \"hello\\n\") }}")
}

/// The first line of the log, once it is there.
fn first_line(rsp: &Rsp) -> String {
    eventually(SOON, || !log_lines(rsp).is_empty());
    log_lines(rsp)[0].clone()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

const ASKED: &str = "GET /a?b=c HTTP/1.1\r\nHost: test\r\nReferer: http://r/\r\nUser-Agent: probe/1 (x)\r\n\r\n";

#[test]
fn common_and_combined_are_apaches_with_id_upstream_and_times() {
    let common = Rsp::config(&logging("format = \"common\"")).start();
    common.client().request(ASKED);
    let line = first_line(&common);
    let (before, after) = line.split_once('[').unwrap();
    let (time, rest) = after.split_once(']').unwrap();
    assert_eq!((before, rest.rsplit_once(' ').unwrap().0), ("127.0.0.1 - - ", " \"GET /a?b=c HTTP/1.1\" 200"));
    assert_eq!((time.len(), &time[2..3], &time[11..12]), (26, "/", ":"), "{time}");

    let origin = Origin::replying("up");
    let text = "listen \"127.0.0.1:$PORT\" local a = upstream \"app\" { \"$ORIGIN\" } site \"*\" (proxy(a))";
    let combined = Rsp::config(text).set("ORIGIN", origin.address()).start();
    combined.client().request(ASKED);
    let line = first_line(&combined);
    let words: Vec<_> = line.split(' ').collect();
    assert!(line.contains(" \"http://r/\" \"probe/1 (x)\" "), "{line}");
    let [id, upstream, took, upstream_took] = words[words.len() - 4..] else { panic!("{line}") };
    assert!(id.len() == 16 && id.chars().all(|c| c.is_ascii_hexdigit()), "{line}");
    assert_eq!(upstream, format!("app/{}", origin.address()));
    let (took, upstream_took): (f64, f64) = (took.parse().unwrap(), upstream_took.parse().unwrap());
    assert!(took >= upstream_took && upstream_took > 0.0, "{line}");
}

#[test]
fn json_is_an_object_a_line_and_its_id_is_on_the_error_page() {
    let text = r#"listen "127.0.0.1:$PORT" log { format = "json" }
        local dead = upstream "dead" { "127.0.0.1:$PORT9" } site "example.com" (proxy(dead))"#;
    let rsp = Rsp::config(text).start();
    let page = super::get_from(&rsp, "example.com", "/x");
    assert_eq!(page.status, 502);
    let page = page.text();
    let id = page.split_whitespace().last().unwrap();
    let line: serde_json::Value = serde_json::from_str(&first_line(&rsp)).unwrap();
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("target", "/x"),
        ("version", "HTTP/1.1"),
        ("host", "example.com"),
        ("site", "example.com"),
        ("fault", "upstream_dead"),
        ("id", id),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!(line["status"], 502);
    super::wait_for_message(&rsp, &format!("(request {id})"));
}

#[test]
fn what_never_became_a_request_is_logged_and_counted_too() {
    let text = r#"listen "127.0.0.1:$PORT" site "example.com" (reply(200))"#;
    let rsp = Rsp::config(text).start();
    assert_eq!(rsp.client().request("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status, 400);
    assert_eq!(super::get_from(&rsp, "other.example", "/lost").status, 404);
    eventually(SOON, || log_lines(&rsp).len() == 2);
    let mut lines = log_lines(&rsp);
    // Two connections have no order.
    lines.sort_by_key(|line| line.contains("/lost"));
    assert!(lines[0].starts_with("127.0.0.1 - - [") && lines[0].contains("\" 400 "), "{lines:?}");
    assert!(lines[1].contains("\"GET /lost HTTP/1.1\" 404 "), "{lines:?}");
    assert_metric(&rsp, "rsp_requests_total{site=\"\",upstream=\"\",status=\"400\"}", 1.0);
    assert_metric(&rsp, "rsp_requests_total{site=\"\",upstream=\"\",status=\"404\"}", 1.0);
}

#[test]
fn none_logs_nothing_and_a_site_may_log_elsewhere() {
    let text = r#"listen "127.0.0.1:$PORT" log { format = "none" }
        site "loud" { log = { format = "common", to = "loud.log" }, ["/*"] = reply(200) } site "*" (reply(200))"#;
    let rsp = Rsp::config(text).start();
    get(&rsp, "/quiet");
    super::get_from(&rsp, "loud", "/loud");
    let path = rsp.folder().join("loud.log");
    eventually(SOON, || read(&path).contains("/loud"));
    assert!(!read(&path).contains("/quiet"));
    assert_eq!(log_lines(&rsp), Vec::<String>::new());
}

#[test]
fn usr1_opens_the_log_anew_after_it_was_renamed() {
    let rsp = Rsp::config(&logging("to = \"access.log\"")).start();
    let (path, old) = (rsp.folder().join("access.log"), rsp.folder().join("access.log.1"));
    get(&rsp, "/before");
    eventually(SOON, || read(&path).contains("/before"));
    std::fs::rename(&path, &old).unwrap();
    get(&rsp, "/between");
    eventually(SOON, || read(&old).contains("/between"));
    rsp.signal(Signal::USR1);
    eventually(SOON, || path.exists());
    get(&rsp, "/after");
    eventually(SOON, || read(&path).contains("/after"));
    assert!(!read(&old).contains("/after") && !read(&path).contains("/between"));
}

#[test]
fn a_full_disk_never_stops_serving_and_what_is_lost_is_counted() {
    let rsp = Rsp::config(&logging("to = \"/dev/full\"")).start();
    let mut client = rsp.client();
    let mut one = |path: &str| assert_eq!(client.get(path).status, 200);
    one("/");
    super::wait_for_message(&rsp, "can't write the access log /dev/full");
    let long = format!("/{}", "a".repeat(8_000));
    for _ in 0..1_200 {
        one(&long);
    }
    assert!(metric(&rsp, "rsp_access_log_errors_total") >= 1.0);
    assert!(metric(&rsp, "rsp_access_log_dropped_total") >= 1.0);
    let said = rsp.output().lines().filter(|line| line.contains("can't write the access log")).count();
    assert_eq!(said, 1);
}

#[test]
fn standard_error_on_a_full_disk_stops_nothing() {
    let rsp = Rsp::config(&logging("format = \"common\"")).start();
    let mut command = std::process::Command::new("sh");
    let port = testkit::free_port();
    let text = format!("listen \"127.0.0.1:{port}\" site \"*\" (proxy \"127.0.0.1:1\")");
    std::fs::write(rsp.folder().join("full.lua"), text).unwrap();
    command.args(["-c", "exec \"$0\" full.lua 2>/dev/full", env!("CARGO_BIN_EXE_rsp")]).current_dir(rsp.folder());
    let mut full = testkit::Program::start(&mut command);
    full.wait_for_line(SOON, |line| line.contains("Started"));
    for _ in 0..3 {
        assert_eq!(testkit::Client::connect(&format!("127.0.0.1:{port}")).get("/").status, 502);
        full.signal(Signal::HUP);
    }
    assert!(full.is_running());
    full.signal(Signal::TERM);
    assert_eq!(full.wait_exit(SOON).code(), Some(0));
}

#[test]
fn no_client_can_forge_a_line() {
    for (format, lines) in [("combined", 3), ("json", 3)] {
        let rsp = Rsp::config(&logging(&format!("format = \"{format}\""))).start();
        let mut client = rsp.client();
        let head = "GET /\" HTTP/1.1\r\nHost: test\r\nUser-Agent: a\" 200 1 \"\\\u{1b}[2J\u{85}\u{2028}\r\n\r\n";
        client.request("GET /%0d%0a%22 HTTP/1.1\r\nHost: test\r\nReferer: \"}\\\r\n\r\n");
        assert!(matches!(client.request(head).status, 200 | 400));
        rsp.client().request("GET /last HTTP/1.1\r\nHost: test\r\nUser-Agent: \t\u{7f}\r\n\r\n");
        eventually(SOON, || log_lines(&rsp).len() >= lines);
        for line in log_lines(&rsp) {
            assert!(!line.contains(['\u{1b}', '\u{7f}', '\u{85}', '\u{2028}']), "{line:?}");
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            } else {
                let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
                assert_eq!(quotes, 6, "{line}");
            }
        }
        assert_eq!(log_lines(&rsp).len(), lines);
    }
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let mut rsp = Rsp::config(&logging("to = \"access.log\"")).start();
    for n in 0..50 {
        get(&rsp, &format!("/{n}"));
    }
    assert_eq!(rsp.stop().code(), Some(0));
    let log = read(&rsp.folder().join("access.log"));
    assert!((0..50).all(|n| log.contains(&format!("GET /{n} "))), "{log}");
}

#[test]
fn a_client_that_went_away_is_logged_with_what_it_got() {
    let origin = Origin::start(|_| Answer::never());
    let text = "listen \"127.0.0.1:$PORT\" site \"*\" (proxy \"$ORIGIN\")";
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.send("GET /gone HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_for_requests(1, SOON);
    client.reset();
    assert!(first_line(&rsp).contains("\"GET /gone HTTP/1.1\" 499 "), "{}", first_line(&rsp));
}
