//! Several rsp at one Redis are one: a client doesn't notice which one it is at.

use std::time::Duration;

use testkit::{Client, Redis, Response, Rsp, Signal, eventually};

use super::SOON;

/// rsp with one channel a path, at this Redis.
#[track_caller]
fn at(redis: &Redis) -> Rsp {
    let rsp = Rsp::config(
        "workers(2)\nlisten \"127.0.0.1:$PORT\"\nbroker { redis = \"$REDIS\", timeout = \"1s\" }\n\
         site \"*\" { [\"/{name}\"] = channel { \"{name}\", history = 10, presence = true, join_leave = true } }\n",
    );
    let rsp = rsp.set("REDIS", redis.url()).start();
    eventually(SOON, || post(&rsp, "/warm", "up").status < 400);
    rsp
}

fn post(rsp: &Rsp, path: &str, text: &str) -> Response {
    post_under(rsp, path, text, "")
}

fn post_under(rsp: &Rsp, path: &str, text: &str, fields: &str) -> Response {
    let length = text.len();
    rsp.client().request(&format!("POST {path} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {length}\r\n\r\n{text}"))
}

/// A client with an event stream.
struct Listener {
    client: Client,
    text: String,
}

impl Listener {
    #[track_caller]
    fn start(rsp: &Rsp, path: &str, fields: &str) -> Self {
        let mut client = rsp.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{fields}\r\n"));
        assert!(client.read_head().start.contains(" 200 "));
        Self { client, text: String::new() }
    }

    /// What comes until a text has come.
    #[track_caller]
    fn hear(&mut self, wanted: &str) -> String {
        while !self.text.contains(wanted) {
            self.text.push(char::from(self.client.read_exactly(1)[0]));
        }
        std::mem::take(&mut self.text)
    }
}

fn position(response: &Response) -> String {
    let json: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    json["position"].as_str().unwrap().to_owned()
}

#[test]
fn clients_of_two_processes_are_on_one_channel() {
    let redis = Redis::start();
    let (one, two) = (at(&redis), at(&redis));
    let mut listener = Listener::start(&one, "/chat", "");
    listener.hear("event: join");
    let key = "idempotency-key: k\r\n";
    let first = post_under(&two, "/chat", "hello", key);
    assert_eq!(first.status, 201, "{}", first.text());
    let again = post_under(&one, "/chat", "hello", key);
    assert_eq!(position(&again), position(&first));
    post(&two, "/chat", "second");
    let heard = listener.hear("data: second");
    assert_eq!(heard.matches("data: hello").count(), 1, "{heard}");
    // It goes on at the other one, where it was.
    drop(listener);
    assert_eq!(post(&one, "/chat", "third").status, 202);
    let mut resumed = Listener::start(&two, "/chat", &format!("last-event-id: {}\r\n", position(&first)));
    let heard = resumed.hear("data: third");
    assert!(heard.contains("data: second") && !heard.contains("data: hello"), "{heard}");
}

#[test]
fn a_redis_that_is_away_costs_publishers_an_answer_and_subscribers_nothing() {
    let mut redis = Redis::start_lasting();
    let (one, two) = (at(&redis), at(&redis));
    let mut listener = Listener::start(&one, "/chat", "");
    assert_eq!(post(&two, "/chat", "before").status, 201);
    listener.hear("data: before");
    redis.kill();
    one.wait_for_line(SOON, |line| line.contains("connection lost") && line.contains("trying again"));
    let refused = post(&one, "/chat", "lost");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let mut late = one.client();
    let refused = late.request("GET /chat HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
    assert_eq!(refused.status, 503);
    let status = one.control(&["status"]).text();
    assert!(status.contains(&format!("{}  away", redis.address())), "{status}");
    redis.start_again();
    eventually(SOON, || post(&two, "/chat", "after").status < 300);
    let heard = listener.hear("data: after");
    assert!(!heard.contains("event: reset") && !heard.contains("lost"), "{heard}");
    one.wait_for_line(SOON, |line| line.contains("back after") && line.contains("1 channels checked"));
}

#[test]
fn what_a_redis_forgot_every_client_is_told_of() {
    let mut redis = Redis::start();
    let (one, two) = (at(&redis), at(&redis));
    let mut listener = Listener::start(&one, "/chat", "");
    post(&two, "/chat", "before");
    listener.hear("data: before");
    redis.kill();
    redis.start_again();
    let heard = listener.hear("event: reset");
    assert!(!heard.contains("data: after"), "{heard}");
    eventually(SOON, || post(&two, "/chat", "after").status == 201);
    listener.hear("data: after");
}

#[test]
fn a_redis_that_does_not_answer_is_504_and_then_503_at_once() {
    let redis = Redis::start();
    let one = at(&redis);
    redis.freeze();
    let unknown = post_under(&one, "/chat", "perhaps", "idempotency-key: k\r\n");
    assert_eq!(unknown.status, 504);
    let begun = std::time::Instant::now();
    assert_eq!(post(&one, "/chat", "no").status, 503);
    assert!(begun.elapsed() < Duration::from_millis(500));
    redis.thaw();
    let mut done = None;
    eventually(SOON, || {
        let response = post_under(&one, "/chat", "perhaps", "idempotency-key: k\r\n");
        done = (response.status < 300).then(|| position(&response));
        done.is_some()
    });
    // Once, whether the first one was done or not.
    assert!(done.unwrap().ends_with("-1"));
}

#[test]
fn the_clients_of_a_process_that_is_gone_are_gone() {
    let redis = Redis::start();
    let (mut one, mut two, three) = (at(&redis), at(&redis), at(&redis));
    let first = Listener::start(&one, "/chat", "");
    eventually(SOON, || redis.ask(&["ZCARD", "rsp:{chat}:nodes"]) == "1");
    let node = redis.ask(&["ZRANGE", "rsp:{chat}:nodes", "0", "-1"]);
    let second = Listener::start(&two, "/chat", "");
    let mut third = Listener::start(&three, "/chat", "");
    third.hear("event: join");
    // A clean end tells at once.
    two.signal(Signal::TERM);
    third.hear("event: leave");
    assert!(two.wait_exit(SOON).success());
    // One that was killed is found out when its time is over, which is now.
    one.kill();
    redis.ask(&["ZADD", "rsp:{chat}:nodes", "1", &node]);
    third.hear("event: leave");
    eventually(SOON, || redis.ask(&["HLEN", "rsp:{chat}:members"]) == "1");
    drop((first, second));
}
