//! FastCGI applications that lie, stall, flood and die; and what is sent to an honest one.

use testkit::{
    Client, End, Gate, Pattern, Response, Rsp,
    fastcgi::{Application, Asked, Play, record},
};

use super::{SOON, front};

const HELLO: &str = "Content-Type: text/plain\r\n\r\nhello";

/// rsp with everything going to `application`; `options` are the handler's.
#[track_caller]
fn before(application: &Application, options: &str) -> Rsp {
    front("", &format!("fastcgi {{ \"{}\", {options} }}", application.address())).start()
}

/// What a client gets of an application that always does the same.
#[track_caller]
fn answered(play: Play) -> Response {
    before(&Application::start(move |_| play.clone()), "").client().get("/")
}

#[test]
fn records_in_any_split_and_on_two_streams_make_one_answer() {
    let mut bytes = Vec::new();
    for (kind, content) in [
        (6, "Status: 201 Made\nX-A"),
        (7, "oops"),
        (6, ": 1\n"),
        (6, "\nhel"),
        (7, " twice"),
        (6, "lo"),
        (6, ""),
        (7, ""),
    ] {
        bytes.extend(record(kind, 1, content.as_bytes()));
    }
    bytes.extend(record(3, 1, &[0; 8]));
    for piece in [1, 2, 7, 8, 9, bytes.len()] {
        let play = bytes.chunks(piece).fold(Play::default(), Play::send);
        let application = Application::start(move |_| play.clone());
        let rsp = before(&application, "");
        let answer = rsp.client().get("/");
        assert_eq!((answer.status, answer.header("x-a"), answer.text().as_str()), (201, Some("1"), "hello"));
        assert_eq!((answer.end, answer.header("via"), answer.header("status")), (End::Framed, None, None));
        let line = rsp.wait_for_line(SOON, |line| line.contains("error stream"));
        assert!(line.contains("oops twice") && line.contains("(request "), "{line}");
    }
}

#[test]
fn a_body_that_is_not_as_long_as_stated_is_no_clean_end() {
    for stated in [6, 4, 0, 1000] {
        let head = format!("Content-Length: {stated}\r\n\r\n");
        // All at once it is known before the client is told anything.
        let whole = [record(6, 1, format!("{head}hello").as_bytes()), record(3, 1, &[0; 8])].concat();
        assert_eq!(answered(Play::default().send(&whole)).status, 502, "{stated}");
        if stated == 0 {
            continue;
        }
        let gate = Gate::new();
        let play = Play::default().output(&format!("{head}hel")).wait(&gate).output("lo").end(0);
        let rsp = before(&Application::start(move |_| play.clone()), "");
        let mut client = rsp.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
        gate.open();
        let (body, _) = client.read_to_end();
        assert!(body.len() < stated, "{stated}: {body:?}");
        rsp.wait_for_line(SOON, |line| line.contains("its Content-Length"));
    }
    let exact = answered(Play::default().output("Content-Length: 5\r\n\r\nhel").output("lo").end(0));
    assert_eq!((exact.status, exact.text().as_str(), exact.end), (200, "hello", End::Framed));
}

#[test]
fn a_connection_that_ends_without_a_last_word_is_502_or_a_cut() {
    assert_eq!(answered(Play::default().close()).status, 502);
    assert_eq!(answered(Play::default().output("Content-Type: text/plain\r\n").close()).status, 502);
    assert_eq!(answered(Play::default().error("fatal").close()).status, 502);
    let gate = Gate::new();
    for head in ["A: b\r\n\r\n", "Content-Length: 9\r\n\r\n"] {
        let play = Play::default().output(&format!("{head}begun")).wait(&gate).close();
        let application = Application::start(move |_| play.clone());
        let rsp = before(&application, "");
        let mut client = rsp.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
        gate.open();
        let (rest, _) = client.read_to_end();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
        rsp.wait_for_line(SOON, |line| line.contains("502") && line.contains("connection ended"));
    }
}

#[test]
fn what_is_no_answer_to_our_request_is_502() {
    let end = record(3, 1, &[0; 8]);
    let hello = record(6, 1, HELLO.as_bytes());
    let with = |at: usize, byte: u8| {
        let mut record = hello.clone();
        record[at] = byte;
        record
    };
    for (what, bytes) in [
        ("another version", with(0, 2)),
        ("another request", with(3, 2)),
        ("a management record", record(10, 0, &[0; 8])),
        ("an unknown type", with(1, 99)),
        ("a request of its own", with(1, 1)),
        ("HTTP", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("an end of another length", record(3, 1, &[0; 9])),
        ("an end for no reason", record(3, 1, &[0, 0, 0, 0, 7, 0, 0, 0])),
        ("an end without a head", end.clone()),
        ("output after its end", [record(6, 1, b""), hello.clone()].concat()),
        ("bytes behind the end", [hello.clone(), end.clone(), b"x".to_vec()].concat()),
        ("an impossible status", record(6, 1, b"Status: 100\n\n")),
        ("a transfer coding", record(6, 1, b"Transfer-Encoding: chunked\n\n0\r\n\r\n")),
        ("a head that is none", record(6, 1, b"<html>\n\n")),
        ("a head too large", record(6, 1, &[b'a'; 60_000]).repeat(2)),
    ] {
        let answer = answered(Play::default().send(&bytes).send(&end));
        assert_eq!((answer.status, answer.end), (502, End::Framed), "{what}");
    }
}

#[test]
fn an_error_stream_without_end_ends_the_request_and_costs_no_memory() {
    let application = Application::start(|_| Play::default().flood(&record(7, 1, &[b'e'; 60_000])));
    let rsp = before(&application, "");
    let before_it = rsp.user_memory();
    assert_eq!(rsp.client().get("/").status, 502);
    assert!(rsp.user_memory() < before_it + (4 << 20));
    let line = rsp.wait_for_line(SOON, |line| line.contains("error stream: e"));
    assert!(line.len() < 3000 && line.contains('…'), "{} bytes", line.len());
}

#[test]
fn an_application_without_room_is_left_for_another_and_503_when_there_is_none() {
    let full = Application::start(|_| Play::default().end(2));
    let free = Application::start(|_| Play::answer(HELLO));
    let answer = before(&full, "").client().get("/");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let group = format!("local app = upstream \"app\" {{ \"{}\", \"{}\" }}", full.address(), free.address());
    let rsp = front(&group, "fastcgi(app)").start();
    for method in ["GET", "POST", "GET"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(rsp.client().request(&request).status, 200);
    }
    assert!(!full.asked().is_empty());
    for status in [1, 3] {
        assert_eq!(answered(Play::default().end(status)).status, 502);
    }
}

#[test]
fn an_application_that_stalls_is_504_before_its_head_and_a_cut_after_it() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let application = Application::start(move |asked| match &*asked.params["REQUEST_URI"] {
        "/head" => Play::default().error("e").wait(&waiting),
        _ => Play::default().output("A: b\r\n\r\nbegun").wait(&waiting),
    });
    let rsp = before(&application, "timeout = \"200ms\", body_timeout = \"200ms\"");
    assert_eq!(rsp.client().get("/head").status, 504);
    let answer = rsp.client().get("/body");
    assert_eq!((answer.status, answer.end), (200, End::Cut));
    gate.open();
}

#[test]
fn answers_without_a_body_have_none_whatever_the_application_says() {
    let play = |head: &'static str| Play::default().output(head).end(0);
    for head in ["Status: 204\r\n\r\nbody", "Status: 304\r\nContent-Length: 9\r\n\r\nbody"] {
        let rsp = before(&Application::start(move |_| play(head)), "");
        let mut client = rsp.client();
        for _ in 0..2 {
            assert!(matches!(client.get("/").status, 204 | 304));
        }
    }
    let rsp = before(&Application::start(move |_| play("Content-Length: 9\r\n\r\n123456789")), "");
    let mut client = rsp.client();
    for _ in 0..2 {
        let answer = client.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("9")));
    }
    let old = rsp.client().request("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, old.text().as_str()), (200, "123456789"));
}

#[test]
fn connections_are_kept_only_where_the_config_says_so() {
    for (options, kept) in [("", false), ("keepalive = true", true)] {
        let application = Application::start(|_| Play::answer(HELLO));
        let rsp = before(&application, options);
        let mut client = rsp.client();
        for _ in 0..5 {
            assert_eq!(client.get("/").text(), "hello");
            assert_eq!(client.request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        }
        assert!(application.asked().iter().all(|asked| asked.keep == kept));
        assert_eq!(application.connections_opened(), if kept { 1 } else { 10 });
    }
}

#[test]
fn an_idle_connection_that_had_ended_costs_no_request() {
    let application = Application::start(|_| Play::answer(HELLO));
    let rsp = before(&application, "keepalive = true");
    let mut client = rsp.client();
    for opened in 1..4 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(application.connections_opened(), opened);
        application.close_connections();
    }
}

#[test]
fn a_proxy_to_the_same_address_never_gets_a_fastcgi_connection() {
    let application = Application::start(|_| Play::answer(HELLO));
    let address = application.address();
    let rsp = Rsp::config(&format!(
        "workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" {{ [\"/php\"] = fastcgi {{ \"{address}\", keepalive = true }}, \
         [\"/http\"] = proxy {{ \"{address}\", timeout = \"200ms\" }} }}"
    ))
    .start();
    let mut client = rsp.client();
    assert_eq!(client.get("/php").status, 200);
    // It takes what it gets for half a record, and waits for the rest.
    assert_eq!(client.get("/http").status, 504);
    assert_eq!(application.connections_opened(), 2);
}

#[test]
fn an_upload_streams_in_bounded_memory_while_nobody_reads_it() {
    const LENGTH: u64 = 1 << 30;
    let gate = Gate::new();
    let waiting = gate.clone();
    let application = Application::start(move |asked| match &*asked.params["REQUEST_METHOD"] {
        "PUT" => Play::default().wait(&waiting).read_body().output(HELLO).end(0),
        _ => Play::answer(HELLO),
    });
    let rsp = before(&application, "keepalive = true");
    let mut sending = rsp.client();
    let before_it = rsp.user_memory();
    sending.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"));
    let sender = std::thread::spawn(move || sending.send_pattern(&mut Pattern::new(), LENGTH).map(|()| sending));
    testkit::eventually(SOON, || !application.asked().is_empty());
    // As much as the kernel and rsp take is on its way; the rest waits with the client.
    for _ in 0..20 {
        assert_eq!(rsp.client().get("/").status, 200);
    }
    assert!(rsp.user_memory() < before_it + (4 << 20), "{} to {}", before_it, rsp.user_memory());
    gate.open();
    let mut client = sender.join().unwrap().unwrap();
    assert_eq!(client.read_response("PUT").status, 200);
    assert!(rsp.user_memory() < before_it + (4 << 20));
    let asked: Vec<Asked> = application.asked();
    let upload = asked.iter().find(|asked| asked.params["REQUEST_METHOD"] == "PUT").unwrap();
    assert_eq!((upload.body, upload.body_is_pattern), (LENGTH, true));
    assert_eq!(upload.params["CONTENT_LENGTH"], LENGTH.to_string());
}

#[test]
fn an_answer_may_come_before_the_body_was_read() {
    let application = Application::start(|_| Play::default().output(HELLO).end(0).close());
    let rsp = before(&application, "");
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun");
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
}

#[test]
fn a_body_of_unknown_length_is_411_and_an_expected_100_is_sent_for_others() {
    let application = Application::start(|_| Play::answer(HELLO));
    let rsp = before(&application, "");
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    assert_eq!(rsp.client().request(chunked).status, 411);
    assert_eq!(application.connections_opened(), 0);
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.read_response("POST").status, 200);
    let empty = rsp.client().request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(empty.status, 200);
    let lengths: Vec<_> = application.asked().iter().map(|asked| asked.params["CONTENT_LENGTH"].clone()).collect();
    assert_eq!(lengths, ["4", "0"]);
}

#[test]
fn a_slow_reader_stops_the_application() {
    let application = Application::start(|asked| match &*asked.params["REQUEST_URI"] {
        "/flood" => Play::default().output("A: b\r\n\r\n").flood(&record(6, 1, &[b'x'; 60_000])),
        _ => Play::answer(HELLO),
    });
    let rsp = before(&application, "");
    let before_it = rsp.user_memory();
    let mut client = rsp.client();
    client.socket().set_receive_buffer(16 << 10).unwrap();
    client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 200 OK");
    for _ in 0..20 {
        client.read_exactly(10_000);
        assert_eq!(rsp.client().get("/").status, 200, "another one is served meanwhile");
        assert!(rsp.user_memory() < before_it + (8 << 20));
    }
}

#[test]
fn log_metrics_and_check_name_the_application() {
    let application = Application::start(|_| Play::answer(HELLO));
    let text = format!(
        "listen \"127.0.0.1:$PORT\"\nlog {{ format = \"json\" }}\nupstream \"app\" {{ {{ \"{}\", name = \"one\" }} }}\n\
         site \"*\" {{ [\"/*\"] = fastcgi \"app\" }}",
        application.address()
    );
    let rsp = Rsp::config(&text).start();
    assert_eq!(rsp.client().get("/").status, 200);
    let line = rsp.wait_for_line(SOON, |line| line.starts_with('{'));
    assert!(line.contains("\"app\"") && line.contains("\"one\""), "{line}");
    let admin = format!("unix:{}", rsp.folder().join("site.lua.sock").display());
    let metrics = Client::connect(&admin).get("/metrics").text();
    assert!(metrics.contains("upstream=\"app\""), "{metrics}");
    let checked = rsp.control(&["check", "site.lua"]);
    assert!(checked.text().contains("fastcgi app"), "{}", checked.text());
}

#[test]
fn a_function_may_return_one() {
    let application = Application::start(|_| Play::answer(HELLO));
    let handler = format!("function(request) return fastcgi \"{}\" end", application.address());
    let rsp = front("", &handler).start();
    for _ in 0..2 {
        assert_eq!(rsp.client().get("/").text(), "hello");
    }
}

#[test]
fn another_application_is_asked_only_while_that_is_safe() {
    let (bad, good) = (Application::start(|_| Play::default().close()), Application::start(|_| Play::answer(HELLO)));
    let group = format!(
        "local app = upstream \"app\" {{ \"{}\", \"{}\", outlier = {{ failures = 1000 }} }}",
        bad.address(),
        good.address()
    );
    let rsp = front(&group, "fastcgi(app)").start();
    for _ in 0..4 {
        assert_eq!(rsp.client().get("/").status, 200);
    }
    assert!(!bad.asked().is_empty());
    let before_them = bad.asked().len() + good.asked().len();
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let mut statuses: Vec<_> = (0..4).map(|_| rsp.client().request(post).status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!(bad.asked().len() + good.asked().len(), before_them + 4);
}

#[test]
fn a_root_that_is_not_here_is_a_warning_and_its_scripts_are_asked_for() {
    let application = Application::start(|_| Play::answer(HELLO));
    let rsp = before(&application, "root = \"/nowhere/to/be/seen\"");
    rsp.wait_for_line(SOON, |line| line.contains("there is no folder /nowhere/to/be/seen here"));
    assert_eq!(rsp.client().get("/admin/").status, 200);
    assert_eq!(rsp.client().get("/a.php/b").status, 200);
    let files: Vec<_> = application.asked().iter().map(|asked| asked.params["SCRIPT_FILENAME"].clone()).collect();
    assert_eq!(files, ["/nowhere/to/be/seen/index.php", "/nowhere/to/be/seen/a.php"]);
}
