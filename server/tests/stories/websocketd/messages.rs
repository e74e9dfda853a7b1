//! What is a message, in both directions, and how it all ends.

use std::{fs, time::Instant};

use testkit::{Message, eventually};

use super::{Beside, Starter, all_messages, beside};
use crate::SOON;

fn texts(lines: &[&str]) -> Vec<Message> {
    lines.iter().map(|line| Message::Text((*line).to_owned())).collect()
}

/// What both say before the end, which is left out: rsp closes with 1000, websocketd just ends the connection.
#[track_caller]
fn heard(both: &Beside) -> [Vec<Message>; 2] {
    let [mut ours, mut theirs] = both.hear("/");
    assert_eq!(ours.pop(), Some(Message::Close(1000, String::new())));
    assert!(matches!(theirs.pop(), Some(Message::Close(..) | Message::Cut)));
    [ours, theirs]
}

#[test]
fn a_line_is_a_message_without_its_end() {
    for (printed, lines) in [
        ("one\\ntwo\\n", &["one", "two"][..]),
        ("dos\\r\\n\\r\\nunix\\n\\n", &["dos", "", "unix", ""]),
        (" kept \\t\\n\\r\\r\\nin\\rside\\n", &[" kept \t", "\r", "in\rside"]),
        ("said\\nunterminated", &["said"]),
        ("nothing whole", &[]),
        ("", &[]),
        ("a\\000b\\n", &["a\0b"]),
        ("\\303\\251\\n", &["é"]),
    ] {
        let [ours, theirs] = heard(&beside(&["printf", printed]));
        assert_eq!(ours, texts(lines), "{printed:?}");
        assert_eq!(ours, theirs, "{printed:?}");
    }
}

#[test]
fn a_line_arrives_while_the_program_goes_on() {
    let both = beside(&["sh", "-c", "echo first; cat"]);
    for mut socket in both.open("/") {
        assert_eq!(socket.text(), "first");
        socket.send("more");
        assert_eq!(socket.text(), "more");
    }
}

#[test]
fn a_message_is_a_line_for_the_program() {
    let both = beside(&["cat"]);
    let [ours, theirs] = both.open("/").map(|mut socket| {
        for text in ["one", "", "two\nlines", "carriage\r", "é", &"long".repeat(20_000), "last"] {
            socket.send(text);
        }
        let mut said = Vec::new();
        while said.last().is_none_or(|last| last != "last") {
            said.push(socket.text());
        }
        said
    });
    assert_eq!(ours[..6], ["one", "", "two", "lines", "carriage", "é"]);
    assert_eq!(ours, theirs);
}

#[test]
fn raw_bytes_go_both_ways_as_they_are() {
    let both = Starter::new().start(&["--binary", "cat"]);
    let sent: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let [ours, theirs] = both.open("/").map(|mut socket| {
        socket.send_binary(b"");
        socket.send_binary(&sent);
        let mut came = Vec::new();
        while came.len() < sent.len() {
            match socket.read() {
                Message::Binary(bytes) => came.extend(bytes),
                other => panic!("{other:?} in place of bytes"),
            }
        }
        came
    });
    assert!(ours == sent && ours == theirs);
}

#[test]
fn a_program_that_ends_ends_the_connection_after_all_it_said() {
    let many = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exit 3";
    let [ours, theirs] = heard(&beside(&["sh", "-c", many]));
    assert_eq!(ours.len(), 2000);
    assert_eq!(ours, theirs);
}

#[test]
fn a_close_is_answered_with_its_code() {
    let both = beside(&["cat"]);
    for code in [1000, 1001, 4321] {
        let [ours, theirs] = both.open("/").map(|mut socket| {
            socket.close(code);
            all_messages(&mut socket)
        });
        assert_eq!(ours, [Message::Close(code, String::new())]);
        assert_eq!(ours, theirs);
    }
}

/// Writes down when its input ended and when each signal came, in milliseconds since the former; stays until it is killed.
const STUBBORN: &str = "#!/usr/bin/env python3
import os, signal, sys, time
began = None
def note(what):
    global began
    began = began or time.monotonic()
    with open('%s.%d' % (sys.argv[0], os.getpid()), 'a') as steps:
        steps.write('%s %d\\n' % (what, 1000 * (time.monotonic() - began)))
for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(one, lambda number, _: note(signal.Signals(number).name))
print(os.getpid(), flush=True)
sys.stdin.read()
note('end')
while True:
    time.sleep(1)
";

/// The steps and their times; at the end it is gone.
fn ladder(both: &Beside, which: usize) -> Vec<(String, u64)> {
    let mut sockets = both.open("/");
    let id = sockets[which].text();
    let begun = Instant::now();
    drop(sockets);
    eventually(SOON, || !fs::exists(format!("/proc/{id}")).unwrap());
    let gone = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let steps = fs::read_to_string(both.path().join(format!("stubborn.{id}"))).unwrap();
    let steps = steps.lines().filter_map(|line| line.split_once(' '));
    let steps = steps.map(|(what, at)| (what.to_owned(), at.parse().unwrap()));
    steps.chain([("gone".to_owned(), gone)]).collect()
}

#[test]
fn a_program_that_does_not_end_is_asked_three_times_and_killed() {
    for (flag, more) in [("--closems=0", 0), ("--closems=150", 150)] {
        let both = Starter::new().program("stubborn", STUBBORN).start(&[flag, "$HERE/stubborn"]);
        for (who, steps) in [("rsp", ladder(&both, 0)), ("websocketd", ladder(&both, 1))] {
            let names: Vec<&str> = steps.iter().map(|(what, _)| what.as_str()).collect();
            assert_eq!(names, ["end", "SIGINT", "SIGTERM", "gone"], "{who}");
            let mut due = 0;
            for (step, wait) in steps[1..].iter().zip([100, 250, 500]) {
                due += wait + more;
                // It begins to count when it is told that its input has ended, which a busy machine may put off.
                assert!(step.1 + 60 >= due && step.1 < due + 1500, "{who}: {steps:?}, {step:?} was due at {due}");
            }
        }
    }
}

#[test]
fn a_program_that_ends_with_its_input_is_sent_no_signal() {
    let polite = "#!/bin/sh\ntrap 'echo INT >> $0.$$' INT\necho $$\ncat > /dev/null\necho bye >> $0.$$\n";
    let both = Starter::new().program("polite", polite).start(&["$HERE/polite"]);
    for mut socket in both.open("/") {
        let id = socket.text();
        drop(socket);
        eventually(SOON, || !fs::exists(format!("/proc/{id}")).unwrap());
        assert_eq!(fs::read_to_string(both.path().join(format!("polite.{id}"))).unwrap(), "bye\n");
    }
}
