//! The programs of `rsp demo`, in a browser and from a shell.

use testkit::{Chromium, EventStream, WebSocket};

use super::{SOON, demo, steps};

#[test]
fn the_clock_and_the_greeter_talk_in_a_browser() {
    let demo = demo();
    let visit = Chromium::visit(&demo.url("/programs"), &steps(include_str!("programs.js")));
    assert_eq!((visit.errors, visit.console), (vec![], vec![]));
    let value = visit.value;
    let attack = value["attack"].as_str().unwrap();
    let greeting = value["greeting"].as_str().unwrap();
    assert!(greeting.starts_with(&format!("Nice to meet you, {attack}. ")), "{greeting}");
    assert_eq!((&value["foreign"], &value["width"]), (&0.into(), &390.into()));
    let config = value["config"].as_str().unwrap();
    assert!(config.starts_with("-- Programs") && config.contains("while date; do sleep 1; done"), "{config}");
}

#[test]
fn the_front_page_links_the_programs_and_the_shell_meets_them() {
    let demo = demo();
    assert!(demo.client().get("/").text().contains("href=\"/programs\""));
    demo.wait_for_line(SOON, |line| line.contains(&format!("Open {}", demo.url("/programs"))));
    let mut greeter = WebSocket::open(&demo.address(), "/programs/greeter");
    assert_eq!(greeter.text(), "Hello! What is your name?");
    greeter.send("Ann");
    assert!(greeter.text().starts_with("Nice to meet you, Ann."));
    let mut clock = EventStream::open(&demo.address(), "/programs/clock");
    let mut next = || loop {
        let event = clock.next_event().expect("the clock goes on");
        if event.name.is_none() {
            return event.data.expect("a time");
        }
    };
    assert_ne!(next(), next());
}
