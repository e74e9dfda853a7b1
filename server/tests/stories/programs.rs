//! Stories of `exec`: a program for each client.

use std::{collections::BTreeMap, os::unix::fs::symlink};

use testkit::{EventStream, Message, NameServer, Record, Rsp, WebSocket, eventually};

use super::{SOON, front};

#[test]
fn a_message_is_a_line_for_the_program_and_a_line_a_message_for_the_client() {
    let rsp = front("", "exec \"cat\"").start();
    let (mut ann, mut bob) = (open(&rsp, "/"), open(&rsp, "/any/path"));
    for text in ["hello", "", "zwei – 猫", "  spaces\tand\ttabs  "] {
        ann.send(text);
        bob.send("for bob");
        assert_eq!(ann.text(), text);
        assert_eq!(bob.text(), "for bob");
    }
}

#[test]
fn lines_end_as_unix_or_dos_end_them_and_a_last_one_without_an_end_is_none() {
    let rsp = front("", r#"exec { "printf", [[one\r\ntwo\n\n\rthree\r\nlast]] }"#).start();
    assert_eq!(all(&mut open(&rsp, "/")), (texts(&["one", "two", "", "\rthree"]), 1000));
}

#[test]
fn a_program_that_ends_ends_the_talk_well_whatever_its_status() {
    let rsp = front("", "exec { \"sh\", \"-c\", \"echo bye; exit 3\" }").start();
    assert_eq!(all(&mut open(&rsp, "/")), (texts(&["bye"]), 1000));
}

#[test]
fn words_reach_the_program_as_they_stand_in_the_config() {
    let words = r#"exec { "printf", [[<%s>\n]], "two words", [['single' "double"]], "$HOME", "*", "", "a\\b" }"#;
    let said = all(&mut open(&front("", words).start(), "/")).0;
    assert_eq!(said, texts(&["<two words>", "<'single' \"double\">", "<$HOME>", "<*>", "<>", "<a\\b>"]));
}

#[test]
fn a_program_knows_the_request_from_its_environment_and_nothing_else() {
    let secret =
        front("", "exec { \"env\", passenv = { \"LANG\" } }").environment("SECRET", "of rsp").environment("LANG", "C");
    let rsp = secret.start();
    let fields = "X-One: 1\r\nX-One: 2\r\nProxy: http://evil\r\nX_Under: score\r\nCookie: a=b\r\n";
    let mut ws = WebSocket::open_with(&rsp.address(), "/a%20b/c?d=e&f", fields);
    let said = all(&mut ws).0;
    let mut told: BTreeMap<&str, &str> = said.iter().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(told.len(), said.len(), "{said:?}");
    let changing: Vec<_> =
        ["UNIQUE_ID", "REMOTE_PORT", "SERVER_SOFTWARE"].map(|name| told.remove(name).unwrap()).into();
    assert!(changing.iter().all(|value| !value.is_empty()), "{changing:?}");
    let port = rsp.port().to_string();
    let expected = [
        ("AUTH_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("CONTENT_TYPE", ""),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("HTTP_CONNECTION", "Upgrade"),
        ("HTTP_COOKIE", "a=b"),
        ("HTTP_SEC_WEBSOCKET_KEY", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("HTTP_SEC_WEBSOCKET_VERSION", "13"),
        ("HTTP_UPGRADE", "websocket"),
        ("HTTP_X_ONE", "1, 2"),
        ("LANG", "C"),
        ("PATH_INFO", "/a b/c"),
        ("PATH_TRANSLATED", "/a b/c"),
        ("QUERY_STRING", "d=e&f"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_HOST", "127.0.0.1"),
        ("REMOTE_IDENT", ""),
        ("REMOTE_USER", ""),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/a%20b/c?d=e&f"),
        ("SCRIPT_NAME", "/"),
        ("SERVER_NAME", "127.0.0.1"),
        ("SERVER_PORT", &port),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
    ];
    assert_eq!(told, BTreeMap::from(expected));
}

#[test]
fn env_adds_variables_and_cwd_is_where_it_works() {
    let script = r#"pwd; echo "$ADDED|$SCRIPT_NAME|${PATH:-none}|$(cat here)""#;
    let options = r#"cwd = "work", env = { ADDED = "two words", SCRIPT_NAME = "mine" }"#;
    let rsp = front("", &format!("exec {{ \"sh\", \"-c\", [[{script}]], {options} }}")).file("work/here", "there");
    let rsp = rsp.environment("PATH", "/usr/bin:/bin").start();
    let said = all(&mut open(&rsp, "/")).0;
    let folder = rsp.folder().canonicalize().unwrap();
    assert_eq!(said, [format!("{}/work", folder.display()), "two words|mine|/usr/bin:/bin|there".to_owned()]);
    let rsp = front("", "exec \"pwd\"").start();
    assert_eq!(all(&mut open(&rsp, "/")).0, [rsp.folder().canonicalize().unwrap().display().to_string()]);
}

#[test]
fn the_path_names_one_of_the_programs_of_a_folder() {
    let rsp = folder_of_programs();
    for (path, told) in [
        ("/bin/hello", "/bin/hello||/bin/hello"),
        ("/bin/hello/", "/bin/hello|/|/bin/hello/"),
        ("/bin/hello/more/of%20it?x", "/bin/hello|/more/of it|/bin/hello/more/of it"),
        ("/bin/sub/deep/x", "/bin/sub/deep|/x|/bin/sub/deep/x"),
        ("/bin/a%20b", "/bin/a b||/bin/a b"),
        ("/bin/link", "/bin/link||/bin/link"),
    ] {
        assert_eq!(all(&mut open(&rsp, path)), (texts(&[told]), 1000), "{path}");
    }
}

#[test]
fn nothing_outside_of_the_folder_is_run_by_whatever_way() {
    let rsp = folder_of_programs();
    let paths = [
        "/bin/",
        "/bin/sub",
        "/bin/sub/",
        "/bin/missing",
        "/bin/missing/hello",
        "/bin/hello%00",
        "/bin/data",
        "/bin/../outside",
        "/bin/%2e%2e/outside",
        "/bin/..%2foutside",
        "/bin/..%2Foutside",
        "/bin/sub/../../outside",
        "/bin/sub%2f..%2f..%2foutside",
        "/bin/..%5coutside",
        "/bin//../outside",
        "/bin/out",
        "/bin/folder/outside",
        "/bin/folder",
        "/bin/absolute",
        "/bin/%2e/%2e%2e/outside",
        "/bin/%252e%252e/outside",
    ];
    for path in paths {
        let status = WebSocket::try_open(&rsp.address(), path, "").map(|_| ()).unwrap_err().status;
        assert!(matches!(status, 400 | 404 | 502), "{path}: {status}");
    }
    assert!(!rsp.folder().join("ran").exists(), "what is outside has run");
    assert_eq!(all(&mut open(&rsp, "/bin/hello")).1, 1000);
}

/// `bin` with programs, and beside it one that tells if it ran.
fn folder_of_programs() -> Rsp {
    let tells = "#!/bin/sh\necho \"$SCRIPT_NAME|$PATH_INFO|$PATH_TRANSLATED\"\n";
    let outside = "#!/bin/sh\necho yes > $DIR/ran\n";
    let config = "workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" { [\"/bin/*\"] = exec { dir = \"bin\" } }\n";
    let rsp = Rsp::config(config).program("bin/hello", tells).program("bin/sub/deep", tells).program("bin/a b", tells);
    let rsp = rsp.file("bin/data", "no program").program("outside", outside).start();
    let bin = rsp.folder().join("bin");
    for (to, link) in [("hello", "link"), ("../outside", "out"), ("..", "folder")] {
        symlink(to, bin.join(link)).unwrap();
    }
    symlink(rsp.folder().join("outside"), bin.join("absolute")).unwrap();
    rsp
}

#[test]
fn one_client_more_than_processes_max_gets_429_until_one_has_gone() {
    let rsp = front("", "exec { \"cat\", processes_max = 2 }").start();
    let (mut first, _second) = (open(&rsp, "/"), open(&rsp, "/"));
    let refused = WebSocket::try_open(&rsp.address(), "/", "").unwrap_err();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert!(refused.text().contains("processes_max"), "{}", refused.text());
    first.send("still here");
    assert_eq!(first.text(), "still here");
    drop(first);
    let mut third = None;
    eventually(SOON, || {
        third = WebSocket::try_open(&rsp.address(), "/", "").ok();
        third.is_some()
    });
    let mut third = third.unwrap();
    third.send("a place");
    assert_eq!(third.text(), "a place");
}

#[test]
fn a_page_of_another_origin_starts_nothing() {
    let program = "exec { \"sh\", \"-c\", \"echo yes > ran; cat\" }";
    let rsp = front("", program).start();
    for origin in ["http://evil.example", "null", "https://127.0.0.1"] {
        let refused = WebSocket::try_open(&rsp.address(), "/", &format!("Origin: {origin}\r\n")).unwrap_err();
        assert_eq!(refused.status, 403, "{origin}");
    }
    let bad =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert_eq!(rsp.client().request(bad).status, 400, "no key");
    assert!(!rsp.folder().join("ran").exists(), "it has run");
    let mut own = WebSocket::open_with(&rsp.address(), "/", &format!("Origin: {}\r\n", rsp.url("")));
    own.send("own");
    assert_eq!(own.text(), "own");
}

#[test]
fn the_first_subprotocol_that_a_client_offers_is_echoed() {
    let rsp = front("", "exec \"cat\"").start();
    let ws = WebSocket::open_with(&rsp.address(), "/", "Sec-WebSocket-Protocol: ex1, ex2\r\n");
    assert_eq!(ws.header("sec-websocket-protocol"), Some("ex1"));
    assert_eq!(open(&rsp, "/").header("sec-websocket-protocol"), None);
}

#[test]
fn a_function_may_choose_the_program_and_its_words() {
    let choose = r#"function(request) return exec { "printf", [[%s\n]], request.path, request.args.a or "none" } end"#;
    let rsp = front("", choose).start();
    assert_eq!(all(&mut open(&rsp, "/one?a=b+c")), (texts(&["/one", "b c"]), 1000));
    assert_eq!(all(&mut open(&rsp, "/$(id)")), (texts(&["/$(id)", "none"]), 1000));
}

#[test]
fn a_reload_leaves_open_talks_alone_and_new_ones_get_the_new_program() {
    let config = |program: &str| {
        format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" {{ [\"/*\"] = exec {{ \"sed\", \"-u\", \"{program}\" }} }}\n"
        )
    };
    let mut rsp = Rsp::config(&config("s/^/old /")).start();
    let mut old = open(&rsp, "/");
    old.send("one");
    assert_eq!(old.text(), "old one");
    rsp.rewrite_config(&config("s/^/new /"));
    assert_eq!(rsp.reload().code, Some(0));
    let mut new = open(&rsp, "/");
    new.send("two");
    old.send("three");
    assert_eq!((new.text(), old.text()), ("new two".to_owned(), "old three".to_owned()));
}

#[test]
fn a_drain_ends_talks_with_1001_at_its_end() {
    let mut rsp = front("drain \"300ms\"", "exec \"cat\"").start();
    let mut ws = open(&rsp, "/");
    ws.send("before");
    assert_eq!(ws.text(), "before");
    rsp.signal(testkit::Signal::TERM);
    // It is not cut off in the middle of the drain.
    ws.send("during");
    assert_eq!(ws.text(), "during");
    assert!(matches!(ws.read(), Message::Close(1001, _)));
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_program_that_vanished_is_502_and_a_line_that_says_which_and_why() {
    let rsp = front("", "exec \"./gone.sh\"").program("gone.sh", "#!/bin/sh\ncat\n").start();
    let path = rsp.folder().join("gone.sh");
    assert_eq!(all_of_one(&rsp), "hello");
    std::fs::remove_file(&path).unwrap();
    let refused = WebSocket::try_open(&rsp.address(), "/", "").unwrap_err();
    assert_eq!(refused.status, 502);
    assert!(!refused.text().contains("gone.sh"), "{}", refused.text());
    let path = path.file_name().unwrap().to_str().unwrap();
    rsp.wait_for_line(SOON, |line| line.contains("warn") && line.contains(path) && line.contains("No such file"));
    // Its place is free again, and so is everything else.
    std::fs::write(rsp.folder().join("gone.sh"), "#!/bin/sh\ncat\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(rsp.folder().join("gone.sh"), mode).unwrap();
    assert_eq!(all_of_one(&rsp), "hello");
}

#[test]
fn a_client_is_told_with_1011_that_a_program_which_is_there_can_not_be_run() {
    let rsp = front("", "exec { \"./broken.sh\", processes_max = 1 }").program("broken.sh", "#!/bin/sh\ncat\n").start();
    std::fs::write(rsp.folder().join("broken.sh"), "#!/no/such/shell\n").unwrap();
    for _ in 0..2 {
        let mut ws = open(&rsp, "/");
        assert!(matches!(ws.read(), Message::Close(1011, _)), "a program that can't be run");
        rsp.wait_for_line(SOON, |line| {
            line.contains("warn") && line.contains("broken.sh") && line.contains("No such file")
        });
    }
    // An event stream is an answer, and has a status for it.
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    assert_eq!(rsp.client().request(asked).status, 502);
}

#[test]
fn what_a_program_says_on_standard_error_is_in_the_log_and_keeps_nobody_waiting() {
    let script = r#"echo "trouble with $QUERY_STRING" >&2; head -c 3000000 /dev/zero | tr "\0" x >&2; printf "\nlast" >&2; echo done"#;
    let rsp = front("", &format!("exec {{ \"sh\", \"-c\", [[{script}]] }}")).start();
    assert_eq!(all(&mut open(&rsp, "/?it")), (texts(&["done"]), 1000));
    let line = rsp.wait_for_line(SOON, |line| line.contains("trouble with it"));
    assert!(line.contains("] sh (process ") && line.ends_with("): trouble with it"), "{line}");
    let long = rsp.wait_for_line(SOON, |line| line.contains("): xxxx"));
    assert!(long.ends_with("xx…") && long.len() < 2300, "{} bytes", long.len());
    rsp.wait_for_line(SOON, |line| line.ends_with("): last"));
}

#[test]
fn a_program_that_dies_of_a_signal_is_told_of_unless_the_signal_is_ours() {
    let rsp =
        front("", "exec { \"sh\", \"-c\", \"read -r signal; kill -$signal $$; sleep 60\", processes_max = 1 }").start();
    let mut place = None;
    let mut next = || {
        eventually(SOON, || {
            place = WebSocket::try_open(&rsp.address(), "/", "").ok();
            place.is_some()
        });
        place.take().unwrap()
    };
    // It reads no end, so that the ladder has to come to signals.
    next().send("0");
    for (signal, name) in [("SEGV", "SIGSEGV"), ("KILL", "SIGKILL")] {
        let mut ws = next();
        ws.send(signal);
        assert_eq!(all(&mut ws), (vec![], 1000));
        let line = rsp.wait_for_line(SOON, |line| line.contains(name));
        assert!(line.contains("warn: sh (process ") && line.contains(") died of signal: "), "{line}");
    }
    let died = rsp.lines(testkit::Stream::Stderr).iter().filter(|line| line.contains("died of")).count();
    assert_eq!(died, 2);
}

#[test]
fn standard_error_may_go_to_the_client_in_objects() {
    let script = r#"echo "a \"quote\""; read -r x; echo "oh no: $x" >&2; exec 2>&-; read -r x; echo "and on"; cat"#;
    let rsp = front("", &format!("exec {{ \"sh\", \"-c\", [[{script}]], stderr = \"client\" }}")).start();
    let mut ws = open(&rsp, "/");
    let object = |stream: &str, data: &str| serde_json::json!({ "stream": stream, "data": data });
    assert_eq!(ws.object(), object("stdout", "a \"quote\""));
    ws.send("trouble");
    assert_eq!(ws.object(), object("stderr", "oh no: trouble"));
    ws.send("");
    assert_eq!(ws.object(), object("stdout", "and on"));
    ws.send("echo");
    assert_eq!(ws.object(), object("stdout", "echo"));
}

#[test]
fn requests_that_no_program_answers_are_for_the_handler_that_does() {
    let rsp = front("", "exec { \"cat\", otherwise = reply(200, \"a page\") }").start();
    assert_eq!(rsp.client().get("/").text(), "a page");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    assert_ne!(rsp.client().request(post).status, 502);
    let rsp = front("", "exec \"cat\"").start();
    assert_eq!(rsp.client().get("/").status, 404);
    assert_eq!(rsp.client().request("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status, 404);
}

#[test]
fn an_event_stream_carries_a_program_to_clients_without_websocket() {
    let rsp = front("", "exec { \"printf\", [[one\\ntwo\\n]] }").start();
    let mut stream = EventStream::open(&rsp.address(), "/");
    let mut messages = Vec::new();
    while let Some(event) = stream.next_event() {
        if event.name.is_none() {
            messages.extend(event.data);
        }
    }
    assert_eq!(messages, ["one", "two"]);
}

#[test]
fn a_name_of_the_client_is_looked_up_where_that_is_wanted() {
    let (names, silent) = (NameServer::start(), NameServer::start());
    names.tell("7.113.0.203.in-addr.arpa", 60, [Record::Pointer("ann.example.".to_owned())]);
    silent.be_silent(true);
    let told = |names: &NameServer, option: &str| {
        let statements = format!("resolver \"{}\"\ntrust \"127.0.0.0/8\"", names.address());
        let rsp = front(&statements, &format!("exec {{ \"sh\", \"-c\", \"echo $REMOTE_HOST $REMOTE_ADDR\"{option} }}"))
            .start();
        all(&mut WebSocket::open_with(&rsp.address(), "/", "X-Forwarded-For: 203.0.113.7\r\n")).0
    };
    assert_eq!(told(&names, ", reverse_lookup = true"), ["ann.example 203.0.113.7"]);
    // Silence costs a second, and the address stands for the name.
    assert_eq!(told(&silent, ", reverse_lookup = true"), ["203.0.113.7 203.0.113.7"]);
    assert_eq!(told(&names, ""), ["203.0.113.7 203.0.113.7"]);
    assert_eq!(names.asked("7.113.0.203.in-addr.arpa"), 1);
}

fn open(rsp: &Rsp, path: &str) -> WebSocket {
    WebSocket::open(&rsp.address(), path)
}

/// All texts, and the code of the close behind them.
fn all(ws: &mut WebSocket) -> (Vec<String>, u16) {
    let mut said = Vec::new();
    loop {
        match ws.read() {
            Message::Text(text) => said.push(text),
            Message::Close(code, _) => return (said, code),
            other => panic!("{other:?} after {said:?}"),
        }
    }
}

fn all_of_one(rsp: &Rsp) -> String {
    let mut ws = open(rsp, "/");
    ws.send("hello");
    ws.text()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
