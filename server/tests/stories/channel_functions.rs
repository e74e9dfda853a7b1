//! Functions of channels, and channels for functions: who may subscribe and publish, as whom, and what a function says itself.

use rsp_core::frame::websocket::{Opcode, message_frame};
use serde_json::Value;
use testkit::{Client, EventStream, Message, Rsp, WebSocket};

use super::{
    SOON,
    auth_jwt::{SECRET, alice},
};

/// Names of a route, so that every story is one file.
const ROUTES: &str = r#"
-- What is asked for is what is answered.
local function judge(request, message)
  if message == "yes" then return true end
  if message == "no" then return false end
  if message == "nothing" then return end
  if message == "error" then error("it broke") end
  if message == "spin" then while true do end end
  if message == "number" then return 7 end
  if message == "table" then return { message } end
  if message == "handler" then return reply(200) end
  if message == "long" then return string.rep("x", 101) end
  if message == "bytes" then return "\255" end
  if message == "cookie" then return request.cookies.name end
  if message == "form" then return request:body() end
  return `{request.method} {request.params.room}: {message}`
end

local function whom(request)
  local as = request.args.as
  if as == "nobody" then return false end
  if as == "nil" then return end
  if as == "anybody" then return true end
  if as == "error" then error("it broke") end
  if as == "number" then return 7 end
  if as == "list" then return { "a" } end
  if as == "typo" then return { name = "a" } end
  if as == "user" then return { user = 7 } end
  if as == "latin" then return { user = "\255" } end
  if as == "info" then return { info = print } end
  if as == "mixed" then return { info = { 1, a = 2 } } end
  if as == "long" then return { info = string.rep("x", 5000) } end
  if as == "deep" then
    local deep = {}
    deep.deep = deep
    return { info = deep }
  end
  return { user = as, info = { age = 42, tags = { "a", "b" }, vip = true, ["q\"\n"] = 0.5 } }
end

site "*" {
  ["/judged/{room}"] = channel { "judged:{room}", publish = judge, message_max = 100, history = 10 },
  ["/known/{room}"]  = channel { "known:{room}", subscribe = whom, presence = true, join_leave = true, history = 10 },
  ["/plain/{room}"]  = channel { "plain:{room}" },
  ["/quiet/{room}"]  = channel { "quiet:{room}", publish = "server", message_max = 10, history = 10 },
  ["/gone/{room}"]   = channel { "gone:{room}", history = 10, delete = function(request)
    if request.args.may == "error" then error("it broke") end
    if request.args.may == "table" then return {} end
    return request.args.may == "yes" or nil
  end },
  ["/call"] = function(request)
    return reply(200, { run(request) })
  end,
}
"#;

/// rsp with these routes; `run` is the body of what `/call` answers with.
#[track_caller]
fn site(workers: u32, run: &str) -> Rsp {
    let text = format!(
        "workers({workers})\nlisten \"127.0.0.1:$PORT\"\nlimits {{ script_cpu = \"30ms\" }}\n\
         local function run(request)\n{run}\nend\n{ROUTES}"
    );
    Rsp::config(&text).start()
}

#[track_caller]
fn routes() -> Rsp {
    site(1, "")
}

#[track_caller]
fn post(rsp: &Rsp, path: &str, message: &str) -> u16 {
    rsp.client()
        .request(&format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{message}", message.len()))
        .status
}

fn objects(rsp: &Rsp, path: &str) -> WebSocket {
    WebSocket::open_with(&rsp.address(), path, "Sec-WebSocket-Protocol: rsp.json\r\n")
}

/// A stream of objects that has begun.
#[track_caller]
fn lines(rsp: &Rsp, path: &str) -> EventStream {
    let mut lines = EventStream::open_with(&rsp.address(), path, "Accept: application/x-ndjson\r\n");
    assert_eq!(lines.object()["event"], "subscribed");
    lines
}

/// Texts in one piece, so that they are read at once.
fn send_at_once(socket: &mut WebSocket, texts: impl IntoIterator<Item = String>) {
    let frames = texts.into_iter().map(|text| message_frame(Opcode::Text, text.as_bytes(), false, Some([1, 2, 3, 4])));
    let frames: Vec<_> = frames.collect();
    socket.client().send(frames.concat());
}

fn script_errors(rsp: &Rsp) -> f64 {
    let socket = rsp.folder().join("site.lua.sock");
    let page = Client::connect(&format!("unix:{}", socket.display())).get("/metrics").text();
    let value = page.lines().find_map(|line| line.strip_prefix("rsp_script_errors_total ")?.parse().ok());
    value.unwrap()
}

#[test]
fn a_publish_function_lets_refuses_and_replaces() {
    let rsp = routes();
    let mut lines = lines(&rsp, "/judged/a");
    let mut events = EventStream::open(&rsp.address(), "/judged/a");
    assert_eq!(post(&rsp, "/judged/a", "yes"), 201);
    assert_eq!(post(&rsp, "/judged/a", "no"), 403);
    assert_eq!(post(&rsp, "/judged/a", "nothing"), 403);
    assert_eq!(post(&rsp, "/judged/a", "hello"), 201);
    assert_eq!(post(&rsp, "/judged/a", "bytes"), 201);
    assert_eq!(post(&rsp, "/judged/b", "hello"), 202);
    let data = [(); 2].map(|()| lines.object()["data"].clone());
    assert_eq!(data, ["yes", "POST a: hello"]);
    assert_eq!(lines.object()["base64"], "/w==");
    let told = [(); 2].map(|()| events.told().1);
    assert_eq!(told, ["yes", "POST a: hello"]);
    assert_eq!(script_errors(&rsp), 0.0);
}

#[test]
fn a_publish_function_that_fails_is_500_and_counted() {
    let rsp = routes();
    let mut lines = lines(&rsp, "/judged/a");
    for (message, why) in [
        ("error", "it broke"),
        ("spin", "ran for more than 30 ms"),
        ("number", "returned a number, not true, false or a message"),
        ("table", "returned a table, not true, false or a message"),
        ("handler", "returned a value of Lua's own, not true, false or a message"),
    ] {
        assert_eq!(post(&rsp, "/judged/a", message), 500, "{message}");
        rsp.wait_for_line(SOON, |line| line.contains(why) && line.contains("function at site.lua:"));
    }
    assert_eq!(script_errors(&rsp), 5.0);
    assert_eq!(post(&rsp, "/judged/a", "yes"), 201);
    assert_eq!(lines.object()["data"], "yes");
}

#[test]
fn what_a_function_makes_of_a_message_is_no_larger_than_a_message_may_be() {
    let rsp = routes();
    assert_eq!(post(&rsp, "/judged/a", "long"), 413);
    let mut socket = WebSocket::open_with(&rsp.address(), "/judged/a", "");
    socket.send("long");
    assert!(matches!(socket.read(), Message::Close(1009, _)));
    let mut socket = objects(&rsp, "/judged/a");
    socket.object();
    socket.send(r#"{"data":"long","id":1}"#);
    assert_eq!(socket.object()["status"], 413);
}

#[test]
fn a_publish_function_sees_the_form_that_was_posted() {
    let rsp = routes();
    let mut lines = lines(&rsp, "/judged/a");
    assert_eq!(post(&rsp, "/judged/a", "form"), 201);
    assert_eq!(lines.object()["data"], "form");
}

#[test]
fn a_websocket_asks_with_its_handshake() {
    let rsp = routes();
    let mut lines = lines(&rsp, "/judged/a");
    let mut socket = WebSocket::open_with(&rsp.address(), "/judged/a", "Cookie: name=ann\r\n");
    // Others use the buffers that the handshake was read into.
    for _ in 0..20 {
        assert_eq!(post(&rsp, "/judged/b", &"x".repeat(90)), 202);
    }
    socket.send("cookie");
    socket.send("hello");
    socket.send_binary(b"\xfe");
    assert_eq!([(); 2].map(|()| lines.object()["data"].clone()), ["ann", "GET a: hello"]);
    assert!(lines.object()["base64"].is_string());
    assert_eq!([(); 2].map(|()| socket.text()), ["ann", "GET a: hello"]);
    assert_eq!(socket.read(), Message::Binary(b"GET a: \xfe".to_vec()));
}

#[test]
fn a_websocket_that_is_refused_is_told_why_it_ends() {
    let rsp = routes();
    for (message, code) in [("no", 1008), ("nothing", 1008), ("error", 1011), ("spin", 1011), ("table", 1011)] {
        let mut socket = WebSocket::open_with(&rsp.address(), "/judged/a", "");
        socket.send(message);
        match socket.read() {
            Message::Close(found, reason) => {
                assert_eq!((found, reason.contains("it broke")), (code, false), "{message}")
            }
            other => panic!("{other:?} for {message}"),
        }
    }
    assert_eq!(script_errors(&rsp), 3.0);
    rsp.wait_for_line(SOON, |line| line.contains("it broke") && line.contains("(request "));
}

#[test]
fn a_conversation_in_objects_goes_on_after_a_refusal() {
    let rsp = routes();
    let mut socket = objects(&rsp, "/judged/a");
    assert_eq!(socket.object()["event"], "subscribed");
    for (message, status) in [("no", 403), ("nothing", 403), ("error", 500), ("number", 500)] {
        socket.send(&format!(r#"{{"data":"{message}","id":"{message}"}}"#));
        let answer = socket.object();
        assert_eq!(
            (&answer["event"], &answer["id"], &answer["status"]),
            (&"error".into(), &message.into(), &status.into())
        );
        assert!(!answer["reason"].as_str().unwrap().contains("it broke"));
    }
    assert_eq!(script_errors(&rsp), 2.0);
    socket.send(r#"{"data":"hello","id":1}"#);
    let both = [socket.object(), socket.object()];
    assert!(both.iter().any(|one| one["event"] == "ack" && one["id"] == 1), "{both:?}");
    assert!(both.iter().any(|one| one["data"] == "GET a: hello"), "{both:?}");
}

#[test]
fn messages_of_one_websocket_stay_in_order_behind_a_function() {
    let rsp = routes();
    let mut socket = WebSocket::open_with(&rsp.address(), "/judged/a", "");
    send_at_once(&mut socket, (0..500).map(|number| number.to_string()));
    for number in 0..500 {
        assert_eq!(socket.text(), format!("GET a: {number}"));
    }
}

#[test]
fn others_have_their_turn_between_two_messages_of_a_flood() {
    let busy =
        "function(request, message) local till = os.clock() + 0.004 while os.clock() < till do end return true end";
    let text = format!(
        "workers(1)\nlisten \"127.0.0.1:$PORT\"\n\
         site \"*\" {{ [\"/\"] = reply(200), [\"/c\"] = channel {{ \"c\", history = 1000, publish = {busy} }} }}"
    );
    let rsp = Rsp::config(&text).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").status, 200);
    let mut flood = WebSocket::open_with(&rsp.address(), "/c", "");
    send_at_once(&mut flood, (0..500).map(|number| number.to_string()));
    // The first has been judged, and the rest takes two seconds.
    assert_eq!(flood.text(), "0");
    assert_eq!(client.get("/").status, 200);
    let history = client.get("/c?history=0").text();
    let end = serde_json::from_str::<Value>(&history).unwrap()["position"]
        .as_str()
        .unwrap()
        .rsplit('-')
        .next()
        .unwrap()
        .parse::<u32>()
        .unwrap();
    assert!(end < 400, "{end} messages before anybody else had a turn");
}

#[test]
fn whom_a_subscribe_function_names_is_seen_by_others() {
    let rsp = routes();
    let mut lines = lines(&rsp, "/known/a?as=anybody");
    let own = lines.object();
    assert_eq!((&own["event"], own.get("user")), (&"join".into(), None));
    let mut socket = objects(&rsp, "/known/a?as=ann");
    assert_eq!(socket.object()["event"], "subscribed");
    let info: Value = serde_json::from_str(r#"{"age":42,"tags":["a","b"],"vip":true,"q\"\n":0.5}"#).unwrap();
    let join = lines.object();
    assert_eq!((&join["event"], &join["user"], &join["info"]), (&"join".into(), &"ann".into(), &info));
    socket.send(r#"{"data":"hello"}"#);
    let item = lines.object();
    assert_eq!((&item["data"], &item["user"], &item["info"]), (&"hello".into(), &"ann".into(), &info));
    drop(socket);
    let leave = lines.object();
    assert_eq!((&leave["event"], &leave["user"], &leave["info"]), (&"leave".into(), &"ann".into(), &info));
}

#[test]
fn whom_auth_knows_is_named_unless_a_subscribe_function_names_another() {
    let text = format!(
        r#"workers(1)
        listen "127.0.0.1:$PORT"
        local known = auth {{ jwt = {{ secret = "{SECRET}" }} }}
        site "*" {{
          ["/a"] = {{ known, channel {{ "a", presence = true }} }},
          ["/b"] = {{ known, channel {{ "b", presence = true, publish = function(request, message)
            return `{{request.user}}: {{message}}`
          end, subscribe = function(request)
            return if request.args.mask then {{ user = "masked " .. request.user }} else true
          end }} }},
        }}"#
    );
    let rsp = Rsp::config(&text).start();
    let token = format!("Authorization: Bearer {}\r\n", alice());
    let open = |path: &str| {
        let fields = format!("{token}Sec-WebSocket-Protocol: rsp.json\r\n");
        let mut socket = WebSocket::open_with(&rsp.address(), path, &fields);
        assert_eq!(socket.object()["event"], "subscribed");
        socket
    };
    let said = |socket: &mut WebSocket| {
        let item = socket.object();
        (item["user"].as_str().unwrap_or("-").to_owned(), item["data"].as_str().unwrap().to_owned())
    };
    let (mut plain, mut judged, mut masked) = (open("/a"), open("/b"), open("/b?mask=1"));
    let client = |path: &str, body: &str| {
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{token}Content-Length: {}\r\n\r\n{body}", body.len());
        rsp.client().request(&request).status
    };
    assert_eq!(client("/a", "one"), 201);
    assert_eq!(said(&mut plain), ("alice".into(), "one".into()));
    masked.send(r#"{"data":"two"}"#);
    assert_eq!(said(&mut judged), ("masked alice".into(), "alice: two".into()));
    assert_eq!(client("/b", "three"), 201);
    assert_eq!(said(&mut judged), ("alice".into(), "alice: three".into()));
    let there = rsp.client().request(&format!("GET /b?presence HTTP/1.1\r\nHost: a\r\n{token}\r\n"));
    let there: Value = serde_json::from_str(&there.text()).unwrap();
    let users = [0, 1].map(|index| there["clients"][index]["user"].as_str().unwrap().to_owned());
    assert_eq!(users, ["alice", "masked alice"]);
}

#[test]
fn polls_history_and_presence_are_for_whom_a_subscribe_function_lets() {
    let rsp = routes();
    let mut socket = objects(&rsp, "/known/a?as=ann");
    assert_eq!(socket.object()["event"], "subscribed");
    assert_eq!(socket.object()["event"], "join");
    let mut poll = rsp.client();
    let end = rsp.client().get("/known/a?as=anybody&history=0");
    let end: Value = serde_json::from_str(&end.text()).unwrap();
    poll.send(format!("GET /known/a?as=bob&since={} HTTP/1.1\r\nHost: a\r\n\r\n", end["position"].as_str().unwrap()));
    socket.send(r#"{"data":"hello"}"#);
    assert_eq!(poll.read_response("GET").text(), "hello");
    let history: Value = serde_json::from_str(&rsp.client().get("/known/a?as=bob&history=1").text()).unwrap();
    let item = &history["items"][0];
    assert_eq!((&item["data"], &item["user"], &item["info"]["age"]), (&"hello".into(), &"ann".into(), &42.into()));
    let presence: Value = serde_json::from_str(&rsp.client().get("/known/a?as=bob&presence").text()).unwrap();
    let client = &presence["clients"][0];
    assert_eq!((&client["user"], &client["info"]["age"]), (&"ann".into(), &42.into()));
}

#[test]
fn a_delete_function_lets_refuses_and_fails() {
    let rsp = routes();
    let kept = || rsp.client().get("/gone/a?history=10").text().contains("hello");
    let delete =
        |may: &str| rsp.client().request(&format!("DELETE /gone/a?may={may} HTTP/1.1\r\nHost: a\r\n\r\n")).status;
    assert_eq!(post(&rsp, "/gone/a", "hello"), 202);
    assert_eq!(["no", "error", "table"].map(delete), [403, 500, 500]);
    assert!(kept());
    assert_eq!(script_errors(&rsp), 2.0);
    assert!((200..300).contains(&delete("yes")));
    assert!(!kept());
}

#[test]
fn whom_a_subscribe_function_refuses_gets_403_on_every_transport() {
    let rsp = routes();
    for (asked, status) in [
        ("nobody", 403),
        ("nil", 403),
        ("error", 500),
        ("number", 500),
        ("list", 500),
        ("typo", 500),
        ("user", 500),
        ("latin", 500),
        ("info", 500),
        ("mixed", 500),
        ("long", 500),
        ("deep", 500),
    ] {
        let path = format!("/known/a?as={asked}");
        let refused = WebSocket::try_open(&rsp.address(), &path, "").err().unwrap();
        assert_eq!(refused.status, status, "{path}");
        for kind in ["text/event-stream", "application/x-ndjson", "*/*"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {kind}\r\n\r\n");
            assert_eq!(rsp.client().request(&request).status, status, "{path} as {kind}");
        }
        for look in ["&history=1", "&presence"] {
            assert_eq!(rsp.client().get(&format!("{path}{look}")).status, status, "{path}{look}");
        }
    }
    assert_eq!(script_errors(&rsp), 60.0);
    for why in ["`user` must be a string, not a number", "a client has no `name`", "`info` has more than 4096 bytes"] {
        rsp.wait_for_line(SOON, |line| line.contains(why));
    }
}

#[test]
fn what_a_function_publishes_reaches_subscribers_of_every_worker() {
    let rsp = site(4, r#"return channel.publish("quiet:" .. request.args.to, request.args.say)"#);
    // Four workers, and the kernel deals.
    let mut subscribers: Vec<_> = (0..16).map(|_| lines(&rsp, "/quiet/a")).collect();
    let answer: Vec<String> = serde_json::from_str(&rsp.client().get("/call?to=a&say=hello").text()).unwrap();
    for lines in &mut subscribers {
        let item = lines.object();
        assert_eq!((&item["data"], item["position"].as_str()), (&"hello".into(), Some(&*answer[0])));
    }
    assert_eq!(post(&rsp, "/quiet/a", "hello"), 403);
}

#[test]
fn a_function_publishes_once_under_a_key() {
    let rsp = site(1, r#"return channel.publish("quiet:a", request.args.say, { key = request.args.key })"#);
    let mut lines = lines(&rsp, "/quiet/a");
    let call = |query: &str| rsp.client().get(&format!("/call?{query}")).text();
    let first = call("say=one&key=k");
    assert_eq!(call("say=two&key=k"), first);
    assert_ne!(call("say=three"), first);
    assert_eq!([(); 2].map(|()| lines.object()["data"].clone()), ["one", "three"]);
}

#[test]
fn what_a_function_may_not_publish_is_an_error_that_it_can_catch() {
    let wrong = r#"
        local out = {}
        for _, call in {
          function() channel.publish("") end,
          function() channel.publish("a\n", "x") end,
          function() channel.publish("a", 7) end,
          function() channel.publish(nil, "x") end,
          function() channel.publish("a", "x", { kee = "k" }) end,
          function() channel.publish("a", "x", { key = "" }) end,
          function() channel.publish("quiet:a", "eleven byte") end,
          function() channel.publish("a", { 1, a = 2 }) end,
          function() channel.publish("quiet:a", { "eleven!" }) end,
          function() channel.publish("elsewhere", string.rep("x", 65537)) end,
          function() channel.history("a", 1001) end,
          function() channel.send("a", "b") end,
          function() channel.publish = 1 end,
        } do
          local went, why = pcall(call)
          table.insert(out, if went then "went" else string.match(tostring(why), "[^\n]*"))
        end
        return table.unpack(out)"#;
    let rsp = site(1, wrong);
    let reasons: Vec<String> = serde_json::from_str(&rsp.client().get("/call").text()).unwrap();
    let expected = [
        "a channel's name is not empty",
        "no control characters",
        "a message is a string or a table, not a number",
        "a channel's name is a string, not nil",
        "the only option is `key`, not `kee`",
        "a text of 1 to 128 bytes",
        "a message of 11 bytes, and \"quiet:a\" takes 10",
        "a message can't be written as JSON: a table with both a list and keys",
        "a message has more than 10 bytes as JSON",
        "takes 65536",
        "from 0 to 1000",
        "has no function `send`",
        "can't be changed",
    ];
    assert_eq!(reasons.len(), expected.len());
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.contains(expected), "{reason:?} for {expected:?}");
    }
}

#[test]
fn a_function_looks_at_what_was_said_and_who_is_there() {
    let look = r#"
        local items = channel.history("quiet:a", 2)
        local there = channel.presence("known:a")
        local first = items[1]
        return #items, first.data, items[2].data, first.position ~= nil, first.time > 1e9,
          #there, there[1].user, there[1].info.tags[2], there[1].since > 1e9, #channel.history("nowhere")"#;
    let rsp =
        site(1, &format!("if request.args.say then return channel.publish('quiet:a', request.args.say) end\n{look}"));
    for say in ["one", "two", "three"] {
        assert_eq!(rsp.client().get(&format!("/call?say={say}")).status, 200);
    }
    let mut lines = lines(&rsp, "/known/a?as=ann");
    assert_eq!(lines.object()["event"], "join");
    let seen = rsp.client().get("/call").text();
    assert_eq!(seen, r#"[2,"two","three",true,true,1,"ann","b",true,0]"#);
}

#[test]
fn a_function_publishes_from_within_publish_and_subscribe() {
    let text = r#"
        workers(1)
        listen "127.0.0.1:$PORT"
        site "*" {
          ["/in"] = channel { "in",
            publish = function(request, message)
              channel.publish("out", "said: " .. message)
              channel.publish("in", "first: " .. message)
              return message .. " after " .. #channel.history("in")
            end,
            subscribe = function(request)
              channel.publish("out", "somebody came")
              return true
            end,
            history = 10,
          },
          ["/out"] = channel { "out", publish = "server" },
          ["/missing"] = function() return nil end,
          errors = { [404] = function(request, status)
            return reply(404, channel.publish("out", `{status} at {request.path}`))
          end },
        }"#;
    let rsp = Rsp::config(text).start();
    let mut out = lines(&rsp, "/out");
    let mut socket = WebSocket::open_with(&rsp.address(), "/in", "");
    assert_eq!(out.object()["data"], "somebody came");
    socket.send("hello");
    assert_eq!([(); 2].map(|()| socket.text()), ["first: hello", "hello after 1"]);
    assert_eq!(out.object()["data"], "said: hello");
    assert_eq!(rsp.client().get("/missing").status, 404);
    assert_eq!(out.object()["data"], "404 at /missing");
}

#[test]
fn a_conversation_keeps_its_functions_across_reloads() {
    let text = |word: &str| {
        format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\nlocal word = \"{word}\"\nsite \"*\" {{ [\"/c\"] = channel {{ \"c\",\
             publish = function(request, message) return word .. message end }} }}"
        )
    };
    let mut rsp = Rsp::config(&text("old ")).start();
    let mut socket = WebSocket::open_with(&rsp.address(), "/c", "");
    rsp.rewrite_config(&text("new "));
    assert_eq!(rsp.reload().code, Some(0));
    socket.send("one");
    assert_eq!(socket.text(), "old one");
    assert_eq!(post(&rsp, "/c", "two"), 201);
    assert_eq!(socket.text(), "new two");
}

#[test]
fn a_conversation_whose_functions_are_long_gone_is_asked_to_come_back() {
    let text = |number: usize| {
        format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" {{ [\"/c\"] = channel {{ \"c\",\
             publish = function(request, message) return \"{number} \" .. message end }} }}"
        )
    };
    let mut rsp = Rsp::config(&text(0)).start();
    let mut plain = Vec::new();
    let mut object_socket = None;
    for number in 0..10 {
        if number > 0 {
            rsp.rewrite_config(&text(number));
            assert_eq!(rsp.reload().code, Some(0));
        }
        plain.push(WebSocket::open_with(&rsp.address(), "/c", ""));
        object_socket.get_or_insert_with(|| objects(&rsp, "/c"));
    }
    plain[2].send("hello");
    plain.iter_mut().for_each(|socket| assert_eq!(socket.text(), "2 hello"));
    plain[1].send("hello");
    assert!(matches!(plain[1].read(), Message::Close(1012, _)));
    let mut oldest = object_socket.unwrap();
    assert_eq!(
        (oldest.object()["event"].clone(), oldest.object()["data"].clone()),
        ("subscribed".into(), "2 hello".into())
    );
    oldest.send(r#"{"data":"hello"}"#);
    assert!(matches!(oldest.read(), Message::Close(1012, _)));
}

#[test]
fn channels_are_for_functions_while_a_request_runs() {
    let rsp = Rsp::config("listen \"127.0.0.1:$PORT\"\nchannel.publish(\"a\", \"b\")");
    let output = rsp.run();
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("`channel.publish` is for functions"), "{}", output.stderr);
}

#[test]
fn a_channel_that_only_a_function_made_keeps_its_history_whoever_looks_or_publishes() {
    let rsp = Rsp::config(
        r#"
        listen "127.0.0.1:$PORT"
        site "*" {
          ["/made/{room}"] = function(request) return channel { "made:" .. request.params.room, history = 10 } end,
          ["/look"] = function() return reply(200, tostring(#channel.history("made:a"))) end,
          ["/say"] = function() return reply(200, channel.publish("made:a", "three")) end,
        }"#,
    )
    .start();
    let mut client = rsp.client();
    for text in ["one", "two"] {
        let answer = client.request(&format!(
            "POST /made/a HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n{text}"
        ));
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    assert_eq!(client.get("/look").text(), "2");
    assert_eq!(client.get("/say").status, 200);
    let history: Value = serde_json::from_str(&client.get("/made/a?history=10").text()).unwrap();
    let said: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| item["data"].as_str().unwrap()).collect();
    assert_eq!(said, ["one", "two", "three"]);
}
