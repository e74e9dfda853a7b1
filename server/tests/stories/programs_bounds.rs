//! Stories of programs and clients that say much: what arrives, and where it ends.

use std::{iter, thread};

use testkit::{Message, WebSocket, eventually};

use super::{SOON, front};

/// Bytes of a message by default.
const MESSAGE_MAX: usize = 1 << 20;

/// Looks, 5 ms apart.
const LOOKS: usize = 60;

#[test]
fn ten_mebibytes_of_lines_come_back_whole_while_more_are_sent() {
    let rsp = front("", "exec \"cat\"").start();
    let mut ws = WebSocket::open(&rsp.address(), "/");
    let lines = |count: usize| (0..count).map(|number| format!("{number}:{}", "x".repeat(number * 37 % 40_000)));
    let count = 1100;
    assert!(lines(count).map(|line| line.len()).sum::<usize>() > 10 << 20);
    let mut hand = ws.sender();
    let sending = thread::spawn(move || lines(count).try_for_each(|line| hand.send(&line)));
    for line in lines(count) {
        let heard = ws.text();
        assert!(heard == line, "{} bytes for {}", heard.len(), line.len());
    }
    sending.join().unwrap().unwrap();
}

#[test]
fn ten_mebibytes_of_any_bytes_come_back_whole_without_framing() {
    let rsp = front("", "exec { \"cat\", framing = \"raw\" }").start();
    let mut ws = WebSocket::open(&rsp.address(), "/");
    let bytes: Vec<u8> = (0..10 << 20).map(|number: u32| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut hand, sent) = (ws.sender(), bytes.clone());
    let sending = thread::spawn(move || sent.chunks(100_000).try_for_each(|part| hand.send_binary(part)));
    let mut heard = Vec::new();
    while heard.len() < bytes.len() {
        match ws.read() {
            Message::Binary(part) => heard.extend(part),
            other => panic!("{other:?} after {} bytes", heard.len()),
        }
    }
    assert!(heard == bytes);
    sending.join().unwrap().unwrap();
}

#[test]
fn a_line_may_be_as_long_as_line_max_and_one_byte_more_is_1009() {
    let rsp =
        front("", "exec { \"sh\", \"-c\", \"head -c $QUERY_STRING /dev/zero | tr '\\\\0' x; echo; cat\" }").start();
    let mut ws = WebSocket::open(&rsp.address(), &format!("/?{MESSAGE_MAX}"));
    assert_eq!(ws.text().len(), MESSAGE_MAX);
    ws.send("and on");
    assert_eq!(ws.text(), "and on");
    let mut ws = WebSocket::open(&rsp.address(), &format!("/?{}", MESSAGE_MAX + 1));
    assert!(matches!(ws.read(), Message::Close(1009, _)));
}

#[test]
fn a_message_may_be_as_long_as_message_max_and_one_byte_more_is_1009() {
    let rsp = front("", "exec { \"wc\", \"-L\" }").start();
    let rsp_with_echo = front("", "exec { \"cat\", line_max = \"2MiB\" }").start();
    let mut ws = WebSocket::open(&rsp_with_echo.address(), "/");
    ws.send(&"x".repeat(MESSAGE_MAX));
    assert_eq!(ws.text().len(), MESSAGE_MAX);
    let mut ws = WebSocket::open(&rsp.address(), "/");
    let mut hand = ws.sender();
    // It may be refused before it is out.
    let sending = thread::spawn(move || hand.send(&"x".repeat(MESSAGE_MAX + 1)));
    assert!(matches!(ws.read(), Message::Close(1009, _)));
    let _ = sending.join().unwrap();
}

#[test]
fn a_program_that_prints_faster_than_its_client_reads_waits_and_costs_one_buffer() {
    let script = "yes 'a line of some length, so that it is soon too much for every buffer on the way' | head -c 200000000 | \
                  tee progress";
    let rsp = front("", &format!("exec {{ \"sh\", \"-c\", [[{script}]] }}")).start();
    let before = rsp.user_memory();
    let mut ws = WebSocket::open(&rsp.address(), "/");
    let progress = || std::fs::metadata(rsp.folder().join("progress")).map_or(0, |file| file.len());
    // It has come to a stop when nothing moved for so many looks.
    let (mut last, mut same) = (0, 0);
    eventually(SOON, || {
        let now = progress();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        now > 0 && same > LOOKS
    });
    assert!(progress() < 50_000_000, "{} bytes on their way", progress());
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    // It goes on as fast as it is read.
    let at = progress();
    eventually(SOON, || {
        (0..5000).for_each(|_| drop(ws.text()));
        progress() > at + 1_000_000
    });
}

#[test]
fn a_client_that_sends_faster_than_the_program_reads_is_not_read() {
    let rsp = front("", "exec { \"sh\", \"-c\", \"echo ready; exec sleep 60\" }").start();
    let mut ws = WebSocket::open(&rsp.address(), "/");
    assert_eq!(ws.text(), "ready");
    let before = rsp.user_memory();
    let line = "x".repeat(10_000);
    ws.client().socket().set_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let mut hand = ws.sender();
    let sent = iter::repeat_with(|| hand.send(&line)).take(5000).take_while(Result::is_ok).count();
    assert!(sent < 5000, "50 MB were taken");
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
}
