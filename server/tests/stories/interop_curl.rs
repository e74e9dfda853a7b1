//! Channels from a shell: curl polls, posts and follows, and meets those who came another way.

use serde_json::{Value, json};
use testkit::{Output, Program, Puppet, Rsp, Stream, curl, curl_follows};

use super::{SOON, room};

#[test]
fn curl_polls_post_after_post_and_loses_none() {
    let rsp = room("history = 10");
    let begin = history(&rsp)["position"].as_str().unwrap().to_owned();
    for text in ["one", "two\n", "three – 猫"] {
        assert_eq!(post(&rsp, &["--data-binary", text])["subscribers"], 0);
    }
    let mut position = begin;
    for text in ["one", "two\n", "three – 猫"] {
        let (fields, body) = poll(&rsp, &format!("?since={position}"), &[]);
        assert_eq!((body.as_str(), field(&fields, "content-type")), (text, Some("text/plain; charset=utf-8")));
        position = field(&fields, "etag").unwrap().trim_matches('"').to_owned();
    }
    // What curl remembers of an ETag is a position.
    let saved = rsp.folder().join("etag");
    std::fs::write(&saved, format!("\"{position}\"\n")).unwrap();
    let poller = follow(&rsp, &["--etag-compare", saved.to_str().unwrap()]);
    testkit::eventually(SOON, || post(&rsp, &["-d", "four"])["subscribers"] == 1 || poller.output().contains("four"));
    poller.wait_for_line(SOON, |line| line == "four");
}

#[test]
fn a_poll_in_which_nothing_happens_says_so_and_one_that_comes_too_late_as_well() {
    let rsp = room("history = 1, poll_timeout = \"1s\"");
    let (fields, body) = poll(&rsp, "", &[]);
    assert!(fields.starts_with("HTTP/1.1 204") && body.is_empty(), "{fields}");
    let position = field(&fields, "etag").unwrap().trim_matches('"').to_owned();
    (0..3).for_each(|_| drop(post(&rsp, &["-d", "x"])));
    let (fields, _) = poll(&rsp, &format!("?since={position}"), &[]);
    assert!(fields.starts_with("HTTP/1.1 410"), "{fields}");
    let (epoch, _) = position.split_once('-').unwrap();
    assert_eq!(field(&fields, "etag").unwrap(), format!("\"{epoch}-3\""));
}

#[test]
fn curl_follows_line_by_line_what_a_websocket_and_a_post_say() {
    let rsp = room("join_leave = true, history = 10");
    post(&rsp, &["-d", "before"]);
    let lines = follow(&rsp, &["-H", "Accept: application/x-ndjson"]);
    lines.wait_for_line(SOON, |line| line.contains("subscribed"));
    let mut ws = Puppet::node("ws.js", &json!({ "url": format!("ws://{}/", rsp.address()) }));
    ws.hear_of("open");
    ws.tell(&json!({ "text": "from a WebSocket" }));
    ws.hear_of("text");
    let answer = post(&rsp, &["-d", "from curl"]);
    assert_eq!(answer["subscribers"], 2);
    drop(ws);
    lines.wait_for_line(SOON, |line| line.contains("leave"));
    let objects: Vec<Value> =
        lines.lines(Stream::Stdout).iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let data: Vec<_> = objects.iter().filter_map(|object| object["data"].as_str()).collect();
    assert_eq!(data, ["from a WebSocket", "from curl"]);
    let last = objects.iter().rfind(|object| object.get("data").is_some()).unwrap();
    assert_eq!(last["position"], answer["position"]);
}

#[test]
fn the_position_of_a_first_history_can_be_followed() {
    // Nobody has used the channel yet; what is said between the two must not be lost, nor be said to be.
    let rsp = room("history = 10");
    let latest = history(&rsp);
    assert_eq!(latest["items"], json!([]));
    post(&rsp, &["-d", "in between"]);
    let lines = follow(
        &rsp,
        &["-H", "Accept: application/x-ndjson", "-G", "-d", &format!("since={}", latest["position"].as_str().unwrap())],
    );
    let second = lines.wait_for_line(SOON, |line| !line.is_empty() && !line.contains("subscribed"));
    assert!(second.contains("in between"), "{second}");
}

#[track_caller]
fn post(rsp: &Rsp, arguments: &[&str]) -> Value {
    let url = rsp.url("/");
    object(&curl(&[&["-H", "Content-Type: text/plain", &url], arguments].concat()))
}

#[track_caller]
fn history(rsp: &Rsp) -> Value {
    object(&curl(&[&rsp.url("/?history=50")]))
}

#[track_caller]
fn object(answer: &Output) -> Value {
    serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{}{}", answer.text(), answer.stderr))
}

/// The head and the body of a poll's answer.
#[track_caller]
fn poll(rsp: &Rsp, query: &str, arguments: &[&str]) -> (String, String) {
    let url = rsp.url(&format!("/{query}"));
    let answer = curl(&[&["-i", &url], arguments].concat()).text();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    (head.to_owned(), body.to_owned())
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(field, _)| field.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

/// curl that goes on.
#[track_caller]
fn follow(rsp: &Rsp, arguments: &[&str]) -> Program {
    curl_follows(&[arguments, &[&rsp.url("/")]].concat())
}
