//! Functions of the config in the middle of the wire: what they read, choose and get wrong.

use testkit::{Origin, Rsp};

use super::{SOON, front};

#[track_caller]
fn with(function: &str, origin: &Origin) -> Rsp {
    front("", &format!("function(request) {function} end")).set("ORIGIN", origin.address()).start()
}

#[test]
fn an_expectation_is_answered_by_us_when_the_body_is_read_here() {
    let rsp = with("return reply(200, request:body(100))", &Origin::replying("unused"));
    let mut client = rsp.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    client.send("body");
    assert_eq!(client.read_response("POST").text(), "body");
    let sent_at_once = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(client.request(sent_at_once).text(), "body");
}

#[test]
fn a_body_that_a_function_read_still_goes_upstream() {
    let origin = Origin::echoing();
    let rsp = with("local body = request:body(100) return proxy \"$ORIGIN\"", &origin);
    let mut client = rsp.client();
    for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        assert_eq!(client.request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{body}")).status, 200, "{body}");
        assert_eq!(origin.received().pop().unwrap().body, b"body", "{body}");
    }
}

#[test]
fn a_body_larger_than_a_function_wants_is_413() {
    let rsp = with("return reply(200, request:body(3))", &Origin::replying("unused"));
    for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        assert_eq!(rsp.client().request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{body}")).status, 413, "{body}");
    }
}

#[test]
fn a_function_that_fails_is_500_and_the_connection_goes_on() {
    let origin = Origin::echoing();
    let rsp = with("if request.path == \"/bad\" then error(\"no\") end return proxy \"$ORIGIN\"", &origin);
    let mut client = rsp.client();
    assert_eq!(client.get("/bad").status, 500);
    assert_eq!(client.get("/good").status, 200);
    rsp.wait_for_line(SOON, |line| line.contains("no"));
}

#[test]
fn a_function_can_not_split_a_head() {
    let origin = Origin::echoing();
    let set = "request.headers[\"X-A\"] = \"b\\r\\nX-Evil: 1\" return proxy \"$ORIGIN\"";
    assert_eq!(with(set, &origin).client().get("/").status, 500);
    let answer = "return reply(200, \"\", { [\"X-A\"] = \"b\\r\\nX-Evil: 1\" })";
    assert_eq!(with(answer, &origin).client().get("/").status, 500);
    let framing = "request.headers[\"Content-Length\"] = \"5\" return proxy \"$ORIGIN\"";
    assert_eq!(with(framing, &origin).client().get("/").status, 500);
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn connections_that_functions_open_are_kept_too() {
    let origin = Origin::echoing();
    let rsp = with("return proxy \"$ORIGIN\"", &origin);
    (0..5).for_each(|_| assert_eq!(rsp.client().get("/").status, 200));
    assert_eq!(origin.connections_opened(), 1);
}
