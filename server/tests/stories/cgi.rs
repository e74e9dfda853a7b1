//! Stories of `cgi`: real programs answer, whatever they and their clients do.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;
use testkit::{End, Pattern, Response, Rsp, curl, eventually, processes::descendants};

use super::SOON;

/// A folder of programs.
struct Bin(TempDir);

impl Bin {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With a program in `sh`, where `HEAD;` writes a head.
    fn sh(self, name: &str, text: &str) -> Self {
        let text = text.replace("HEAD;", "echo Content-Type: text/plain; echo;");
        self.program(name, &format!("#!/bin/sh\n{text}\n"))
    }

    fn python(self, name: &str, text: &str) -> Self {
        self.program(name, &format!("#!/usr/bin/python3\nimport os, sys, time\n{text}\n"))
    }

    fn program(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Programs stand in `bin`, so that there is something beside it.
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("bin").join(name)
    }

    /// What a program left in a file, once it did.
    fn left(&self, name: &str) -> String {
        let path = self.path(name);
        eventually(SOON, || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// rsp with the programs below `/cgi-bin/`; `options` are the handler's, `routes` more of the site.
    #[track_caller]
    fn serve(&self, options: &str, routes: &str) -> Rsp {
        Rsp::config(&format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\n\
             site \"*\" {{ [\"/cgi-bin/*\"] = cgi {{ \"$BIN\", {options} }}, {routes} }}\n"
        ))
        .set("BIN", self.path("").display())
        .start()
    }
}

/// What one program answers.
#[track_caller]
fn answered(script: &str) -> Response {
    let bin = Bin::new().sh("a", script);
    bin.serve("", "").client().get("/cgi-bin/a")
}

/// Waits until no process has this number any more.
#[track_caller]
fn gone(process: &str) {
    eventually(SOON, || !Path::new("/proc").join(process).exists());
}

#[test]
fn a_script_of_other_servers_runs_as_it_is() {
    let bin = Bin::new().sh("dir/env", "echo Content-type: text/plain; echo; echo args=$#; pwd; env");
    let rsp = bin.serve("env = { OWN = \"its own\" }", "");
    let output = curl(&[
        "--path-as-is",
        "-sSi",
        "-H",
        "Proxy: http://evil",
        "-H",
        "X_Evil: 1",
        "-H",
        "X-Own: a b",
        "-H",
        "Cookie: a=1",
        "-H",
        "Host: example.com:99",
        &rsp.url("/cgi-bin/dir/env/in%20fo/x?q+r"),
    ]);
    let text = output.text();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(head.to_lowercase().contains("content-type: text/plain"), "{text}");
    let folder = bin.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    let lines: Vec<_> = body.lines().collect();
    for line in [
        "args=0",
        &format!("{folder}/dir"),
        "GATEWAY_INTERFACE=CGI/1.1",
        "SERVER_PROTOCOL=HTTP/1.1",
        "SERVER_NAME=example.com",
        "REQUEST_METHOD=GET",
        "SCRIPT_NAME=/cgi-bin/dir/env",
        "PATH_INFO=/in fo/x",
        &format!("PATH_TRANSLATED={folder}/in fo/x"),
        &format!("SCRIPT_FILENAME={folder}/dir/env"),
        "QUERY_STRING=q+r",
        "REMOTE_ADDR=127.0.0.1",
        "HTTP_X_OWN=a b",
        "HTTP_COOKIE=a=1",
        "OWN=its own",
    ] {
        assert!(lines.contains(&line), "{line}: {text}");
    }
    // No path can add a variable, or a line that looks like one.
    for path in ["x%00EVIL=1", "x%0AEVIL=1", "x%0d%0aEVIL=1"] {
        let answer = rsp.client().get(&format!("/cgi-bin/dir/env/{path}"));
        assert!(!answer.text().lines().any(|line| line.starts_with("EVIL")), "{}", answer.text());
    }
    assert!(!text.contains("evil") && !text.contains("EVIL") && !text.contains("HTTP_PROXY"), "{text}");
}

#[test]
fn forms_are_read_by_their_length_and_to_their_end() {
    let bin = Bin::new()
        .program(
            "form.pl",
            "#!/usr/bin/perl\nread(STDIN, my $form, $ENV{CONTENT_LENGTH});\n\
             print \"Status: 201 Made\\r\\nContent-Type: text/plain\\r\\nX-A: 1\\r\\nX-A: 2\\r\\n\\r\\n$ENV{CONTENT_TYPE}|$form\";\n",
        )
        .python("form.py", "form = sys.stdin.read()\nprint('Content-Type: text/plain\\n\\n' + form, end='')");
    let rsp = bin.serve("", "");
    for (program, status, before) in [("form.pl", 201, "application/x-www-form-urlencoded|"), ("form.py", 200, "")] {
        let output =
            curl(&["-sS", "-w", "\n%{http_code}", "-d", "a=b&c=%20", &rsp.url(&format!("/cgi-bin/{program}"))]);
        assert_eq!(output.text(), format!("{before}a=b&c=%20\n{status}"), "{}", output.stderr);
    }
    // What follows a body is the next request, and none of its business.
    let mut client = rsp.client();
    client.send(
        "POST /cgi-bin/form.py HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /cgi-bin/form.py HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.read_response("POST").text(), "abc");
    assert_eq!(client.read_response("GET").text(), "");
    // And a body that was stated to be empty.
    assert_eq!(curl(&["-sS", "-d", "", &rsp.url("/cgi-bin/form.py")]).text(), "");
}

#[test]
fn a_hundred_mebibytes_go_in_and_out_at_once_in_flat_memory() {
    let bin = Bin::new().sh("cat", "echo Content-Type: application/octet-stream; echo; exec cat");
    let rsp = bin.serve("", "");
    let (sent, received) = (bin.0.path().join("sent"), bin.0.path().join("received"));
    let content = Pattern::bytes(100 << 20);
    fs::write(&sent, &content).unwrap();
    let [small, peak] = ["form", "sent"].map(|_| {
        let before = peak_memory(&rsp);
        let (from, to) = (sent.to_str().unwrap(), received.to_str().unwrap());
        let output = curl(&["-sS", "-T", from, "-o", to, "-w", "%{http_code}", &rsp.url("/cgi-bin/cat")]);
        assert_eq!((output.code, output.text().as_str()), (Some(0), "200"), "{}", output.stderr);
        peak_memory(&rsp) - before
    });
    assert!(fs::read(received).unwrap() == content, "other bytes");
    assert!(small < 16 << 20 && peak < 4 << 20, "{small} and {peak} bytes more");
}

/// The most memory that it ever held.
fn peak_memory(rsp: &Rsp) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rsp.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_program_waits_for_a_client_that_reads_nothing() {
    const LENGTH: u64 = 50 << 20;
    let text = "sys.stdout.buffer.write(b'Content-Type: a/b\\n\\n')\n\
                sys.stdout.buffer.write(bytes(50 << 20))\nsys.stdout.flush()\nopen('done', 'w').write('done\\n')";
    let bin = Bin::new().python("a", text);
    let rsp = bin.serve("", "");
    let mut client = rsp.client();
    client.send("GET /cgi-bin/a HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
    client.read_exactly(1 << 20);
    assert!(!bin.path("done").exists(), "all of it went into some buffer");
    let (rest, end) = client.read_to_end();
    assert_eq!((rest.len() as u64, end), (LENGTH - (1 << 20), End::Closed));
    assert_eq!(bin.left("done"), "done");
}

#[test]
fn a_client_and_a_program_may_take_turns_within_one_request() {
    let text = "print('Content-Type: text/plain\\n', flush=True)\n\
                for line in sys.stdin: print('got', line, end='', flush=True)";
    let bin = Bin::new().python("a", text);
    let rsp = bin.serve("", "");
    let mut client = rsp.client();
    client.send("POST /cgi-bin/a HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
    for letter in ["a", "b", "c"] {
        client.send(format!("{letter}\n"));
        assert_eq!(client.read_exactly(11), format!("6\r\ngot {letter}\n\r\n").as_bytes());
    }
    assert_eq!(client.read_exactly(5), b"0\r\n\r\n");
}

#[test]
fn a_program_that_reads_nothing_answers_all_the_same() {
    let bin = Bin::new().sh("a", "echo Content-Length: 2; echo; printf ok").sh("cat", "HEAD; exec cat");
    let rsp = bin.serve("", "");
    let mut client = rsp.client();
    client.send("POST /cgi-bin/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert_eq!(client.read_response("POST").text(), "ok");
    // One whose body is more than any pipe holds gets the answer, and is read to the end.
    let sent = bin.0.path().join("sent");
    fs::write(&sent, Pattern::bytes(3 << 20)).unwrap();
    let output = curl(&["-sS", "-T", sent.to_str().unwrap(), &rsp.url("/cgi-bin/a")]);
    assert_eq!(output.text(), "ok", "{}", output.stderr);
    // One that sends the whole body may go on with the connection.
    let mut client = rsp.client();
    for _ in 0..2 {
        let answer = client.request("POST /cgi-bin/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!((answer.text().as_str(), answer.end), ("ok", End::Framed));
        client = rsp.client();
    }
}

#[test]
fn a_client_that_sends_too_slowly_is_told_so_and_its_program_ends() {
    let bin = Bin::new().sh("a", "echo $$ >process; cat >/dev/null; HEAD; echo");
    let rsp = bin.serve("", "limits = { body_timeout = \"200ms\" }");
    let mut client = rsp.client();
    let answer = client.request("POST /cgi-bin/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(answer.status, 408);
    gone(&bin.left("process"));
}

#[test]
fn a_redirect_is_the_client_s_unless_it_is_a_path_alone() {
    let bin = Bin::new()
        .sh("away", "echo Location: http://example.com/; echo")
        .sh("said", "echo Location: /cgi-bin/show; echo Status: 303; echo")
        .sh("local", "echo 'Location: /cgi-bin/show/info?a=b'; echo; echo a body that nobody may see")
        .sh("denied", "echo 'Location: /denied/x'; echo")
        .sh("nowhere", "echo 'Location: /nowhere'; echo")
        .sh("file", "echo 'Location: /files/a.txt'; echo")
        .sh("circle", "echo 'Location: /cgi-bin/circle'; echo; echo x >>rounds")
        .sh("bad", "echo 'Location: /a b'; echo")
        .sh("again", "echo 'Location: /one/show'; echo")
        .sh("show", "HEAD; echo $REQUEST_METHOD $PATH_INFO $QUERY_STRING \"[$CONTENT_LENGTH$CONTENT_TYPE]\" $HTTP_X_A");
    let routes = "[\"/denied/*\"] = { deny { \"0.0.0.0/0\" }, reply(200, \"in\") }, [\"/files/*\"] = files \"$BIN/../files\", \
                  [\"/one/*\"] = { limit { concurrent = 1 }, cgi \"$BIN\" }";
    fs::create_dir(bin.0.path().join("files")).unwrap();
    fs::write(bin.0.path().join("files/a.txt"), "a file").unwrap();
    let rsp = bin.serve("", routes);
    let get = |path: &str| rsp.client().get(&format!("/cgi-bin/{path}"));
    let away = get("away");
    assert_eq!((away.status, away.header("location")), (302, Some("http://example.com/")));
    let said = get("said");
    assert_eq!((said.status, said.header("location")), (303, Some("/cgi-bin/show")));
    let mut client = rsp.client();
    let local = client.request(
        "POST /cgi-bin/local HTTP/1.1\r\nHost: a\r\nX-A: kept\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert_eq!((local.status, local.text().as_str()), (200, "GET /info a=b [] kept\n"));
    assert_eq!(local.header("location"), None);
    rsp.wait_for_line(SOON, |line| line.contains("\"POST /cgi-bin/local HTTP/1.1\" 200"));
    assert_eq!(get("denied").status, 403);
    assert_eq!(get("nowhere").status, 404);
    assert_eq!(get("file").text(), "a file");
    // The first one's place of a limit is free again.
    assert_eq!(rsp.client().get("/one/again").text(), "GET []\n");
    let head = rsp.client().request("HEAD /cgi-bin/local HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(get("bad").status, 502);
    assert_eq!(get("circle").status, 502);
    rsp.wait_for_line(SOON, |line| line.contains("local redirects in a circle"));
    eventually(SOON, || fs::read_to_string(bin.path("rounds")).is_ok_and(|rounds| rounds.len() == 2 * 11));
}

#[test]
fn what_is_no_program_is_refused_with_its_reason() {
    let bin = Bin::new().sh("nph-a", "echo HTTP/1.1 200 OK; echo").sh("folder/a", "HEAD; echo $#").sh("dead", "");
    fs::write(bin.path("plain"), "#!/bin/sh\n").unwrap();
    fs::write(bin.path("dead"), "#!/nowhere/interpreter\n").unwrap();
    let rsp = bin.serve("", "[\"/other/*\"] = cgi { \"$BIN\", otherwise = reply(200, \"other\") }");
    let mut client = rsp.client();
    for (path, status) in [
        ("/cgi-bin/nph-a", 501),
        ("/cgi-bin/nph-a/info", 501),
        ("/cgi-bin/plain", 403),
        ("/cgi-bin/missing", 404),
        ("/cgi-bin/folder", 404),
        ("/cgi-bin/folder/", 404),
        ("/cgi-bin/", 404),
        ("/cgi-bin/folder/a", 200),
        ("/cgi-bin/dead", 502),
        ("/other/missing", 200),
        ("/other/nph-a", 501),
        ("/other/plain", 403),
    ] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    rsp.wait_for_line(SOON, |line| line.contains("plain is not executable"));
    rsp.wait_for_line(SOON, |line| line.contains("can't run") && line.contains("dead"));
    let chunked = "POST /cgi-bin/folder/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    assert_eq!(rsp.client().request(chunked).status, 411);
    // Without `=` in it, a query is words of a command line to RFC 3875, which other servers were broken into by.
    assert_eq!(rsp.client().get("/cgi-bin/folder/a?-s+--help").text(), "0\n");
}

#[test]
fn nothing_outside_of_the_folder_ever_runs() {
    let bin = Bin::new().sh("inside", "HEAD; echo inside").sh("folder/a", "HEAD; echo a");
    let outside = bin.0.path().join("outside");
    let bin = bin.sh("../outside", "touch \"$(dirname \"$0\")/ran\"; HEAD; echo outside");
    let bin = bin.sh("../away/outside", "touch \"$(dirname \"$0\")/../ran\"; HEAD; echo outside");
    std::os::unix::fs::symlink(&outside, bin.path("link")).unwrap();
    std::os::unix::fs::symlink("../outside", bin.path("relative")).unwrap();
    std::os::unix::fs::symlink(bin.0.path().join("away"), bin.path("away")).unwrap();
    std::os::unix::fs::symlink("..", bin.path("folder/up")).unwrap();
    std::os::unix::fs::symlink("inside", bin.path("alias")).unwrap();
    let rsp = bin.serve("", "");
    for path in [
        "/cgi-bin/../outside",
        "/cgi-bin/%2e%2e/outside",
        "/cgi-bin/.%2e/outside",
        "/cgi-bin/..%2foutside",
        "/cgi-bin/%2e%2e%2foutside",
        "/cgi-bin/folder/../../outside",
        "/cgi-bin/folder/%2e%2e/%2e%2e/outside",
        "/cgi-bin/folder%2f..%2f..%2foutside",
        "/cgi-bin/..%5coutside",
        "/cgi-bin/%252e%252e/outside",
        "/cgi-bin//../outside",
        "/cgi-bin/link",
        "/cgi-bin/relative",
        "/cgi-bin/away/outside",
        "/cgi-bin/folder/up/../outside",
        "/cgi-bin/folder/up/link",
        "/cgi-bin/inside%00/../../outside",
        "/cgi-bin/..%00/outside",
    ] {
        let status = rsp.client().get(path).status;
        assert!([400, 403, 404].contains(&status), "{path}: {status}");
    }
    assert!(!bin.0.path().join("ran").exists(), "a program outside ran");
    assert_eq!(rsp.client().get("/cgi-bin/alias").text(), "inside\n");
}

#[test]
fn an_answer_without_a_head_is_502_and_the_log_says_why() {
    for (script, word) in [
        ("exit 3", "without a head"),
        ("echo oops >&2; echo 'the reason' >&2; exit 1", "its last words: the reason"),
        ("printf 'Content-Type: a/b'", "inside of its head"),
        ("kill -9 $$", "without a head"),
        ("echo garbage; echo", "no field"),
        ("echo HTTP/1.1 200 OK; echo A: b; echo", "no field"),
        ("echo", "no field"),
        ("echo Status: 100; echo", "Status"),
        ("echo Status: 200; echo Status: 404; echo", "Status"),
        ("echo Transfer-Encoding: chunked; echo; printf '0\\r\\n\\r\\n'", "Transfer-Encoding"),
        ("echo Content-Length: 1; echo Content-Length: 2; echo; echo", "Content-Length"),
        ("yes a: b", "too large"),
        ("printf 'A: '; head -c 70000 /dev/zero | tr '\\0' a; echo; echo", "too large"),
        ("printf 'A: b\\rC: d\\n\\n'", "no field"),
    ] {
        let bin = Bin::new().sh("a", script);
        let rsp = bin.serve("", "");
        assert_eq!(rsp.client().get("/cgi-bin/a").status, 502, "{script}");
        let line = rsp.wait_for_line(SOON, |line| line.contains("502: a: "));
        assert!(line.contains(word), "{script}: {line}");
    }
}

#[test]
fn fields_of_the_connection_are_dropped_and_a_body_may_look_like_a_head() {
    let answer = answered(
        "printf 'Connection: close, X-B\\nKeep-Alive: 1\\nUpgrade: a\\nX-B: 1\\nX-C: 1\\nStatus: 299 x\\n\\nHTTP/1.1 200 OK\\n\\nx'",
    );
    assert_eq!((answer.status, answer.text().as_str(), answer.end), (299, "HTTP/1.1 200 OK\n\nx", End::Framed));
    assert_eq!((answer.header("x-b"), answer.header("x-c"), answer.header("upgrade")), (None, Some("1"), None));
    assert_eq!((answer.header("status"), answer.header("transfer-encoding")), (None, Some("chunked")));
    for (script, status) in [("echo Status: 204; echo; echo body", 204), ("echo Status: 304; echo; echo body", 304)] {
        let bin = Bin::new().sh("a", script);
        let rsp = bin.serve("", "");
        let mut client = rsp.client();
        for _ in 0..2 {
            let answer = client.get("/cgi-bin/a");
            assert_eq!((answer.status, answer.body.len(), answer.end), (status, 0, End::Framed), "{script}");
        }
    }
}

#[test]
fn a_head_s_answer_has_no_body_and_its_program_comes_to_its_end() {
    let script = "echo Content-Length: 5; echo; printf 12345; sleep 0.4; echo done >done";
    let bin = Bin::new().sh("a", script).sh("b", "HEAD; echo body");
    let rsp = bin.serve("", "");
    let mut client = rsp.client();
    let head = client.request("HEAD /cgi-bin/a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("5"), 0));
    assert_eq!(bin.left("done"), "done");
    fs::remove_file(bin.path("done")).unwrap();
    // The same holds for a body that is known to be over before its program is.
    assert_eq!(client.get("/cgi-bin/a").text(), "12345");
    assert_eq!(client.get("/cgi-bin/b").text(), "body\n");
    assert_eq!(bin.left("done"), "done");
}

#[test]
fn a_body_is_as_long_as_stated_or_cut() {
    let bin = Bin::new()
        .sh("short", "echo Content-Length: 9; echo; printf 1234")
        .sh("long", "echo Content-Length: 4; echo; printf '1234HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nEVIL'")
        .sh("late", "echo Content-Length: 4; echo; printf 1234; sleep 0.2; echo EVIL")
        .sh("exact", "echo Content-Length: 4; echo; printf 12; sleep 0.1; printf 34")
        .sh("killed", "HEAD; echo begun; kill -9 $$")
        .sh("fails", "HEAD; echo whole; exit 1");
    let rsp = bin.serve("", "");
    let mut client = rsp.client();
    client.send("GET /cgi-bin/short HTTP/1.1\r\nHost: a\r\n\r\n");
    // All of it may be there before anything is out: then the client can be told.
    let (bytes, end) = client.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("HTTP/1.1 502") || text.ends_with("1234") && end != End::Framed, "{text}");
    rsp.wait_for_line(SOON, |line| line.contains("short: it said less than its Content-Length"));
    let mut client = rsp.client();
    for path in ["long", "late", "exact", "long"] {
        let answer = client.get(&format!("/cgi-bin/{path}"));
        assert_eq!((answer.status, answer.text().as_str(), answer.end), (200, "1234", End::Framed), "{path}");
    }
    rsp.wait_for_line(SOON, |line| line.contains("long says more than its Content-Length"));
    client.send("GET /cgi-bin/killed HTTP/1.1\r\nHost: a\r\n\r\n");
    let (bytes, _) = client.read_to_end();
    assert!(!String::from_utf8_lossy(&bytes).ends_with("0\r\n\r\n"), "a cut looks like an end: {bytes:?}");
    rsp.wait_for_line(SOON, |line| line.contains("killed: it was ended by signal 9"));
    // What it returns says nothing of its answer.
    let answer = rsp.client().get("/cgi-bin/fails");
    assert_eq!((answer.status, answer.text().as_str(), answer.end), (200, "whole\n", End::Framed));
}

#[test]
fn a_program_that_says_nothing_in_time_is_ended() {
    let bin = Bin::new()
        .sh("silent", "echo $$ >silent.id; exec sleep 1000")
        .sh("stubborn", "trap '' INT TERM; echo $$ >stubborn.id; while :; do sleep 1; done")
        .sh("stalls", "echo $$ >stalls.id; HEAD; echo begun; exec sleep 1000")
        .sh("stray", "sleep 1000 & echo $! >stray.id; HEAD; echo begun");
    let rsp = bin.serve("timeout = \"500ms\"", "");
    for path in ["silent", "stubborn"] {
        assert_eq!(rsp.client().get(&format!("/cgi-bin/{path}")).status, 504);
        gone(&bin.left(&format!("{path}.id")));
    }
    for path in ["stalls", "stray"] {
        let mut client = rsp.client();
        client.send(format!("GET /cgi-bin/{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
        let (body, _) = client.read_to_end();
        assert_eq!(body, b"6\r\nbegun\n\r\n", "{path}");
        gone(&bin.left(&format!("{path}.id")));
    }
}

#[test]
fn a_program_ends_when_its_client_is_gone() {
    let bin = Bin::new()
        .sh("before", "echo $$ >before.id; exec sleep 1000")
        .sh("within", "echo $$ >within.id; HEAD; echo begun; exec sleep 1000")
        .sh("flood", "echo $$ >flood.id; HEAD; exec yes");
    let rsp = bin.serve("", "");
    for path in ["before", "within", "flood"] {
        for resets in [false, true] {
            let id = format!("{path}.id");
            let mut client = rsp.client();
            client.send(format!("GET /cgi-bin/{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let process = bin.left(&id);
            if resets {
                client.reset();
            } else {
                drop(client);
            }
            gone(&process);
            fs::remove_file(bin.path(&id)).unwrap();
        }
    }
}

#[test]
fn one_request_more_than_there_may_be_processes_is_429() {
    let bin = Bin::new().sh("a", "HEAD; echo begun; read line; echo $line");
    let rsp = bin.serve("processes_max = 2", "");
    let held = [(); 2].map(|()| {
        let mut client = rsp.client();
        client.send("POST /cgi-bin/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
        assert_eq!(client.read_exactly(11), b"6\r\nbegun\n\r\n");
        client
    });
    let full = rsp.client().get("/cgi-bin/a");
    assert_eq!((full.status, full.header("retry-after")), (429, Some("1")));
    for mut client in held {
        client.send("end\n");
        assert_eq!(client.read_exactly(14), b"4\r\nend\n\r\n0\r\n\r\n");
    }
    eventually(SOON, || rsp.client().get("/cgi-bin/a").status == 200);
}

#[test]
fn where_one_may_run_the_next_one_runs_when_it_is_gone() {
    let bin = Bin::new()
        .sh("known", "echo Content-Length: 3; HEAD; printf abc")
        .sh("unknown", "HEAD; printf abc")
        .sh("elsewhere", "echo Location: /cgi-bin/known; echo");
    let rsp = bin.serve("processes_max = 1", "");
    let mut client = rsp.client();
    for name in ["known", "unknown", "elsewhere"].iter().cycle().take(30) {
        assert_eq!(client.get(&format!("/cgi-bin/{name}")).text(), "abc", "{name}");
    }
}

#[test]
fn what_a_program_complains_of_is_in_the_log_within_bounds() {
    let bin = Bin::new()
        .sh("a", "echo first >&2; HEAD; echo body; printf second >&2")
        .python("flood", "while True: sys.stderr.write('x' * 65536)");
    let rsp = bin.serve("", "");
    assert_eq!(rsp.client().get("/cgi-bin/a").text(), "body\n");
    for word in ["first", "second"] {
        rsp.wait_for_line(SOON, |line| line.contains("a (process ") && line.contains(&format!(": {word}")));
    }
    assert_eq!(rsp.client().get("/cgi-bin/flood").status, 502);
    rsp.wait_for_line(SOON, |line| line.contains("more on standard error than anybody would read"));
}

#[test]
fn a_reload_lets_a_request_finish_on_the_program_that_it_found() {
    let bin = Bin::new().sh("a", "HEAD; echo begun; read line; echo $line");
    let mut rsp = bin.serve("", "");
    let mut client = rsp.client();
    client.send("POST /cgi-bin/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
    rsp.rewrite_config("workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" { [\"/*\"] = reply(200, \"new\") }\n");
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(rsp.client().get("/cgi-bin/a").text(), "new");
    client.send("end\n");
    assert_eq!(client.read_exactly(25), b"6\r\nbegun\n\r\n4\r\nend\n\r\n0\r\n\r\n");
}

#[test]
fn the_guestbook_among_the_examples_keeps_what_is_written() {
    let config = include_str!("../../../example/cgi.lua");
    let config = config.replace("127.0.0.1:8080", "127.0.0.1:$PORT").replace("/tmp/", "$DIR/");
    let rsp =
        Rsp::config(&config).program("cgi-bin/guestbook", include_str!("../../../example/cgi-bin/guestbook")).start();
    for (line, shown) in [("hello+world", "<li>hello world"), ("%3Cscript%3E", "<li> script ")] {
        let output = curl(&["-sSL", "-d", &format!("line={line}"), &rsp.url("/cgi-bin/guestbook")]);
        assert!(output.text().lines().any(|line| line == shown), "{}", output.text());
    }
    let page = curl(&["-sSL", &rsp.url("/")]).text();
    assert!(page.contains("hello world") && page.contains("<form"), "{page}");
}

#[test]
fn nothing_is_left_of_hundreds_of_requests_however_they_ended() {
    let bin = Bin::new()
        .sh("whole", "HEAD; echo body")
        .sh("short", "echo Content-Length: 9; echo; echo body")
        .sh("none", "exit 1")
        .sh("slow", "HEAD; echo begun; exec sleep 1000");
    let rsp = bin.serve("processes_max = 1000", "");
    assert_eq!(rsp.client().get("/cgi-bin/whole").text(), "body\n");
    let (descriptors, processes) = (rsp.open_descriptors(), descendants(rsp.pid()).len());
    let ask = |path: &str| {
        let mut client = rsp.client();
        client.send(format!("GET /cgi-bin/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client
    };
    std::thread::scope(|scope| {
        for path in ["whole", "short", "none", "slow"] {
            scope.spawn(move || {
                for _ in 0..50 {
                    let mut client = ask(path);
                    match path {
                        "slow" => drop(client.read_head()),
                        _ => drop(client.read_to_end()),
                    }
                }
            });
        }
    });
    eventually(SOON, || descendants(rsp.pid()).len() <= processes && rsp.open_descriptors() <= descriptors);
}
