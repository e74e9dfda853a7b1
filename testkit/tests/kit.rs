//! The kit against itself and against the real peers, so that a test that fails blames rsp and not its tools.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{os::unix::fs::PermissionsExt, time::Duration};

use testkit::{
    Answer, Chromium, Client, End, Gate, Nginx, Origin, Pattern, PythonHttpServer, Rsp, Step, Stream, curl, eventually,
};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn an_origin_remembers_the_bytes_of_each_request_and_its_connection() {
    let origin = Origin::echoing();
    let mut client = Client::connect(&origin.address());
    let first = client.request("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    let second =
        client.request("PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n");
    assert_eq!((first.status, first.end), (200, End::Framed));
    assert!(first.text().starts_with("POST /a HTTP/1.1\r\nHost: x\r\n") && first.text().ends_with("\r\n\r\nabc"));
    assert!(second.text().ends_with("2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"));

    let received = origin.wait_for_requests(2, SOON);
    assert_eq!((received[0].request.method.as_str(), received[0].header("host")), ("POST", Some("x")));
    assert_eq!((received[1].body.as_slice(), received[1].trailers.get("x-sum")), (b"hi".as_slice(), Some("1")));
    assert_eq!((received[1].request.connection, received[1].request.on_connection), (1, 2));
    assert_eq!((origin.connections_opened(), origin.connections_open()), (1, 1));
}

#[test]
fn the_client_tells_a_clean_end_from_a_cut() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/whole" => Answer::chunked(&["a", "bc"], "X-Sum: 3\r\n"),
        "/until-close" => Answer::until_close("abc"),
        "/short" => Answer::cut_short(10, "abc"),
        "/reset" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").then(Step::Reset),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").then(Step::Close),
    });
    let get = |path| Client::connect(&origin.address()).get(path);
    let whole = get("/whole");
    assert_eq!((whole.end, whole.text().as_str(), whole.trailers.get("x-sum")), (End::Framed, "abc", Some("3")));
    assert_eq!((get("/until-close").end, get("/until-close").text().as_str()), (End::Closed, "abc"));
    for path in ["/short", "/reset", "/unfinished-chunks"] {
        assert_eq!(get(path).end, End::Cut, "{path}");
    }
}

#[test]
fn an_answer_can_wait_for_the_test_and_be_preceded_by_interim_heads() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |_| {
        let mut answer = Answer::ok("done").after_interim("103 Early Hints\r\nLink: </a.css>");
        answer.0.insert(2, Step::Pass(waits.clone()));
        answer
    });
    let mut client = Client::connect(&origin.address());
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 103 Early Hints");
    gate.open();
    assert_eq!(client.read_response("GET").text(), "done");
}

#[test]
fn an_early_answer_comes_while_the_body_is_still_sent() {
    let origin = Origin::start(|_| Answer::early("413 Content Too Large", "no"));
    let mut client = Client::connect(&origin.address());
    assert_eq!(client.request("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab").status, 413);
    assert!(!origin.received()[0].complete);
    client.send("cd");
    assert_eq!(origin.wait_for_requests(1, SOON)[0].body, b"abcd");
}

#[test]
fn an_upgrade_becomes_an_echo() {
    let origin = Origin::start(|_| Answer::upgrade("websocket"));
    let mut client = Client::connect(&origin.address());
    let answer = client.request("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    client.send("any bytes");
    assert_eq!(client.read_exactly(9), b"any bytes");
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::Closed));
}

#[test]
fn a_stopped_origin_refuses_and_a_restarted_one_answers_at_the_same_address() {
    let mut origin = Origin::replying("up");
    let address = origin.address();
    let mut idle = Client::connect(&address);
    assert_eq!(idle.get("/").text(), "up");
    origin.stop();
    assert!(idle.is_closed_within(SOON));
    eventually(SOON, || Client::try_connect(&address).is_err());
    origin.restart();
    assert_eq!(Client::connect(&address).get("/").text(), "up");
    assert_eq!(origin.received().len(), 2);
}

#[test]
fn an_origin_can_close_on_the_second_request_of_a_connection() {
    let origin = Origin::start(|request| if request.on_connection > 1 { Answer::close() } else { Answer::ok("once") });
    let mut client = Client::connect(&origin.address());
    assert_eq!(client.get("/").text(), "once");
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert!(client.try_read_response("GET").is_err());
}

#[test]
fn a_large_body_is_checked_by_its_pattern_both_ways() {
    let origin = Origin::start(|_| Answer::pattern(3_000_000));
    let mut client = Client::connect(&origin.address());
    client.send("POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n");
    client.send_pattern(&mut Pattern::new(), 2_000_000).unwrap();
    assert_eq!(client.read_head().headers.get("content-length"), Some("3000000"));
    let mut pattern = Pattern::new();
    client.read_slowly(&mut pattern, 100, Duration::from_millis(100));
    let left = 3_000_000 - pattern.position();
    client.read_pattern(&mut pattern, left);
    let received = &origin.wait_for_requests(1, SOON)[0];
    assert!(received.body_is_pattern && received.body_length == 2_000_000);
}

#[test]
fn an_origin_listens_on_a_unix_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start_unix(folder.path().join("origin.sock"), |_| Answer::ok("unix"));
    assert_eq!(Client::connect(&origin.address()).get("/").text(), "unix");
}

#[test]
fn nginx_python_and_curl_run_as_real_peers() {
    let nginx = Nginx::start("server { listen 127.0.0.1:$PORT; root $DIR; }");
    std::fs::write(nginx.folder().join("a.txt"), "from nginx").unwrap();
    let got = curl(&[&format!("http://{}/a.txt", nginx.address())]);
    assert_eq!((got.code, got.text().as_str()), (Some(0), "from nginx"));

    let python = PythonHttpServer::start(nginx.folder());
    assert_eq!(Client::connect(&python.address()).get("/a.txt").text(), "from nginx");
    eventually(SOON, || python.log().contains("GET /a.txt"));
}

#[test]
fn a_browser_runs_a_page_and_reports_its_console() {
    let page = "<h1>one</h1><script>console.log('hello'); document.title = 'two'</script>";
    let headers = "Content-Type: text/html\r\n";
    let origin = Origin::start(move |_| Answer::with_headers("200 OK", headers, page));
    let steps = "return [await page.title(), await page.textContent('h1')]";
    let visit = Chromium::visit(&format!("http://{}/", origin.address()), steps);
    assert_eq!(visit.value, serde_json::json!(["two", "one"]));
    assert_eq!((visit.console, visit.errors), (vec!["hello".to_owned()], vec![]));
}

/// A stand-in that prints what rsp prints; the kit's own test must not need rsp.
const FAKE: &str = "#!/bin/sh\necho \"[2026] Started.  Listening on port $(sed -n 's/^listen //p' site.lua).\"\n\
                    echo \"$WORD\" >&2\nif [ \"$1\" = reload ]; then exit 2; fi\nexec sleep 600\n";

#[test]
fn rsp_starts_in_its_own_folder_with_the_values_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("rsp");
    std::fs::write(&fake, FAKE).unwrap();
    std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).unwrap();

    let builder = Rsp::config("listen $PORT\nproxy $ORIGIN").set("ORIGIN", "127.0.0.1:1").file("public/a", "$PORT2");
    let mut rsp = builder.environment("WORD", "spoken").binary(&fake).descriptors_max(64).start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", rsp.pid())).unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().nth(4), Some("64"));
    assert_eq!(std::fs::read_to_string(rsp.folder().join("public/a")).unwrap(), rsp.port_of(2).to_string());
    assert!(std::fs::read_to_string(rsp.folder().join("site.lua")).unwrap().ends_with("proxy 127.0.0.1:1"));
    rsp.wait_for_line(SOON, |line| line == "spoken");
    assert_eq!(rsp.lines(Stream::Stdout).len(), 1);
    assert!(rsp.user_memory() > 0 && rsp.open_descriptors() >= 3);
    assert_eq!(rsp.reload().code, Some(2));
    assert_eq!(rsp.stop().code(), None);
}
