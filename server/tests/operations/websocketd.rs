//! Stories of websocketd's command line: `rsp exec`, and a link to rsp that is called websocketd.
//!
//! Where Debian's websocketd is run beside it, it is 0.4.1.

use std::{os::unix::fs::MetadataExt, path::PathBuf, process::Command};

use testkit::{Client, Message, Program, Rsp, RspBuilder, Signal, Stream, WebSocket, eventually, free_port};

use super::{SOON, get, log_lines, wait_for_message};

/// Where a program runs beside a test's own `$PORT`, for whoever comes.
const HERE: [&str; 3] = ["exec", "--port=$PORT", "--address=127.0.0.1"];

fn exec(words: &[&str]) -> RspBuilder {
    Rsp::command(&[&HERE, words].concat())
}

/// A link to rsp of that name, in a folder of its own.
fn link() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("websocketd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rsp"), &link).unwrap();
    (folder, link)
}

/// The exit code and the first line that says something.
fn ended(code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> (Option<i32>, String) {
    let said = [stdout, stderr].map(String::from_utf8_lossy).concat();
    (code, said.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned())
}

fn debians(words: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new("websocketd").args(words).output().expect("Debian's websocketd: scripts/install-test-needs");
    ended(output.status.code(), &output.stdout, &output.stderr)
}

fn ours(words: &[&str]) -> (Option<i32>, String) {
    let (_folder, link) = link();
    let output = Rsp::command(words).binary(link).run();
    ended(output.code, &output.stdout, output.stderr.as_bytes())
}

fn handshake(fields: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: a.example:99\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

#[test]
fn a_link_called_websocketd_takes_its_command_line_and_lets_everybody_in() {
    let (_folder, link) = link();
    let rsp = Rsp::command(&["-port", "$PORT", "sh", "-c", "echo hello; exec cat"]).binary(link).start();
    let mut socket = WebSocket::open_with(&rsp.address(), "/any", "Origin: http://elsewhere.example\r\n");
    assert_eq!(socket.read(), Message::Text("hello".into()));
    socket.send("-port");
    assert_eq!(socket.read(), Message::Text("-port".into()));
}

#[test]
fn wrong_command_lines_end_as_debians_websocketd_does() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--port={}", taken.local_addr().unwrap().port());
    for words in [
        &[][..],
        &["--port=0"],
        &["--devconsole"],
        &["--bogus", "cat"],
        &["--port=abc", "cat"],
        &["--port"],
        &["--closems=-1", "cat"],
        &["-binary=maybe", "cat"],
        &["---", "cat"],
        &["--=3"],
        &["-"],
        &["--dir=/no/such/folder"],
        &["--dir=/tmp", "cat"],
        &["--staticdir=/no/such/folder", "cat"],
        &["--cgidir=/no/such/folder", "cat"],
        &["no-such-program"],
        &["--ssl", "cat"],
        &["--sslcert=x", "cat"],
        &["--loglevel=loud", "cat"],
        &["--loglevel=", "cat"],
        &["--devconsole", "--staticdir=.", "cat"],
        &["--devconsole", "--cgidir=.", "cat"],
    ] {
        let (code, said) = debians(words);
        let found = ours(words);
        assert_eq!(found.0, code, "{words:?}: {found:?}");
        // Debian's writes some of them as lines of its log.
        assert!(said.ends_with(&found.1), "{words:?}: {said:?}, and {:?}", found.1);
    }
    for words in [&["--address=127.0.0.1", &port, "cat"][..], &["--port=70000", "cat"], &["--address=192.0.2.1", "cat"]]
    {
        assert_eq!((ours(words).0, debians(words).0), (Some(3), Some(3)), "{words:?}");
    }
}

#[test]
fn help_version_and_license_are_on_standard_output() {
    for (flag, part) in [("--help", "--maxforks=N"), ("-version", "standing in for websocketd"), ("--license", "MIT")] {
        let output = Rsp::command(&["exec", flag]).run();
        assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{flag}");
        assert!(output.text().contains(part), "{}", output.text());
        assert_eq!(ours(&[flag]).0, debians(&[flag]).0);
    }
    assert!(Rsp::command(&["--help"]).run().text().contains("rsp exec --help"));
}

#[test]
fn words_reach_the_program_as_they_were_typed() {
    let words = ["printf", "<%s>\\n", "", "two words", "\"} } os.exit() --", "$HOME", "back\\slash", "--port=1"];
    let rsp = exec(&words).start();
    let mut socket = WebSocket::open(&rsp.address(), "/");
    for word in &words[2..] {
        assert_eq!(socket.read(), Message::Text(format!("<{word}>")));
    }
}

#[test]
fn the_log_tells_when_a_session_begins_and_when_it_ends() {
    let rsp = exec(&["cat"]).start();
    let line = |end: &str| {
        let line = rsp.wait_for_line(SOON, |line| line.ends_with(end));
        let (time, rest) = line.split_once(" | ").unwrap();
        assert_eq!(time.len(), "Sat, 21 Nov 2026 18:54:09 +0000".len(), "{line}");
        // The id is another one each time.
        let (before, id) = rest.split_once(" id:'").unwrap();
        (before.to_owned(), id.split_once("' ").unwrap().1.to_owned())
    };
    let mut socket = WebSocket::open_with(&rsp.address(), "/foo?x=1", "Origin: http://a'b\r\n");
    let url = format!("ACCESS | session    | url:'http://{}/foo?x=1'", rsp.address());
    let (before, after) = line("CONNECT");
    let cat = ["/usr/bin/cat", "/bin/cat"].into_iter().find(|cat| after.contains(cat)).unwrap();
    assert_eq!(before, url);
    assert_eq!(after, format!("remote:'127.0.0.1' command:'{cat}' origin:'http://a\\x27b' | CONNECT"));
    socket.send("still there");
    assert_eq!(socket.read(), Message::Text("still there".into()));
    assert!(!log_lines(&rsp).iter().any(|line| line.ends_with("DISCONNECT")));
    drop(socket);
    assert_eq!(line("| DISCONNECT"), (url, after.replace("| CONNECT", "| DISCONNECT")));
    get(&rsp, "/plain");
    let url = "ACCESS | http       | url:'http://test/plain'".to_owned();
    assert_eq!(line("| NOT FOUND"), (url, "remote:'127.0.0.1' | NOT FOUND".to_owned()));
}

/// A line of a log without what differs from run to run, and without the `pid` that ours has not.
fn timeless(line: &str) -> String {
    let rest = line.split_once(" | ").unwrap().1;
    let parts = rest.split(' ').filter(|part| !part.starts_with("id:'") && !part.starts_with("pid:'"));
    parts.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_session_has_the_lines_that_it_has_in_the_log_of_debians_websocketd() {
    let port = free_port();
    let mut command = Command::new("websocketd");
    let theirs = Program::start(command.arg(format!("--port={port}")).args(["--address=127.0.0.1", "cat"]));
    eventually(SOON, || Client::try_connect(&format!("127.0.0.1:{port}")).is_ok());
    let ours = exec(&["cat"]).start();
    let logs = [(&theirs, port), (&*ours, ours.port())].map(|(program, port)| {
        let ask = handshake("Origin: http://b.example:8000\r\n");
        let mut client = Client::connect(&format!("127.0.0.1:{port}"));
        assert_eq!(client.request(&ask).status, 101);
        let connect = program.wait_for_line(SOON, |line| line.ends_with("| CONNECT"));
        drop(client);
        let disconnect = program.wait_for_line(SOON, |line| line.ends_with("| DISCONNECT"));
        [connect, disconnect].map(|line| timeless(&line))
    });
    assert_eq!(logs[0], logs[1]);
}

#[test]
fn levels_above_access_log_no_request() {
    for (level, logs) in [("debug", true), ("trace", true), ("access", true), ("info", false), ("error", false)] {
        let mut rsp = exec(&[&format!("--loglevel={level}"), "--staticdir=.", "cat"]).file("a.txt", "A").start();
        assert_eq!(get(&rsp, "/a.txt").text(), "A");
        assert!(rsp.stop().success());
        assert_eq!(log_lines(&rsp).iter().any(|line| line.contains("/a.txt")), logs, "{level}: {:?}", log_lines(&rsp));
    }
}

#[test]
fn what_programs_say_on_standard_error_is_shown_unless_only_the_fatal_is() {
    for (level, shown) in [("access", true), ("error", true), ("fatal", false)] {
        let words = [&*format!("--loglevel={level}"), "sh", "-c", "echo out of paper >&2; echo done"];
        let rsp = exec(&words).start();
        let mut socket = WebSocket::open(&rsp.address(), "/");
        assert_eq!(socket.read(), Message::Text("done".into()));
        if shown {
            wait_for_message(&rsp, "out of paper");
        } else {
            assert!(matches!(socket.read(), Message::Close(..)));
            assert!(rsp.lines(Stream::Stderr).is_empty(), "{}", rsp.output());
        }
    }
}

#[test]
fn a_unix_socket_alone_is_all_that_listens() {
    let words = ["exec", "--unixsocket=x.sock", "cat"];
    let mut rsp = Rsp::command(&words).start();
    assert_eq!(rsp.lines(Stream::Stdout).len(), 1, "{}", rsp.output());
    let address = format!("unix:{}", rsp.folder().join("x.sock").display());
    assert_eq!(Client::connect(&address).request(&handshake("")).status, 101);
    let second = rsp.control(&words);
    assert_eq!(second.code, Some(3), "a live one is not taken over");
    assert!(second.stderr.contains("x.sock"), "{}", second.stderr);
    assert_eq!(Client::connect(&address).request(&handshake("")).status, 101);
    // What a killed process leaves behind is in nobody's way.
    rsp.signal(Signal::KILL);
    rsp.wait_exit(SOON);
    assert!(rsp.folder().join("x.sock").exists());
    let next = rsp.begin(&words);
    next.wait_for_line(SOON, |line| line.contains("Started."));
    assert_eq!(Client::connect(&address).request(&handshake("")).status, 101);
}

#[test]
fn a_unix_socket_stands_beside_addresses() {
    let rsp = exec(&["--unixsocket=x.sock", "--address=[::1]", "cat"]).start();
    for address in
        [rsp.address(), format!("[::1]:{}", rsp.port()), format!("unix:{}", rsp.folder().join("x.sock").display())]
    {
        assert_eq!(Client::connect(&address).request(&handshake("")).status, 101, "{address}");
    }
}

#[test]
fn another_port_redirects_to_the_main_one() {
    let rsp = exec(&["--redirport=$PORT2", "cat"]).start();
    let address = format!("127.0.0.1:{}", rsp.port_of(2));
    for (host, wanted) in [("a.example:99", "a.example"), ("a.example", "a.example"), ("[::1]:99", "[::1]")] {
        let answer = Client::connect(&address).request(&format!("GET /foo?x=1 HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let location = format!("http://{wanted}:{}/", rsp.port());
        assert_eq!((answer.status, answer.header("location")), (301, Some(&*location)));
    }
    assert_eq!(rsp.client().request(&handshake("")).status, 101);
}

#[test]
fn fields_are_for_all_answers_or_those_that_open_a_websocket_or_the_others() {
    let fields = ["--header=X-All: 1", "--header-ws=X-Ws: 2", "--header-http=Content-Type: text/special"];
    let rsp = exec(&[&fields[..], &["--staticdir=.", "cat"]].concat()).file("a.txt", "A").start();
    let names = ["x-all", "x-ws", "content-type"];
    let opened = rsp.client().request(&handshake(""));
    assert_eq!((opened.status, names.map(|name| opened.header(name))), (101, [Some("1"), Some("2"), None]));
    let file = get(&rsp, "/a.txt");
    assert_eq!((file.status, names.map(|name| file.header(name))), (200, [Some("1"), None, Some("text/special")]));
}

#[test]
fn standard_error_goes_to_the_client_where_that_is_asked_for() {
    let rsp = exec(&["--passstderr", "sh", "-c", "echo out; echo err >&2; read wait"]).start();
    let mut socket = WebSocket::open(&rsp.address(), "/");
    let mut said = [socket.read(), socket.read()].map(|message| match message {
        Message::Text(text) => serde_json::from_str::<serde_json::Value>(&text).unwrap(),
        other => panic!("{other:?}"),
    });
    said.sort_by_key(|object| object["stream"].to_string());
    let wanted = [("stderr", "err"), ("stdout", "out")];
    assert_eq!(said, wanted.map(|(stream, data)| serde_json::json!({ "stream": stream, "data": data })));
    assert_eq!(exec(&["--passstderr", "--binary", "cat"]).run().code, Some(1));
}

#[test]
fn a_message_over_the_bound_closes_the_connection() {
    let rsp = exec(&["--maxframesize=10", "cat"]).start();
    let mut socket = WebSocket::open(&rsp.address(), "/");
    socket.send("0123456789");
    assert_eq!(socket.read(), Message::Text("0123456789".into()));
    socket.send("0123456789a");
    assert!(matches!(socket.read(), Message::Close(1009, _)));
}

#[test]
fn pings_come_where_they_are_asked_for() {
    let rsp = exec(&["--pingms=50", "cat"]).start();
    let mut client = rsp.client();
    assert_eq!(client.request(&handshake("")).status, 101);
    assert_eq!(client.read_exactly(1), [0x89], "a ping, and nothing before it");
}

#[test]
fn a_page_to_try_the_program_is_served_on_demand() {
    let ask = "GET /any HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n";
    let page = exec(&["--devconsole", "cat"]).start().client().request(ask);
    assert_eq!((page.status, page.text().contains("<html")), (200, true));
    assert_eq!(exec(&["cat"]).start().client().request(ask).status, 404);
}

#[test]
fn programs_of_root_are_worth_a_warning() {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let config = |options: &str| {
        let rsp =
            Rsp::config(&format!("listen \"127.0.0.1:$PORT\" site \"*\" {{ [\"/*\"] = exec {{ \"cat\"{options} }} }}"));
        rsp.start()
    };
    let warns = |rsp: &Rsp| rsp.lines(Stream::Stderr).iter().any(|line| line.contains("run as root"));
    wait_for_message(&config(""), "run as root");
    // The warning comes before the start does.
    assert!(!warns(&config(", user = \"nobody\"")));
    let rsp = config(", user = \"nobody\"");
    eventually(SOON, || WebSocket::try_open(&rsp.address(), "/", "").is_ok());
    let status = std::fs::read_to_string(format!("/proc/{}/status", rsp.pid())).unwrap();
    assert!(status.contains("Uid:\t0\t"), "the user of a program is not rsp's: {status}");
}
