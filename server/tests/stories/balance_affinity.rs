//! Which clients stay together on an endpoint: by a key, by a cookie, or by nothing at all.

use std::collections::BTreeSet;

use testkit::{Client, Origin, Response, Rsp};

use super::{SOON, front};

/// An origin that answers with its name.
fn named(name: &str) -> Origin {
    Origin::replying(name)
}

/// rsp before an upstream of three, with these options.
#[track_caller]
fn before(options: &str, origins: [&Origin; 3]) -> Rsp {
    let [a, b, c] = origins.map(Origin::address);
    let upstream = format!(
        "local app = upstream \"app\" {{ {{ \"{a}\", name = \"one\" }}, {{ \"{b}\", name = \"two\" }}, \
         {{ \"{c}\", name = \"three\" }}, {options} }}"
    );
    front(&upstream, "proxy(app)").start()
}

#[track_caller]
fn ask(client: &mut Client, field: &str) -> Response {
    client.request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n"))
}

/// The pair of the cookie that an answer sets.
fn cookie_of(answer: &Response) -> Option<String> {
    answer.header("set-cookie").map(|cookie| cookie.split(';').next().unwrap_or_default().to_owned())
}

#[test]
fn random_uses_every_endpoint() {
    let origins = ["one", "two", "three"].map(named);
    let rsp = before("balance = \"random\"", origins.each_ref());
    let mut client = rsp.client();
    (0..90).for_each(|_| assert_eq!(client.get("/").status, 200));
    let counts = origins.each_ref().map(|origin| origin.received().len());
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

#[test]
fn a_key_goes_to_one_endpoint_in_every_process() {
    let origins = ["one", "two", "three"].map(named);
    for (key, field) in [
        ("header:X-Key", "X-Key: N\r\n"),
        ("cookie:session", "Cookie: a=b; session=N\r\n"),
        ("client.ip", "X-Forwarded-For: 10.0.0.N\r\n"),
    ] {
        let options = format!("balance = \"hash\", key = \"{key}\"");
        let served = || {
            let trusted = format!("trust {{ \"127.0.0.0/8\" }} {}", "");
            let [a, b, c] = origins.each_ref().map(Origin::address);
            let upstream = format!(
                "{trusted} local app = upstream \"app\" {{ {{ \"{a}\", name = \"one\" }}, \
                 {{ \"{b}\", name = \"two\" }}, {{ \"{c}\", name = \"three\" }}, {options} }}"
            );
            let rsp = front(&upstream, "proxy(app)").start();
            let mut client = rsp.client();
            let mut of = |n: usize| ask(&mut client, &field.replace('N', &n.to_string())).text();
            let first: Vec<_> = (0..24).map(&mut of).collect();
            assert_eq!(first, (0..24).map(&mut of).collect::<Vec<_>>(), "{key}");
            first
        };
        let first = served();
        assert_eq!(first, served(), "{key}: another process");
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{key}");
    }
}

#[test]
fn the_uri_is_a_key_and_an_ejected_endpoint_gives_up_its_keys_only() {
    let mut origins = ["one", "two", "three"].map(named);
    let rsp = before("balance = \"hash\", key = \"uri\", outlier = { eject = \"5m\" }", origins.each_ref());
    let mut client = rsp.client();
    let mut served = || (0..40).map(|n| client.get(&format!("/page?n={n}")).text()).collect::<Vec<_>>();
    let before = served();
    assert!(before.contains(&"two".to_owned()));
    origins[1].stop();
    let after = served();
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || before == "two", "from {before} to {after}");
        assert_ne!(after, "two");
    }
}

#[test]
fn a_cookie_keeps_a_client_on_its_endpoint_and_is_not_shown_to_it() {
    let origins = ["one", "two", "three"].map(named);
    let rsp = before("sticky = \"app\"", origins.each_ref());
    let mut client = rsp.client();
    let first = client.get("/");
    let set = first.header("set-cookie").unwrap().to_owned();
    let cookie = cookie_of(&first).unwrap();
    assert_eq!(set, format!("{cookie}; Path=/; HttpOnly; SameSite=Lax"));
    assert_eq!(cookie.len(), "app=".len() + 32);
    for _ in 0..10 {
        let again = ask(&mut client, &format!("Cookie: a=1; {cookie}; b=2\r\n"));
        assert_eq!((again.text(), again.header("set-cookie")), (first.text(), None));
    }
    let all: Vec<_> = origins.iter().flat_map(Origin::received).collect();
    let seen: BTreeSet<_> = all.iter().filter_map(|one| one.header("cookie").map(str::to_owned)).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn a_forged_cookie_is_worth_nothing_and_is_replaced() {
    let origins = ["one", "two", "three"].map(named);
    let rsp = before("sticky = \"app\"", origins.each_ref());
    let mut client = rsp.client();
    let right = cookie_of(&client.get("/")).unwrap();
    let mut changed = right.clone().into_bytes();
    let last = changed.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let changed = String::from_utf8(changed).unwrap();
    for forged in [changed.as_str(), "app=", "app=one", "app=127.0.0.1", "app=0", &format!("app={}", "f".repeat(5000))]
    {
        let answer = ask(&mut client, &format!("Cookie: {forged}\r\n"));
        assert_eq!(answer.status, 200);
        assert!(cookie_of(&answer).is_some_and(|cookie| cookie != forged), "{forged}");
    }
}

#[test]
fn a_client_of_an_ejected_endpoint_gets_another_one_and_its_cookie() {
    let mut origins = ["one", "two", "three"].map(named);
    let rsp = before("sticky = \"app\", outlier = { eject = \"5m\" }", origins.each_ref());
    let mut client = rsp.client();
    let first = client.get("/");
    let old = cookie_of(&first).unwrap();
    let at = ["one", "two", "three"].iter().position(|name| *name == first.text()).unwrap();
    origins[at].stop();
    let moved = ask(&mut client, &format!("Cookie: {old}\r\n"));
    assert_ne!(moved.text(), first.text());
    let new = cookie_of(&moved).unwrap();
    assert_ne!(new, old);
    origins[at].restart();
    for _ in 0..5 {
        let stays = ask(&mut client, &format!("Cookie: {new}\r\n"));
        assert_eq!((stays.text(), cookie_of(&stays)), (moved.text(), None), "it stays, though the first is back");
    }
}

#[test]
fn a_cookie_outlives_a_reload_and_a_restart_and_the_secret_is_served_to_nobody() {
    let origins = ["one", "two", "three"].map(named);
    let [a, b, c] = origins.each_ref().map(Origin::address);
    let text = |list: &str| {
        format!(
            "listen \"127.0.0.1:$PORT\" local app = upstream \"app\" {{ {list}, sticky = \"app\", balance = \"hash\" }} \
             site \"*\" {{ [\"/*\"] = proxy(app), [\"/files/*\"] = files \".\" }}"
        )
    };
    let mut rsp = Rsp::config(&text(&format!("\"{a}\", \"{b}\""))).file("notes.txt", "notes").start();
    let first = rsp.client().get("/");
    let cookie = cookie_of(&first).unwrap();
    rsp.rewrite_config(&text(&format!("\"{c}\", \"{b}\", \"{a}\"")));
    assert_eq!(rsp.reload().code, Some(0));
    let again = ask(&mut rsp.client(), &format!("Cookie: {cookie}\r\n"));
    assert_eq!((again.text(), cookie_of(&again)), (first.text(), None));
    assert!(rsp.folder().join("site.lua.secret").exists());
    assert_eq!(rsp.client().get("/files/notes.txt").status, 200);
    assert_eq!(rsp.client().get("/files/site.lua.secret").status, 404);
    let secret = std::fs::read(rsp.folder().join("site.lua.secret")).unwrap();
    let text = text(&format!("\"{a}\", \"{b}\""));
    let other = Rsp::config(&text).file("site.lua.secret", &secret).start();
    let there = ask(&mut other.client(), &format!("Cookie: {cookie}\r\n"));
    assert_eq!((there.text(), cookie_of(&there)), (first.text(), None), "a restart with the same secret");
    let stranger = Rsp::config(&text).start();
    assert!(cookie_of(&ask(&mut stranger.client(), &format!("Cookie: {cookie}\r\n"))).is_some());
}

#[test]
fn a_secret_that_is_none_stops_the_start_and_a_reload_changes_nothing() {
    let origin = named("one");
    let text = "listen \"127.0.0.1:$PORT\" site \"*\" (proxy(upstream { \"$A\", sticky = \"app\" }))";
    let refused = Rsp::config(text).set("A", origin.address()).file("site.lua.secret", "short").run();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("`sticky` needs the secret in site.lua.secret"), "{}", refused.stderr);
    let mut rsp = Rsp::config("listen \"127.0.0.1:$PORT\" site \"*\" (reply(200, \"before\"))")
        .set("A", origin.address())
        .file("site.lua.secret", "short")
        .start();
    rsp.rewrite_config(text);
    assert_eq!(rsp.reload().code, Some(2));
    rsp.wait_for_line(SOON, |line| line.contains("needs the secret"));
    assert_eq!(rsp.client().get("/").text(), "before");
}
