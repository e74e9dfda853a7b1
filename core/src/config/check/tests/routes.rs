//! Stories of what a route may hold: handlers, filters, functions.

use super::*;

#[test]
fn files_needs_a_folder_that_can_be_read() {
    let errors =
        |path: &str, index: &str| route_errors(|lua| lua.make("files", vec![text(path)], vec![("index", text(index))]));
    let label = "a path is relative to the folder of the file that says it";
    assert_eq!(errors("./nowhere", "i"), [format!("2:1 there is no folder /etc/rsp/nowhere | {label}")]);
    assert_eq!(errors("file", "i"), [format!("2:1 `files` needs a folder, and this is none: /etc/rsp/file | {label}")]);
    assert_eq!(errors("/root", "i"), [format!("2:1 the folder /root can't be read | {label}")]);
    assert_eq!(
        errors("public", "a/b"),
        ["2:2 `index` of `files` must be the name of a file | for example \"index.html\""]
    );
}

#[test]
fn the_options_of_files_are_checked() {
    let errors =
        |key: &str, value: Value| route_errors(|lua| lua.make("files", vec![text("public")], vec![(key, value)]));
    for value in ["", " "] {
        let said = format!(
            "2:2 `cache_control` of `files` is no header's value: \"{value}\" | for example \"public, max-age=3600\""
        );
        assert_eq!(errors("cache_control", text(value)), [said]);
    }
    for (value, said) in [
        (
            texts(&["index.html"]),
            "0:1 \"index.html\" of `try` must begin with a slash or with {path} | did you mean \"/index.html\"?",
        ),
        (texts(&["/{pth}"]), "0:1 nothing fills in {pth} of `try` | did you mean {path}?"),
        (texts(&["/{query}"]), "0:1 nothing fills in {query} of `try` | only {path} is filled in"),
        (texts(&["/{path"]), "0:1 nothing fills in {path} of `try` | did you mean {path}?"),
        (
            options(vec![("a", text("b"))]),
            "2:2 `try` of `files` must be a list of names, not a table | for example { \"{path}\", \"{path}.html\", \"/index.html\" }",
        ),
    ] {
        assert_eq!(errors("try", value), [said]);
    }
    assert!(errors("try", texts(&["/../x"]))[0].contains("names no file below the folder"));
    assert!(errors("try", texts(&[]))[0].contains("not an empty one"));
    assert!(errors("try", texts(&["/x"; 17]))[0].contains("takes 16 names at most"));
    for (ending, value, said) in [
        ("md", text("markdown"), "\"markdown\" is no media type"),
        ("md", text("text/mark down"), "\"text/mark down\" is no media type"),
        ("md", number(1.0), "the media type of `md` must be a string, not the number 1"),
        ("tar.gz", text("a/b"), "\"tar.gz\" of `mime` is no ending of a file's name"),
        (".", text("a/b"), "\".\" of `mime` is no ending of a file's name"),
    ] {
        let found = errors("mime", options(vec![(ending, value)]));
        assert!(found[0].contains(said), "{found:?}");
    }
    let both = options(vec![("md", text("a/b")), (".MD", text("a/b"))]);
    assert!(errors("mime", both)[0].contains("`mime` has the ending `md` twice"));
}

#[test]
fn the_options_of_files_are_kept() {
    let names = texts(&["{path}", "{path}.html", "/a/{path}/b{path}"]);
    let types = options(vec![(".Foo", text("text/x-foo; charset=utf-8"))]);
    let entries =
        vec![("try", names), ("mime", types), ("cache_control", text("no-cache")), ("listing", Value::Bool(true))];
    let made = handler(|lua| lua.make("files", vec![text("public")], entries));
    let Handler::Files(files) = made else { panic!("files") };
    let parts: Vec<Vec<&str>> =
        files.candidates.iter().map(|candidate| candidate.0.iter().map(|part| &**part).collect()).collect();
    assert_eq!(parts, [vec!["", ""], vec!["", ".html"], vec!["/a/", "/b", ""]]);
    assert_eq!(files.mime["foo"], "text/x-foo; charset=utf-8");
    assert_eq!(files.cache_control.as_ref().unwrap(), "no-cache");
    assert_eq!((files.listing, files.dotfiles, files.precompressed), (true, false, true));
}

#[test]
fn a_reply_has_a_body_and_headers() {
    let reply = |values: Vec<Value>| match handler(|lua| lua.make("reply", values, vec![])) {
        Handler::Reply(reply) => {
            (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap(), reply.headers.clone())
        }
        other => panic!("{other:?}"),
    };
    let (status, body, headers) = reply(vec![number(200.0), text("hello\n")]);
    assert_eq!(
        (status, body.as_str(), headers["content-type"].to_str().unwrap()),
        (200, "hello\n", "text/plain; charset=utf-8")
    );
    let json = table(
        vec![],
        vec![
            ("a", list(vec![number(1.0), number(0.5), number(-0.0), Value::Bool(true)])),
            ("q\"", text("\u{1}\n\\é")),
            ("e", options(vec![])),
        ],
    );
    let (_, body, headers) = reply(vec![number(200.0), json]);
    assert_eq!(body, r#"{"a":[1,0.5,0,true],"q\"":"\u0001\n\\é","e":{}}"#);
    assert_eq!(headers["content-type"], "application/json");
    let own = options(vec![("Content-Type", text("text/html")), ("X-A", texts(&["1", " 2 "]))]);
    let (_, _, headers) = reply(vec![number(404.0), text("x"), own]);
    assert_eq!(headers["content-type"], "text/html");
    assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(reply(vec![number(204.0)]).2.is_empty());
}

#[test]
fn a_reply_that_would_break_a_message_is_refused() {
    let errors = |values: Vec<Value>| route_errors(|lua| lua.make("reply", values, vec![]));
    let headers =
        |name: &str, value: Value| errors(vec![number(200.0), text(""), options(vec![(name, value)])]).remove(0);
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Proxy-Connection",
    ] {
        assert_eq!(
            headers(name, text("x")),
            format!("0:1 `{name}` frames the message and can't be touched | remove it")
        );
    }
    for value in ["a\r\nb: c", "a\nb", "a\0b"] {
        let message = "0:1 the value of `x-a` has a line break or another control character in it | one line of text";
        assert_eq!(headers("X-A", text(value)), message);
    }
    assert_eq!(headers("X A", text("x")), "0:1 \"X A\" is no header's name | letters, digits and hyphens");
    assert!(headers("X-A", number(1.0)).starts_with("0:1 the value of `x-a` must be a string, not the number 1 |"));
    assert_eq!(errors(vec![number(199.0)]), ["2:1 the status of `reply` is out of range: 199 | 200 to 599"]);
    assert_eq!(errors(vec![number(304.0), text("x")]), ["2:2 an answer 304 has no body | remove it"]);
    assert!(
        errors(vec![number(200.0), number(1.0)])[0]
            .contains("the body of `reply` must be a string or a table, not the number 1")
    );
    assert!(errors(vec![number(200.0), text(""), texts(&["X-A"])])[0].contains("the headers of `reply` need names"));
    assert!(
        errors(vec![number(200.0), text(""), text("X-A")])[0]
            .contains("the headers of `reply` must be a table, not a string")
    );
}

#[test]
fn a_body_that_has_no_json_is_refused() {
    let error = |body: Value| route_errors(|lua| lua.make("reply", vec![number(200.0), body], vec![])).remove(0);
    assert!(error(list(vec![Value::Function(FunctionId(0))])).contains("a function can't be written as JSON"));
    assert!(error(list(vec![number(f64::INFINITY)])).contains("the number inf can't be written as JSON"));
    assert!(
        error(table(vec![number(1.0)], vec![("a", number(1.0))]))
            .contains("a table with both a list and keys has no JSON")
    );
    let deep = (0..64).fold(number(1.0), |inner, _| list(vec![inner]));
    let Handler::Reply(reply) = handler(|lua| lua.make("reply", vec![number(200.0), deep.clone()], vec![])) else {
        panic!()
    };
    assert_eq!(reply.body.len(), 129);
    assert!(error(list(vec![deep])).contains("more than 64 tables inside each other"));
    let mut numbered = raw_table(vec![], vec![("a", number(1.0))], 0);
    numbered.entries[0].key = Key::Number(5);
    assert!(error(Value::Table(numbered)).contains("a key of JSON must be a string"));
}

#[test]
fn a_redirect_fills_in_only_what_there_is() {
    let errors =
        |to: &str, status: f64| route_errors(|lua| lua.make("redirect", vec![text(to), number(status)], vec![]));
    assert_eq!(errors("/{idd}", 301.0), ["2:1 nothing fills in {idd} of `redirect` | did you mean {id}?"]);
    assert_eq!(
        errors("/{name}", 301.0),
        ["2:1 nothing fills in {name} of `redirect` | one of {host} {hostname} {uri} {path} {query} {id}"]
    );
    assert_eq!(errors("/{id", 301.0), ["2:1 a `{` of `redirect` is never closed | for example \"{path}\""]);
    assert_eq!(errors("/x", 304.0), ["2:2 304 is no status of `redirect` | 301, 302, 303, 307 or 308"]);
    for to in ["", "/a b", "/é"] {
        assert!(errors(to, 301.0)[0].starts_with("2:1 `redirect` can't go to"), "{to}");
    }
    let Handler::Redirect(redirect) =
        handler(|lua| lua.make("redirect", vec![text("https://{host}/{id}?{query}")], vec![]))
    else {
        panic!()
    };
    assert_eq!((redirect.to.as_str(), redirect.status.as_u16()), ("https://{host}/{id}?{query}", 302));
}

#[test]
fn header_edits_keep_their_order() {
    let edit = options(vec![
        ("set", options(vec![("Host", text("a")), ("X-B", text("2"))])),
        ("add", options(vec![("Via", text("x"))])),
        ("remove", texts(&["Cookie", "X-C"])),
    ]);
    let mut lua = Lua::listening();
    let headers = lua.make("headers", vec![], vec![("request", edit)]);
    let proxy = lua.make("proxy", vec![text("a:80")], vec![]);
    lua.site("a", vec![("/", list(vec![headers, proxy]))]);
    let config = lua.config();
    let [Filter::Headers(edits)] = config.sites[0].routes[0].chain.filters.as_slice() else { panic!("one filter") };
    let names: Vec<_> = edits.request.set.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names.as_slice(), edits.request.remove.len(), edits.request.add.len()), (&["host", "x-b"][..], 2, 1));
    assert_eq!(edits.response, HeaderEdit::default());
}

#[test]
fn header_edits_that_would_break_a_message_are_refused() {
    let mut lua = Lua::listening();
    let edit = options(vec![
        ("add", options(vec![("Host", text("a"))])),
        ("set", options(vec![("Expect", text("100-continue"))])),
        ("remove", texts(&["Host", "Content-Length"])),
        ("sett", options(vec![])),
    ]);
    let headers =
        lua.make("headers", vec![], vec![("request", edit), ("response", options(vec![("remove", number(1.0))]))]);
    let proxy = lua.make("proxy", vec![text("a:80")], vec![]);
    lua.site("a", vec![("/", list(vec![headers, proxy]))]);
    let mut errors = lua.errors();
    errors.sort();
    assert_eq!(
        errors,
        [
            "0:1 `Expect` frames the message and can't be touched | remove it",
            "0:1 `Host` can't be removed | a request must have one",
            "0:1 `remove` must be a list of names, not the number 1 | for example { \"Server\" }",
            "0:1 a request has one `Host` | put it into `set`",
            "0:2 `Content-Length` frames the message and can't be touched | remove it",
            "0:4 `request` has no option `sett` | did you mean `set`?",
        ]
    );
}

#[test]
fn a_host_that_is_set_is_one_and_could_be_asked_for() {
    let mut lua = Lua::listening();
    for (place, value) in
        [text("a b"), text(""), texts(&["a", "b"]), text("a.example:8080"), text("[::1]:80")].into_iter().enumerate()
    {
        let edit = options(vec![("set", options(vec![("Host", value)]))]);
        let headers = lua.make("headers", vec![], vec![("request", edit)]);
        let proxy = lua.make("proxy", vec![text("a:80")], vec![]);
        lua.site(&format!("s{place}"), vec![("/", list(vec![headers, proxy]))]);
    }
    let errors: Vec<_> = lua.errors().iter().map(|error| error.split_once(' ').unwrap().1.to_owned()).collect();
    let hint = "a name or an address, and a port if it needs one: \"example.com:8080\"";
    assert_eq!(
        errors,
        [
            format!("\"a b\" is no host | {hint}"),
            format!("\"\" is no host | {hint}"),
            "a request has one `Host` | remove the others".to_owned(),
        ]
    );
}

#[test]
fn filters_stand_before_the_handler() {
    let allow = |lua: &mut Lua| lua.make("allow", vec![text("unix")], vec![]);
    let hello = |lua: &mut Lua| lua.make("reply", vec![number(200.0)], vec![]);
    let both = |lua: &mut Lua, handler_first: bool| {
        let (allow, hello) = (allow(lua), hello(lua));
        if handler_first { list(vec![hello, allow]) } else { list(vec![allow, hello]) }
    };
    assert!(matches!(handler(|lua| both(lua, false)), Handler::Reply(_)));
    assert_eq!(
        route_errors(|lua| both(lua, true)),
        ["0:2 filters after the handler `reply` would never run | put the handler last (0: the handler)"]
    );
    assert_eq!(
        route_errors(allow),
        ["3:1 `allow` is a filter; a route ends in a handler | for example { allow …, proxy \"127.0.0.1:3000\" }"]
    );
    assert_eq!(
        route_errors(|lua| list(vec![hello(lua), hello(lua)])),
        ["0:1 `reply` is a handler; only the last value of a route is one | a filter or a function here"]
    );
    assert!(route_errors(|lua| list(vec![allow(lua)]))[0].contains("`allow` is a filter; a route ends in a handler"));
}

#[test]
fn a_function_may_stand_anywhere_in_a_route() {
    let function = |id| Value::Function(FunctionId(id));
    let mut lua = Lua::listening();
    lua.site("a", vec![("/", list(vec![function(0), function(1)])), ("/b", function(2))]);
    let config = lua.config();
    let chain = &config.sites[0].routes[0].chain;
    assert!(matches!(
        (chain.filters.as_slice(), &chain.handler),
        ([Filter::Function(FunctionId(0))], Handler::Function(FunctionId(1)))
    ));
    assert!(matches!(config.sites[0].routes[1].chain.handler, Handler::Function(FunctionId(2))));
}

#[test]
fn what_is_no_handler_is_named() {
    let error = |value: Value| route_errors(|_| value).remove(0);
    assert!(error(text("./public")).starts_with("2:1 a route needs a handler, not a string"));
    assert!(error(list(vec![])).starts_with("2:1 a route needs a handler, not an empty table"));
    assert!(error(options(vec![("a", number(1.0))])).contains("a route's value has no options of its own"));
    assert!(
        error(list(vec![list(vec![]), Value::Function(FunctionId(0))])).contains("one list, without tables inside")
    );
    let upstream = route_errors(|lua| lua.named("upstream", "app", vec![text("a:80")], vec![]));
    assert_eq!(upstream, ["3:1 `upstream` is no handler | write proxy(…) around it"]);
}

#[test]
fn routes_that_no_request_can_tell_apart_point_at_both() {
    let mut lua = Lua::listening();
    let function = || Value::Function(FunctionId(0));
    lua.site(
        "a",
        vec![("/x/{a}", function()), ("GET /x/{a}", function()), ("/x/{b}", function()), ("/x/*", function())],
    );
    assert_eq!(
        lua.errors(),
        ["2:3 no request can tell \"/x/{b}\" from \"/x/{a}\" | remove one of them (2: the other one)"]
    );
}

#[test]
fn a_wrong_route_says_why() {
    let mut lua = Lua::listening();
    lua.site("a", vec![("x/y", Value::Function(FunctionId(0))), ("get /x", Value::Function(FunctionId(0)))]);
    let errors = lua.errors();
    assert!(
        errors[0].starts_with("2:1 \"x/y\" is no route: a path starts with '/' | for example \"/api/*\""),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("2:2 \"get /x\" is no route: \"get\" is no method in capitals"), "{errors:?}");
}
