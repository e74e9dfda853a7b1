//! `rsp demo` as a visitor meets it: with a browser, with curl's means, and with servers that stop in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod chat;
mod programs;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use testkit::{Chromium, Client, Rsp, curl, eventually};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_page_goes_on_in_a_browser_while_a_server_is_stopped() {
    let demo = demo();
    let visit = Chromium::visit(&demo.url("/"), &steps(include_str!("visit.js")));
    assert_eq!(visit.value["failed"], "0", "{}", visit.value);
    assert_eq!((visit.console, visit.errors), (vec![], vec![]));
    let [before, after] = ["before", "after"].map(|key| visit.value[key].clone());
    let grown = |name: &str| after[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    assert!(grown("one") >= 5 && grown("three") >= 5, "{}", visit.value);
    // An answer may have been on its way when the switch was used.
    assert!(grown("two") <= 1, "{}", visit.value);
}

#[test]
fn the_page_fits_a_phone_and_obeys_the_keyboard_in_a_browser() {
    let demo = demo();
    let visit = Chromium::visit(&demo.url("/"), &steps(include_str!("phone.js")));
    assert_eq!(visit.errors, Vec::<String>::new());
    assert_eq!(visit.value["width"], 390, "nothing is wider than the screen");
    let word = visit.value["word"].as_str().unwrap();
    assert!(word.contains("All three are stopped") && word.contains("502"), "{word}");
}

#[test]
fn a_stopped_server_gets_nothing_and_a_started_one_its_share() {
    let demo = demo();
    let mut client = demo.client();
    eventually(SOON, || answerers(&mut client) == names(&["one", "two", "three"]));
    switch(&demo, "2/stop");
    assert_eq!(answerers(&mut client), names(&["one", "three"]));
    switch(&demo, "2/stop");
    assert_eq!(answerers(&mut client), names(&["one", "three"]));
    switch(&demo, "2/start");
    switch(&demo, "2/start");
    eventually(SOON, || answerers(&mut client) == names(&["one", "two", "three"]));
}

#[test]
fn no_request_fails_while_servers_stop_and_start() {
    let demo = demo();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..3).map(|_| scope.spawn(|| requests_until(&demo, &done))).collect();
        for number in [1, 2, 3, 1, 2, 3] {
            switch(&demo, &format!("{number}/stop"));
            let mut client = demo.client();
            (0..20).for_each(|_| assert_eq!(client.get("/hello").status, 200));
            switch(&demo, &format!("{number}/start"));
        }
        done.store(true, Ordering::Release);
        let served: usize = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
        assert!(served > 0);
    });
}

#[test]
fn with_all_three_stopped_the_answer_is_502_until_one_is_back() {
    let demo = demo();
    ["1/stop", "2/stop", "3/stop"].iter().for_each(|path| switch(&demo, path));
    assert_eq!(demo.client().get("/hello").status, 502);
    switch(&demo, "3/start");
    eventually(SOON, || demo.client().get("/hello").status == 200);
}

#[test]
fn the_config_is_shown_as_it_runs_and_other_paths_are_404() {
    let demo = demo();
    let config = demo.client().get("/demo/config").text();
    assert!(config.contains(&format!("listen \"{}\"", demo.address())) && !config.contains("\"$"), "{config}");
    for path in ["/demo/upstreams/0/stop", "/demo/upstreams/4/stop", "/demo/upstreams/1/explode", "/demo/"] {
        assert_eq!(post(&demo, path), 404, "{path}");
    }
    assert_eq!(demo.client().get("/elsewhere").status, 404);
}

#[test]
fn the_address_to_open_is_printed_and_ctrl_c_ends_it() {
    let mut demo = demo();
    let url = demo.url("/");
    demo.wait_for_line(SOON, |line| line.contains(&format!("Open {url}")));
    demo.signal(testkit::Signal::INT);
    assert_eq!(demo.wait_exit(SOON).code(), Some(0));
}

#[test]
fn all_of_it_is_there_by_tls_too_in_a_browser_and_its_certificate_is_gone_at_the_end() {
    let mut demo = demo();
    let line = demo.wait_for_line(SOON, |line| line.contains("Open https://"));
    let url = line.split_whitespace().nth(1).unwrap().to_owned();
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let hello = format!("{url}hello");
        let output = curl(&["--insecure", flag, "-w", "%{http_version}", &hello]);
        assert!(output.text().starts_with("Hello from ") && output.text().ends_with(version), "{}", output.text());
    }
    let plain = Chromium::visit(&demo.url("/"), &steps(include_str!("secured.js")));
    assert_eq!((plain.errors, &plain.value["link"]), (vec![], &serde_json::Value::from(url.as_str())));
    assert_eq!(plain.value["protocol"], "h2");
    assert_eq!(plain.value["curl"], format!("curl --insecure {url}hello"));
    assert!(plain.value["answered"].as_u64().unwrap() > 3, "{}", plain.value);
    assert_eq!(plain.value["said"], "Hello! What is your name?");
    let config = demo.client().get("/demo/config").text();
    let key = config.split("key = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(std::fs::exists(key).unwrap());
    demo.signal(testkit::Signal::INT);
    assert_eq!(demo.wait_exit(SOON).code(), Some(0));
    assert!(!std::fs::exists(std::path::Path::new(key).parent().unwrap()).unwrap());
}

fn demo() -> Rsp {
    Rsp::command(&["demo", "--listen", "127.0.0.1:$PORT"]).start()
}

/// Pictures go where cargo keeps what tests leave behind.
fn steps(script: &str) -> String {
    script.replace("$PICTURES", env!("CARGO_TARGET_TMPDIR"))
}

/// Who answered twelve requests.
fn answerers(client: &mut Client) -> BTreeSet<String> {
    let ask = |_| {
        let answer = client.get("/hello");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-upstream").expect("who answered").to_owned()
    };
    (0..12).map(ask).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn requests_until(demo: &Rsp, done: &AtomicBool) -> usize {
    let mut client = demo.client();
    let mut served = 0;
    while !done.load(Ordering::Acquire) {
        let answer = client.get("/hello");
        assert_eq!(answer.status, 200, "{}", answer.text());
        served += 1;
    }
    served
}

fn switch(demo: &Rsp, path: &str) {
    assert_eq!(post(demo, &format!("/demo/upstreams/{path}")), 200, "{path}");
}

fn post(demo: &Rsp, path: &str) -> u16 {
    demo.client().request(&format!("POST {path} HTTP/1.1\r\nHost: demo\r\nContent-Length: 0\r\n\r\n")).status
}
