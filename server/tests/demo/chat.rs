//! The chat of `rsp demo`, in browsers.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use testkit::{Answer, Chromium, Origin, Relay, Rsp, Visit, curl};

use super::{SOON, demo, steps};

#[test]
fn two_chat_in_a_browser_and_a_cut_loses_and_doubles_nothing() {
    let demo = demo();
    let relay = Relay::start(&demo.address());
    let network = switch(&relay);
    let script = steps(include_str!("chat.js"));
    let script = script.replace("$RELAY", &relay.url("")).replace("$NETWORK", &url(&network));
    let visit = Chromium::visit("", &script.replace("$DEMO", &format!("http://localhost:{}", demo.port())));
    let Visit { value, errors, .. } = visit;
    assert_eq!((errors.len(), &value["errors"], &value["foreign"]), (0, &serde_json::json!([]), &0.into()));
    let (ann, bob) = (strings(&value["annHeard"]), strings(&value["bobHeard"]));
    assert_eq!(ann, bob, "the same, in the same order");
    assert_eq!(value["waiting"], 0);
    let first = ann.iter().position(|text| text == "missed 0").unwrap();
    assert_eq!(ann[first..first + 7], strings(&value["missed"]));
    assert_eq!(ann[first + 7..], ["said during the cut", "and on"]);
    assert_eq!(strings(&value["late"]), (11..=60).map(|number| format!("number {number}")).collect::<Vec<_>>());
    assert_eq!(value["width"], 390, "nothing is wider than the screen");
}

#[test]
fn a_network_that_vanished_without_a_word_is_noticed_in_a_browser() {
    let demo = demo();
    let relay = Relay::start(&demo.address());
    let network = switch(&relay);
    let script = steps(include_str!("chat-stalls.js")).replace("$RELAY", &relay.url(""));
    let visit = Chromium::visit("", &script.replace("$NETWORK", &url(&network)).replace("$DEMO", &demo.url("")));
    assert_eq!((visit.errors, visit.value), (vec![], serde_json::json!(["before", "missed", "and on"])));
}

#[test]
fn a_server_that_has_forgotten_is_told_of_in_a_browser() {
    let running = Arc::new(Mutex::new(Some(demo())));
    let (address, port) = running.lock().unwrap().as_ref().map(|demo| (demo.address(), demo.port())).unwrap();
    let (machine, listen) = (Arc::clone(&running), address.clone());
    let machine = Origin::start(move |asked| {
        let mut running = machine.lock().unwrap();
        match asked.target.as_str() {
            "/kill" => running.as_mut().unwrap().kill(),
            _ => *running = Some(Rsp::command(&["demo", "--listen", &listen]).start()),
        }
        Answer::ok("")
    });
    let script = steps(include_str!("chat-forgets.js")).replace("$MACHINE", &url(&machine));
    let visit = Chromium::visit(
        &format!("http://{address}/chat"),
        &script.replace("$DEMO", &format!("http://127.0.0.1:{port}")),
    );
    // The origin's thread may outlive this one, and would leave it behind.
    drop(running.lock().unwrap().take());
    assert_eq!(visit.errors, Vec::<String>::new());
    let rows = strings(&visit.value["rows"]);
    assert!(rows[2].contains("may be missing"), "{rows:?}");
    assert_eq!([&rows[..2], &rows[3..]].concat(), ["one", "two", "the first of the new one", "and on"]);
}

#[test]
fn the_front_page_links_the_chat_and_the_shell_meets_it() {
    let demo = demo();
    assert!(demo.client().get("/").text().contains("href=\"/chat\""));
    assert_eq!(demo.client().get("/chat").header("content-type"), Some("text/html; charset=utf-8"));
    let url = demo.url("/chat/room");
    demo.wait_for_line(SOON, |line| line.contains(&format!("curl -d hello {url}")));
    assert_eq!(curl(&["-d", "hello", &url]).code, Some(0));
    assert_eq!(demo.control(&["publish", "chat", "from the admin's side"]).code, Some(0));
    let latest: Value = serde_json::from_str(&demo.client().get("/chat/room?history=50").text()).unwrap();
    assert_eq!(
        (&latest["items"][0]["data"], &latest["items"][1]["data"]),
        (&"hello".into(), &"from the admin's side".into())
    );
}

/// What a visit's steps ask for `/cut`, `/stall` and `/mend`.
fn switch(relay: &Relay) -> Origin {
    let relay = relay.clone();
    Origin::start(move |asked| {
        match asked.target.as_str() {
            "/cut" => relay.cut(),
            "/stall" => relay.stall(),
            _ => relay.mend(),
        }
        Answer::ok("")
    })
}

fn url(origin: &Origin) -> String {
    format!("http://{}", origin.address())
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
