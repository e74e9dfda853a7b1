//! A subscriber that stops reading costs its queue, and nobody waits for it.

use std::time::{Duration, Instant};

use testkit::{EventStream, Message, Rsp, WebSocket, eventually};

use super::{
    SOON,
    channel::{channel, metric, publish, wait_for_subscribers},
};

/// Bytes of a message; so many of them fill every buffer on the way, and the queue.
const LARGE: usize = 32 << 10;
const MANY: usize = 300;

/// A socket that reads nothing, whose kernel takes little.
fn deaf(rsp: &Rsp) -> WebSocket {
    let mut socket = WebSocket::open(&rsp.address(), "/room");
    socket.client().socket().set_receive_buffer(32 << 10).unwrap();
    socket
}

/// A message that tells its number.
fn numbered(number: usize) -> String {
    format!("{number:06}{}", "x".repeat(LARGE - 6))
}

/// Publishes many; somebody who reads gets all of them at once, whatever the others do.
fn flood(rsp: &Rsp, reader: &mut WebSocket) {
    for number in 0..MANY {
        publish(rsp, &numbered(number));
        let began = Instant::now();
        assert_eq!(reader.text()[..6], format!("{number:06}"));
        assert!(began.elapsed() < Duration::from_secs(2), "a slow subscriber delays the others");
    }
}

/// It reads at last.
fn listen(slow: &mut WebSocket) {
    slow.client().socket().set_receive_buffer(4 << 20).unwrap();
}

/// The numbers of everything that a socket has still to read, and how it ended.
fn drained(socket: &mut WebSocket) -> (Vec<usize>, Message) {
    let mut numbers = Vec::new();
    loop {
        match socket.read() {
            Message::Text(text) => numbers.push(text[..6].parse().unwrap()),
            end => return (numbers, end),
        }
    }
}

#[test]
fn a_slow_subscriber_costs_its_queue_and_is_disconnected_when_that_is_full() {
    let rsp = channel("queue_max = \"256KiB\"").start();
    let (mut slow, mut reader) = (deaf(&rsp), WebSocket::open(&rsp.address(), "/room"));
    wait_for_subscribers(&rsp, 2);
    let before = rsp.user_memory();
    flood(&rsp, &mut reader);
    eventually(SOON, || metric(&rsp, "rsp_channel_slow_total") == 1);
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 6 << 20, "{grown} bytes more, and 10 MB went through");
    listen(&mut slow);
    let (numbers, end) = drained(&mut slow);
    assert!(numbers.len() < MANY && numbers.iter().copied().eq(0..numbers.len()), "{numbers:?}");
    assert!(matches!(end, Message::Close(1013, _) | Message::Cut), "{end:?}");
    wait_for_subscribers(&rsp, 1);
    assert_eq!(metric(&rsp, "rsp_channel_dropped_total"), 0);
}

#[test]
fn a_subscriber_that_may_miss_the_oldest_stays_and_gets_the_latest() {
    let rsp = channel("queue_max = \"256KiB\", slow = \"drop_oldest\"").start();
    let (mut slow, mut reader) = (deaf(&rsp), WebSocket::open(&rsp.address(), "/room"));
    wait_for_subscribers(&rsp, 2);
    flood(&rsp, &mut reader);
    publish(&rsp, &numbered(MANY));
    assert!(metric(&rsp, "rsp_channel_dropped_total") > 0);
    listen(&mut slow);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&MANY) {
        numbers.push(slow.text()[..6].parse::<usize>().unwrap());
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let missed = MANY as u64 + 1 - numbers.len() as u64;
    assert_eq!(missed, metric(&rsp, "rsp_channel_dropped_total"));
    assert_eq!(metric(&rsp, "rsp_channel_slow_total"), 0);
    let end = &numbers[numbers.len() - 7..];
    assert!(end.windows(2).all(|pair| pair[0] + 1 == pair[1]), "the queue holds the latest ones: {end:?}");
}

#[test]
fn a_subscriber_that_wants_the_latest_only_gets_it_next() {
    let rsp = channel("queue_max = \"256KiB\", slow = \"latest\"").start();
    let (mut slow, mut reader) = (deaf(&rsp), WebSocket::open(&rsp.address(), "/room"));
    wait_for_subscribers(&rsp, 2);
    flood(&rsp, &mut reader);
    listen(&mut slow);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(MANY - 1)) {
        numbers.push(slow.text()[..6].parse::<usize>().unwrap());
    }
    assert!(numbers.len() < MANY);
    assert_eq!(metric(&rsp, "rsp_channel_slow_total"), 0);
    publish(&rsp, &numbered(MANY));
    assert_eq!(slow.text()[..6], format!("{MANY:06}"), "it is still there");
}

#[test]
fn a_slow_stream_is_cut_so_that_its_end_is_no_clean_one() {
    let rsp = channel("history = 1000, queue_max = \"256KiB\"").start();
    let mut slow = EventStream::open(&rsp.address(), "/room");
    slow.client().socket().set_receive_buffer(32 << 10).unwrap();
    let mut reader = WebSocket::open(&rsp.address(), "/room");
    wait_for_subscribers(&rsp, 2);
    flood(&rsp, &mut reader);
    wait_for_subscribers(&rsp, 1);
    slow.client().socket().set_receive_buffer(4 << 20).unwrap();
    let end = loop {
        match slow.try_next_line() {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "a clean end would say that there is no more: {end:?}");
}

#[test]
fn a_message_larger_than_the_queue_is_still_missed_or_heard_as_a_whole() {
    for slow in ["latest", "drop_oldest"] {
        let rsp = channel(&format!("queue_max = \"4KiB\", slow = \"{slow}\"")).start();
        let (mut slow, mut reader) = (deaf(&rsp), WebSocket::open(&rsp.address(), "/room"));
        wait_for_subscribers(&rsp, 2);
        let large = |number: usize| format!("{number:06}{}", "x".repeat(20_000 - 6));
        for number in 0..MANY {
            publish(&rsp, &large(number));
            assert_eq!(reader.text()[..6], format!("{number:06}"));
        }
        assert!(metric(&rsp, "rsp_channel_dropped_total") > 0);
        listen(&mut slow);
        let mut numbers = Vec::new();
        while numbers.last() != Some(&(MANY - 1)) {
            let text = slow.text();
            assert_eq!(text.len(), 20_000);
            numbers.push(text[..6].parse::<usize>().unwrap());
        }
        assert!(numbers.len() < MANY && numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        publish(&rsp, &large(MANY));
        assert_eq!(slow.text()[..6], format!("{MANY:06}"), "it is still there");
        assert_eq!(metric(&rsp, "rsp_channel_slow_total"), 0);
    }
}
