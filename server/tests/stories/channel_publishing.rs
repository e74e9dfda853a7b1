//! POST: the body is the message, and what can't be one is refused with its reason before it is read.

use testkit::{EventStream, Rsp, WebSocket};

use super::channel::{channel, metric, post, publish};

/// The messages of the history, as objects.
fn items(rsp: &Rsp) -> Vec<serde_json::Value> {
    let answer = rsp.client().get("/room?history=100");
    let object: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    object["items"].as_array().unwrap().clone()
}

fn texts(rsp: &Rsp) -> Vec<String> {
    items(rsp).iter().map(|item| item["data"].as_str().unwrap_or("bytes").to_owned()).collect()
}

#[test]
fn a_publication_is_201_with_listeners_202_without_and_names_its_position() {
    let rsp = channel("history = 10").start();
    let answer = post(&rsp, "", "nobody");
    assert_eq!((answer.status, answer.header("content-type")), (202, Some("application/json")));
    let object: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(object["subscribers"], 0);
    let position = object["position"].as_str().unwrap();
    let mut stream = EventStream::open(&rsp.address(), &format!("/room?since={position}"));
    stream.next_event();
    let answer = post(&rsp, "", "one");
    assert_eq!((answer.status, answer.text().contains("\"subscribers\":1")), (201, true));
    assert_eq!(stream.told(), ("message".into(), "one".into()));
}

#[test]
fn a_body_is_text_if_it_is_utf_8_and_not_said_to_be_bytes() {
    let rsp = channel("history = 10").start();
    for (fields, body) in [
        ("Content-Type: text/plain; charset=UTF-8\r\n", "\u{e4}"),
        ("Content-Type: application/json\r\n", "{}"),
        ("Content-Type: application/x-www-form-urlencoded\r\n", "a=1&b"),
        ("Content-Type: text/plain\r\n", ""),
        ("", "no type"),
    ] {
        assert_eq!(post(&rsp, fields, body).status, 202, "{fields}");
    }
    assert_eq!(texts(&rsp), ["\u{e4}", "{}", "a=1&b", "", "no type"]);
    let mut client = rsp.client();
    client.send(b"POST /room HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\xff\x00\r\n0\r\n\r\n");
    assert_eq!(client.read_response("POST").status, 202);
    assert_eq!(items(&rsp)[5]["base64"], "/wA=");
}

#[test]
fn what_cannot_be_a_message_is_refused_with_its_reason() {
    let rsp = channel("history = 10").start();
    for (fields, body, status, why) in [
        ("", "", 400, "body"),
        ("Content-Type: text/plain; charset=\"iso-8859-1\"\r\n", "x", 415, "UTF-8"),
        ("Content-Encoding: gzip\r\n", "x", 415, "compressed"),
        (&*format!("Idempotency-Key: {}\r\n", "k".repeat(129)), "x", 400, "128"),
        ("Idempotency-Key: a\r\nIdempotency-Key: b\r\n", "x", 400, "128"),
        ("Idempotency-Key: \u{e4}\r\n", "x", 400, "128"),
        ("Idempotency-Key:\r\n", "x", 400, "128"),
    ] {
        let answer = post(&rsp, fields, body);
        assert_eq!(answer.status, status, "{fields}");
        assert!(answer.text().contains(why), "{fields}: {}", answer.text());
    }
    let chunked = "POST /room HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = rsp.client().request(chunked);
    assert_eq!((answer.status, answer.text().contains("body")), (400, true), "its emptiness shows only at its end");
    assert!(items(&rsp).is_empty());
}

#[test]
fn a_message_larger_than_allowed_is_413_before_or_while_it_is_read() {
    let rsp = channel("history = 10, message_max = \"1KiB\"").start();
    let mut client = rsp.client();
    client.send("POST /room HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.read_response("POST");
    assert_eq!((answer.status, answer.informational.len()), (413, 0), "nothing was asked for");
    let mut client = rsp.client();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    client.send(format!("POST /room HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}1\r\ny\r\n"));
    assert_eq!(client.read_response("POST").status, 413);
    assert!(items(&rsp).is_empty());
    assert_eq!(post(&rsp, "", &"x".repeat(1024)).status, 202);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let rsp = channel("history = 10").start();
    let mut client = rsp.client();
    client.send("POST /room HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    client.send("hi");
    assert_eq!(client.read_response("POST").status, 202);
    assert_eq!(texts(&rsp), ["hi"]);
}

#[test]
fn a_repeat_under_its_key_is_published_once() {
    let rsp = channel("history = 10").start();
    let key = "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n";
    let (first, repeat) = (post(&rsp, key, "once"), post(&rsp, key, "once"));
    assert_eq!((first.status, first.text()), (repeat.status, repeat.text()));
    assert_eq!(post(&rsp, "Idempotency-Key: other\r\n", "twice").status, 202);
    assert_eq!(texts(&rsp), ["once", "twice"]);
}

#[test]
fn the_field_of_a_form_is_the_message() {
    let rsp = channel("history = 10, field = \"message\", message_max = \"1KiB\"").start();
    let form = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n";
    for (body, status) in [
        ("nick=ann&message=a+b%26%c3%a4", 202),
        ("nick=ann", 400),
        ("message=1&message=2", 400),
        (&*format!("message={}", "%41".repeat(1024)), 202),
        (&*format!("message={}", "%41".repeat(1025)), 413),
        ("message=", 202),
    ] {
        assert_eq!(post(&rsp, form, body).status, status, "{}", &body[..body.len().min(30)]);
    }
    let answer = post(&rsp, "Content-Type: multipart/form-data; boundary=x\r\n", "--x--");
    assert_eq!((answer.status, answer.text().contains("urlencoded")), (415, true));
    assert_eq!(post(&rsp, "Content-Type: text/plain\r\n", "message=as it is").status, 202);
    assert_eq!(texts(&rsp), ["a b&\u{e4}", &"A".repeat(1024), "", "message=as it is"]);
}

#[test]
fn a_channel_of_the_server_takes_no_post_and_an_unknown_method_is_told_which_there_are() {
    let rsp = channel("publish = \"server\"").start();
    assert_eq!(post(&rsp, "", "x").status, 403);
    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = rsp.client().request(&format!("{method} /room HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS, POST")), "{method}");
    }
    let answer = rsp.client().request("OPTIONS /room HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
}

#[test]
fn more_channels_than_may_be_are_503_and_come_back_later() {
    let text = "workers(1) listen \"127.0.0.1:$PORT\" limits { channels = 2 }\n\
                site \"*\" { [\"/{room}\"] = channel { \"{room}\", history = 1 } }";
    let rsp = Rsp::config(text).start();
    let post = |room: &str| {
        let mut client = rsp.client();
        client.request(&format!("POST /{room} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"))
    };
    assert_eq!((post("a").status, post("b").status), (202, 202));
    let full = post("c");
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    assert_eq!(post("a").status, 202, "those that are there go on");
    for accept in ["*/*", "text/event-stream", "application/x-ndjson"] {
        let answer = rsp.client().request(&format!("GET /d HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{accept}");
    }
    let refused = testkit::WebSocket::try_open(&rsp.address(), "/d", "").unwrap_err();
    assert_eq!(refused.status, 503);
}

#[test]
fn a_client_that_stops_in_its_message_publishes_nothing() {
    let rsp = channel("history = 10").with("limits { body_timeout = \"1s\" }").start();
    let mut client = rsp.client();
    client.send("POST /room HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhal");
    assert_eq!(client.read_response("POST").status, 408);
    let mut client = rsp.client();
    client.send("POST /room HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhal");
    client.half_close();
    client.read_to_end();
    publish(&rsp, "whole");
    assert_eq!(texts(&rsp), ["whole"]);
    assert_eq!(metric(&rsp, "rsp_channel_published_total"), 1);
}

#[test]
fn an_object_whose_key_is_no_string_is_answered_and_not_published() {
    let rsp = channel("history = 10").start();
    let mut socket = WebSocket::open_with(&rsp.address(), "/room", "Sec-WebSocket-Protocol: rsp.json\r\n");
    assert_eq!(socket.object()["event"], "subscribed");
    for (id, key) in ["7", "null", "[\"a\"]", "true"].iter().enumerate() {
        socket.send(&format!("{{\"data\":\"x\",\"id\":{id},\"key\":{key}}}"));
        let answer = socket.object();
        assert_eq!((&answer["event"], &answer["id"]), (&"error".into(), &id.into()), "{key}: {answer}");
        assert!(answer.to_string().contains("key"), "{answer}");
    }
    socket.send("{\"data\":\"kept\",\"key\":\"7\"}");
    while socket.object()["data"] != "kept" {}
    assert_eq!(texts(&rsp), ["kept"]);
}
