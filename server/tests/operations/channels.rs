//! Stories of channels from the shell: `rsp publish`, `rsp subscribe` and the admin API below them.

use testkit::{Answer, Client, Origin, Output, Program, Rsp, Signal, Stream, eventually};

use super::{SOON, admin, assert_metric, metric, status};

/// Only servers publish, and it keeps what they published.
const NEWS: &str = r#"listen "127.0.0.1:$PORT"
    site "*" { ["/{topic}"] = channel { "news:{topic}", history = 10, publish = "server" } }"#;

/// A subscription that is known to be there.
#[track_caller]
fn subscribed(rsp: &Rsp, arguments: &[&str]) -> Program {
    let before = subscribers(rsp);
    let program = rsp.begin(&[&["subscribe"], arguments].concat());
    eventually(SOON, || subscribers(rsp) > before);
    program
}

fn subscribers(rsp: &Rsp) -> u64 {
    status(rsp)["subscribers"]["ndjson"].as_u64().unwrap()
}

/// The position that a publication printed.
#[track_caller]
fn position(output: &Output) -> String {
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    output.text().trim_end().to_owned()
}

/// What it has printed, once it is this.
#[track_caller]
fn assert_prints(program: &Program, wanted: &[&str]) {
    let last = wanted.last().copied().unwrap_or_default();
    program.wait_for_line(SOON, |line| line == last);
    assert_eq!(program.lines(Stream::Stdout), wanted);
}

fn refused(output: &Output, why: &str) {
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains(why) && output.stderr.starts_with("rsp: "), "no {why:?} in {:?}", output.stderr);
}

#[test]
fn what_is_published_in_one_shell_is_printed_in_another() {
    let rsp = Rsp::config(NEWS).start();
    let printed = subscribed(&rsp, &["news:a"]);
    let first = position(&rsp.control(&["publish", "news:a", "from an argument"]));
    assert!(first.ends_with("-1"), "{first}");
    assert!(position(&rsp.control_with_input(&["publish", "news:a"], "all of\nthe input")).ends_with("-2"));
    let lines = rsp.control_with_input(&["publish", "--lines", "news:a"], "a line\r\n\nand the last one");
    let lines: Vec<_> = position(&lines).lines().map(|line| line.rsplit('-').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["3", "4", "5"]);
    assert_prints(&printed, &["from an argument", "all of", "the input", "a line", "", "and the last one"]);
    assert_eq!(printed.lines(Stream::Stderr), Vec::<String>::new());
}

#[test]
fn objects_tell_positions_and_bytes_stay_bytes() {
    let rsp = Rsp::config(NEWS).start();
    let (objects, bytes) = (subscribed(&rsp, &["--json", "news:a"]), subscribed(&rsp, &["news:a"]));
    let text = position(&rsp.control(&["publish", "news:a", "t"]));
    position(&rsp.control_with_input(&["publish", "--binary", "news:a"], b"\xff\x00"));
    position(&rsp.control_with_input(&["publish", "news:a"], b"\xfe"));
    let last = position(&rsp.control(&["publish", "--binary", "news:a", "--", "-end"]));
    objects.wait_for_line(SOON, |line| line.contains(&last));
    let objects: Vec<serde_json::Value> =
        objects.lines(Stream::Stdout).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["event"], "subscribed");
    assert_eq!((&objects[1]["position"], &objects[1]["data"]), (&text.into(), &"t".into()));
    assert_eq!((&objects[2]["base64"], &objects[3]["base64"]), (&"/wA=".into(), &"/g==".into()));
    assert_eq!(objects[4]["data"], "-end");
    assert_prints(&bytes, &["t", "\u{fffd}\0", "\u{fffd}", "-end"]);
}

#[test]
fn a_key_publishes_once() {
    let rsp = Rsp::config(NEWS).start();
    let printed = subscribed(&rsp, &["news:a"]);
    let publish = |text: &str| position(&rsp.control(&["publish", "--key", "order 7", "news:a", text]));
    assert_eq!(publish("once"), publish("again"));
    position(&rsp.control(&["publish", "news:a", "end"]));
    assert_prints(&printed, &["once", "end"]);
    refused(&rsp.control(&["publish", "--key", "a\nb: c", "news:a", "x"]), "control characters");
    refused(&rsp.control(&["publish", "--key", &"k".repeat(129), "news:a", "x"]), "400");
}

#[test]
fn whoever_subscribes_in_a_shell_counts_and_is_listed() {
    let rsp = Rsp::config(NEWS).start();
    let _printed = subscribed(&rsp, &["news:a b"]);
    position(&rsp.control(&["publish", "news:a b", "x"]));
    position(&rsp.control(&["publish", "other/one", "x"]));
    let list = |query: &str| -> serde_json::Value {
        let answer = admin(&rsp).get(&format!("/channels{query}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        serde_json::from_str(&answer.text()).unwrap()
    };
    let all = list("");
    assert_eq!(all["channels_total"], 2);
    let first = &all["channels"][0];
    assert_eq!((&first["name"], &first["subscribers"], &first["kept"]), (&"news:a b".into(), &1.into(), &1.into()));
    assert_eq!(list("?prefix=other%2F")["channels"][0]["kept"], 0, "nobody declared it, so nothing is kept");
    let json = status(&rsp);
    assert_eq!((&json["channels"], &json["subscribers"]["ndjson"]), (&2.into(), &1.into()));
    let shown = rsp.control(&["status"]).text();
    assert!(shown.contains("2 channels, 1 subscribers (1 ndjson)\n"), "{shown}");
    assert_eq!(metric(&rsp, "rsp_channel_subscribers{transport=\"ndjson\"}"), 1.0);
    let post = |path: &str| {
        let head = format!("POST /channels/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
        admin(&rsp).request(&head).status
    };
    assert_eq!((post("news:a%20b"), post("news:b")), (201, 202));
}

#[test]
fn a_deleted_history_is_a_new_epoch_and_subscribers_are_told() {
    let rsp = Rsp::config(NEWS).start();
    let printed = subscribed(&rsp, &["news:a"]);
    let old = position(&rsp.control(&["publish", "news:a", "old"]));
    let deleted = admin(&rsp).request("DELETE /channels/news:a HTTP/1.1\r\nHost: x\r\n\r\n");
    let new: serde_json::Value = serde_json::from_str(&deleted.text()).unwrap();
    let new = new["position"].as_str().unwrap();
    assert_eq!((deleted.status, new.ends_with("-0")), (200, true));
    assert_ne!(new.split('-').next(), old.split('-').next());
    wait_for_reset(&printed, new);
    position(&rsp.control(&["publish", "news:a", "new"]));
    assert_prints(&printed, &["old", "new"]);
}

#[track_caller]
fn wait_for_reset(printed: &Program, position: &str) {
    printed.wait_for_line(SOON, |line| line == format!("rsp: some messages are lost; going on from {position}"));
}

#[test]
fn a_position_tells_where_to_begin() {
    let rsp = Rsp::config(NEWS).start();
    let first = position(&rsp.control(&["publish", "news:a", "one"]));
    position(&rsp.control_with_input(&["publish", "--lines", "news:a"], "two\nthree\n"));
    assert_prints(&subscribed(&rsp, &["news:a", "--since", &first]), &["two", "three"]);
    let lost = subscribed(&rsp, &["news:a", "--since", "0000000000001-1"]);
    lost.wait_for_line(SOON, |line| line.starts_with("rsp: some messages are lost; going on from "));
    position(&rsp.control(&["publish", "news:a", "four"]));
    assert_prints(&lost, &["four"]);
    refused(&rsp.control(&["subscribe", "news:a", "--since", "yesterday"]), "no position");
}

#[test]
fn names_are_taken_as_they_are_and_wrong_ones_refused() {
    let rsp = Rsp::config(NEWS).start();
    for name in ["a/b//c", "/", "50%", "a?b=c#d", "ä ö", "%2e%2e", "a;b&c+d", "{room}", "\"x\\y\""] {
        let printed = subscribed(&rsp, &["--", name]);
        position(&rsp.control(&["publish", "--", name, name]));
        assert_prints(&printed, &[name]);
        let list: serde_json::Value = serde_json::from_str(&admin(&rsp).get("/channels").text()).unwrap();
        let mut listed = list["channels"].as_array().unwrap().iter();
        assert!(listed.any(|one| one["name"] == name), "{name} in {list}");
    }
    for (name, why) in [("", "not empty"), ("a\nb", "control"), (&*"x".repeat(256), "255 bytes")] {
        refused(&rsp.control(&["publish", name, "x"]), why);
        refused(&rsp.control(&["subscribe", name]), why);
    }
}

#[test]
fn what_is_refused_says_why_and_which_line() {
    let rsp = Rsp::config(NEWS).start();
    refused(&rsp.control_with_input(&["publish", "news:a"], vec![b'x'; 65 << 10]), "413");
    let lines = format!("good\n{}\nnever sent\n", "x".repeat(65 << 10));
    let output = rsp.control_with_input(&["publish", "--lines", "news:a"], lines);
    refused(&output, "line 2: refused: 413");
    assert_eq!(output.text().lines().count(), 1, "the first one stands: {output:?}");
    for words in [&["publish"][..], &["publish", "a", "b", "--lines"], &["subscribe"], &["subscribe", "a", "b"]] {
        assert_eq!(rsp.control(words).code, Some(1), "{words:?}");
    }
}

#[test]
fn the_rules_are_those_of_the_running_config() {
    let mut rsp = Rsp::config(NEWS).start();
    position(&rsp.control(&["publish", "news:a", "more than ten bytes"]));
    rsp.rewrite_config(&NEWS.replace("history = 10", "history = 10, message_max = 10"));
    assert_eq!(rsp.reload().code, Some(0));
    refused(&rsp.control(&["publish", "news:a", "more than ten bytes"]), "413");
    position(&rsp.control(&["publish", "other", "more than ten bytes"]));
}

#[test]
fn without_a_running_rsp_there_is_nobody_to_ask() {
    let mut killed = Rsp::config(NEWS).environment("TMPDIR", "/nonexistent").start();
    killed.kill();
    let socket = format!("unix:{}", killed.folder().join("site.lua.sock").display());
    for words in [&["publish", "news:a", "x"][..], &["subscribe", "news:a"]] {
        let output = killed.control(words);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("no admin socket in any of"), "a dead one does not count: {}", output.stderr);
        let output = killed.control(&[words, &["--admin", &socket]].concat());
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("nobody listens on"), "{}", output.stderr);
    }
}

#[test]
fn several_running_ones_are_listed_and_one_is_chosen() {
    let rsp = Rsp::config(NEWS).environment("TMPDIR", "/nonexistent").start();
    let second = format!("listen \"127.0.0.1:{}\" site \"*\" (reply(200))", rsp.port_of(2));
    std::fs::write(rsp.folder().join("other.lua"), second).unwrap();
    let other = rsp.begin(&["other.lua"]);
    other.wait_for_line(SOON, |line| line.contains("Started"));
    for words in [&["publish", "news:a", "x"][..], &["subscribe", "news:a"]] {
        let output = rsp.control(words);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("site.lua.sock\n") && output.stderr.contains("other.lua.sock"), "{output:?}");
    }
    position(&rsp.control(&["publish", "--admin", "unix:other.lua.sock", "news:a", "x"]));
    let channels = |socket: &str| {
        let address = format!("unix:{}", rsp.folder().join(socket).display());
        let list: serde_json::Value = serde_json::from_str(&Client::connect(&address).get("/channels").text()).unwrap();
        list["channels_total"].as_u64()
    };
    assert_eq!((channels("site.lua.sock"), channels("other.lua.sock")), (Some(0), Some(1)));
}

#[test]
fn over_tcp_only_the_token_opens() {
    let text = r#"listen "127.0.0.1:$PORT" admin { "127.0.0.1:$PORT2", token = "sesame" } site "*" (reply(200))"#;
    let rsp = Rsp::config(text).environment("RSP_ADMIN_TOKEN", "sesame").start();
    let address = format!("127.0.0.1:{}", rsp.port_of(2));
    let printed = rsp.begin(&["subscribe", "--json", "a", "--admin", &address]);
    printed.wait_for_line(SOON, |line| line.contains("subscribed"));
    position(&rsp.control(&["publish", "a", "x", "--admin", &address]));
    printed.wait_for_line(SOON, |line| line.contains("\"data\":\"x\""));
    let mut bare = Client::connect(&address);
    assert_eq!(bare.get("/channels").status, 401);
    assert_eq!(bare.get("/channels/a").status, 401);

    let rsp = Rsp::config(text).environment("RSP_ADMIN_TOKEN", "wrong").start();
    let address = format!("127.0.0.1:{}", rsp.port_of(2));
    for words in [&["publish", "a", "x"][..], &["subscribe", "a"]] {
        refused(&rsp.control(&[words, &["--admin", &address]].concat()), "RSP_ADMIN_TOKEN");
    }
}

#[test]
fn a_subscriber_comes_back_after_a_restart() {
    let mut rsp = Rsp::config(NEWS).start();
    let printed = subscribed(&rsp, &["news:a"]);
    let last = position(&rsp.control(&["publish", "news:a", "before"]));
    assert_prints(&printed, &["before"]);
    assert_eq!(rsp.stop().code(), Some(0));
    let ended = printed.wait_for_line(SOON, |line| line.starts_with("rsp: the connection has ended"));
    assert!(ended.ends_with(&format!("coming back from {last}")), "{ended}");
    let restarted = rsp.begin(&["site.lua"]);
    restarted.wait_for_line(SOON, |line| line.contains("Started"));
    printed.wait_for_line(SOON, |line| line == "rsp: connected again");
    printed.wait_for_line(SOON, |line| line.starts_with("rsp: some messages are lost"));
    position(&rsp.control(&["publish", "news:a", "after"]));
    assert_prints(&printed, &["before", "after"]);
}

#[test]
fn neither_an_upgrade_nor_a_drain_waits_for_subscribers_of_the_shell() {
    let mut rsp = Rsp::config(NEWS).has_successors().start();
    let printed = subscribed(&rsp, &["news:a"]);
    let last = position(&rsp.control(&["publish", "news:a", "from the first"]));
    assert_eq!(rsp.control(&["upgrade", "site.lua"]).code, Some(0));
    let ended = printed.wait_for_line(SOON, |line| line.starts_with("rsp: the connection has ended"));
    assert_eq!(ended, format!("rsp: the connection has ended; coming back from {last}"), "in good order");
    printed.wait_for_line(SOON, |line| line == "rsp: connected again");
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    position(&rsp.control(&["publish", "news:a", "from the successor"]));
    assert_prints(&printed, &["from the first", "from the successor"]);

    let mut rsp = Rsp::config(NEWS).start();
    let mut unread = admin(&rsp);
    unread.send("GET /channels/news:a HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n");
    assert_eq!(unread.read_head().start, "HTTP/1.1 200 OK");
    assert_eq!(rsp.control(&["drain", "site.lua"]).code, Some(0));
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    let (rest, _) = unread.read_to_end();
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "it was sent away in good order");
}

#[test]
fn a_subscriber_that_stops_reading_costs_its_queue_and_delays_nobody() {
    let text = NEWS.replace("publish =", "queue_max = \"256KiB\", publish =");
    let rsp = Rsp::config(&text).start();
    let stalled = subscribed(&rsp, &["news:a"]);
    stalled.signal(Signal::STOP);
    let printed = subscribed(&rsp, &["news:a"]);
    let message = "x".repeat(60 << 10);
    let mut publisher = admin(&rsp);
    for count in 1..=50 {
        let head = format!("POST /channels/news:a HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", message.len());
        assert_eq!(publisher.request(&(head + &message)).status, 201);
        // One that reads has each message at once, however many wait for the other.
        eventually(SOON, || printed.lines(Stream::Stdout).len() == count);
    }
    assert_metric(&rsp, "rsp_channel_slow_total", 1.0);
    eventually(SOON, || subscribers(&rsp) == 1);
    // It learns that it missed something, and goes on with what is kept.
    stalled.signal(Signal::CONT);
    stalled.wait_for_line(SOON, |line| line.starts_with("rsp: the connection has ended"));
    stalled.wait_for_line(SOON, |line| line == "rsp: connected again");
    position(&rsp.control(&["publish", "news:a", "and on"]));
    stalled.wait_for_line(SOON, |line| line == "and on");
}

#[test]
fn a_signal_or_a_reader_that_has_enough_ends_it_well() {
    let rsp = Rsp::config(NEWS).start();
    for signal in [Signal::INT, Signal::TERM] {
        let mut printed = subscribed(&rsp, &["news:a"]);
        printed.signal(signal);
        assert_eq!(printed.wait_exit(SOON).code(), Some(0));
    }
    eventually(SOON, || subscribers(&rsp) == 0);
    // Nothing is published after the line that is read, so nothing but the end of the pipe can tell it.
    let mut shell = std::process::Command::new("sh");
    let script = "\"$0\" subscribe news:a | head -n 1";
    let shell = shell.args(["-c", script, env!("CARGO_BIN_EXE_rsp")]).current_dir(rsp.folder());
    let mut shell = Program::start_group(shell.env("XDG_RUNTIME_DIR", rsp.folder()).env("TMPDIR", "/nonexistent"));
    eventually(SOON, || subscribers(&rsp) == 1);
    position(&rsp.control(&["publish", "news:a", "enough"]));
    assert_eq!(shell.wait_exit(SOON).code(), Some(0));
    // Its end may be seen before its line is.
    shell.wait_for_line(SOON, |line| line == "enough");
    assert_eq!(shell.lines(Stream::Stdout), ["enough"]);
}

#[test]
fn the_lines_of_the_guide_work_as_they_are() {
    const GUIDE: &str = include_str!("../../../doc/guide/from-the-shell.md");
    let blocks = |kind: &str| -> Vec<String> {
        let start = format!("```{kind}\n");
        let starts = GUIDE.split(&*start).skip(1);
        starts.map(|rest| rest.split("```").next().unwrap().replace("127.0.0.1:8080", "127.0.0.1:$PORT")).collect()
    };
    let rsp = Rsp::config(&blocks("lua")[0]).start();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_rsp")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| {
        let mut shell = std::process::Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script]).current_dir(rsp.folder()).env("PATH", &path);
        let mut ended = Program::start_group(shell.env("XDG_RUNTIME_DIR", rsp.folder()).env("TMPDIR", "/nonexistent"));
        assert_eq!(ended.wait_exit(SOON).code(), Some(0), "{script}\n{}", ended.output());
        ended.lines(Stream::Stdout)
    };
    let scripts = blocks("sh");
    assert_eq!(scripts.len(), 2);
    let positions = shell(&scripts[0]);
    assert!(positions.len() >= 5 && positions.iter().all(|line| line.contains('-')), "{positions:?}");
    let answers = shell(&scripts[1]);
    let answer = |index: usize| -> serde_json::Value { serde_json::from_str(&answers[index]).unwrap() };
    assert_eq!(answer(0)["subscribers"], 0);
    assert_eq!(answer(1)["items"].as_array().map(Vec::len), Some(4));
    assert_eq!(answer(2)["channels_total"], 3);
    assert!(answer(3)["position"].as_str().unwrap().ends_with("-0"));
}

#[test]
fn the_latest_messages_come_before_the_next_ones() {
    let rsp = Rsp::config(NEWS).start();
    position(&rsp.control_with_input(&["publish", "--lines", "news:a"], "one\ntwo\nthree\n"));
    let (printed, objects) =
        (subscribed(&rsp, &["news:a", "--history", "2"]), subscribed(&rsp, &["--json", "news:a", "--history", "99"]));
    position(&rsp.control(&["publish", "news:a", "four"]));
    assert_prints(&printed, &["two", "three", "four"]);
    objects.wait_for_line(SOON, |line| line.contains("\"four\""));
    let lines = objects.lines(Stream::Stdout);
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[3].contains("subscribed"), "what was before stands before it: {lines:?}");
    assert_eq!(rsp.control(&["subscribe", "news:a", "--history", "2", "--since", "x-1"]).code, Some(1));
    // Nobody declared it, so there is nothing to look back at.
    let other = subscribed(&rsp, &["other", "--history", "2"]);
    position(&rsp.control(&["publish", "other", "first"]));
    assert_prints(&other, &["first"]);
    assert_eq!(other.lines(Stream::Stderr), Vec::<String>::new());
}

#[test]
fn whoever_looks_in_from_a_shell_is_nobody_who_is_there() {
    let text = r#"listen "127.0.0.1:$PORT"
        site "*" { ["/chat"] = channel { "chat", presence = true, join_leave = true } }"#;
    let rsp = Rsp::config(text).start();
    let printed = subscribed(&rsp, &["--json", "chat"]);
    let mut page = rsp.client();
    page.send("GET /chat HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    printed.wait_for_line(SOON, |line| line.starts_with(r#"{"event":"join","#));
    let present: serde_json::Value = serde_json::from_str(&admin(&rsp).get("/channels/chat?presence").text()).unwrap();
    assert_eq!(present["count"], 1, "{present}");
    page.reset();
    printed.wait_for_line(SOON, |line| line.starts_with(r#"{"event":"leave","#));
    assert_eq!(printed.lines(Stream::Stdout).len(), 3, "subscribed, join and leave");
    let refused = admin(&rsp).request("PUT /channels/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST, DELETE")));
}

#[test]
fn functions_that_guard_a_channel_are_not_asked_about_the_operator() {
    let text = r#"listen "127.0.0.1:$PORT"
        local function no() return false end
        site "*" { ["/a"] = channel { "a", publish = no, subscribe = no, delete = no } }"#;
    let rsp = Rsp::config(text).start();
    assert_eq!(rsp.client().request("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").status, 403);
    let printed = subscribed(&rsp, &["a"]);
    position(&rsp.control(&["publish", "a", "from the shell"]));
    assert_prints(&printed, &["from the shell"]);
    assert_eq!(admin(&rsp).request("DELETE /channels/a HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
}

#[test]
fn a_broker_that_did_not_answer_in_time_leaves_open_whether_it_was_published() {
    let rsp = Rsp::config(NEWS).start();
    let path = rsp.folder().join("away");
    let _away = Origin::start_unix(path.clone(), |_| Answer::status("504 Gateway Timeout", "the broker is slow\n"));
    let admin = format!("unix:{}", path.display());
    let output = rsp.control(&["publish", "news:a", "x", "--admin", &admin]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("may have been published"), "{output:?}");
    assert!(output.stderr.contains("--key"), "{output:?}");
}

#[test]
fn whoever_was_connected_outlasts_a_broker_that_is_away() {
    let rsp = Rsp::config(NEWS).start();
    let path = rsp.folder().join("away");
    let origin = Origin::start_unix(path.clone(), |request| match request.number {
        1 => Answer::until_close("{\"event\":\"subscribed\",\"position\":\"0000000000001-1\"}\n"),
        2 => Answer::status("504 Gateway Timeout", "the broker is slow\n"),
        3 => Answer::status("503 Service Unavailable", "the broker is away\n"),
        _ => Answer::until_close("{\"data\":\"back\",\"position\":\"0000000000001-2\"}\n"),
    });
    let admin = format!("unix:{}", path.display());
    let printed = rsp.begin(&["subscribe", "news:a", "--admin", &admin]);
    printed.wait_for_line(SOON, |line| line == "back");
    let again = &origin.received()[3].request;
    assert!(again.target.ends_with("?since=0000000000001-1"), "it goes on where it was: {again:?}");
}

#[test]
fn whoever_was_never_connected_is_told_that_the_broker_is_away() {
    let rsp = Rsp::config(NEWS).start();
    let path = rsp.folder().join("away");
    let _away = Origin::start_unix(path.clone(), |_| Answer::status("504 Gateway Timeout", "the broker is slow\n"));
    let output = rsp.control(&["subscribe", "news:a", "--admin", &format!("unix:{}", path.display())]);
    refused(&output, "the broker is slow");
}
