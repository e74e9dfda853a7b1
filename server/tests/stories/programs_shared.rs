//! Stories of `exec` with one process for all clients, or for a channel.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use testkit::{Chromium, EventStream, Message, Redis, Response, Rsp, RspBuilder, Signal, WebSocket, curl, eventually};

use super::SOON;

/// A program that is told in Python what to do: what a client says, it runs. `id` is who says it.
const PUPPET: &str = r#"#!/usr/bin/env python3
import base64, json, os, signal, struct, sys, time
events = []
def say(**object): print(json.dumps(object), flush=True)
def here(data): say(id=id, data=data)
sys.stderr.write("born\n")
for line in sys.stdin:
    told = json.loads(line)
    id = told["id"]
    events.append(told)
    if told["event"] == "message": exec(told.get("data", ""))
"#;

/// rsp with two workers and a puppet at `/puppet`, with these options more.
fn puppet(options: &str) -> RspBuilder {
    Rsp::config(&config(options)).file("puppet.py", PUPPET)
}

fn config(options: &str) -> String {
    format!(
        "workers(2)\nlisten \"127.0.0.1:$PORT\"\n\
         site \"*\" {{ [\"/puppet\"] = exec {{ \"python3\", \"puppet.py\", shared = true, {options} }} }}\n"
    )
}

fn open(rsp: &Rsp) -> WebSocket {
    WebSocket::open(&rsp.address(), "/puppet")
}

/// What an expression is in the program.
#[track_caller]
fn ask(client: &mut WebSocket, expression: &str) -> Value {
    client.send(&format!("here(json.dumps({expression}))"));
    client.object()
}

#[track_caller]
fn wait_for_line(rsp: &Rsp, part: &str) {
    rsp.wait_for_line(SOON, |line| line.contains(part));
}

fn post(rsp: &Rsp, path: &str, body: &str) -> Response {
    rsp.client().request(&format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
        rsp.address(),
        body.len()
    ))
}

/// The number of the process.
#[track_caller]
fn process(client: &mut WebSocket) -> u64 {
    ask(client, "os.getpid()").as_u64().unwrap()
}

fn is_gone(process: u64) -> bool {
    !Path::new(&format!("/proc/{process}")).exists()
}

/// What the program was told of a client: the events, and what was said.
#[track_caller]
fn told(client: &mut WebSocket, whom: &str) -> Vec<(String, Value)> {
    let all = ask(client, &format!("[[one['event'], one.get('data')] for one in events if one['id'] == {whom}]"));
    let all: Vec<(String, Value)> = serde_json::from_value(all).unwrap();
    all
}

#[test]
fn one_process_serves_the_clients_of_all_workers_and_is_told_who_they_are() {
    let rsp = puppet("").start();
    let mut clients: Vec<_> = (0..8)
        .map(|number| {
            let fields = format!("X-Number: {number}\r\nCookie: a=1\r\nCookie: b=2\r\n");
            WebSocket::open_with(&rsp.address(), &format!("/puppet?number={number}"), &fields)
        })
        .collect();
    let first = process(&mut clients[0]);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(process(client), first);
        let request = ask(client, "[one for one in events if one['id'] == id][0]")["request"].clone();
        assert_eq!(request["query"], format!("number={number}"));
        let known = ["path", "remote_addr", "user"].map(|name| request[name].clone());
        assert_eq!(known, [json!("/puppet"), json!("127.0.0.1"), Value::Null]);
        assert_eq!(request["headers"]["x-number"], number.to_string());
        assert_eq!(request["headers"]["cookie"], "a=1; b=2");
    }
    let mut ids: Vec<_> = clients.iter_mut().map(|client| ask(client, "id")).map(|id| id.to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8, "each has an id of its own");
}

#[test]
fn what_has_an_id_is_for_one_client_and_what_has_none_for_all() {
    let rsp = puppet("").start();
    let (mut ann, mut bob) = (open(&rsp), open(&rsp));
    process(&mut bob);
    ann.send("say(id=id, data='psst'); say(data='hello'); say(data={'a': [1, None]}); say(base64='/wA=')");
    assert_eq!(ann.text(), "psst");
    for client in [&mut ann, &mut bob] {
        assert_eq!((client.text(), client.text()), ("hello".into(), r#"{"a":[1,null]}"#.into()));
        assert_eq!(client.read(), Message::Binary(vec![0xff, 0]));
    }
    bob.send_binary(&[0xff, 0xfe]);
    bob.send_binary(b"here(events[-2].get('base64'))");
    assert_eq!(bob.text(), "//4=", "bytes that are no text come in base64");
}

#[test]
fn the_program_closes_one_client_and_is_told_of_each_that_leaves_once() {
    let rsp = puppet("").start();
    let (mut ann, mut bob) = (open(&rsp), open(&rsp));
    let (ann_id, bob_id) = (ask(&mut ann, "id").to_string(), ask(&mut bob, "id").to_string());
    ann.send(&format!("say(id='{}', data='bye', event='close')", bob_id.trim_matches('"')));
    assert_eq!((bob.text(), bob.read()), ("bye".into(), Message::Close(1000, String::new())));
    bob.close(1000);
    let events = |client: &mut WebSocket, id: &str| -> Vec<String> {
        told(client, id).into_iter().map(|(event, _)| event).collect()
    };
    eventually(SOON, || events(&mut ann, &bob_id) == ["open", "message", "close"]);
    ann.send("x = 'last words'");
    ann.close(1000);
    let mut carl = open(&rsp);
    eventually(SOON, || events(&mut carl, &ann_id).last().is_some_and(|event| event == "close"));
    assert_eq!(ask(&mut carl, "x"), "last words", "what it said before it left was heard");
    assert_eq!(events(&mut carl, &bob_id).len(), 3);
}

#[test]
fn whatever_the_program_prints_besides_is_warned_of_and_ignored() {
    let rsp = puppet("").start();
    let mut client = open(&rsp);
    client
        .send("print('hello'); print('[1]'); say(id=1, data='x'); say(id=None, data='x'); say(event='open', data='x')");
    client.send("say(id='99', data='nobody'); say(id='99', event='close'); say(id='somebody', data='x')");
    client.send("here('the end')");
    assert_eq!(client.text(), "the end");
    wait_for_line(&rsp, "no object for a client");
    let warnings = || rsp.output().lines().filter(|line| line.contains("no object for a client")).count();
    assert_eq!(warnings(), 1, "one of five:\n{}", rsp.output());
}

#[test]
fn what_it_writes_to_standard_error_is_in_the_log() {
    let rsp = puppet("").start();
    let mut client = open(&rsp);
    client.send("sys.stderr.write('ouch\\n')");
    wait_for_line(&rsp, "ouch");
}

#[test]
fn messages_with_their_length_before_them_are_the_same_objects() {
    let program = r#"
import json, struct, sys
def read():
    head = sys.stdin.buffer.read(4)
    return json.loads(sys.stdin.buffer.read(struct.unpack(">I", head)[0])) if head else None
while told := read():
    text = json.dumps({"id": told["id"], "data": told}, indent=1).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(text)) + text)
    sys.stdout.buffer.flush()
"#;
    let rsp = puppet("framing = \"length\"").file("puppet.py", program).start();
    let mut client = open(&rsp);
    assert_eq!(client.object()["event"], "open");
    client.send("two\nlines");
    assert_eq!(client.object()["data"], "two\nlines");
}

#[test]
fn clients_without_websocket_come_by_event_stream_and_post() {
    let rsp = puppet("").start();
    let mut stream = EventStream::open(&rsp.address(), "/puppet?name=Ann");
    let mut bob = open(&rsp);
    let first = stream.next_event().and_then(|event| event.data).unwrap();
    let session = serde_json::from_str::<Value>(&first).unwrap()["session"].as_str().unwrap().to_owned();
    let posted = post(&rsp, &format!("/puppet?session={session}"), "here('hello'); say(data='to all')");
    assert_eq!(posted.status, 204, "{posted:?}");
    let mut next = || stream.next_event().and_then(|event| event.data).unwrap();
    assert_eq!((next(), next(), bob.text()), ("hello".into(), "to all".into(), "to all".into()));
}

#[test]
fn a_process_that_ends_is_started_again_and_the_clients_stay() {
    let rsp = puppet("").start();
    let (mut ann, mut bob) = (open(&rsp), open(&rsp));
    let (first, id) = (process(&mut ann), ask(&mut bob, "id"));
    ann.send("os.kill(os.getpid(), signal.SIGKILL)");
    wait_for_line(&rsp, "it is started again in 100ms");
    // They may be said to either process, or to none.
    ann.send("here('again')");
    assert_eq!(ann.text(), "again");
    let second = process(&mut bob);
    assert_ne!(first, second);
    let whom = format!("'{}'", id.as_str().unwrap());
    assert_eq!(told(&mut bob, &whom)[0].0, "open", "it is told of who is there, under the same id");
    assert!(is_gone(first));
}

#[test]
fn while_no_process_runs_messages_wait_and_it_is_tried_less_and_less_often() {
    let rsp = Rsp::config(&config("").replace("\"python3\", ", "").replace("puppet.py", "./puppet.py"));
    let rsp = rsp.program("puppet.py", PUPPET).start();
    let script = rsp.folder().join("puppet.py");
    std::fs::rename(&script, rsp.folder().join("away.py")).unwrap();
    let mut client = open(&rsp);
    client.send("here('waited')");
    for pause in ["100ms", "200ms", "400ms"] {
        wait_for_line(&rsp, &format!("it is started again in {pause}"));
    }
    std::fs::rename(rsp.folder().join("away.py"), script).unwrap();
    assert_eq!(client.text(), "waited");
}

#[test]
fn what_the_process_leaves_behind_is_gone_before_the_next_one_starts() {
    let rsp = puppet("").start();
    let mut client = open(&rsp);
    client.send("import subprocess; here(str(subprocess.Popen(['sleep', '1000']).pid)); os._exit(1)");
    let child = client.text().parse().unwrap();
    wait_for_line(&rsp, "it is started again in 100ms");
    client.send("here('again')");
    assert_eq!(client.text(), "again");
    assert!(is_gone(child));
}

#[test]
fn a_client_that_does_not_read_is_disconnected_and_nobody_waits_for_it() {
    let rsp = puppet("").start();
    let (mut slow, mut quick) = (open(&rsp), open(&rsp));
    let id = ask(&mut slow, "id");
    for _ in 0..400 {
        quick.send("say(data='x' * 65536)");
        assert_eq!(quick.text().len(), 65536);
    }
    let whom = format!("'{}'", id.as_str().unwrap());
    eventually(SOON, || told(&mut quick, &whom).last().is_some_and(|(event, _)| event == "close"));
    let mut last = slow.read();
    while matches!(last, Message::Text(_)) {
        last = slow.read();
    }
    assert!(matches!(&last, Message::Close(1013, _) | Message::Cut), "{last:?}");
}

#[test]
fn a_flood_of_one_client_starves_no_other_and_fills_no_memory() {
    let rsp = puppet("message_max = \"1MiB\"").start();
    let (mut quiet, mut loud) = (open(&rsp), open(&rsp));
    process(&mut quiet);
    let before = rsp.user_memory();
    // The program does not read; what is sent fills its pipe, our buffers, the sockets and at last the sender's own.
    quiet.send("while not os.path.exists('go'): time.sleep(0.01)");
    let line = format!("pass # {}", "x".repeat(16 << 10));
    loud.client().socket().set_timeout(Some(Duration::from_secs(1))).unwrap();
    let flood = std::iter::repeat_with(|| loud.try_send(&line)).take(4000).take_while(|sent| sent.is_ok()).count();
    assert!(flood < 4000, "64 MiB went in");
    quiet.send("here('heard')");
    std::fs::write(rsp.folder().join("go"), "").unwrap();
    assert_eq!(quiet.text(), "heard");
    assert!(rsp.user_memory() < before + (8 << 20), "{} after {before}", rsp.user_memory());
}

#[test]
fn a_reload_keeps_the_process_or_changes_it_and_the_clients_stay() {
    let mut rsp = puppet("").start();
    let mut client = open(&rsp);
    let first = process(&mut client);
    rsp.rewrite_config(&format!("-- the same\n{}", config("ping = \"10s\"")));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(process(&mut client), first, "nothing of it has changed");
    rsp.rewrite_config(&config("env = { WHAT = \"changed\" }"));
    assert_eq!(rsp.reload().code, Some(0));
    eventually(SOON, || is_gone(first));
    assert_eq!(ask(&mut client, "os.environ['WHAT']"), "changed");
    assert_eq!(ask(&mut open(&rsp), "os.environ['WHAT']"), "changed");
}

#[test]
fn a_program_that_a_reload_removes_ends_and_its_clients_are_told_so() {
    let mut rsp = puppet("").start();
    let mut client = open(&rsp);
    let process = process(&mut client);
    rsp.rewrite_config("listen \"127.0.0.1:$PORT\"\nsite \"*\" { [\"/\"] = reply(204) }\n");
    assert_eq!(rsp.reload().code, Some(0));
    assert!(matches!(client.read(), Message::Close(1001, _)));
    eventually(SOON, || is_gone(process));
}

#[test]
fn a_drain_ends_the_talks_and_then_the_process() {
    let mut rsp = puppet("").start();
    let mut client = open(&rsp);
    let process = process(&mut client);
    rsp.rewrite_config(&format!("drain \"1s\"\n{}", config("")));
    assert_eq!(rsp.reload().code, Some(0));
    rsp.signal(Signal::TERM);
    assert!(matches!(client.read(), Message::Close(1001, _)));
    client.close(1001);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    eventually(SOON, || is_gone(process));
}

/// rsp with a program of a channel at `/clock`.
fn channel(program: &str, options: &str) -> RspBuilder {
    channel_with("", program, options)
}

fn channel_with(statement: &str, program: &str, options: &str) -> RspBuilder {
    let config = format!(
        "workers(2)\nlisten \"127.0.0.1:$PORT\"\n{statement}\nsite \"*\" {{\n\
         [\"/clock\"] = exec {{ \"python3\", \"program.py\", {options} }},\n\
         [\"/push\"] = function(request) channel.publish(\"clock\", \"from a function\") return reply(204) end,\n}}\n"
    );
    Rsp::config(&config).file("program.py", program)
}

#[test]
fn what_a_program_prints_is_published_on_its_channel_from_the_start() {
    let program = "import os, time\nfor n in range(30): print('tick', n, flush=True)\nprint(os.getpid(), flush=True)\ntime.sleep(1000)";
    let rsp = channel(program, "channel = channel { \"clock\", history = 10 }").start();
    let history = || -> Value { serde_json::from_str(&rsp.client().get("/clock?history=20").text()).unwrap() };
    eventually(SOON, || history()["items"].as_array().is_some_and(|items| items.len() == 10));
    eventually(SOON, || history()["items"][9]["data"].as_str().is_some_and(|data| !data.starts_with("tick")));
    let items = history();
    assert_eq!(items["items"][8]["data"], "tick 29");
    assert!(items["items"][8].get("user").is_none());
    let process = items["items"][9]["data"].as_str().unwrap().parse().unwrap();
    assert!(!is_gone(process));
}

/// Prints what it reads, so that a message of its own that came back would go round for ever.
const MIRROR: &str = "import sys\nfor line in sys.stdin: print('mirror: ' + line.strip(), flush=True)";

#[test]
fn what_others_publish_on_the_channel_the_program_reads_and_its_own_never_comes_back() {
    let rsp = channel(MIRROR, "channel = channel { \"clock\", history = 10 }").start();
    let mut listener = WebSocket::open(&rsp.address(), "/clock");
    listener.send("from a client");
    assert_eq!((listener.text(), listener.text()), ("from a client".into(), "mirror: from a client".into()));
    assert_eq!(rsp.client().get("/push").status, 204);
    assert_eq!((listener.text(), listener.text()), ("from a function".into(), "mirror: from a function".into()));
    assert_eq!(rsp.control(&["publish", "clock", "by hand"]).code, Some(0));
    assert_eq!((listener.text(), listener.text()), ("by hand".into(), "mirror: by hand".into()));
    for number in 0..100 {
        listener.send(&number.to_string());
    }
    let mut all: Vec<_> = (0..200).map(|_| listener.text()).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 200, "each once");
    listener.send("the end");
    assert_eq!((listener.text(), listener.text()), ("the end".into(), "mirror: the end".into()));
}

/// A client of the channel, once the broker is there.
fn listens(rsp: &Rsp) -> WebSocket {
    let mut listener = None;
    eventually(SOON, || {
        listener = WebSocket::try_open(&rsp.address(), "/clock", "").ok();
        listener.is_some()
    });
    listener.unwrap()
}

/// The program may hear what is published later than the client does.
#[track_caller]
fn wait_until_mirrored(listener: &mut WebSocket) {
    listener.client().socket().set_timeout(Some(Duration::from_millis(300))).unwrap();
    eventually(SOON, || {
        listener.send("warm");
        loop {
            match listener.try_read() {
                Ok(Message::Text(text)) if text == "2 warm" => return true,
                Ok(Message::Text(_)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(_) => return false,
            }
        }
    });
    listener.client().socket().set_timeout(Some(SOON)).unwrap();
}

/// What is said comes with its three answers, and nothing comes that answers an answer.
#[track_caller]
fn assert_mirrored(listener: &mut WebSocket, text: &str) {
    listener.send(text);
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let line = listener.text();
        assert!(line.matches(' ').count() < 2, "{line}");
        if line.ends_with(text) {
            heard.push(line);
        }
    }
    assert_eq!(heard, [text.to_owned(), format!("0 {text}"), format!("1 {text}"), format!("2 {text}")]);
}

#[test]
fn at_a_redis_that_goes_and_comes_a_program_goes_on_and_never_hears_itself() {
    let mut redis = Redis::start_lasting();
    let program = "import sys\nfor line in sys.stdin:\n  for n in range(3): print(n, line.strip(), flush=True)";
    let statement = "broker { redis = \"$REDIS\", timeout = \"1s\" }";
    let rsp = channel_with(statement, program, "channel = \"clock\"").set("REDIS", redis.url()).start();
    let mut listener = listens(&rsp);
    wait_until_mirrored(&mut listener);
    (0..20).for_each(|number| assert_mirrored(&mut listener, &format!("first{number}")));
    redis.kill();
    redis.start_again();
    let mut listener = listens(&rsp);
    wait_until_mirrored(&mut listener);
    (0..20).for_each(|number| assert_mirrored(&mut listener, &format!("second{number}")));
}

#[test]
fn a_program_of_a_channel_is_started_again_and_reads_what_was_published_meanwhile() {
    let program = "import os, sys\nfor line in sys.stdin:\n  if line == 'end\\n': sys.exit()\n  print(os.getpid(), line.strip(), flush=True)";
    let rsp = channel(program, "channel = \"clock\"").start();
    let mut listener = WebSocket::open(&rsp.address(), "/clock");
    listener.send("one");
    assert_eq!(listener.text(), "one");
    let first = listener.text();
    assert!(first.ends_with(" one"), "{first}");
    listener.send("end");
    wait_for_line(&rsp, "it is started again in 100ms");
    listener.send("two");
    assert_eq!((listener.text(), listener.text()), ("end".into(), "two".into()));
    let second = listener.text();
    assert!(second.ends_with(" two") && second.split(' ').next() != first.split(' ').next(), "{second}");
}

#[test]
fn raw_output_is_published_as_bytes() {
    let program = "import sys\nfor line in sys.stdin:\n  sys.stdout.buffer.write(b'\\xff' + line.strip().encode())\n  sys.stdout.flush()";
    let rsp = channel(program, "channel = \"clock\", framing = \"raw\"").start();
    let mut listener = WebSocket::open(&rsp.address(), "/clock");
    listener.send("one\n");
    assert_eq!(listener.text(), "one\n");
    assert_eq!(listener.read(), Message::Binary(b"\xffone".to_vec()));
}

#[test]
fn a_program_of_a_channel_ends_when_its_route_is_gone() {
    let mut rsp = channel(
        "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(1000)",
        "channel = channel { \"clock\", history = 1 }",
    )
    .start();
    let last = || rsp.client().get("/clock?history=1").text();
    let item = || serde_json::from_str::<Value>(&last()).unwrap()["items"][0]["data"].clone();
    eventually(SOON, || item().is_string());
    let process = item().as_str().unwrap().parse().unwrap();
    rsp.rewrite_config("listen \"127.0.0.1:$PORT\"\nsite \"*\" { [\"/\"] = reply(204) }\n");
    assert_eq!(rsp.reload().code, Some(0));
    eventually(SOON, || is_gone(process));
}

/// The example, as it is.
fn chat() -> Rsp {
    let config = include_str!("../../../example/chat-program.lua").replace("127.0.0.1:8080", "127.0.0.1:$PORT");
    let program = include_str!("../../../example/chat-program/chat.py");
    let page = include_str!("../../../example/chat-program/index.html");
    assert!(program.lines().count() < 20);
    Rsp::config(&config).file("chat-program/chat.py", program).file("chat-program/index.html", page).start()
}

#[test]
fn the_chat_of_twenty_lines_lets_two_talk_to_each_other() {
    let rsp = chat();
    let mut ada = WebSocket::open(&rsp.address(), "/chat?name=Ada");
    assert_eq!(ada.text(), "* Ada is here, with 0 others");
    let mut bob = WebSocket::open(&rsp.address(), "/chat?name=Bob");
    assert_eq!(
        (ada.text(), bob.text()),
        ("* Bob is here, with 1 others".into(), "* Bob is here, with 1 others".into())
    );
    ada.send("Hello \"Bob\" ☃");
    assert_eq!((ada.text(), bob.text()), ("Ada: Hello \"Bob\" ☃".into(), "Ada: Hello \"Bob\" ☃".into()));
    bob.close(1000);
    assert_eq!(ada.text(), "* Bob has left");
    let seen = curl(&["-sN", "--max-time", "1", "-H", "Accept: text/event-stream", &rsp.url("/chat?name=Eve")]).text();
    assert!(seen.contains("data: * Eve is here"), "{seen}");
}

#[test]
fn two_chat_in_a_browser_over_one_program() {
    let rsp = chat();
    let visit = Chromium::visit(
        &rsp.url("/"),
        r##"const other = await context.newPage();
        await other.goto(page.url());
        const say = async (visitor, text) => { await visitor.fill("input", text); await visitor.keyboard.press("Enter"); };
        const hear = (visitor, text) => visitor.locator("li", { hasText: text }).first().waitFor();
        await say(page, "Zoë");
        await hear(page, "Zoë is here");
        await say(other, "<b>猫</b>");
        await hear(page, "猫</b> is here");
        await say(other, "hello & welcome");
        await hear(page, "<b>猫</b>: hello & welcome");
        await hear(other, "<b>猫</b>: hello & welcome");
        await other.close();
        await hear(page, "猫</b> has left");
        return await page.locator("li").count();"##,
    );
    assert_eq!((visit.errors, visit.console, visit.value), (vec![], vec![], json!(4)));
}
