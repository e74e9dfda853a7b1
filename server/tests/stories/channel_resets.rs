//! DELETE: the history ends, an epoch begins, and everybody who listens is told, each in the words of its transport.

use testkit::{EventStream, Message, Response, Rsp, WebSocket};

use super::channel::{channel, publish, wait_for_subscribers};

/// A channel whose history anybody may drop who says so.
fn deletable() -> Rsp {
    let delete = "delete = function(request) return request.args.really == \"yes\" end";
    channel(&format!("history = 10, poll_timeout = \"1m\", {delete}")).start()
}

fn delete(rsp: &Rsp, query: &str, fields: &str) -> Response {
    rsp.client().request(&format!("DELETE /room{query} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
}

#[test]
fn a_reset_is_told_on_every_transport_and_what_comes_after_it_is_heard() {
    let rsp = deletable();
    let before = publish(&rsp, "before");
    let address = rsp.address();
    let mut plain = WebSocket::open(&address, "/room");
    let mut objects = WebSocket::open_with(&address, "/room", "Sec-WebSocket-Protocol: rsp.json\r\n");
    let mut events = EventStream::open(&address, "/room");
    let mut lines = EventStream::open_with(&address, "/room", "Accept: application/x-ndjson\r\n");
    let mut poll = rsp.client();
    poll.send(format!("GET /room?since={before} HTTP/1.1\r\nHost: test\r\n\r\n"));
    assert_eq!([objects.object()["event"].clone(), lines.object()["event"].clone()], ["subscribed", "subscribed"]);
    wait_for_subscribers(&rsp, 5);

    let answer = delete(&rsp, "?really=yes", "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let object: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let fresh = object["position"].as_str().unwrap();
    assert_ne!(fresh.split('-').next(), before.split('-').next());

    for reset in [objects.object(), lines.object()] {
        assert_eq!((&reset["event"], &reset["position"]), (&"reset".into(), &fresh.into()));
    }
    let (name, data) = loop {
        let told = events.told();
        if told.0 != "subscribed" {
            break told;
        }
    };
    assert_eq!((name.as_str(), data.contains(fresh)), ("reset", true));
    assert!(matches!(plain.read(), Message::Close(1012, _)), "it knows no positions");
    let gone = poll.read_response("GET");
    assert_eq!((gone.status, gone.header("etag")), (410, Some(&*format!("\"{fresh}\""))));

    publish(&rsp, "after");
    assert_eq!((objects.object()["data"].clone(), lines.object()["data"].clone()), ("after".into(), "after".into()));
    assert_eq!(events.told().1, "after");
    assert_eq!(poll.get(&format!("/room?since={fresh}")).text(), "after");
    assert!(!poll.get("/room?history=10").text().contains("before"));
    let late = WebSocket::try_open(&address, &format!("/room?since={before}"), "").unwrap_err();
    assert_eq!(late.status, 410, "a position of the life that is over");
}

#[test]
fn whoever_may_not_delete_changes_nothing() {
    let rsp = deletable();
    publish(&rsp, "kept");
    assert_eq!(delete(&rsp, "", "").status, 403);
    assert_eq!(delete(&rsp, "?really=yes", "Origin: https://elsewhere.example\r\n").status, 403);
    assert!(rsp.client().get("/room?history=10").text().contains("kept"));
    let allowed = rsp.client().request("OPTIONS /room HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(allowed.header("allow"), Some("GET, HEAD, OPTIONS, POST, DELETE"));
}
