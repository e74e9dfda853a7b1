//! A slow reader stops its writer: little memory, and not a byte lost.

use std::time::{Duration, Instant};

use testkit::{Answer, Gate, Origin, Pattern, Rsp, Step};

use super::{SOON, proxy};

/// Far more than every buffer of both kernels can hold.
const LARGE: u64 = 64 << 20;
/// What one stalled transfer may cost: one buffer in use, and the pages of its connection's state.
const USER_MEMORY_MAX: u64 = 128 << 10;

#[test]
fn a_client_that_reads_a_byte_a_second_costs_little_and_gets_every_byte_in_order() {
    let origin = Origin::start(|_| Answer::pattern(LARGE));
    let rsp = proxy(&origin);
    warm_up(&rsp);
    let before = rsp.user_memory();
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    let mut pattern = Pattern::new();
    client.read_slowly(&mut pattern, 1, Duration::from_secs(4));
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < USER_MEMORY_MAX, "{grown} bytes for one slow reader");
    let left = LARGE - pattern.position();
    client.read_pattern(&mut pattern, left);
    assert_eq!(pattern.position(), LARGE);
}

#[test]
fn many_slow_readers_cost_little_each() {
    // So many that the allocator's huge pages don't count for much.
    const READERS: u64 = 48;
    let origin = Origin::start(|_| Answer::pattern(LARGE));
    let rsp = proxy(&origin);
    warm_up(&rsp);
    let before = rsp.user_memory();
    let mut clients: Vec<_> = (0..READERS).map(|_| rsp.client()).collect();
    for client in &mut clients {
        client.socket().set_receive_buffer(4096).unwrap();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        client.read_head();
        client.read_slowly(&mut Pattern::new(), 100, Duration::from_millis(20));
    }
    let each = rsp.user_memory().saturating_sub(before) / READERS;
    assert!(each < USER_MEMORY_MAX, "{each} bytes for each slow reader");
}

#[test]
fn a_slow_upstream_stops_a_fast_uploader_and_gets_every_byte_in_order() {
    let gate = Gate::new();
    let waits = gate.clone();
    let origin = Origin::start(move |request| match request.method.as_str() {
        "GET" => Answer::pattern(LARGE),
        _ => Answer(vec![Step::ReadSome(10), Step::Pass(waits.clone()), Step::ReadBody])
            .then(Step::Write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".into())),
    });
    let rsp = proxy(&origin);
    warm_up(&rsp);
    let before = rsp.user_memory();
    let mut client = rsp.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    let sending = client.socket().share().unwrap();
    let sender = std::thread::spawn(move || {
        let begun = Instant::now();
        std::io::Write::write_all(&mut &sending, &Pattern::bytes(LARGE as usize)).map(|()| begun.elapsed())
    });
    origin.wait_for_heads(1, SOON);
    let stalled_until = Instant::now() + Duration::from_secs(2);
    let mut most = 0;
    testkit::eventually(SOON, || {
        most = most.max(rsp.user_memory());
        Instant::now() > stalled_until
    });
    assert!(!sender.is_finished(), "64 MiB went into buffers");
    let grown = most.saturating_sub(before);
    assert!(grown < USER_MEMORY_MAX, "{grown} bytes for one slow upstream");
    gate.open();
    sender.join().unwrap().unwrap();
    assert_eq!(client.read_response("POST").text(), "ok");
    let received = origin.received().pop().unwrap();
    assert!(received.body_is_pattern && received.body_length == LARGE);
}

/// One exchange of each kind, so that what is allocated once is not counted.
fn warm_up(rsp: &Rsp) {
    let mut client = rsp.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head();
    client.read_pattern(&mut Pattern::new(), LARGE);
}

#[test]
fn a_storm_of_clients_that_break_off_leaves_nothing_behind() {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/large" => Answer::pattern(LARGE),
        "/never" => Answer::never(),
        "/chat" => Answer::upgrade("websocket"),
        _ => Answer::echo(),
    });
    let rsp = proxy(&origin);
    assert_eq!(rsp.client().get("/").status, 200);
    testkit::eventually(SOON, || origin.connections_open() == 1);
    let before = rsp.open_descriptors();
    let begun = [
        "GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /never HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n",
        "GET / HTTP/1.1\r\nHos",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /large HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
    ];
    for round in 0..10 {
        let mut clients: Vec<_> = begun.iter().map(|_| rsp.client()).collect();
        clients.iter_mut().zip(begun).for_each(|(client, bytes)| client.send(bytes));
        // Each of the first seven reaches the origin but the one without a whole head.
        origin.wait_for_heads(1 + (round + 1) * 6, SOON);
        clients.into_iter().for_each(testkit::Client::reset);
        assert_eq!(rsp.client().get("/").status, 200);
    }
    testkit::eventually(SOON, || origin.connections_open() <= 1 + begun.len());
    testkit::eventually(SOON, || rsp.open_descriptors() <= before + origin.connections_open());
    let mut client = rsp.client();
    (0..10).for_each(|_| assert_eq!(client.get("/").status, 200));
}
