//! Reload and drain, with subscribers of every transport.

use std::time::{Duration, Instant};

use testkit::{EventStream, Message, Rsp, Signal, WebSocket, eventually};

use super::{
    SOON,
    channel::{channel, metric, publish, wait_for_subscribers},
};

const LINES: &str = "Accept: application/x-ndjson\r\n";
const OBJECTS: &str = "Sec-WebSocket-Protocol: rsp.json\r\n";

/// One subscriber of each transport.
struct Everybody {
    plain: WebSocket,
    objects: WebSocket,
    events: EventStream,
    lines: EventStream,
    poll: testkit::Client,
}

impl Everybody {
    fn subscribe(rsp: &Rsp) -> Self {
        let address = rsp.address();
        let mut all = Self {
            plain: WebSocket::open(&address, "/room"),
            objects: WebSocket::open_with(&address, "/room", OBJECTS),
            events: EventStream::open(&address, "/room"),
            lines: EventStream::open_with(&address, "/room", LINES),
            poll: rsp.client(),
        };
        assert_eq!(all.objects.object()["event"], "subscribed");
        assert_eq!(all.lines.object()["event"], "subscribed");
        all.poll.send("GET /room HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_for_subscribers(rsp, 5);
        all
    }

    fn hears(&mut self, text: &str) {
        assert_eq!(self.plain.text(), text);
        assert_eq!(self.objects.object()["data"], text);
        assert_eq!(self.events.told().1, text);
        assert_eq!(self.lines.object()["data"], text);
        assert_eq!(self.poll.read_response("GET").text(), text);
    }
}

#[test]
fn a_reload_is_noticed_by_no_subscriber_and_keeps_the_history() {
    for workers in [1, 2] {
        let config = channel("history = 10, poll_timeout = \"1m\"").workers(workers);
        let mut rsp = config.builder().start();
        let before = publish(&rsp, "before");
        let mut all = Everybody::subscribe(&rsp);
        for round in 0..3 {
            rsp.rewrite_config(&config.text().replace("history = 10", &format!("history = {}", 20 + round)));
            assert_eq!(rsp.reload().code, Some(0));
        }
        publish(&rsp, "after");
        all.hears("after");
        let mut back = EventStream::open(&rsp.address(), &format!("/room?since={before}"));
        assert_eq!(back.told().1, "after");
    }
}

#[test]
fn a_route_that_a_reload_removes_keeps_those_who_are_there() {
    let config = channel("history = 10, poll_timeout = \"1m\"");
    let mut rsp = config.builder().start();
    let mut all = Everybody::subscribe(&rsp);
    rsp.rewrite_config(&config.text().replace("/room", "/other"));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(rsp.client().get("/room").status, 404);
    let mut client = rsp.client();
    assert_eq!(client.request("POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").status, 201);
    all.hears("x");
}

#[test]
fn a_drain_sends_everybody_away_in_the_words_of_their_transport() {
    let mut rsp = channel("poll_timeout = \"1m\"").drain("4s").start();
    let Everybody { plain, objects, mut events, mut lines, mut poll } = Everybody::subscribe(&rsp);
    let began = Instant::now();
    rsp.signal(Signal::TERM);
    [plain, objects].into_iter().for_each(leaves);
    let last = events.next_event().map(|mut event| {
        // The first one said where it is.
        while event.retry.is_none() {
            event = events.next_event().expect("when to come back");
        }
        event.retry
    });
    assert!(last.flatten().is_some_and(|retry| (1_000..=2_000).contains(&retry)), "{last:?}");
    assert_eq!(events.next_event(), None, "a clean end");
    assert_eq!(lines.next_line(), None, "a clean end");
    assert_eq!(poll.read_response("GET").status, 204);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "nobody had to be cut");
}

#[test]
fn many_are_sent_away_one_after_the_other() {
    let mut rsp = channel("").drain("4s").start();
    let sockets: Vec<_> = (0..50).map(|_| WebSocket::open(&rsp.address(), "/room")).collect();
    wait_for_subscribers(&rsp, 50);
    let began = Instant::now();
    rsp.signal(Signal::TERM);
    sockets.into_iter().for_each(leaves);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "nobody had to be cut");
}

/// It is told to come back, agrees, and ends when the server did.
fn leaves(mut socket: WebSocket) {
    assert!(matches!(socket.read(), Message::Close(1012, _)));
    socket.close(1012);
}

#[test]
fn whoever_does_not_read_its_goodbye_holds_up_no_drain() {
    let mut rsp = channel("slow = \"latest\"").drain("20s").start();
    let mut deaf = WebSocket::open(&rsp.address(), "/room");
    deaf.client().socket().set_receive_buffer(32 << 10).unwrap();
    wait_for_subscribers(&rsp, 1);
    let large = "x".repeat(60_000);
    eventually(SOON, || {
        publish(&rsp, &large);
        metric(&rsp, "rsp_channel_dropped_total") > 0
    });
    let began = Instant::now();
    rsp.signal(Signal::TERM);
    assert_eq!(rsp.wait_exit(Duration::from_secs(25)).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(12), "it took {:?}", began.elapsed());
}
