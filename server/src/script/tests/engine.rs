//! Stories of functions on requests: a config in, a request through one of its functions.

use std::{
    future::{Future, poll_fn},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use rsp_core::{
    config::{self, Config, Context, FunctionId, Handler, Limits},
    frame::http1::{Framing, RequestHead, Target},
    route::{Params, Pattern},
};

use super::super::*;
use crate::{
    broker::Broker,
    error::{Fault, Kind},
    message::{Body, Client, Interim, Request, RequestId},
    observe::Metrics,
    stream::Peer,
};

/// An engine of the functions of one text.
struct Story {
    engine: Rc<Engine>,
}

/// What a call gave back.
struct Called {
    request: Request,
    outcome: Result<Outcome, Fault>,
}

fn story(text: &str) -> Story {
    bounded(text, Limits::default())
}

fn bounded(text: &str, limits: Limits) -> Story {
    let text = format!("listen ':80'\nupstream 'app' {{ '127.0.0.1:3000' }}\n{text}");
    let loaded = load_text(&text, "/".as_ref()).unwrap_or_else(|failed| panic!("{}", failed.render()));
    let (folder, admin_socket) = ("/".as_ref(), "/x.sock".as_ref());
    let context = Context {
        folder,
        admin_socket,
        probe: &probe,
        real: &real,
        read: &files::read_file,
        account: &|_, _| Ok(()),
        program: &|path| Ok(path.to_owned()),
        certificate: &|_| Ok(()),
        authorities: &|_| Ok(()),
    };
    let (mut config, _): (Config, _) = config::check(&loaded.file, &context).unwrap();
    config.limits = Arc::new(limits);
    let engine = Engine::new(&Arc::new(loaded.sources), &Arc::new(config), services());
    Story { engine: Rc::new(engine.unwrap_or_else(|failed| panic!("{}", failed.render()))) }
}

fn services() -> Services {
    Services { broker: Arc::new(Broker::memory()), metrics: Metrics::new() }
}

/// A story of one function, with this body.
fn function(body: &str) -> Story {
    story(&format!("site '*' (function(request)\n{body}\nend)"))
}

fn request(target: &str, fields: &[(&str, &str)], body: Body) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let head = RequestHead {
        method: Method::GET,
        target: Target::new(Bytes::copy_from_slice(target.as_bytes())).unwrap(),
        version: Version::HTTP_11,
        headers,
        framing: Framing::Empty,
        keep_alive: true,
        upgrade: None,
        expect_continue: false,
    };
    Request {
        head,
        head_bytes: 100,
        body,
        client: Client {
            ip: Some([192, 0, 2, 1].into()),
            peer: Peer::Ip(([192, 0, 2, 1], 4711).into()),
            trusted: false,
        },
        id: RequestId::next(),
        received: tokio::time::Instant::now(),
        scheme: "http",
        security: None,
        interim: Interim::None,
        user: None,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Story {
    async fn call(&self, id: u32, request: Request) -> Called {
        let (site, route) = (Arc::from("example.com"), Pattern::parse("/*").unwrap());
        let visit = Visit { site: &site, route: &route, params: &Params::default() };
        let (request, outcome) = self.engine.call(FunctionId(id), request, visit).await;
        Called { request, outcome }
    }

    fn with(&self, request: Request) -> Called {
        block_on(self.call(0, request))
    }

    /// The body of the reply to a plain request.
    fn says(&self) -> String {
        self.with(request(
            "/a%20b/c?x=1&y=%41+z",
            &[("host", "Example.com:80"), ("cookie", "a=1; b=\"2\"")],
            Body::Empty,
        ))
        .text()
    }

    fn fault(&self) -> Fault {
        match self.with(request("/", &[], Body::Empty)).outcome {
            Err(fault) => fault,
            Ok(outcome) => panic!("{outcome:?}"),
        }
    }
}

impl Called {
    fn text(&self) -> String {
        match &self.outcome {
            Ok(Outcome::Handler(Handler::Reply(reply))) => String::from_utf8(reply.body.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_function_sees_all_of_a_request() {
    let story = function(
        r#"local r = request
        local client = `{r.client.ip}:{r.client.port} {r.peer.ip}`
        local head = `{r.method} {r.path} {r.raw_path} {r.query} {r.args.x} {r.args.y} {r.host} {r.scheme} {r.version}`
        local fields = `{r.headers.host} {r.headers["HOST"]} {#r.headers:all("host")} {r.headers.nope} {r.cookies.a}{r.cookies.b}`
        assert(r.tls.sni == nil and r.time > 1e9 and #r.id == 16)
        return reply(200, `{head}|{fields}|{client}|{r.site} {r.route}`)"#,
    );
    assert_eq!(
        story.says(),
        "GET /a b/c /a%20b/c x=1&y=%41+z 1 A z Example.com:80 http 1.1\
         |Example.com:80 Example.com:80 1 nil 12|192.0.2.1:4711 192.0.2.1|example.com /*"
    );
}

#[test]
fn a_function_that_returns_nil_gives_the_next_one_its_turn() {
    assert!(matches!(function("return nil").with(request("/", &[], Body::Empty)).outcome, Ok(Outcome::Next)));
    assert!(matches!(function("").with(request("/", &[], Body::Empty)).outcome, Ok(Outcome::Next)));
}

#[test]
fn a_function_may_choose_an_upstream_that_was_declared_or_an_address() {
    for (target, name) in [("'app'", "app"), ("'10.0.0.7:80'", "10.0.0.7:80")] {
        match function(&format!("return proxy({target})")).with(request("/", &[], Body::Empty)).outcome {
            Ok(Outcome::Handler(Handler::Proxy(proxy))) => assert_eq!(proxy.upstream.name, name),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_function_assigns_is_what_goes_on() {
    let story = function(
        r#"request.path = "/new path/ü"
        request.query = "a=1 2&b=%20"
        request.host = "other.example:81"
        request.headers["X-A"] = "1"
        request.headers["X-B"] = { "2", "3" }
        request.headers["X-C"] = nil"#,
    );
    let called = story.with(request("/old?q", &[("host", "h"), ("x-c", "9")], Body::Empty));
    assert!(matches!(called.outcome, Ok(Outcome::Next)), "{:?}", called.outcome);
    let head = called.request.head;
    assert_eq!(head.target.as_str(), "/new%20path/%C3%BC?a=1%202&b=%20");
    assert_eq!(head.headers["host"], "other.example:81");
    assert_eq!(head.headers["x-a"], "1");
    assert_eq!(head.headers.get_all("x-b").iter().count(), 2);
    assert!(!head.headers.contains_key("x-c"));
}

#[test]
fn nothing_that_breaks_a_head_can_be_assigned() {
    for line in [
        r#"request.path = "/a\r\nb""#,
        r#"request.path = "/a/../b""#,
        r#"request.path = "a""#,
        r#"request.query = "a\nb""#,
        r#"request.host = "a b""#,
        r#"request.host = "a\r\nX: y""#,
        r#"request.headers["X-A"] = "a\r\nX-B: c""#,
        r#"request.headers["X-A"] = "a\0b""#,
        r#"request.headers["X A"] = "a""#,
        r#"request.headers["Content-Length"] = "3""#,
        r#"request.headers["Transfer-Encoding"] = "chunked""#,
        r#"request.headers["Connection"] = "close""#,
        r#"request.headers = { ["Content-Length"] = "3" }"#,
        r#"request.method = "PUT""#,
        r#"request.pth = "/x""#,
    ] {
        let called = function(line).with(request("/keep?it", &[("host", "h")], Body::Empty));
        let fault = called.outcome.expect_err(line);
        assert_eq!(fault.kind, Kind::Script, "{line}");
        assert_eq!(called.request.head.target.as_str(), "/keep?it", "{line}");
        assert_eq!(called.request.head.headers.len(), 1, "{line}");
    }
}

#[test]
fn a_body_that_was_read_can_still_be_forwarded() {
    let story = function("assert(request:body(10) == 'hello' and request:body('1KiB') == 'hello')");
    let called = story.with(request("/", &[], Body::Full("hello".into())));
    assert!(matches!(called.outcome, Ok(Outcome::Next)), "{:?}", called.outcome);
    assert!(matches!(called.request.body, Body::Full(bytes) if bytes == "hello"));
}

#[test]
fn json_and_forms_are_tables() {
    let json = function("local t = request:json() return reply(200, t.a[2] .. t.b.c .. tostring(t.d))");
    assert_eq!(
        json.with(request("/", &[], Body::Full(r#"{"a":[1,2],"b":{"c":"x"},"d":null}"#.into()))).text(),
        "2xnil"
    );
    let form = function("local t = request:form() return reply(200, t.a .. t['b c'])");
    assert_eq!(form.with(request("/", &[], Body::Full("a=1%2B&b+c=2".into()))).text(), "1+2");
    let broken = json.with(request("/", &[], Body::Full("{".into()))).outcome.unwrap_err();
    assert!(broken.cause.contains("the body is not JSON"), "{broken}");
}

#[test]
fn a_body_over_the_limit_is_413_unless_the_function_answers_itself() {
    let plain = function("request:body(3)").with(request("/", &[], Body::Full("hello".into())));
    assert_eq!(plain.outcome.unwrap_err().kind, Kind::BodyTooLarge);
    assert!(matches!(plain.request.body, Body::Full(bytes) if bytes == "hello"), "nothing of it was read");
    let own = function("if not pcall(request.body, request, 3) then return reply(413, 'no') end");
    assert_eq!(own.with(request("/", &[], Body::Full("hello".into()))).text(), "no");
}

#[test]
fn a_request_is_of_no_use_once_its_call_is_over() {
    let story = story(
        "local kept
        site '*' (function(request)
            if not kept then kept = { request, request.headers } return nil end
            local ok, why = pcall(function() return kept[1].path end)
            local ok2, why2 = pcall(function() return kept[2].host end)
            return reply(200, tostring(why) .. tostring(why2))
        end)",
    );
    assert!(matches!(story.with(request("/", &[], Body::Empty)).outcome, Ok(Outcome::Next)));
    let text = story.says();
    assert_eq!(text.matches("this request is over").count(), 2, "{text}");
}

#[test]
fn an_endless_loop_is_stopped_and_the_engine_goes_on() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "string.rep('a', 30):find(string.rep('a?', 30) .. string.rep('a', 30) .. 'b')",
    ] {
        let story = function(&format!("if request.path == '/' then {body} end\nreturn reply(200, 'fine')"));
        let fault = story.fault();
        assert_eq!(fault.kind, Kind::Script);
        assert!(fault.cause.starts_with("function at command:3: command:4: it ran for more than 50 ms"), "{fault}");
        assert_eq!(story.says(), "fine");
    }
}

#[test]
fn a_greedy_function_is_stopped_and_the_engine_goes_on() {
    let grow = "local t = {} for i = 1, 1e9 do t[i] = { i } end";
    for body in [
        grow,
        "string.rep('x', 1e9)",
        "table.create(1e7, 1)",
        "while true do pcall(function() string.rep('x', 1e9) end) end",
    ] {
        let limits = Limits { script_memory: 1 << 20, script_cpu: Duration::from_secs(1), ..Limits::default() };
        let story = bounded(
            &format!(
                "site '*' (function(request)\nif request.path == '/' then {body} end\nreturn reply(200, 'fine')\nend)"
            ),
            limits,
        );
        let fault = story.fault();
        assert_eq!(fault.kind, Kind::Script);
        assert!(fault.cause.contains("more than 1MiB of memory") || body.contains("pcall"), "{body}: {fault}");
        assert_eq!(story.says(), "fine");
    }
}

#[test]
fn memory_that_runs_out_anywhere_ends_one_call_and_no_more() {
    let text = "site '*' (function(request)
        if request.path ~= '/' then return reply(200, 'fine') end
        local kept = {}
        while true do
            kept[#kept + 1] = request.headers
            kept[#kept + 1] = request.args
            kept[#kept + 1] = reply(200, { a = { #kept, request.host } })
            kept[#kept + 1] = request.headers:all('x')
            kept[#kept + 1] = function() return kept end
            kept[#kept + 1] = pcall(request.body, request)
            kept[#kept + 1] = pcall(request.json, request)
            kept[#kept + 1] = pcall(proxy, 'app', { x = tostring(kept) })
            for name, value in request.headers do kept[#kept + 1] = name .. value .. #kept end
        end
    end)";
    for memory in (64..192).map(|n| (n << 10) + n * 7) {
        let limits = Limits { script_memory: memory, script_cpu: Duration::from_secs(2), ..Limits::default() };
        let story = bounded(text, limits);
        for _ in 0..3 {
            let body = Body::Full(vec![b'['; 3000].into());
            let called = story.with(request("/?a=1&b=2", &[("host", "h"), ("x", "y"), ("x", "z")], body));
            let fault = called.outcome.unwrap_err();
            assert!(fault.cause.contains(" of memory"), "{fault}");
        }
        assert_eq!(story.says(), "fine");
    }
}

#[test]
fn a_reply_of_too_many_values_is_refused_before_it_is_converted() {
    let fault = function("return reply(200, table.create(200000, 1))").fault();
    assert!(fault.cause.contains("more than 100000 values"), "{fault}");
}

#[test]
fn an_error_is_told_with_its_lines() {
    let story =
        story("local function deep(x)\n  return x.y.z\nend\nsite '*' (function(request)\n  return deep({})\nend)");
    let fault = story.fault();
    assert_eq!(fault.cause, "function at command:6: command:4: attempt to index nil with 'z', called from command:7");
}

#[test]
fn statements_are_over_when_requests_come() {
    for (call, word) in [
        ("listen ':81'", "listen"),
        ("site 'x' {}", "site"),
        ("upstream { 'a:1' }", "upstream"),
        ("require './x'", "require"),
    ] {
        let fault = function(call).fault();
        assert!(fault.cause.contains(&format!("`{word}` can't be called while a request runs")), "{fault}");
    }
}

#[test]
fn a_function_must_return_a_handler_or_nil() {
    for (returned, said) in [
        ("3", "returned a number"),
        ("allow '::1'", "`allow` is no handler"),
        ("reply('x')", "must be a whole number"),
        ("request", "returned"),
    ] {
        let fault = function(&format!("return {returned}")).fault();
        assert_eq!(fault.kind, Kind::Script);
        assert!(fault.cause.contains(said), "{fault}");
    }
}

#[test]
fn what_would_be_noted_in_a_file_ends_a_request() {
    for (body, said) in [
        ("return reply(200, '\\xff')", "this string is not UTF-8"),
        ("return reply(200, { 1, nil, 3 })", "item 2 of this list is nil"),
        ("return reply(200, nil, {})", "argument 2 of `reply` is nil"),
        ("return reply(200, env 'RSP_TEST_THIS_IS_NOT_SET')", "is not set"),
        ("return reply(200, { function() end })", "can't hold a function"),
        ("return shared 'x'", "not in this version"),
    ] {
        let fault = function(body).fault();
        assert_eq!(fault.kind, Kind::Script);
        assert!(fault.cause.contains(said), "{fault}");
    }
}

/// A body that counts how many of its kind are alive.
struct Counted(Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        b"counted"
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_call_that_is_given_up_leaves_nothing_behind() {
    let story = function("while request.path == '/' do coroutine.yield() end\nreturn reply(200, 'fine')");
    let alive = Arc::new(AtomicUsize::new(0));
    block_on(async {
        for _ in 0..100 {
            alive.fetch_add(1, Ordering::Relaxed);
            let body = Body::Full(Bytes::from_owner(Counted(Arc::clone(&alive))));
            let mut call = Box::pin(story.call(0, request("/", &[], body)));
            poll_fn(|cx| {
                assert!(call.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            assert_eq!(alive.load(Ordering::Relaxed), 1);
        }
    });
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    assert_eq!(story.says(), "fine");
}

#[test]
fn calls_wait_for_their_bodies_side_by_side() {
    // Not one of a hundred calls is done before all have begun.
    let story = story(
        "local begun = 0
        site '*' (function(request)
            begun += 1
            while begun < 100 do coroutine.yield() end
            return reply(200, request.path)
        end)",
    );
    let texts = block_on(async {
        let local = tokio::task::LocalSet::new();
        let story = Rc::new(story);
        let calls: Vec<_> = (0..100)
            .map(|n| {
                let story = Rc::clone(&story);
                local
                    .spawn_local(async move { story.call(0, request(&format!("/{n}"), &[], Body::Empty)).await.text() })
            })
            .collect();
        local
            .run_until(async {
                let mut texts = Vec::new();
                for call in calls {
                    texts.push(call.await.unwrap());
                }
                texts
            })
            .await
    });
    assert!(texts.iter().enumerate().all(|(n, text)| *text == format!("/{n}")), "{texts:?}");
}

#[test]
fn functions_have_the_same_numbers_in_every_worker() {
    let text = "for i = 1, 50 do\nsite('s' .. i) { ['/' .. i] = function() return reply(200, tostring(i)) end, ['/x'] = function() return reply(200, 'x' .. i) end }\nend";
    let (one, two) = (story(text), story(text));
    let all = |story: &Story| -> Vec<String> {
        (0..100).map(|id| block_on(story.call(id, request("/", &[], Body::Empty))).text()).collect()
    };
    assert_eq!(all(&one), all(&two));
}

#[test]
fn functions_that_depend_on_the_time_are_an_error() {
    let text = "local n = os.clock()\nif n < 0 then site 'x' (function() end) end\nsite '*' (function() end)";
    let mut loaded = load_text(text, "/".as_ref()).unwrap();
    loaded.sources.functions[0].1 += 1;
    let config = Config { ..checked("listen ':80'\nsite '*' (function() end)") };
    let failed = Engine::new(&Arc::new(loaded.sources), &Arc::new(config), services()).err().unwrap();
    assert_eq!(failed.diagnostics[0].message, "this file builds other functions each time it is evaluated");
}

fn checked(text: &str) -> Config {
    let loaded = load_text(text, "/".as_ref()).unwrap_or_else(|failed| panic!("{}", failed.render()));
    let (folder, admin_socket) = ("/".as_ref(), "/x.sock".as_ref());
    let context = Context {
        folder,
        admin_socket,
        probe: &probe,
        real: &real,
        read: &files::read_file,
        account: &|_, _| Ok(()),
        program: &|path| Ok(path.to_owned()),
        certificate: &|_| Ok(()),
        authorities: &|_| Ok(()),
    };
    config::check(&loaded.file, &context).unwrap().0
}

#[test]
fn a_handler_of_the_file_is_checked_once_and_its_like_on_a_request_each_time() {
    let story = story(
        "local fixed = proxy 'app'
        site '*' (function(request) return if request.path == '/' then fixed else proxy 'app' end)",
    );
    let proxy = |path| match story.with(request(path, &[], Body::Empty)).outcome {
        Ok(Outcome::Handler(Handler::Proxy(proxy))) => proxy,
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&proxy("/"), &proxy("/")));
    assert!(!Arc::ptr_eq(&proxy("/x"), &proxy("/x")));
    assert_eq!(proxy("/"), proxy("/x"));
}

#[test]
fn a_function_may_return_a_channel_whose_parameters_its_route_has() {
    let story = story(
        "local news, chat = channel { 'news', history = 5, subscribe = function() return true end }, channel 'chat:{room}'
        site '*' (function(request) return if request.path == '/' then news else chat end)",
    );
    let channel = |path| match block_on(story.call(1, request(path, &[], Body::Empty))).outcome {
        Ok(Outcome::Handler(Handler::Channel(channel))) => Ok(channel),
        Ok(other) => panic!("{other:?}"),
        Err(fault) => Err(fault),
    };
    let news = channel("/").unwrap();
    assert_eq!((news.name.to_string().as_str(), news.rules.history, news.subscribe.is_some()), ("news", 5, true));
    assert!(Arc::ptr_eq(&news, &channel("/").unwrap()));
    let fault = channel("/x").unwrap_err();
    assert_eq!(fault.kind, Kind::Script);
    assert!(fault.cause.contains("nothing fills in {room} of `channel`"), "{fault}");
}
