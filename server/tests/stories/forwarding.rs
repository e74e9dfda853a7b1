//! What changes in a head on its way upstream: forwarding fields, `Host`, prefixes, fields of one connection.

use testkit::{Origin, Received, Rsp};

use super::front;

/// What the origin received of one request through these statements and options.
#[track_caller]
fn forwarded(statements: &str, options: &str, request: &str) -> Received {
    let origin = Origin::echoing();
    let rsp: Rsp =
        front(statements, &format!("proxy {{ \"$ORIGIN\", {options} }}")).set("ORIGIN", origin.address()).start();
    assert_eq!(rsp.client().request(request).status, 200);
    origin.received().remove(0)
}

/// A client that says it comes from elsewhere.
const CLAIMS: &str = "GET /a HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: other\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 9.9.9.9\r\n\
                      Forwarded: for=9.9.9.9\r\nVia: 1.0 before\r\n\r\n";

fn fields<'a>(received: &'a Received, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| received.header(name)).collect()
}

const X: &[&str] = &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-forwarded-port"];

#[test]
fn nobody_is_believed_without_trust() {
    let received = forwarded("", "", CLAIMS);
    let ours = [Some("127.0.0.1"), Some("http"), Some("example.com"), Some("127.0.0.1"), None];
    assert_eq!(fields(&received, X), ours);
    assert_eq!((received.header("forwarded"), received.header("via")), (None, Some("1.0 before, 1.1 rsp")));
    let counted = received.request.head.headers.all("x-forwarded-for").count();
    assert_eq!(counted, 1);
}

#[test]
fn a_trusted_peer_is_believed_and_extended() {
    let received = forwarded("trust \"127.0.0.0/8\"", "", CLAIMS);
    let theirs = [Some("9.9.9.9, 127.0.0.1"), Some("https"), Some("other"), Some("9.9.9.9"), Some("1")];
    assert_eq!(fields(&received, X), theirs);
}

#[test]
fn a_trusted_peer_that_says_nothing_is_the_client() {
    let received = forwarded("trust \"127.0.0.0/8\"", "", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let ours = [Some("127.0.0.1"), Some("http"), Some("example.com"), Some("127.0.0.1"), None];
    assert_eq!(fields(&received, X), ours);
}

#[test]
fn forwarded_chooses_the_fields_that_are_written() {
    let rfc = forwarded("", "forwarded = \"rfc\"", CLAIMS);
    assert_eq!(rfc.header("forwarded"), Some("for=127.0.0.1;host=\"example.com\";proto=http"));
    assert_eq!(fields(&rfc, X), [None; 5]);
    let both = forwarded("", "forwarded = \"both\"", CLAIMS);
    assert!(both.header("forwarded").is_some() && both.header("x-forwarded-for").is_some());
    let off = forwarded("", "forwarded = \"off\"", CLAIMS);
    assert_eq!((off.header("forwarded"), fields(&off, X)), (None, vec![None; 5]));
    let believed = forwarded("trust \"127.0.0.0/8\"", "forwarded = \"rfc\"", CLAIMS);
    assert_eq!(believed.header("forwarded"), Some("for=9.9.9.9, for=127.0.0.1;host=\"example.com\";proto=http"));
}

#[test]
fn host_is_kept_the_upstreams_or_a_name() {
    let get = "GET / HTTP/1.1\r\nHost: Example.com:8080\r\n\r\n";
    assert_eq!(forwarded("", "", get).header("host"), Some("Example.com:8080"));
    let upstream = forwarded("", "host = \"upstream\"", get);
    assert!(upstream.header("host").unwrap().starts_with("127.0.0.1:"));
    assert_eq!(upstream.header("x-forwarded-host"), Some("Example.com:8080"));
    assert_eq!(forwarded("", "host = \"app.internal\"", get).header("host"), Some("app.internal"));
    assert_eq!(forwarded("", "", "GET / HTTP/1.0\r\n\r\n").header("host"), Some(""));
}

#[test]
fn strip_takes_a_whole_prefix_and_nothing_else() {
    let origin = Origin::echoing();
    let rsp = front("", "proxy { \"$ORIGIN\", strip = \"/api\" }").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    for (path, target) in [
        ("/api/users?a=b", "/users?a=b"),
        ("/api", "/"),
        ("/api?x", "/?x"),
        ("/api/", "/"),
        ("/apiary", "/apiary"),
        ("/other", "/other"),
        ("/api/%41%2Fb", "/%41%2Fb"),
    ] {
        client.get(path);
        assert_eq!(origin.received().last().unwrap().request.target, target, "{path}");
    }
}

#[test]
fn fields_of_the_clients_connection_stay_there() {
    let received = forwarded(
        "",
        "",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, Cookie, Content-Length, Host, keep-alive\r\nX-Hop: 1\r\n\
         Cookie: c=1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c\r\n\
         Content-Length: 2\r\nX-End: 2\r\n\r\nok",
    );
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    assert_eq!((received.header("cookie"), received.header("host")), (Some("c=1"), Some("a")));
    assert_eq!((received.body.as_slice(), received.header("x-end")), (b"ok".as_slice(), Some("2")));
}

#[test]
fn a_client_may_not_nominate_away_what_we_add() {
    let received =
        forwarded("", "", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For, X-Real-IP, Via\r\n\r\n");
    assert_eq!(
        fields(&received, &["x-forwarded-for", "x-real-ip", "via"]),
        [Some("127.0.0.1"), Some("127.0.0.1"), Some("1.1 rsp")]
    );
}

#[test]
fn trailers_go_upstream_without_those_that_frame_route_or_authenticate() {
    let received = forwarded(
        "",
        "",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\
         Content-Length: 9\r\nHost: evil\r\nAuthorization: x\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    let all: Vec<_> = received.trailers.0.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    assert_eq!(all, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn what_a_filter_or_a_function_replaces_does_not_come_back_as_a_trailer() {
    let auth = Origin::start(|_| testkit::Answer::with_headers("200 OK", "X-User: alice\r\n", ""));
    let origin = Origin::echoing();
    let filters = "headers { request = { set = { [\"X-Set\"] = \"1\" }, remove = \"X-Gone\" } },
        auth { forward = { \"$AUTH\", path = \"/check\", copy = { \"X-User\", \"X-None\" } } },
        function(request) request.headers[\"X-Ours\"] = nil end";
    let rsp = front("", &format!("{{ {filters}, proxy \"$ORIGIN\" }}"))
        .set("AUTH", auth.address())
        .set("ORIGIN", origin.address())
        .start();
    let answer = rsp.client().request(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Set: 6\r\nX-Gone: 6\r\n\
         X-User: root\r\nX-None: root\r\nX-Ours: 6\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    let trailers = &origin.received()[0].trailers.0;
    let all: Vec<_> = trailers.iter().map(|(name, value)| (name.to_lowercase(), value.as_str())).collect();
    assert_eq!(all, [("x-sum".to_owned(), "1")]);
}

#[test]
fn a_function_that_replaces_all_headers_leaves_no_trailer() {
    let origin = Origin::echoing();
    let function = "function(request) request.headers = { [\"X-Ours\"] = \"1\" } end";
    let rsp = front("", &format!("{{ {function}, proxy \"$ORIGIN\" }}")).set("ORIGIN", origin.address()).start();
    rsp.client().request(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-User: root\r\n\r\n",
    );
    let received = &origin.received()[0];
    assert_eq!((received.header("x-ours"), received.trailers.0.len()), (Some("1"), 0));
}

#[test]
fn edits_of_a_filter_reach_the_upstream_and_the_client() {
    let origin = Origin::start(|_| testkit::Answer::with_headers("200 OK", "Server: secret\r\n", "ok"));
    let edits = "headers { request = { set = { [\"X-Set\"] = \"1\" }, remove = { \"X-Gone\" } }, response = { remove = { \"Server\" } } }";
    let rsp = front("", &format!("{{ {edits}, proxy \"$ORIGIN\" }}")).set("ORIGIN", origin.address()).start();
    let answer = rsp.client().request("GET / HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\nX-Set: 0\r\n\r\n");
    assert_eq!(answer.header("server"), None);
    let received = &origin.received()[0];
    assert_eq!((received.header("x-set"), received.header("x-gone")), (Some("1"), None));
}

#[test]
fn an_empty_body_is_stated_as_it_was() {
    let stated = forwarded("", "", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(stated.header("content-length"), Some("0"));
    let silent = forwarded("", "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((silent.header("content-length"), silent.header("transfer-encoding")), (None, None));
    let empty = forwarded("", "", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!((empty.body_length, empty.header("transfer-encoding")), (0, Some("chunked")));
}

#[test]
fn a_client_on_a_unix_socket_has_no_address_and_may_be_trusted_to_state_one() {
    for (trust, claimed) in [("", None), ("trust \"unix\"", Some("9.9.9.9"))] {
        let origin = Origin::echoing();
        let statements = format!("listen \"unix:$DIR/front.sock\"\n{trust}");
        let rsp = front(&statements, "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
        let mut client = testkit::Client::connect(&format!("unix:{}", rsp.folder().join("front.sock").display()));
        assert_eq!(client.request(CLAIMS).status, 200);
        assert_eq!(fields(&origin.received()[0], &["x-forwarded-for", "x-real-ip"]), [claimed; 2], "{trust}");
    }
}

#[test]
fn fields_keep_their_number_their_order_and_every_byte_of_their_values() {
    let lines = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Caf\xc3\xa9: no\r\n\r\n";
    let strange = Origin::start(move |_| testkit::Answer::raw(lines.to_vec()).then(testkit::Step::Close));
    let rsp = front("", "proxy \"$ORIGIN\"").set("ORIGIN", strange.address()).start();
    assert_eq!(rsp.client().get("/").status, 502, "a name is ASCII");

    let lines = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nX-Text: caf\xe9 \xc3\xa9\r\nSet-Cookie: b=2\r\n\r\n";
    let origin = Origin::start(move |_| testkit::Answer::raw(lines.to_vec()));
    let rsp = front("", "proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let mut client = rsp.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Text: caf\xe9 \xc3\xa9\r\nX-N: 1\r\nX-N: 2\r\n\r\n");
    let answer = client.read_response("GET");
    assert_eq!(answer.head.headers.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(answer.header("x-text"), Some("caf\u{fffd} \u{e9}"));
    let received = &origin.received()[0];
    assert!(received.raw.windows(8).any(|bytes| bytes == b"caf\xe9 \xc3\xa9\r"), "{}", received.text());
    assert_eq!(received.request.head.headers.all("x-n").collect::<Vec<_>>(), ["1", "2"]);
}
