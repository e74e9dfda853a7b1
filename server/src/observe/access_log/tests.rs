//! Stories of log lines: their layout, and what a client can't do to them.

use std::{
    io::Read,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    time::{Duration, UNIX_EPOCH},
};

use super::*;

fn record() -> Record<'static> {
    Record {
        client: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))),
        user: None,
        time: UNIX_EPOCH + Duration::from_millis(1_795_176_000_123),
        method: "GET",
        target: b"/a?b=c",
        version: "HTTP/1.1",
        status: 200,
        bytes_out: 512,
        referer: None,
        user_agent: Some(b"curl/8.0"),
        host: Some(b"example.com"),
        id: 0x00ab_cdef_0123_4567,
        site: "example.com",
        upstream: Some(("app", "127.0.0.1:3000")),
        took: Duration::from_micros(12_345),
        upstream_took: Some(Duration::from_millis(10)),
        fault: None,
        session: None,
        origin: None,
        command: None,
    }
}

fn line_of(format: LogFormat, record: &Record<'_>) -> String {
    let mut line = Vec::new();
    line::push(&mut line, format, record);
    String::from_utf8(line).unwrap()
}

/// The line without the time, which depends on the machine's zone.
fn timeless(line: &str) -> String {
    let (before, rest) = line.split_once('[').unwrap();
    let (time, after) = rest.split_once(']').unwrap();
    assert_eq!(time.len(), "20/Nov/2026:12:00:00 +0000".len(), "{line}");
    format!("{before}[]{after}")
}

fn logs() -> (AccessLogs, Arc<Metrics>) {
    let metrics = Metrics::new();
    (AccessLogs::new(metrics.clone()), metrics)
}

fn to_file(path: &std::path::Path) -> config::AccessLog {
    config::AccessLog { format: LogFormat::Common, to: Some(path.into()) }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_combined_line_is_apaches_with_id_upstream_and_times() {
    assert_eq!(
        timeless(&line_of(LogFormat::Combined, &record())),
        "203.0.113.7 - - [] \"GET /a?b=c HTTP/1.1\" 200 512 \"-\" \"curl/8.0\" \
         00abcdef01234567 app/127.0.0.1:3000 0.012345 0.010000\n"
    );
    let ours = Record { upstream: None, upstream_took: None, bytes_out: 0, client: None, ..record() };
    assert_eq!(
        timeless(&line_of(LogFormat::Combined, &ours)),
        "unix: - - [] \"GET /a?b=c HTTP/1.1\" 200 - \"-\" \"curl/8.0\" 00abcdef01234567 - 0.012345 -\n"
    );
}

#[test]
fn a_user_stands_in_apaches_place_and_can_not_forge_another_field() {
    let of = |format, user| line_of(format, &Record { user: Some(user), ..record() });
    assert!(of(LogFormat::Common, "alice").starts_with("203.0.113.7 - alice ["));
    assert!(of(LogFormat::Combined, "a b] \"x").starts_with(r#"203.0.113.7 - a\x20b]\x20\"x ["#));
    assert!(of(LogFormat::Common, "").starts_with("203.0.113.7 - \"\" ["));
    let json: serde_json::Value = serde_json::from_str(&of(LogFormat::Json, "ä\"")).unwrap();
    assert_eq!(json["user"], "ä\"");
}

#[test]
fn a_common_line_ends_with_the_bytes() {
    assert_eq!(
        timeless(&line_of(LogFormat::Common, &record())),
        "203.0.113.7 - - [] \"GET /a?b=c HTTP/1.1\" 200 512\n"
    );
}

#[test]
fn a_json_line_is_one_object() {
    let line = line_of(LogFormat::Json, &Record { fault: Some("refused"), ..record() });
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["client"], "203.0.113.7");
    assert_eq!(json["target"], "/a?b=c");
    assert_eq!(json["status"], 200);
    assert_eq!(json["bytes_out"], 512);
    assert_eq!(json["id"], "00abcdef01234567");
    assert_eq!(json["endpoint"], "127.0.0.1:3000");
    assert_eq!(json["took"], 0.012345);
    assert_eq!(json["upstream_took"], 0.01);
    assert_eq!(json["fault"], "refused");
    assert_eq!(json["referer"], serde_json::Value::Null);
    assert!(json["time"].as_str().unwrap().contains(".123"), "{line}");
}

#[test]
fn a_client_can_not_forge_a_line_or_a_field() {
    let evil: Vec<u8> = (0..=255).collect();
    let evil = Record {
        target: &evil,
        referer: Some(b"\" 200 1\n6.6.6.6 - - [x] \"GET / HTTP/1.1\" 200 1"),
        user_agent: Some("\u{85}\u{2028}\\\"".as_bytes()),
        host: Some(&evil),
        upstream: Some(("a b", "c\nd")),
        ..record()
    };
    for format in [LogFormat::Common, LogFormat::Combined] {
        let line = line_of(format, &evil);
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes, if format == LogFormat::Common { 2 } else { 6 }, "{line}");
    }
    let line = line_of(LogFormat::Json, &evil);
    assert!(line.trim_end().chars().all(|c| !c.is_control() && c != '\u{2028}'), "{line}");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["user_agent"], "\u{85}\u{2028}\\\"");
}

#[test]
fn websocketds_lines_tell_when_a_session_begins_and_ends() {
    let command = Some(std::path::Path::new("/bin/cat"));
    let connect = Record { session: Some(Moment::Connect), command, status: 101, ..record() };
    let rest = |record: &Record<'_>| {
        let line = line_of(LogFormat::Websocketd, record);
        let (time, rest) = line.split_once(" | ").unwrap();
        assert_eq!(time.len(), "Fri, 20 Nov 2026 12:00:00 +0000".len(), "{line}");
        rest.to_owned()
    };
    assert_eq!(
        rest(&connect),
        "ACCESS | session    | url:'http://example.com/a?b=c' id:'00abcdef01234567' remote:'203.0.113.7' \
         command:'/bin/cat' origin:'file:' | CONNECT\n"
    );
    let origin = Some(&b"http://a.b:99"[..]);
    let end = Record { session: Some(Moment::Disconnect), origin, client: None, ..connect };
    assert!(rest(&end).ends_with("remote:'unix:' command:'/bin/cat' origin:'http://a.b:99' | DISCONNECT\n"));
    let request = Record { status: 404, command, ..record() };
    assert_eq!(
        rest(&request),
        "ACCESS | http       | url:'http://example.com/a?b=c' id:'00abcdef01234567' remote:'203.0.113.7' | NOT FOUND\n"
    );
    assert!(rest(&Record { status: 499, ..record() }).ends_with(" | 499\n"));
}

#[test]
fn a_client_can_not_forge_a_field_of_websocketds_lines() {
    let evil: Vec<u8> = (0..=255).collect();
    let evil = Record {
        target: &evil,
        host: Some(b"a' | CONNECT"),
        origin: Some(b"' | CONNECT\n\\"),
        session: Some(Moment::Disconnect),
        ..record()
    };
    let line = line_of(LogFormat::Websocketd, &evil);
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{line}");
    assert_eq!(
        (line.matches('\n').count(), line.matches(" | ").count(), line.matches('\'').count()),
        (1, 4, 8),
        "{line}"
    );
}

#[test]
fn lines_reach_the_file_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (logs, metrics) = logs();
    let log = logs.open(&to_file(&path)).unwrap();
    assert!(log.is_on());
    for status in 200..500 {
        log.write(&Record { status, ..record() });
    }
    logs.flush_and_close(LONG);
    let text = std::fs::read_to_string(&path).unwrap();
    let statuses: Vec<u16> = text.lines().map(|line| line.split(' ').nth_back(1).unwrap().parse().unwrap()).collect();
    assert_eq!(statuses, (200..500).collect::<Vec<_>>());
    assert_eq!(metrics.access_log_dropped.get(), 0);
}

#[test]
fn a_reload_goes_on_with_the_same_target_and_none_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (logs, _) = logs();
    let (first, second) = (logs.open(&to_file(&path)).unwrap(), logs.open(&to_file(&path)).unwrap());
    assert!(Arc::ptr_eq(first.target.as_ref().unwrap(), second.target.as_ref().unwrap()));
    assert!(!logs.open(&config::AccessLog { format: LogFormat::None, to: None }).unwrap().is_on());
    assert!(logs.open(&to_file(&folder.path().join("no/such/folder"))).is_err());
}

#[test]
fn after_a_rename_reopen_writes_to_the_path_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, renamed) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let (logs, _) = logs();
    let log = logs.open(&to_file(&path)).unwrap();
    log.write(&Record { status: 201, ..record() });
    wait_until(|| std::fs::metadata(&path).unwrap().len() > 0);
    std::fs::rename(&path, &renamed).unwrap();
    logs.reopen();
    wait_until(|| path.exists());
    log.write(&Record { status: 202, ..record() });
    logs.flush_and_close(LONG);
    assert!(std::fs::read_to_string(&renamed).unwrap().contains(" 201 "));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(" 202 ") && !text.contains(" 201 "), "{text}");
}

#[test]
fn a_path_that_can_not_be_reopened_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("logs");
    std::fs::create_dir(&inner).unwrap();
    let (path, moved) = (inner.join("access.log"), folder.path().join("moved.log"));
    let (logs, metrics) = logs();
    let log = logs.open(&to_file(&path)).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    std::fs::remove_dir(&inner).unwrap();
    logs.reopen();
    wait_until(|| metrics.access_log_errors.get() == 1);
    log.write(&record());
    logs.flush_and_close(LONG);
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 1);
}

#[test]
fn a_full_disk_stops_nothing_and_is_counted() {
    let (logs, metrics) = logs();
    let log = logs.open(&to_file(std::path::Path::new("/dev/full"))).unwrap();
    log.write(&record());
    wait_until(|| metrics.access_log_errors.get() > 0);
    let long = vec![b'x'; 60_000];
    // 6 MB and more into a queue of 4 MiB, which nobody empties.
    (0..110).for_each(|_| log.write(&Record { target: &long, ..record() }));
    assert!(metrics.access_log_dropped.get() > 10, "{}", metrics.access_log_dropped.get());
    logs.flush_and_close(LONG);
}

#[test]
fn a_stalled_reader_costs_lines_which_the_log_admits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let opener = path.clone();
    let reader = std::thread::spawn(move || std::fs::File::open(opener).unwrap());
    let (logs, metrics) = logs();
    let log = logs.open(&to_file(&path)).unwrap();
    let mut reader = reader.join().unwrap();
    let long = vec![b'x'; 60_000];
    while metrics.access_log_dropped.get() == 0 {
        log.write(&Record { target: &long, ..record() });
    }
    let end = std::thread::spawn(move || logs.flush_and_close(LONG));
    // The log says it once the batch in front has been read.
    let mut text = Vec::new();
    drop(log);
    reader.read_to_end(&mut text).unwrap();
    end.join().unwrap();
    let text = String::from_utf8(text).unwrap();
    let dropped = metrics.access_log_dropped.get();
    let said: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with(&format!("] {dropped} lines were dropped here")), "{said:?}");
}

/// Waits for what another thread does.
fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + LONG;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "never happened");
        std::thread::yield_now();
    }
}
