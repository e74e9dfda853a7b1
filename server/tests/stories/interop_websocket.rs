//! Channels over the WebSockets of others: npm's `ws` and PyPI's `websockets`.

use serde_json::{Value, json};
use testkit::{Puppet, Relay, Rsp};

use super::{front, room};

#[test]
fn what_one_says_everybody_hears_once_and_as_it_was_said() {
    let rsp = room("");
    let mut clients = [ws(&rsp, json!([])), ws(&rsp, json!([])), websockets(&rsp, Value::Null)];
    clients.iter_mut().for_each(|client| assert_eq!(client.hear_of("open"), opened(None)));
    let texts = ["", "é – 猫 – 🦊", "a\0b\nc", &"long ".repeat(10_000)];
    for (speaker, text) in [0, 1, 2, 0].into_iter().zip(texts) {
        clients[speaker].tell(&json!({ "text": text }));
        clients.iter_mut().for_each(|client| assert_eq!(client.hear(), json!({ "text": text })));
    }
    // Bytes that happen to be text stay binary.
    for (speaker, base64) in [(0, "AAH/gA=="), (2, "aGVsbG8=")] {
        clients[speaker].tell(&json!({ "binary": base64 }));
        clients.iter_mut().for_each(|client| assert_eq!(client.hear(), json!({ "binary": base64 })));
    }
}

#[test]
fn a_message_in_pieces_with_a_ping_between_is_one_message() {
    let rsp = room("");
    for mut client in [ws(&rsp, json!([])), websockets(&rsp, Value::Null)] {
        client.hear_of("open");
        client.tell(&json!({ "fragments": ["one ", "two ", "", "three"] }));
        assert_eq!(client.hear(), json!({ "text": "one two three" }));
        client.tell(&json!({ "ping": "still there?" }));
        let pong = client.hear_of("pong");
        assert!(pong == "still there?" || pong == true, "{pong}");
    }
}

#[test]
fn both_compress_and_understand_what_is_compressed() {
    let rsp = room("message_max = \"2MiB\", queue_max = \"8MiB\"");
    let plain = json!({ "url": url(&rsp, ""), "options": { "perMessageDeflate": false } });
    // The least and the most of memory that a client may ask for, and none at all.
    let narrow = json!({ "perMessageDeflate": {
        "threshold": 0, "serverMaxWindowBits": 9, "clientMaxWindowBits": 9,
        "serverNoContextTakeover": true, "clientNoContextTakeover": true,
    }});
    let mut clients = [
        Puppet::node("ws.js", &json!({ "url": url(&rsp, ""), "options": { "perMessageDeflate": { "threshold": 0 } } })),
        Puppet::node("ws.js", &json!({ "url": url(&rsp, ""), "options": narrow })),
        websockets(&rsp, Value::Null),
        Puppet::node("ws.js", &plain),
    ];
    for (index, client) in clients.iter_mut().enumerate() {
        let extensions = client.hear()["extensions"].to_string();
        assert_eq!(extensions.contains("permessage-deflate"), index < 3, "{extensions}");
    }
    let words = |count| (0..count).map(|number: u32| format!("word {} ", number.wrapping_mul(2_654_435_761) >> 7));
    for count in [1, 3, 100, 60_000, 3, 100] {
        for speaker in 0..clients.len() {
            let text: String = words(count).collect();
            clients[speaker].tell(&json!({ "text": text }));
            for client in &mut clients {
                let heard = client.hear();
                assert!(heard["text"] == text, "{count} words became {} bytes", heard.to_string().len());
            }
        }
    }
}

#[test]
fn the_end_of_a_conversation_has_the_code_that_says_why() {
    let rsp = room("message_max = \"1KiB\"");
    let mut client = ws(&rsp, json!([]));
    client.hear_of("open");
    client.tell(&json!({ "close": 4321, "reason": "enough" }));
    assert_eq!(client.hear()["close"], 4321);
    for mut client in [ws(&rsp, json!([])), websockets(&rsp, Value::Null)] {
        client.hear_of("open");
        client.tell(&json!({ "text": "x".repeat(1025) }));
        assert_eq!(client.hear_of("close"), 1009);
    }
}

#[test]
fn objects_are_acknowledged_and_tell_positions_who_comes_and_who_leaves() {
    let rsp = room("join_leave = true, history = 10");
    let mut ann = ws(&rsp, json!(["rsp.json"]));
    assert_eq!(ann.hear_of("open"), opened(Some("rsp.json")));
    let subscribed = object(&mut ann, "subscribed");
    assert!(subscribed["position"].as_str().unwrap().ends_with("-0"), "{subscribed}");
    let mut bob = websockets(&rsp, json!(["rsp.json"]));
    assert_eq!(bob.hear_of("open"), opened(Some("rsp.json")));
    // The first is its own.
    let [_, join] = [(); 2].map(|()| object(&mut ann, "join"));
    assert!(join["id"].is_string() && join["since"].is_string(), "{join}");

    let say = |data: Value, id: Value, key: &str| json!({ "text": json!({ "data": data, "id": id, "key": key }).to_string() });
    bob.tell(&say("hello".into(), 7.into(), "k"));
    let ack = object(&mut bob, "ack");
    bob.tell(&say("hello".into(), 8.into(), "k"));
    let again = object(&mut bob, "ack");
    assert_eq!((&ack["id"], &again["id"], &ack["position"]), (&7.into(), &8.into(), &again["position"]));
    bob.tell(&say(json!({ "a": [1, 2] }), "x".into(), "l"));
    assert_eq!(object(&mut bob, "ack")["id"], "x");
    let [first, second] = [(); 2].map(|()| item(&mut ann));
    assert_eq!((&first["data"], &first["position"]), (&"hello".into(), &ack["position"]), "once, by its key");
    assert_eq!(second["data"], "{\"a\":[1,2]}");
    ann.tell(&json!({ "text": "no object" }));
    assert_eq!(object(&mut ann, "error")["status"], 400);
    drop(bob);
    assert_eq!(object(&mut ann, "leave")["id"], join["id"]);
}

#[test]
fn whoever_comes_back_with_its_position_hears_exactly_what_it_missed() {
    let rsp = room("history = 100");
    let relay = Relay::start(&rsp.address());
    let mut ann = ws(&rsp, json!([]));
    ann.hear_of("open");
    let through = |since: &str| {
        let url = format!("ws://{}/{since}", relay.address());
        Puppet::python("websocket.py", &json!({ "url": url, "protocols": ["rsp.json"] }))
    };
    let mut bob = through("");
    object(&mut bob, "subscribed");
    ann.tell(&json!({ "text": "before" }));
    let seen = item(&mut bob)["position"].as_str().unwrap().to_owned();
    relay.cut();
    assert_eq!(bob.hear(), json!({ "close": null }));
    for number in 0..60 {
        ann.tell(&json!({ "text": format!("missed {number}") }));
    }
    ann.tell(&json!({ "text": "last" }));
    while ann.hear_of("text") != "last" {}
    relay.mend();
    let mut bob = through(&format!("?since={seen}"));
    for number in 0..60 {
        assert_eq!(item(&mut bob)["data"], format!("missed {number}"));
    }
    assert_eq!(item(&mut bob)["data"], "last");
    ann.tell(&json!({ "text": "live again" }));
    assert_eq!(item(&mut bob)["data"], "live again");
}

#[test]
fn a_server_of_ws_is_reached_through_a_proxy() {
    let mut server = Puppet::node("ws-server.js", &Value::Null);
    let port = server.hear_of("port");
    let rsp = front("", "proxy \"127.0.0.1:$SERVER\"").set("SERVER", port).start();
    for index in 0..2 {
        let mut client = if index == 0 { ws(&rsp, json!([])) } else { websockets(&rsp, Value::Null) };
        let open = client.hear();
        assert!(open["extensions"].to_string().contains("permessage-deflate"), "{open}");
        let connection = server.hear();
        assert_eq!((&connection["connection"], &connection["forwarded"]), (&"/".into(), &"127.0.0.1".into()));
        let long = "back and forth ".repeat(20_000);
        for text in ["hello", &long] {
            client.tell(&json!({ "text": text }));
            assert!(client.hear() == json!({ "text": text }));
        }
        client.tell(&json!({ "close": 4000 }));
        assert_eq!(server.hear_of("close"), 4000);
    }
}

fn url(rsp: &Rsp, query: &str) -> String {
    format!("ws://{}/{query}", rsp.address())
}

fn ws(rsp: &Rsp, protocols: Value) -> Puppet {
    Puppet::node("ws.js", &json!({ "url": url(rsp, ""), "protocols": protocols }))
}

fn websockets(rsp: &Rsp, protocols: Value) -> Puppet {
    Puppet::python("websocket.py", &json!({ "url": url(rsp, ""), "protocols": protocols }))
}

/// The subprotocol of an open one, as `ws` and `websockets` name none.
fn opened(protocol: Option<&str>) -> Value {
    protocol.map_or(Value::Null, Value::from)
}

/// The next object of this event.
#[track_caller]
fn object(client: &mut Puppet, event: &str) -> Value {
    next(client, |object| object["event"] == event)
}

/// The next message.
#[track_caller]
fn item(client: &mut Puppet) -> Value {
    next(client, |object| object.get("event").is_none())
}

#[track_caller]
fn next(client: &mut Puppet, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let text = client.hear_of("text");
        let object: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        if wanted(&object) {
            return object;
        }
    }
}
