//! Who may pass with a signed token: keys of every kind, where a token may stand, and what others are told.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use rsp_core::frame::websocket::accept_key;
use serde_json::{Value, json};
use testkit::{
    Answer, Chromium, Origin, Response, Rsp, RspBuilder, Step,
    tokens::{KeyPair, sign},
};

use super::{SOON, front};

pub const SECRET: &str = "a secret of at least 32 bytes, no less";

/// rsp that lets whoever has a token of `jwt` through to `handler`.
pub fn guarded(jwt: &str, handler: &str) -> RspBuilder {
    front("", &format!("{{ auth {{ jwt = {{ {jwt} }} }}, {handler} }}"))
}

pub fn by_secret(handler: &str) -> RspBuilder {
    guarded(&format!("secret = \"{SECRET}\""), handler)
}

pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// A token of these claims, under the secret.
pub fn token_of(claims: &Value) -> String {
    token_by(SECRET, claims)
}

pub fn token_by(secret: &str, claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

pub fn alice() -> String {
    token_of(&json!({ "sub": "alice", "exp": in_seconds(60) }))
}

#[track_caller]
fn get(rsp: &Rsp, fields: &str) -> Response {
    rsp.client().request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[track_caller]
fn status(rsp: &Rsp, token: &str) -> u16 {
    get(rsp, &format!("Authorization: Bearer {token}\r\n")).status
}

#[test]
fn tokens_of_pyjwt_pass_with_a_secret_an_rsa_key_and_an_elliptic_curve() {
    let claims = json!({ "sub": "alice", "exp": in_seconds(60) });
    let rsp = by_secret("reply(200)").start();
    assert_eq!(status(&rsp, &sign(SECRET, "HS256", None, &claims)), 200);
    assert_eq!(status(&rsp, &sign(&SECRET.to_uppercase(), "HS256", None, &claims)), 401);
    assert_eq!(status(&rsp, &sign(SECRET, "HS512", None, &claims)), 401);
    for (ours, theirs, algorithm) in
        [(KeyPair::rsa(), KeyPair::rsa(), "RS256"), (KeyPair::p256(), KeyPair::p256(), "ES256")]
    {
        let rsp = guarded("key = \"key.pem\"", "reply(200)").file("key.pem", &ours.public).start();
        assert_eq!(status(&rsp, &ours.sign(algorithm, None, &claims)), 200, "{algorithm}");
        assert_eq!(status(&rsp, &theirs.sign(algorithm, None, &claims)), 401, "{algorithm}");
        assert_eq!(status(&rsp, &alice()), 401, "{algorithm}");
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let keys = KeyPair::rsa();
    let claims = json!({ "sub": "mallory", "exp": in_seconds(60) });
    let set = json!({ "keys": [keys.jwk("1")] }).to_string();
    for (jwt, file, text) in [("key = \"key.pem\"", "key.pem", &keys.public), ("jwks = \"set.json\"", "set.json", &set)]
    {
        let rsp = guarded(jwt, "reply(200)").file(file, text).start();
        for secret in [text.as_str(), text.trim_end(), keys.public.as_str()] {
            let answer = get(&rsp, &format!("Authorization: Bearer {}\r\n", token_by(secret, &claims)));
            assert_eq!(answer.status, 401, "{jwt}");
            assert!(answer.text().contains("an algorithm that is not accepted"), "{}", answer.text());
        }
        assert_eq!(status(&rsp, &keys.sign("RS256", Some("1"), &claims)), 200);
    }
}

#[test]
fn a_set_has_keys_for_every_kid_and_a_reload_brings_others() {
    let (old, new, curve) = (KeyPair::rsa(), KeyPair::rsa(), KeyPair::p256());
    let claims = json!({ "sub": "alice", "exp": in_seconds(60) });
    let set = json!({ "keys": [old.jwk("old"), new.jwk("new"), curve.jwk("curve")] }).to_string();
    let rsp = guarded("jwks = \"set.json\"", "reply(200)").file("set.json", set).start();
    assert_eq!(status(&rsp, &old.sign("RS256", Some("old"), &claims)), 200);
    assert_eq!(status(&rsp, &new.sign("RS256", Some("new"), &claims)), 200);
    assert_eq!(status(&rsp, &curve.sign("ES256", Some("curve"), &claims)), 200);
    let without =
        [old.sign("RS256", None, &claims), new.sign("RS256", None, &claims), curve.sign("ES256", None, &claims)];
    assert!(without.iter().all(|token| status(&rsp, token) == 200), "each key is tried");
    assert_eq!(status(&rsp, &new.sign("RS256", Some("old"), &claims)), 401, "another key than it says");
    let answer = get(&rsp, &format!("Authorization: Bearer {}\r\n", old.sign("RS256", Some("nobody's"), &claims)));
    assert!(answer.text().contains("no key has the kid of the token"), "{}", answer.text());

    let set = json!({ "keys": [new.jwk("new")] }).to_string();
    std::fs::write(rsp.folder().join("set.json"), set).unwrap();
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(status(&rsp, &new.sign("RS256", Some("new"), &claims)), 200);
    assert_eq!(status(&rsp, &old.sign("RS256", Some("old"), &claims)), 401);
    std::fs::write(rsp.folder().join("set.json"), "{\"keys\":[]}").unwrap();
    let refused = rsp.reload();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("set.json: no key that can be used is in it"), "{}", refused.stderr);
    assert_eq!(status(&rsp, &new.sign("RS256", Some("new"), &claims)), 200, "nothing has changed");
}

#[test]
fn a_secret_from_the_environment_is_in_no_message() {
    let env = |secret: &str| guarded("secret = env \"TOKEN_SECRET\"", "reply(200)").environment("TOKEN_SECRET", secret);
    let rsp = env(SECRET).start();
    assert_eq!(status(&rsp, &alice()), 200);
    let wrong = env("hunter2").run();
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("`secret` of `jwt`: 7 of 32 bytes"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("hunter2"), "{}", wrong.stderr);
    let misplaced =
        front("", "{ auth { jwt = env \"TOKEN_SECRET\" }, reply(200) }").environment("TOKEN_SECRET", SECRET).run();
    assert_eq!(misplaced.code, Some(2));
    assert!(!misplaced.stderr.contains(SECRET), "{}", misplaced.stderr);
}

#[test]
fn what_is_wrong_with_a_token_is_told_to_who_sent_it() {
    let jwt = format!("secret = \"{SECRET}\", issuer = \"us\", audience = \"app\"");
    let rsp = guarded(&jwt, "reply(200)").start();
    let with = |name: &str, value: Value| {
        let mut claims = json!({ "sub": "alice", "exp": in_seconds(60), "iss": "us", "aud": ["app", "other"] });
        claims[name] = value;
        claims
    };
    assert_eq!(status(&rsp, &token_of(&with("sub", json!("bob")))), 200);
    assert_eq!(status(&rsp, &token_of(&with("exp", json!(in_seconds(-2))))), 200, "clocks differ");
    for (token, reason) in [
        (token_of(&with("exp", json!(in_seconds(-6)))), "the token has expired"),
        (token_of(&with("exp", json!(null))), "the token has no exp"),
        (token_of(&with("nbf", json!(in_seconds(30)))), "the token is not valid yet"),
        (token_of(&with("iss", json!("them"))), "wrong issuer"),
        (token_of(&with("aud", json!("theirs"))), "wrong audience"),
        (token_by(&SECRET.to_uppercase(), &with("sub", json!("alice"))), "wrong signature"),
        (token_of(&with("info", json!("i".repeat(5000)))), "the claim info is longer than 4 KiB"),
        (token_of(&with("sub", json!(7))), "a claim of the token has the wrong type or is too long"),
        ("garbage".to_owned(), "this is no signed token"),
        ("a".repeat(9000), "the token is longer than 8 KiB"),
    ] {
        let answer = get(&rsp, &format!("Authorization: Bearer {token}\r\n"));
        assert_eq!(answer.status, 401, "{reason}");
        let expected = format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"");
        assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()));
        assert!(answer.text().starts_with(&format!("401 Unauthorized: {reason}\nrequest ")), "{}", answer.text());
        let answer = get(&rsp, &format!("Accept: application/json\r\nAuthorization: Bearer {token}\r\n"));
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&page["status"], &page["reason"]), (&json!(401), &json!(reason)));
    }
    let nobody = get(&rsp, "");
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer realm=\"*\"")));
    assert!(nobody.text().starts_with("401 Unauthorized: no token\n"), "{}", nobody.text());
    let twice = get(&rsp, &format!("Authorization: Bearer {0}\r\nAuthorization: Bearer {0}\r\n", alice()));
    assert_eq!(twice.status, 401);
    let none = format!("{}.e30.", "eyJhbGciOiJub25lIn0");
    assert_eq!(status(&rsp, &none), 401);
}

#[test]
fn a_token_is_found_in_four_places_and_goes_on_from_two() {
    let origin = Origin::replying("inside");
    let rsp = by_secret("proxy \"$ORIGIN\"").set("ORIGIN", origin.address()).start();
    let (token, wrong) = (alice(), token_by(&SECRET.to_uppercase(), &json!({ "exp": in_seconds(60) })));
    let ask = |query: &str, fields: &str| {
        let head = format!("GET /a{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let answer = rsp.client().request(&head);
        (answer.status == 200).then(|| origin.received().pop().unwrap())
    };
    let seen = ask("", &format!("Authorization: Bearer {token}\r\n")).unwrap();
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {token}")), "an app may want it");
    let seen = ask("", &format!("Cookie: a=b; token={token}\r\n")).unwrap();
    assert_eq!(seen.header("cookie"), Some(&*format!("a=b; token={token}")));
    let seen = ask("", &format!("Sec-WebSocket-Protocol: rsp.json, bearer, {token}\r\n")).unwrap();
    assert_eq!(seen.header("sec-websocket-protocol"), Some("rsp.json"));
    let referer = format!("Referer: http://a/page?b=2&token={token}\r\n");
    let seen = ask(&format!("?b=2&token={token}&c=3"), &referer).unwrap();
    assert_eq!((seen.request.target.as_str(), seen.header("referer")), ("/a?b=2&c=3", Some("http://a/page?b=2")));
    assert!(!seen.text().contains(&token), "{}", seen.text());
    assert_eq!(ask(&format!("?token={token}"), "").unwrap().request.target, "/a");

    // The first one that is there decides, and the others are no second chance.
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let cookie = |token: &str| format!("Cookie: token={token}\r\n");
    let offered = |token: &str| format!("Sec-WebSocket-Protocol: bearer, {token}\r\n");
    assert!(
        ask(&format!("?token={wrong}"), &format!("{}{}{}", bearer(&token), cookie(&wrong), offered(&wrong))).is_some()
    );
    assert!(
        ask(&format!("?token={token}"), &format!("{}{}{}", bearer(&wrong), cookie(&token), offered(&token))).is_none()
    );
    assert!(ask(&format!("?token={token}"), &format!("{}{}", cookie(&wrong), offered(&token))).is_none());
    assert!(ask(&format!("?token={token}"), &offered(&wrong)).is_none());
    let seen = ask(&format!("?token={wrong}"), &format!("{}{}", bearer(&token), offered(&wrong))).unwrap();
    assert!(!seen.text().contains(&wrong), "also where it didn't count: {}", seen.text());
}

#[test]
fn cookie_and_parameter_may_have_other_names() {
    let rsp = guarded(&format!("secret = \"{SECRET}\", cookie = \"session\", query = \"key\""), "reply(200)").start();
    let ask = |query: &str, fields: &str| {
        rsp.client().request(&format!("GET /{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).status
    };
    let token = alice();
    assert_eq!(ask(&format!("?key={token}"), ""), 200);
    assert_eq!(ask("", &format!("Cookie: session=\"{token}\"\r\n")), 200);
    assert_eq!(ask(&format!("?token={token}"), &format!("Cookie: token={token}\r\n")), 401);
}

/// A WebSocket's side of the origin: it takes the first subprotocol that it is offered, and echoes.
fn socket() -> Origin {
    Origin::start(|request| {
        let Some(key) = request.head.headers.get("sec-websocket-key") else { return Answer::ok("<title>page</title>") };
        let offered = request.head.headers.get("sec-websocket-protocol").unwrap_or_default();
        let protocol = match offered.split(',').next().unwrap_or_default() {
            "" => String::new(),
            first => format!("Sec-WebSocket-Protocol: {first}\r\n"),
        };
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{protocol}\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_key(key.as_bytes()).unwrap()
        );
        Answer(vec![Step::Write(head.into_bytes()), Step::Tunnel])
    })
}

#[test]
fn a_websocket_brings_its_token_in_a_browser() {
    let origin = socket();
    let text = format!(
        "listen \"127.0.0.1:$PORT\"\nsite \"*\" {{ [\"/\"] = proxy \"$ORIGIN\",\n\
         [\"/socket\"] = {{ auth {{ jwt = {{ secret = \"{SECRET}\" }} }}, proxy \"$ORIGIN\" }} }}"
    );
    let rsp = Rsp::config(&text).set("ORIGIN", origin.address()).start();
    let steps = "return await page.evaluate((token) => {
      const open = (words) => new Promise((done) => {
        const socket = new WebSocket(`ws://${location.host}/socket`, words);
        socket.onopen = () => { done(socket.protocol); socket.close(); };
        socket.onerror = () => done(null);
      });
      return Promise.all([open(['rsp.json', 'bearer', token]), open(['rsp.json', 'bearer', token + 'x']), open(['rsp.json'])]);
    }, 'TOKEN')";
    let token = alice();
    let visit = Chromium::visit(&rsp.url("/"), &steps.replace("TOKEN", &token));
    assert_eq!(visit.value, json!(["rsp.json", null, null]), "{:?}", visit.console);
    let sockets: Vec<_> = origin.received().into_iter().filter(|one| one.request.target == "/socket").collect();
    assert_eq!(sockets.len(), 1, "nobody else came through");
    assert_eq!(sockets[0].header("sec-websocket-protocol"), Some("rsp.json"));
    assert!(!sockets[0].text().contains(&token) && !sockets[0].text().contains("bearer"), "{}", sockets[0].text());
}

#[test]
fn a_channel_never_answers_with_the_subprotocol_of_a_token() {
    let rsp = by_secret("channel \"news\"").start();
    let token = alice();
    let ask = |offered: &str| {
        let answer = rsp.client().request(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n"
        ));
        (answer.status, answer.header("sec-websocket-protocol").map(str::to_owned))
    };
    assert_eq!(ask(&format!("bearer, {token}, rsp.json")), (101, Some("rsp.json".to_owned())));
    assert_eq!(ask(&format!("bearer, {token}, ex1")), (101, Some("ex1".to_owned())));
    assert_eq!(ask(&format!("bearer, {token}")), (101, None));
    assert_eq!(ask(&format!("bearer, {token}x")).0, 401);
    assert_eq!(ask("ex1").0, 401);
}

#[test]
fn functions_and_the_log_know_who_it_is() {
    let function = "function(request) local info = request.info \
                    return reply(200, { user = request.user or \"nobody\", team = info and info.team or \"none\" }) end";
    let text = format!(
        "listen \"127.0.0.1:$PORT\" log {{ format = \"json\" }}\nsite \"*\" {{ [\"/open\"] = {function},\n\
         [\"/basic\"] = {{ auth {{ basic = \"htpasswd\" }}, {function} }},\n\
         [\"/both\"] = {{ auth {{ basic = \"htpasswd\" }}, auth {{ jwt = {{ secret = \"{SECRET}\" }} }}, {function} }},\n\
         [\"/*\"] = {{ auth {{ jwt = {{ secret = \"{SECRET}\" }} }}, {function} }} }}"
    );
    let rsp = Rsp::config(&text).file("htpasswd", testkit::htpasswd(&["-B", "-C", "4"], "bob", "b")).start();
    let ask = |path: &str, fields: &str| {
        let answer = rsp.client().request(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        (said["user"].as_str().unwrap_or_default().to_owned(), said["team"].as_str().unwrap_or_default().to_owned())
    };
    let said = |user: &str, team: &str| (user.to_owned(), team.to_owned());
    let token = token_of(&json!({ "sub": "älice", "exp": in_seconds(60), "info": { "team": "red" } }));
    assert_eq!(ask("/", &format!("Authorization: Bearer {token}\r\n")), said("älice", "red"));
    rsp.wait_for_line(SOON, |line| line.contains("\"target\":\"/\"") && line.contains("\"user\":\"älice\""));
    let unnamed = token_of(&json!({ "exp": in_seconds(60) }));
    assert_eq!(ask("/unnamed", &format!("Authorization: Bearer {unnamed}\r\n")), said("", "none"));
    assert_eq!(ask("/open", &format!("Authorization: Bearer {token}\r\n")), said("nobody", "none"));
    let basic = "Authorization: Basic Ym9iOmI=\r\n";
    assert_eq!(ask("/basic", basic), said("bob", "none"));
    assert_eq!(ask("/both", &format!("{basic}Cookie: token={token}\r\n")), said("älice", "red"));
}
