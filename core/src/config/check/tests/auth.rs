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
    let example = "for example auth { basic = \"./htpasswd\" }";
    assert_eq!(errors(vec![]), [format!("2:0 `auth` needs `basic`, `jwt` or `forward` | {example}")]);
    let both = vec![("basic", text("htpasswd")), ("forward", table(vec![text("a:1")], vec![("path", text("/"))]))];
    assert_eq!(
        errors(both),
        ["2:2 `auth` has both `basic` and `forward` | one of them; two `auth` in a route must both let a request pass"]
    );
    let label = "{ secret = … }";
    assert_eq!(
        errors(vec![("jwt", text(SECRET))]),
        [format!("2:1 `jwt` of `auth` must be a table of options, not a string | {label}")]
    );
    let both = vec![("jwt", options(vec![("secret", text(SECRET))])), ("basic", text("htpasswd"))];
    assert_eq!(
        errors(both),
        ["2:1 `auth` has both `basic` and `jwt` | one of them; two `auth` in a route must both let a request pass"]
    );
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn tokens(entries: Vec<(&str, Value)>) -> crate::auth::Tokens {
    match &*auth(vec![("jwt", options(entries))]) {
        Auth::Jwt(tokens) => (**tokens).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_is_checked_with_a_secret_a_key_or_a_set() {
    let by_secret = tokens(vec![("secret", text(SECRET))]);
    assert!(by_secret.keys.have("HS256") && by_secret.keys.count() == 1);
    assert_eq!((by_secret.issuer, by_secret.audience), (None, None));
    assert_eq!((&*by_secret.place.cookie, &*by_secret.place.query), ("token", "token"));
    assert!(tokens(vec![("key", text("./rsa.pem"))]).keys.have("RS256"));
    let entries = vec![
        ("jwks", text("jwks.json")),
        ("algorithms", text("ES256")),
        ("issuer", text("us")),
        ("audience", text("app")),
        ("cookie", text("session")),
        ("query", text("key")),
    ];
    let by_set = tokens(entries);
    assert!(by_set.keys.have("ES256") && !by_set.keys.have("RS256"));
    assert_eq!((by_set.issuer.as_deref(), by_set.audience.as_deref()), (Some("us"), Some("app")));
    assert_eq!((&*by_set.place.cookie, &*by_set.place.query), ("session", "key"));
}

#[test]
fn a_key_that_is_none_is_told_where_it_stands() {
    let wrong = |entries| errors(vec![("jwt", options(entries))]);
    let kinds = "`jwt` of `auth` needs `secret`, `key` or `jwks` | for example jwt = { secret = env \"TOKEN_SECRET\" }";
    assert_eq!(wrong(vec![]), [format!("2:1 {kinds}")]);
    assert_eq!(wrong(vec![("issuer", text("us"))]), [format!("2:1 {kinds}")]);
    assert_eq!(
        wrong(vec![("secret", number(1.0))]),
        ["0:1 `secret` of `jwt` must be a string, not the number 1 | a string in quotes"]
    );
    assert_eq!(
        wrong(vec![("secret", text("secret"))]),
        ["0:1 `secret` of `jwt`: 6 of 32 bytes that a secret must have | for example what \
          `openssl rand -hex 32` prints"]
    );
    assert_eq!(
        wrong(vec![("secret", text(SECRET)), ("key", text("rsa.pem"))]),
        ["0:2 `jwt` of `auth` has both `secret` and `key` | one of them; several public keys are a `jwks`"]
    );
    assert_eq!(
        wrong(vec![("key", text("nowhere"))]),
        ["0:1 cannot open /etc/rsp/nowhere: No such file or directory | a path is relative to the folder of the file \
          that says it"]
    );
    assert_eq!(
        wrong(vec![("key", text("htpasswd"))]),
        ["0:1 /etc/rsp/htpasswd: no key is in it | RSA or EC P-256, as `-----BEGIN PUBLIC KEY-----`"]
    );
    assert_eq!(
        wrong(vec![("jwks", text("rsa.pem"))]),
        [
            "0:1 /etc/rsp/rsa.pem: this is no JSON: invalid number at line 1 column 2 | { \"keys\": [ … ] }, as RFC 7517 §5 \
          has it"
        ]
    );
    for url in ["https://example.com/jwks.json", "http://a"] {
        assert_eq!(
            wrong(vec![("jwks", text(url))]),
            ["0:1 `jwks` of `jwt` is a file, not a URL | fetch it before rsp starts, and reload when it has changed"]
        );
    }
}

#[test]
fn an_algorithm_has_a_key_and_a_signature() {
    let wrong =
        |kind, key, algorithms| errors(vec![("jwt", options(vec![(kind, text(key)), ("algorithms", algorithms)]))]);
    assert_eq!(
        wrong("key", "rsa.pem", texts(&["RS256", "HS256"])),
        ["0:2 no key of `jwt` is for \"HS256\" | the keys are for RS256"]
    );
    assert_eq!(
        wrong("secret", SECRET, texts(&["ES256"])),
        ["0:1 no key of `jwt` is for \"ES256\" | the keys are for HS256"]
    );
    let can_not = |name: &str, label: &str| {
        let expected = format!("0:1 `algorithms` of `jwt` can't have \"{name}\" | {label}");
        assert_eq!(wrong("key", "rsa.pem", texts(&[name])), [expected]);
    };
    can_not("none", "a token without a signature proves nothing");
    can_not("RS526", "did you mean \"RS256\"?");
    can_not("rot13", "one of HS256, RS256, ES256");
    let example = "for example { \"ES256\" }";
    assert_eq!(wrong("key", "rsa.pem", texts(&[])), [format!("0:2 `algorithms` of `jwt` is empty | {example}")]);
    assert_eq!(
        wrong("key", "rsa.pem", number(1.0)),
        [format!("0:2 `algorithms` of `jwt` must be a list of names, not the number 1 | {example}")]
    );
}

#[test]
fn a_place_for_tokens_has_a_name() {
    let wrong = |name, value: &str| errors(vec![("jwt", options(vec![("secret", text(SECRET)), (name, text(value))]))]);
    for cookie in ["", "a b", "a=b", "a;"] {
        let expected = format!("0:2 `cookie` of `jwt` is no name of a cookie: \"{cookie}\" | for example \"token\"");
        assert_eq!(wrong("cookie", cookie), [expected]);
    }
    assert_eq!(wrong("query", ""), ["0:2 `query` of `jwt` is empty | for example \"token\""]);
}
