//! What the guide to programs shows is tried: its command lines, its requests, and its code in a browser.

use testkit::{Chromium, Message, Rsp, RspBuilder, WebSocket, curl};

const GUIDE: &str = include_str!("../../../doc/guide/programs.md");

fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let blocks = GUIDE.split(&opening).skip(1).filter_map(|rest| rest.split("```").next()).collect::<Vec<_>>();
    assert!(!blocks.is_empty(), "the guide shows no {language}");
    blocks
}

/// The commands that begin with these words, and what is said of each.
fn commands(start: &str) -> Vec<(&'static str, &'static str)> {
    let lines = blocks("sh").into_iter().flat_map(str::lines).filter(|line| line.starts_with(start));
    let lines: Vec<_> = lines.map(|line| line.split_once(" # ").unwrap_or((line, ""))).collect();
    assert!(!lines.is_empty(), "the guide shows no {start}");
    lines
}

/// A command line of the guide, on a port of the test's own.
fn exec(words: &str, rest: &[&str]) -> RspBuilder {
    let words = words.replace("--port=9000", "").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let own = ["exec", "--port=$PORT", "--address=127.0.0.1"].into_iter();
    let all: Vec<_> = own.chain(rest.iter().copied()).chain(words.iter().map(String::as_str)).collect();
    let builder = Rsp::command(&all).file("public/index.html", "<!doctype html><title>a page</title>");
    builder.program("scripts/hello", "#!/bin/sh\necho hello\n")
}

fn files(builder: RspBuilder) -> RspBuilder {
    builder
        .file("public/index.html", "<!doctype html>")
        .file("scripts/chat.py", "import sys\nfor line in sys.stdin: print(line, flush=True)\n")
        .program("cgi-bin/hello.sh", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello %s\\n' \"$PATH_INFO\"\n")
}

#[test]
fn the_command_lines_of_the_guide_run() {
    for (command, _) in commands("rsp exec") {
        let words = command.strip_prefix("rsp exec ").unwrap();
        let rsp = exec(words, &[]).start();
        let path = if words.contains("--dir") { "/hello" } else { "/" };
        let mut socket = WebSocket::open(&rsp.address(), path);
        socket.send("6 * 7");
        let said = match words {
            words if words.contains("bc") => "42",
            words if words.contains("cat") => "6 * 7",
            words if words.contains("--dir") => "hello",
            // Its head line is about processes.
            _ => "procs",
        };
        match socket.read() {
            Message::Text(text) => assert!(text.contains(said), "{command}: {text}"),
            other => panic!("{command}: {other:?}"),
        }
        if words.contains("--staticdir") || words.contains("--devconsole") {
            let page = "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n";
            assert_eq!(rsp.client().request(page).status, 200, "{command}");
        }
    }
}

#[test]
fn the_requests_of_the_guide_get_the_status_that_it_says() {
    let config = blocks("lua")[0].replace("127.0.0.1:8080", "127.0.0.1:$PORT");
    let rsp = files(Rsp::config(&config)).start();
    for (command, said) in commands("curl ") {
        let command = command.replace("127.0.0.1:8080", &rsp.address());
        // Single quotes make one word.
        let mut words = Vec::new();
        for (index, part) in command.split('\'').enumerate() {
            match index % 2 {
                1 => words.push(part),
                _ => words.extend(part.split(' ').filter(|word| !word.is_empty())),
            }
        }
        words.extend(["-w", "\n%{http_code}"]);
        let output = curl(&words[1..]);
        // 28: a stream was ended by curl.
        let ends = !said.contains("until you end it");
        assert_eq!(output.code, Some(if ends { 0 } else { 28 }), "{command}\n{}", output.stderr);
        assert_eq!(output.text().lines().last(), Some(&said[..3]), "{command}\n{}", output.text());
    }
}

#[test]
fn a_link_is_enough_to_come_from_websocketd() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("websocketd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rsp"), &link).unwrap();
    let (command, _) = commands("./websocketd ")[0];
    let words: Vec<_> = command.split(' ').skip(1).map(|word| word.replace("9000", "$PORT")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let rsp = Rsp::command(&words).binary(link).start();
    let mut socket = WebSocket::open(&rsp.address(), "/");
    socket.send("hello");
    assert_eq!(socket.read(), Message::Text("hello".into()));
}

#[test]
fn the_code_of_the_guide_hears_the_answer_in_a_browser() {
    let rsp = exec("bc -q", &["--staticdir=public"]).start();
    let code = blocks("js")[0].replace("127.0.0.1:8080", &rsp.address()).replace("console.log(data)", "resolve(data)");
    let steps = format!(
        "return await page.evaluate((code) => new Promise((resolve) => new Function('resolve', code)(resolve)), {});",
        serde_json::Value::from(code)
    );
    let visit = Chromium::visit(&rsp.url("/"), &steps);
    assert_eq!((visit.errors, visit.value), (Vec::new(), serde_json::json!("42")));
}
