//! Folders of programs, CGI scripts and files, on one port.

use std::collections::BTreeMap;

use testkit::{Message, WebSocket};

use super::{Starter, handshake, variables};

const TOLD: &str = "#!/bin/sh\necho \"SCRIPT_NAME=$SCRIPT_NAME\"\necho \"PATH_INFO=$PATH_INFO\"\n";

/// A folder with programs at several depths, links in and out, and what is no program.
fn folder() -> Starter {
    let starter = Starter::new().program("root/one", TOLD).program("root/sub/two.sh", TOLD).program("outside", TOLD);
    let here = starter.folder.path();
    std::fs::create_dir_all(here.join("root/empty")).unwrap();
    std::os::unix::fs::symlink("sub/two.sh", here.join("root/inside")).unwrap();
    std::os::unix::fs::symlink(here.join("outside"), here.join("root/out")).unwrap();
    std::os::unix::fs::symlink("..", here.join("root/up")).unwrap();
    starter
}

#[test]
fn a_path_means_the_same_program_of_a_folder() {
    let both = folder().start(&["--dir=$HERE/root"]);
    for (path, name, info) in [
        ("/one", "/one", ""),
        ("/one/", "/one", "/"),
        ("/one/more/of?it=/x", "/one", "/more/of"),
        ("/one?a=/b", "/one", ""),
        ("/%6Fne/%62", "/one", "/b"),
        ("/sub/two.sh", "/sub/two.sh", ""),
        ("/sub/two.sh/a%20b", "/sub/two.sh", "/a b"),
        ("/inside/x", "/inside", "/x"),
        ("/sub%2Ftwo.sh%2Fx", "/sub/two.sh", "/x"),
    ] {
        let [ours, theirs] = both.hear(path).map(|messages| variables(&messages));
        assert_eq!((ours["SCRIPT_NAME"].as_str(), ours["PATH_INFO"].as_str()), (name, info), "{path}");
        assert_eq!(ours, theirs, "{path}");
    }
}

#[test]
fn a_path_that_means_no_program_is_not_found() {
    let both = folder().start(&["--dir=$HERE/root"]);
    for path in ["/", "/sub", "/sub/", "/empty", "/none", "/sub/none", "/none/one", "/On%65"] {
        let [ours, theirs] = both.ask(&handshake(path, "a", "")).map(|answer| answer.status);
        assert_eq!((ours, theirs), (404, 404), "{path}");
    }
}

/// Differences, all on purpose.
#[test]
fn a_path_that_two_readers_could_read_in_two_ways_runs_nothing() {
    let both = folder().start(&["--dir=$HERE/root"]);
    for (path, ours_is, theirs_is) in [
        // Out of the folder, by a link: later websocketds don't follow it either.
        ("/out", 404, 101),
        ("/up/outside", 404, 101),
        // Debian's sends browsers to a tidied path, which no WebSocket follows.
        ("/sub/../one", 101, 301),
        ("//one", 101, 301),
        ("/one/a//b", 101, 301),
        ("/..%2Foutside", 400, 301),
    ] {
        let [ours, theirs] = both.ask(&handshake(path, "a", "")).map(|answer| answer.status);
        assert_eq!((ours, theirs), (ours_is, theirs_is), "{path}");
    }
}

#[test]
fn websockets_scripts_and_files_share_a_port() {
    let script = "#!/bin/sh\necho 'Content-Type: text/x-told'\necho 'X-Script: yes'\necho\necho \"$REQUEST_METHOD $QUERY_STRING\"; cat\n";
    let both = Starter::new()
        .program("cgi/told", script)
        .program("cgi/moved", "#!/bin/sh\nprintf 'Status: 404 Gone fishing\\nContent-Type: text/plain\\n\\nno'\n")
        .file("static/page.txt", "a page\n")
        .file("static/told", "never seen: scripts come before files\n")
        .file("static/sub/index.html", "<p>index\n")
        .start(&["--staticdir=$HERE/static", "--cgidir=$HERE/cgi", "cat"]);

    for mut socket in both.open("/any/path") {
        socket.send("a line");
        assert_eq!(socket.read(), Message::Text("a line".into()));
    }
    for (request, status, kind, body) in [
        ("GET /page.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, "text/plain; charset=utf-8", "a page\n"),
        ("HEAD /page.txt HTTP/1.1\r\nHost: a\r\n\r\n", 200, "text/plain; charset=utf-8", ""),
        ("GET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, "text/html; charset=utf-8", "<p>index\n"),
        ("GET /told?a=b HTTP/1.1\r\nHost: a\r\n\r\n", 200, "text/x-told", "GET a=b\n"),
        ("POST /told HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", 200, "text/x-told", "POST \nbody"),
        ("GET /moved HTTP/1.1\r\nHost: a\r\n\r\n", 404, "text/plain", "no"),
    ] {
        for (who, answer) in ["rsp", "websocketd"].iter().zip(both.ask(request)) {
            assert_eq!((answer.status, answer.text().as_str()), (status, body), "{who}: {request}");
            assert_eq!(answer.header("content-type"), Some(kind), "{who}: {request}");
        }
    }
    let statuses = |request: &str| both.ask(request).map(|answer| answer.status);
    assert_eq!(statuses("GET /none HTTP/1.1\r\nHost: a\r\n\r\n"), [404, 404]);
    assert_eq!(statuses("GET /sub HTTP/1.1\r\nHost: a\r\n\r\n"), [301, 301]);
    // Where Debian's knows no PATH_INFO, RFC 3875 §4.1.5 does.
    assert_eq!(statuses("GET /told/more HTTP/1.1\r\nHost: a\r\n\r\n"), [200, 404]);
    // Debian's answers a POST to a file as a GET.
    assert_eq!(statuses("POST /page.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"), [405, 200]);
}

#[test]
fn the_environment_of_a_script_is_that_of_rfc_3875() {
    let script = "#!/bin/sh\necho 'Content-Type: text/plain'\necho\nenv\n";
    let both = Starter::new().program("cgi/told", script).start(&["--cgidir=$HERE/cgi", "cat"]);
    let request = "GET /told?a=%20b&c HTTP/1.1\r\nHost: example.com:1234\r\nCookie: a=1\r\nCookie: b=2\r\nX-Two: 1\r\nX-Two: 2\r\n\
                   Accept: text/x\r\nProxy: evil\r\nX_Under: score\r\n\r\n";
    let [ours, theirs] = both.ask(request).map(|answer| {
        let lines: Vec<_> = answer.text().lines().map(|line| Message::Text(line.to_owned())).collect();
        variables(&lines)
    });
    let of = |told: &BTreeMap<String, String>, name: &str| told.get(name).cloned();
    for name in [
        "GATEWAY_INTERFACE",
        "HTTP_ACCEPT",
        "HTTP_COOKIE",
        "HTTP_HOST",
        "HTTP_PROXY",
        "HTTP_X_TWO",
        "QUERY_STRING",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REQUEST_METHOD",
        "REQUEST_URI",
        "SERVER_PROTOCOL",
    ] {
        assert_eq!(of(&ours, name), of(&theirs, name), "{name}");
    }
    // Debian's has what Go's library makes of a handler at the root; RFC 3875 §4.1.13, §4.1.5, §4.1.14 say otherwise.
    for (name, our, their) in
        [("SCRIPT_NAME", "/told", "/"), ("PATH_INFO", "", "/told"), ("SERVER_NAME", "example.com", "example.com:1234")]
    {
        assert_eq!((of(&ours, name).as_deref(), of(&theirs, name).as_deref()), (Some(our), Some(their)), "{name}");
    }
    assert_eq!((of(&ours, "HTTP_X_UNDER"), of(&theirs, "HTTP_X_UNDER").as_deref()), (None, Some("score")));
    let more: Vec<_> = theirs.keys().filter(|name| !ours.contains_key(*name)).map(String::as_str).collect();
    assert_eq!(more, ["HTTP_X_UNDER"]);
}

#[test]
fn more_fields_are_for_the_answers_that_they_were_given_for() {
    let both = Starter::new().file("static/page", "x").start(&[
        "--header=X-All: all",
        "--header-ws=X-Ws: ws",
        "--header-http=X-Http: http",
        "--staticdir=$HERE/static",
        "cat",
    ]);
    let seen = |answer: &dyn Fn(&str) -> Option<String>| {
        ["x-all", "x-ws", "x-http"].map(|name| answer(name).unwrap_or_default())
    };
    let [ours, theirs] = both.open("/").map(|socket: WebSocket| seen(&|name| socket.header(name).map(str::to_owned)));
    assert_eq!(ours, ["all", "ws", ""]);
    assert_eq!(ours, theirs);
    let of = |path: &str| {
        let answers = both.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        answers.map(|answer| (answer.status, seen(&|name| answer.header(name).map(str::to_owned))))
    };
    let fields = |all: &[&str; 3]| all.map(str::to_owned);
    // Debian's forgets the one for all there.
    assert_eq!(of("/page"), [(200, fields(&["all", "", "http"])), (200, fields(&["", "", "http"]))]);
    // Where nothing answers, no filter meets what is said of that.
    assert_eq!(of("/none"), [(404, fields(&["", "", ""])), (404, fields(&["", "", "http"]))]);
}

#[test]
fn a_program_that_is_not_there_is_an_error_before_anything_listens() {
    let starter = Starter::new();
    let theirs = testkit::Websocketd::run(&starter.filled(&["$HERE/none"]), starter.folder.path());
    let ours = starter.rsp(&["exec", "--port=$PORT", "--address=127.0.0.1", "$HERE/none"]).run();
    assert!(
        theirs.code.is_some_and(|code| code != 0) && ours.code.is_some_and(|code| code != 0),
        "{ours:?} {theirs:?}"
    );
    assert!(ours.stderr.contains("none") && !ours.stderr.contains("Started."), "{}", ours.stderr);
}

#[test]
fn a_program_of_a_folder_runs_where_its_server_does_without_arguments() {
    let both = Starter::new().program("say", "#!/bin/sh\necho $#\necho \"$0\"\npwd\n").start(&["--dir=$HERE"]);
    let [ours, theirs] = both.hear("/say/x").map(|messages| messages[..3].to_vec());
    assert_eq!(ours[2], Message::Text(both.ours.folder().display().to_string()));
    assert_eq!(ours, theirs);
}
