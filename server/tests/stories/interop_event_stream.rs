//! Channels as event streams of others: npm's `eventsource` and PyPI's `httpx-sse`.

use serde_json::{Value, json};
use testkit::{Puppet, Relay, Rsp, Signal, curl};

use super::{SOON, room};

#[test]
fn messages_come_as_they_were_said_line_breaks_included() {
    let rsp = room("");
    let relay = Relay::start(&rsp.address());
    let mut clients = [eventsource(&relay), httpx_sse(&relay)];
    clients.iter_mut().for_each(|client| drop(listening(client)));
    for text in ["", "hello", "two\nlines", " é – 猫", "{\"json\": true}", "line\n\nend\n"] {
        let position = publish(&rsp, text);
        for client in &mut clients {
            assert_eq!(client.hear(), json!({ "message": text, "id": position }));
        }
    }
    std::fs::write(rsp.folder().join("bytes"), [0xff, 0]).unwrap();
    let file = format!("@{}/bytes", rsp.folder().display());
    let sent = curl(&["--data-binary", &file, "-H", "Content-Type: application/octet-stream", &rsp.url("/")]);
    assert_eq!(sent.code, Some(0));
    clients.iter_mut().for_each(|client| assert_eq!(client.hear_of("binary"), "/wA="));
}

#[test]
fn who_comes_and_leaves_is_an_event_of_its_own() {
    let rsp = room("join_leave = true");
    let relay = Relay::start(&rsp.address());
    let mut ann = httpx_sse(&relay);
    listening(&mut ann);
    let mut bob = eventsource(&relay);
    listening(&mut bob);
    // Its own is told to it, too.
    let joins = [(); 2].map(|()| ann.hear_of("join"));
    drop(bob);
    let left = ann.hear_of("leave");
    assert_eq!(joins[1], left);
    let who: Value = serde_json::from_str(left.as_str().unwrap()).unwrap();
    assert!(who["id"].is_string() && who["since"].is_string(), "{who}");
}

#[test]
fn after_a_cut_it_comes_back_with_its_last_id_and_gets_exactly_what_it_missed() {
    let rsp = room("history = 100");
    let relay = Relay::start(&rsp.address());
    let mut clients = [eventsource(&relay), httpx_sse(&relay)];
    clients.iter_mut().for_each(|client| drop(listening(client)));
    let seen = publish(&rsp, "before");
    clients.iter_mut().for_each(|client| assert_eq!(client.hear_of("message"), "before"));
    relay.cut();
    let missed: Vec<_> = (0..30).map(|number| publish(&rsp, &format!("missed {number}"))).collect();
    relay.mend();
    // Both come back with what they know, and each time they meet the cut.
    assert_eq!(clients[1].hear_of("open"), seen);
    assert_eq!(clients[0].hear_of("asks"), seen);
    for client in &mut clients {
        listening(client);
        for (number, position) in missed.iter().enumerate() {
            assert_eq!(client.hear(), json!({ "message": format!("missed {number}"), "id": position }));
        }
    }
    let live = publish(&rsp, "live again");
    for client in &mut clients {
        assert_eq!(client.hear(), json!({ "message": "live again", "id": live }));
    }
}

#[test]
fn one_that_never_heard_a_message_still_misses_none_after_a_cut() {
    let rsp = room("history = 100");
    let relay = Relay::start(&rsp.address());
    let mut clients = [eventsource(&relay), httpx_sse(&relay)];
    clients.iter_mut().for_each(|client| drop(listening(client)));
    relay.cut();
    publish(&rsp, "missed");
    relay.mend();
    clients.iter_mut().for_each(|client| assert_eq!(client.hear_of("message"), "missed"));
}

#[test]
fn a_server_that_drains_says_when_to_come_back_and_its_successor_that_something_is_lost() {
    let mut rsp = room("history = 100");
    let relay = Relay::start(&rsp.address());
    let mut clients = [eventsource(&relay), httpx_sse(&relay)];
    clients.iter_mut().for_each(|client| drop(listening(client)));
    publish(&rsp, "before");
    clients.iter_mut().for_each(|client| assert_eq!(client.hear_of("message"), "before"));
    let successor = room("history = 100");
    relay.point_to(&successor.address());
    rsp.signal(Signal::TERM);
    assert_eq!(clients[1].hear_of("end"), "clean", "not a cut");
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    // Of its own accord it would wait for three seconds.
    clients[0].hear_of("error");
    let pause = clients[0].hear()["after"].as_u64().unwrap();
    assert!((950..2900).contains(&pause), "{pause} ms");
    for client in &mut clients {
        let reset = client.hear_of("reset");
        let now: Value = serde_json::from_str(reset.as_str().unwrap()).unwrap();
        assert!(now["position"].as_str().unwrap().ends_with("-0"), "{now}");
    }
    publish(&successor, "of the new one");
    clients.iter_mut().for_each(|client| assert_eq!(client.hear_of("message"), "of the new one"));
}

fn eventsource(relay: &Relay) -> Puppet {
    Puppet::node("eventsource.js", &json!({ "url": relay.url("/") }))
}

fn httpx_sse(relay: &Relay) -> Puppet {
    Puppet::python("event_stream.py", &json!({ "url": relay.url("/") }))
}

/// Waits until nothing that is published can pass it by.
#[track_caller]
fn listening(client: &mut Puppet) -> Value {
    client.hear_of("subscribed")
}

/// Publishes by curl; returns the position.
#[track_caller]
fn publish(rsp: &Rsp, text: &str) -> String {
    let answer = curl(&["--data-raw", text, "-H", "Content-Type: text/plain", &rsp.url("/")]);
    let object: Value = serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.text()));
    object["position"].as_str().unwrap().to_owned()
}
