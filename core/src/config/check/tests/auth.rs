//! Stories of `auth`: users that are named, files of them, servers that are asked.

use std::time::Duration;

use super::*;

/// The `auth` of a route that has nothing else in it.
fn auth(entries: Vec<(&str, Value)>) -> Arc<Auth> {
    let mut lua = Lua::listening();
    let filter = lua.make("auth", vec![], entries);
    let hello = lua.make("reply", vec![number(200.0)], vec![]);
    lua.site("a.example", vec![("/*", list(vec![filter, hello]))]);
    match lua.config().sites.remove(0).routes.remove(0).chain.filters.remove(0) {
        Filter::Auth(auth) => auth,
        other => panic!("{other:?}"),
    }
}

fn errors(entries: Vec<(&str, Value)>) -> Vec<String> {
    route_errors(|lua| {
        let filter = lua.make("auth", vec![], entries);
        let hello = lua.make("reply", vec![number(200.0)], vec![]);
        list(vec![filter, hello])
    })
}

fn forward(values: Vec<Value>, entries: Vec<(&str, Value)>) -> Vec<(&'static str, Value)> {
    vec![("forward", table(values, entries))]
}

#[test]
fn users_come_from_a_file_or_a_table() {
    for entries in [
        vec![("basic", text("./htpasswd"))],
        vec![("basic", options(vec![("bob", text(HASH)), ("alice", text(HASH))]))],
    ] {
        let Auth::Basic(users) = &*auth(entries) else { panic!("no users") };
        assert_eq!(users.count(), 2);
        assert!(users.find("alice").is_some() && users.find("bob").is_some() && users.find("carol").is_none());
    }
}

#[test]
fn a_file_of_users_that_is_wrong_is_told_line_by_line() {
    let label = "bcrypt or argon2; `htpasswd -B FILE NAME` writes bcrypt";
    assert_eq!(
        errors(vec![("basic", text("wrong"))]),
        [
            format!("2:1 /etc/rsp/wrong:2: `bob` has a hash that is too weak: MD5 | {label}"),
            "2:1 /etc/rsp/wrong:3: this is no `name:hash` | ".to_owned(),
        ]
    );
    let old = errors(vec![("basic", text("old"))]);
    assert_eq!((old.len(), &*old[10]), (11, &*format!("2:1 15 more lines of that file are wrong | {label}")));
    assert_eq!(
        errors(vec![("basic", text("nowhere"))]),
        ["2:1 cannot open /etc/rsp/nowhere: No such file or directory | a path is relative to the folder of the file \
          that says it"]
    );
}

#[test]
fn users_of_a_table_are_told_where_they_stand() {
    let users = options(vec![("alice", text(HASH)), ("bob", text("secret")), ("carol", text(&HASH[..50]))]);
    assert_eq!(
        errors(vec![("basic", users)]),
        [
            "0:2 `basic` of `auth`: `bob` has no hash that is known | bcrypt or argon2; `htpasswd -B FILE NAME` writes \
             bcrypt",
            "0:3 `basic` of `auth`: `carol` has a hash that is malformed | was it cut short?",
        ]
    );
    assert_eq!(errors(vec![("basic", options(vec![]))]), ["2:1 `basic` of `auth`: nobody is in it | "]);
    let example = "for example \"./htpasswd\", or { alice = \"$2y$…\" }";
    let expected = format!("0:1 a user of `auth` is a name and a hash | {example}");
    assert_eq!(errors(vec![("basic", texts(&["alice"]))]), [&*expected]);
    assert_eq!(errors(vec![("basic", options(vec![("alice", number(1.0))]))]), [&*expected]);
    let expected = format!("2:1 `basic` of `auth` must be a path or a table, not the number 1 | {example}");
    assert_eq!(errors(vec![("basic", number(1.0))]), [expected]);
}

#[test]
fn a_server_to_ask_is_an_upstream_and_a_path() {
    let entries = vec![("path", text("/auth?x=1")), ("cache", text("10s")), ("copy", texts(&["X-User", "x-groups"]))];
    let Auth::Forward(spec) = &*auth(forward(vec![text("127.0.0.1:9000")], entries)) else { panic!("nobody to ask") };
    assert_eq!((spec.path.as_str(), &*spec.upstream.name), ("/auth?x=1", "127.0.0.1:9000"));
    assert_eq!((spec.timeout, spec.cache), (Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!(spec.copy, ["x-user", "x-groups"]);
}

#[test]
fn a_server_to_ask_that_is_wrong_says_what_would_be_right() {
    let form = "for example { \"127.0.0.1:9000\", path = \"/auth\" }";
    let asked = |values: &[&str], entries| errors(forward(values.iter().map(|each| text(each)).collect(), entries));
    let path = || ("path", text("/auth"));
    assert_eq!(asked(&["a:1"], vec![]), ["2:1 `forward` needs its `path` | for example path = \"/auth\""]);
    for wrong in ["auth", "", "/a b", "/a#b"] {
        let expected = format!("0:2 `path` of `forward` is no path: \"{wrong}\" | for example \"/auth\"");
        assert_eq!(asked(&["a:1"], vec![("path", text(wrong))]), [expected]);
    }
    assert_eq!(asked(&[], vec![path()]), [format!("2:1 `forward` of `auth` has one upstream, not 0 | {form}")]);
    let wrong = errors(vec![("forward", text("a:1"))]);
    assert_eq!(wrong, [format!("2:1 `forward` of `auth` must be a table, not a string | {form}")]);
    let copy = |value| asked(&["a:1"], vec![path(), ("copy", value)]);
    assert_eq!(
        copy(texts(&["Content-Length"])),
        ["0:1 `Content-Length` frames the message and can't be touched | remove it"]
    );
    assert_eq!(copy(texts(&["Host"])), ["0:1 `Host` can't be copied | it has chosen the route already"]);
    assert_eq!(
        copy(number(1.0)),
        ["0:3 `copy` of `forward` must be a list of names, not the number 1 | for example { \"X-User\" }"]
    );
    assert_eq!(
        asked(&["a:1"], vec![path(), ("cashe", text("1s"))]),
        ["0:3 `forward` has no option `cashe` | did you mean `cache`?"]
    );
    assert_eq!(
        asked(&["nowhere"], vec![path()]),
        ["0:1 no upstream is called \"nowhere\" | declare it: upstream \"nowhere\" { … }; an address has a port: \
          \"nowhere:80\""]
    );
}

#[test]
fn an_auth_is_of_one_kind() {
    assert_eq!(errors(vec![]), ["2:0 `auth` needs `basic` or `forward` | for example auth { basic = \"./htpasswd\" }"]);
    let both = vec![("basic", text("htpasswd")), ("forward", table(vec![text("a:1")], vec![("path", text("/"))]))];
    assert_eq!(
        errors(both),
        ["2:2 `auth` has both `basic` and `forward` | one of them; two `auth` in a route must both let a request pass"]
    );
    assert_eq!(errors(vec![("jwt", options(vec![]))]), ["2:1 `jwt` of `auth` is not in this version | "]);
}
