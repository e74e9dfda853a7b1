//! Who may pass by name and password: right and wrong ones, files that change, and floods of guesses.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use testkit::{Client, Origin, Response, Rsp, RspBuilder, curl, eventually, htpasswd};

use super::{SOON, front};

/// `secret`, by argon2id with 256 KiB and two passes.
const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
/// What the hash above is of.
const ARGON2_PASSWORD: &str = "password";

/// rsp that lets the users of `htpasswd` through to `handler`.
fn guarded(handler: &str, users: &str) -> RspBuilder {
    front("", &format!("{{ auth {{ basic = \"./htpasswd\" }}, {handler} }}")).file("htpasswd", users)
}

fn basic(name: &str, password: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
}

#[track_caller]
fn get_with(client: &mut Client, fields: &str) -> Response {
    client.request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

fn counted(rsp: &Rsp, result: &str) -> f64 {
    let admin = format!("unix:{}", rsp.folder().join("site.lua.sock").display());
    let page = Client::connect(&admin).get("/metrics").text();
    let name = format!("rsp_auth_total{{result=\"{result}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn curl_passes_with_the_right_password_and_is_asked_for_one_otherwise() {
    let origin = Origin::replying("inside");
    let users = htpasswd(&["-B", "-C", "5"], "alice", "open sesame");
    let rsp = guarded("proxy \"$ORIGIN\"", &users).set("ORIGIN", origin.address()).start();
    let url = rsp.url("/");
    assert_eq!(curl(&["--user", "alice:open sesame", &url]).text(), "inside");
    let sent = origin.received()[0].header("authorization").map(str::to_owned);
    assert_eq!(sent.as_deref(), Some("Basic YWxpY2U6b3BlbiBzZXNhbWU="), "it goes on to the upstream");
    for user in ["alice:open", "alice:", "Alice:open sesame", "bob:open sesame", ":"] {
        let answer = curl(&["--include", "--user", user, &url]).text();
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized"), "{user}: {answer}");
        assert!(answer.contains("www-authenticate: Basic realm=\"*\", charset=\"UTF-8\""), "{user}: {answer}");
        assert!(answer.contains("401 Unauthorized\nrequest "), "{user}: {answer}");
    }
    assert_eq!(origin.received().len(), 1, "nobody else came through");
}

#[test]
fn whatever_is_no_credentials_is_401() {
    let rsp = guarded("reply(200)", &htpasswd(&["-B", "-C", "4"], "alice", "a")).start();
    let mut client = rsp.client();
    let right = basic("alice", "a");
    assert_eq!(get_with(&mut client, &right).status, 200);
    for wrong in [
        String::new(),
        "Authorization:\r\n".to_owned(),
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Basic !!!\r\n".to_owned(),
        "Authorization: Basic YWxpY2U\r\n".to_owned(),
        "Authorization: Bearer YWxpY2U6YQ==\r\n".to_owned(),
        basic("alice", &"a".repeat(4000)),
        basic("alice", "a\0"),
        format!("{right}{right}"),
        format!("Proxy-{right}"),
    ] {
        assert_eq!(get_with(&mut client, &wrong).status, 401, "{wrong}");
    }
}

#[test]
fn names_and_passwords_are_utf8_and_a_password_may_hold_colons() {
    let users = [("älice", "grüße"), ("bob", "a:b:"), ("carol", "")];
    let file: String = users.iter().map(|(name, password)| htpasswd(&["-B", "-C", "4"], name, password)).collect();
    let rsp = guarded("reply(200)", &format!("{file}dave:{ARGON2}\r\n# eve\n")).start();
    for (name, password) in users.into_iter().chain([("dave", ARGON2_PASSWORD)]) {
        assert_eq!(get_with(&mut rsp.client(), &basic(name, password)).status, 200, "{name}");
        assert_eq!(get_with(&mut rsp.client(), &basic(name, "another")).status, 401, "{name}");
    }
}

#[test]
fn users_may_stand_in_the_config_and_the_log_says_who_it_was() {
    let log = "log { format = \"json\" }";
    let rsp = front(log, &format!("{{ auth {{ basic = {{ [\"al ice\"] = \"{ARGON2}\" }} }}, reply(200) }}")).start();
    assert_eq!(get_with(&mut rsp.client(), &basic("al ice", ARGON2_PASSWORD)).status, 200);
    rsp.wait_for_line(SOON, |line| line.contains("\"status\":200") && line.contains("\"user\":\"al ice\""));
    assert_eq!(get_with(&mut rsp.client(), &basic("al ice", "wrong")).status, 401);
    let line = rsp.wait_for_line(SOON, |line| line.contains("\"status\":401"));
    assert!(!line.contains("\"user\""), "who is not known is nobody: {line}");
    assert!(line.contains("\"fault\":\"unauthorized\""), "{line}");
}

#[test]
fn a_password_that_was_right_is_not_checked_again_until_the_file_says_another() {
    let users = |password| htpasswd(&["-B", "-C", "5"], "alice", password);
    let rsp = guarded("reply(200)", &users("old")).start();
    for _ in 0..5 {
        assert_eq!(get_with(&mut rsp.client(), &basic("alice", "old")).status, 200);
    }
    assert_eq!((counted(&rsp, "passed"), counted(&rsp, "cached")), (1.0, 4.0));
    std::fs::write(rsp.folder().join("htpasswd"), users("new")).unwrap();
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(get_with(&mut rsp.client(), &basic("alice", "old")).status, 401);
    assert_eq!(get_with(&mut rsp.client(), &basic("alice", "new")).status, 200);
    std::fs::write(rsp.folder().join("htpasswd"), htpasswd(&["-m"], "alice", "weak")).unwrap();
    let refused = rsp.reload();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("htpasswd:1: `alice` has a hash that is too weak: MD5"), "{}", refused.stderr);
    assert_eq!(get_with(&mut rsp.client(), &basic("alice", "new")).status, 200, "nothing has changed");
}

#[test]
fn a_name_that_nobody_has_is_checked_like_a_wrong_password() {
    let rsp = guarded("reply(200)", &htpasswd(&["-B", "-C", "11"], "alice", "a")).start();
    let took = |name: &str, password: &str| {
        let begun = Instant::now();
        assert_eq!(get_with(&mut rsp.client(), &basic(name, password)).status, 401);
        begun.elapsed()
    };
    // One check takes some 100 ms on purpose; an answer without one comes within a millisecond.
    for name in ["alice", "mallory"] {
        let least = (0..5).map(|number| took(name, &number.to_string())).min().unwrap();
        assert!(least > Duration::from_millis(20), "{name}: {least:?}");
    }
    // Nor does the password of whoever stands in for a name that nobody has let anybody pass.
    assert!(took("mallory", "a") > Duration::from_millis(20));
}

#[test]
fn more_guesses_than_may_wait_are_503_with_retry_after() {
    let rsp = guarded("reply(200)", &htpasswd(&["-B", "-C", "9"], "alice", "a")).start();
    let mut clients: Vec<_> = (0..96).map(|_| rsp.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", basic("alice", &number.to_string())));
    }
    // Those that found no room are told at once, while the others still wait. Which ones these are the workers settle.
    eventually(SOON, || counted(&rsp, "full") >= 14.0);
    let answers: Vec<_> = clients.iter_mut().map(|client| client.read_response("GET")).collect();
    let (checked, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
    // How many come to their turn in time depends on the machine.
    assert!(!checked.is_empty() && refused.len() >= 14, "{} checked, {} refused", checked.len(), refused.len());
    for answer in refused {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
}

/// Keeps up a flood of guesses with `attackers` connections while `meanwhile` runs; how many were answered.
fn flooded(rsp: &Rsp, attackers: usize, meanwhile: impl FnOnce()) -> usize {
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for attacker in 0..attackers {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                let mut client = rsp.client();
                for guess in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let status = get_with(&mut client, &basic("alice", &format!("{attacker} {guess}"))).status;
                    assert!(matches!(status, 401 | 503), "{status}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually(SOON, || answered.load(Ordering::Relaxed) > attackers);
        meanwhile();
        over.store(true, Ordering::Relaxed);
    });
    answered.load(Ordering::Relaxed)
}

#[test]
fn a_flood_of_guesses_holds_up_neither_those_who_are_known_nor_other_sites_under_load() {
    let text = "workers(1)\nlisten \"127.0.0.1:$PORT\"\n\
                site \"open\" (reply(200))\nsite \"*\" { auth { basic = \"./htpasswd\" }, reply(200) }";
    // A check takes longer than every bound below: on the worker, one of them would be felt.
    let rsp = Rsp::config(text).file("htpasswd", htpasswd(&["-B", "-C", "12"], "alice", "right")).start();
    assert_eq!(get_with(&mut rsp.client(), &basic("alice", "right")).status, 200);
    let mut times = Vec::new();
    let guesses = flooded(&rsp, 40, || {
        let (mut known, mut open) = (rsp.client(), rsp.client());
        for _ in 0..300 {
            let begun = Instant::now();
            assert_eq!(get_with(&mut known, &basic("alice", "right")).status, 200);
            assert_eq!(open.request("GET / HTTP/1.1\r\nHost: open\r\n\r\n").status, 200);
            times.push(begun.elapsed());
        }
    });
    times.sort();
    println!("{guesses} guesses; two requests: median {:?}, p99 {:?}", times[150], times[297]);
    assert!(times[297] < Duration::from_millis(100), "p99 of two requests under a flood: {:?}", times[297]);
}
