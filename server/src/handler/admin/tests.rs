//! Stories of asking a running rsp for something.

use std::future::poll_fn;

use rsp_core::config;

use super::*;
use crate::message::Request;

/// The API beside a control thread that answers; the commands that arrived come back with the answer.
struct Api {
    admin: Admin,
    commands: mpsc::Receiver<Command>,
    reload: Result<String, String>,
}

/// Status, fields and body.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
    asked: Vec<&'static str>,
}

impl Api {
    fn new() -> Self {
        let (sender, commands) = mpsc::channel(4);
        let operations = Operations { commands: sender };
        let admin = Admin {
            operations,
            metrics: Metrics::new(),
            config: Arc::default(),
            broker: Arc::new(Broker::memory()),
            token: Some("open sesame".into()),
        };
        Self { admin, commands, reload: Ok(String::new()) }
    }

    fn ask(&mut self, request: Request) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut asked = Vec::new();
        let (commands, reload) = (&mut self.commands, &self.reload);
        let control = async {
            while let Some(command) = commands.recv().await {
                asked.push(match command {
                    Command::Reload(answer) => answer.send(reload.clone()).map(|()| "reload").unwrap(),
                    Command::Status(answer) => answer.send(serde_json::json!({"pid": 7})).map(|()| "status").unwrap(),
                    Command::Drain => "drain",
                    Command::Stop => "stop",
                    Command::Upgrade(answer) => {
                        answer.send(Err("no binary\n".to_owned())).unwrap();
                        "upgrade"
                    }
                });
            }
        };
        let answer = runtime.block_on(async {
            tokio::select! {
                biased;
                () = control => unreachable!("the API holds the sender"),
                answer = self.admin.run(request) => answer,
            }
        });
        while let Ok(command) = self.commands.try_recv() {
            asked.push(match command {
                Command::Drain => "drain",
                Command::Stop => "stop",
                Command::Reload(_) | Command::Upgrade(_) | Command::Status(_) => "unanswered",
            });
        }
        match answer {
            Ok(Outcome::AtChannel(visit)) => {
                let text = format!("{} {:?}", visit.name, visit.spec);
                Answer { status: 0, headers: visit.request.head.headers.clone(), text, asked }
            }
            Ok(Outcome::Answered(response)) => {
                let (status, headers) = (response.status.as_u16(), response.headers.clone());
                Answer { status, headers, text: text(&runtime, *response), asked }
            }
            Err(fault) => {
                let status = fault.kind.status().as_u16();
                Answer { status, headers: http::HeaderMap::new(), text: String::new(), asked }
            }
        }
    }
}

fn text(runtime: &tokio::runtime::Runtime, mut response: Response) -> String {
    runtime.block_on(async {
        let mut all = Vec::new();
        while poll_fn(|cx| response.body.poll_chunk(cx)).await.unwrap() {
            all.extend_from_slice(response.body.chunk());
            let n = response.body.chunk().len();
            response.body.consume(n);
        }
        String::from_utf8(all).unwrap()
    })
}

fn get(target: &'static str) -> Request {
    Request::example(Method::GET, target)
}

fn post(target: &'static str) -> Request {
    Request::example(Method::POST, target)
}

/// The same request over TCP.
fn remote(mut request: Request) -> Request {
    request.client.peer = Peer::Ip("203.0.113.7:4000".parse().unwrap());
    request.with(header::HOST, "admin.example:9600")
}

fn refused(answer: &Answer, status: u16) {
    assert_eq!((answer.status, &answer.asked[..]), (status, &[][..]), "{}", answer.text);
}

#[test]
fn status_and_metrics_are_shown() {
    let mut api = Api::new();
    let status = api.ask(get("/status?pretty"));
    assert_eq!((status.status, &*status.text), (200, "{\"pid\":7}\n"));
    assert_eq!(status.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(status.headers[header::CACHE_CONTROL], "no-store");
    let metrics = api.ask(get("/metrics"));
    assert!(metrics.text.contains("rsp_reloads_total{result=\"ok\"} 0"), "{}", metrics.text);
    assert_eq!(metrics.headers[header::CONTENT_TYPE], Metrics::CONTENT_TYPE);
    assert_eq!(api.ask(Request::example(Method::HEAD, "/status")).status, 200);
}

#[test]
fn a_reload_answers_with_its_warnings_or_its_diagnostic() {
    let mut api = Api::new();
    let done = api.ask(post("/reload"));
    assert_eq!((done.status, &*done.text, &done.asked[..]), (200, "reloaded\n", &["reload"][..]));
    api.reload = Ok("warning: x\n".into());
    assert_eq!(api.ask(post("/reload")).text, "warning: x\nreloaded\n");
    api.reload = Err("error: no such key\n".into());
    let refused = api.ask(post("/reload"));
    assert_eq!((refused.status, &*refused.text), (422, "error: no such key\n"));
}

#[test]
fn drain_and_stop_are_accepted() {
    let mut api = Api::new();
    for (request, wish) in [(post("/drain"), "drain"), (post("/stop"), "stop")] {
        let answer = api.ask(request);
        assert_eq!((answer.status, &answer.asked[..]), (202, &[wish][..]));
    }
}

#[test]
fn only_a_post_changes_something() {
    let mut api = Api::new();
    for target in ["/reload", "/drain", "/stop"] {
        let answer = api.ask(get(target));
        refused(&answer, 405);
        assert_eq!(answer.headers[header::ALLOW], "POST");
    }
    let answer = api.ask(post("/status"));
    refused(&answer, 405);
    assert_eq!(answer.headers[header::ALLOW], "GET, HEAD");
    for target in ["/", "/reload/", "/Reload", "/reload/x"] {
        refused(&api.ask(post(target)), 404);
    }
}

#[test]
fn over_tcp_the_token_is_wanted() {
    let mut api = Api::new();
    for request in [get("/status"), get("/metrics"), post("/stop"), get("/none")] {
        let answer = api.ask(remote(request));
        refused(&answer, 401);
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"rsp\"");
    }
    for wrong in [
        "Bearer open sesam",
        "Bearer open sesame!",
        "Bearer open sesameopen sesame",
        "Bearer ",
        "Bearer",
        "open sesame",
        "Basic open sesame",
        "",
    ] {
        refused(&api.ask(remote(post("/stop")).with(header::AUTHORIZATION, wrong)), 401);
    }
    for right in ["Bearer open sesame", "bearer  open sesame"] {
        assert_eq!(api.ask(remote(post("/stop")).with(header::AUTHORIZATION, right)).status, 202);
    }
    for token in [None, Some(String::new())] {
        api.admin.token = token;
        refused(&api.ask(remote(post("/stop")).with(header::AUTHORIZATION, "Bearer ")), 401);
    }
}

#[test]
fn a_page_of_another_origin_may_do_nothing() {
    let mut api = Api::new();
    let ask =
        |origin| remote(post("/stop")).with(header::AUTHORIZATION, "Bearer open sesame").with(header::ORIGIN, origin);
    for foreign in ["http://evil.example", "null", "", "http://admin.example", "http://admin.example:96000"] {
        refused(&api.ask(ask(foreign)), 403);
    }
    assert_eq!(api.ask(ask("http://admin.example:9600")).status, 202);
    refused(&api.ask(post("/stop").with(header::ORIGIN, "http://evil.example")), 403);
}

#[test]
fn the_operator_comes_to_a_channel_without_its_restrictions() {
    let mut api = Api::new();
    let declared = config::Channel {
        rules: rsp_core::channel::Rules { history: 7, ..config::Channel::undeclared("").rules },
        publish: config::Publish::Server,
        presence: true,
        join_leave: true,
        field: Some("message".into()),
        ..config::Channel::undeclared("chat:{room}")
    };
    let declared = config::Channel { name: rsp_core::channel::Template::parse("chat:{room}").unwrap(), ..declared };
    api.admin.config.store(Arc::new(Config { channels: vec![Arc::new(declared)], ..Config::default() }));
    let at = |api: &mut Api, request: Request| {
        let answer = api.ask(request);
        assert_eq!((answer.status, &answer.asked[..]), (0, &[][..]), "{}", answer.text);
        answer
    };
    let chat = at(&mut api, post("/channels/chat:a%20b"));
    assert!(chat.text.starts_with("chat:a b Channel {"), "{}", chat.text);
    for part in ["history: 7", "publish: Client", "presence: false", "join_leave: false", "field: None"] {
        assert!(chat.text.contains(part), "no {part} in {}", chat.text);
    }
    assert!(at(&mut api, get("/channels/chat:a?presence")).text.contains("presence: true"));
    let upgrade = Some(HeaderValue::from_static("websocket"));
    let mut talk = get("/channels/chat:a?presence");
    talk.head.upgrade = upgrade;
    assert!(at(&mut api, talk).text.contains("presence: false"), "who looks in is not there");
    let other = at(&mut api, get("/channels/a//b%2fc%3f/"));
    assert!(other.text.starts_with("a//b/c?/ Channel") && other.text.contains("history: 0"), "{}", other.text);
    let own = remote(post("/channels/a")).with(header::AUTHORIZATION, "Bearer open sesame");
    let own = at(&mut api, own.with(header::ORIGIN, "https://admin.example:9600"));
    assert!(!own.headers.contains_key(header::ORIGIN), "it has been judged");
}

#[test]
fn what_is_no_channels_name_is_said() {
    let mut api = Api::new();
    let long: &'static str = format!("/channels/{}", "x".repeat(256)).leak();
    for (target, why) in [
        ("/channels/", "not empty"),
        ("/channels/%00", "control"),
        ("/channels/a%0a", "control"),
        ("/channels/%ff", "UTF-8"),
        (long, "255 bytes"),
    ] {
        let answer = api.ask(post(target));
        refused(&answer, 400);
        assert!(answer.text.contains(why), "{}", answer.text);
    }
    refused(&api.ask(remote(post("/channels/a"))), 401);
    refused(&api.ask(post("/channels/a").with(header::ORIGIN, "http://evil.example")), 403);
    refused(&api.ask(post("/channels")), 405);
    refused(&api.ask(get("/channelsx")), 404);
}

#[test]
fn channels_are_listed_with_their_subscribers_and_what_is_kept() {
    let mut api = Api::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rules = rsp_core::channel::Rules { history: 1, ..config::Channel::undeclared("").rules };
    for name in ["chat:b c", "chat:a", "news"] {
        let message = rsp_core::channel::Message {
            data: Default::default(),
            is_text: true,
            time: crate::broker::now(),
            by: None,
        };
        runtime.block_on(api.admin.broker.publish(&name.into(), &rules, message, None)).unwrap();
    }
    let mut listed = |target| {
        let answer = api.ask(get(target));
        let list: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        let names = list["channels"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>().join(","), list["channels_total"].as_u64().unwrap(), list)
    };
    let (names, total, list) = listed("/channels");
    assert_eq!((&*names, total), ("chat:a,chat:b c,news", 3));
    let first = &list["channels"][0];
    assert_eq!((&first["subscribers"], &first["kept"]), (&0.into(), &1.into()));
    assert!(first["position"].as_str().unwrap().ends_with("-1"), "{first}");
    assert_eq!(listed("/channels?x=1&prefix=chat:b%20").0, "chat:b c");
    assert_eq!(listed("/channels?prefix=none").1, 0);
    let seen = api.ask(post("/channels/news")).text;
    assert!(seen.contains("history: 1"), "no config declares it, and it keeps what it kept: {seen}");
}

#[test]
fn a_busy_or_ending_process_says_so() {
    let mut api = Api::new();
    for _ in 0..4 {
        api.admin.operations.commands.try_send(Command::Drain).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let full = runtime.block_on(api.admin.run(post("/reload"))).map(|_| ()).unwrap_err();
    assert_eq!((full.kind, full.kind.status().as_u16()), (Kind::Full, 503));
    api.commands.close();
    let ending = runtime.block_on(api.admin.run(post("/drain"))).map(|_| ()).unwrap_err();
    assert_eq!(&*ending.cause, "rsp is ending");
}
