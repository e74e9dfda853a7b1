//! Stories of clients that do not get as far as a request: they are told why, cost little, and keep nobody waiting.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use testkit::{Authority, Client, End, Rsp, eventually};

use super::{
    SOON,
    tls::{metric, s_client, with},
};

/// One site with TLS; `statements` stand before it.
fn start(statements: &str) -> Rsp {
    let config = format!(
        "workers(1) listen {{ \"127.0.0.1:$PORT\", tls = true }}\n{statements}\n\
         site \"a.test\" {{ tls = {{ cert = \"a.pem\", key = \"a.key\" }}, [\"/*\"] = reply(200, \"here\") }}\n"
    );
    with(Rsp::config(&config), &Authority::new(), "a", &["a.test"]).start()
}

/// The first message of a client that asks for the site.
fn hello() -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "a.test".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn is_served(rsp: &Rsp) -> bool {
    s_client(rsp, "a.test", &["-servername", "a.test"]).text().contains("\r\n\r\nhere")
}

#[test]
fn what_is_no_tls_gets_an_alert_and_a_close() {
    let rsp = start("");
    let version = |mut hello: Vec<u8>| {
        // Its version, and the list of those that it offers.
        let at = hello.windows(5).position(|five| five == [0, 0x2b, 0, 5, 4]).unwrap();
        hello[at + 5..at + 9].copy_from_slice(&[3, 1, 3, 2]);
        hello
    };
    for (said, alert) in [
        (b"\0\x01\x02nonsense".to_vec(), 10),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), 10),
        // Data before any handshake.
        (b"\x17\x03\x03\0\x05hello".to_vec(), 10),
        (version(hello()), 70),
    ] {
        let mut client = rsp.client();
        client.send(&said);
        let (got, end) = client.read_to_end();
        assert_eq!((&got[..], end), (&[21, 3, 3, 0, 2, 2, alert][..], End::Closed), "{said:?}");
    }
    assert!(is_served(&rsp));
    assert_eq!(metric(&rsp, "rsp_tls_handshakes_total{result=\"malformed\",version=\"\"}"), 3);
}

#[test]
fn a_hello_of_one_byte_at_a_time_ends_with_the_time_of_a_head() {
    let rsp = start("limits { head_timeout = \"1s\" }");
    let mut client = rsp.client();
    let began = std::time::Instant::now();
    for byte in hello().chunks(1).take(40) {
        if client.try_send(byte).is_err() || client.is_closed_within(Duration::from_millis(100)) {
            break;
        }
    }
    assert!(client.is_closed_within(SOON));
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    // The same for who goes silent behind the hello.
    let mut client = rsp.client();
    client.send(hello());
    assert!(!client.read_to_end().0.is_empty());
    assert_eq!(metric(&rsp, "rsp_tls_handshakes_total{result=\"late\",version=\"\"}"), 2);
}

/// User memory of each of these connections, which say this and then nothing, in bytes.
fn cost(rsp: &Rsp, count: usize, said: &[u8], answered: bool) -> u64 {
    let open = || {
        let mut client = rsp.client();
        client.send(said);
        if answered {
            client.read_exactly(100);
        }
        client
    };
    // What is made once, for whoever comes first, is theirs.
    let first: Vec<Client> = (0..count / 4).map(|_| open()).collect();
    eventually(SOON, || rsp.user_memory() > 0);
    let before = rsp.user_memory();
    let clients: Vec<Client> = (0..count).map(|_| open()).collect();
    assert!(is_served(rsp), "all of them were accepted before");
    let cost = rsp.user_memory().saturating_sub(before) / count as u64;
    drop((first, clients));
    cost
}

#[test]
fn a_client_that_waits_in_its_handshake_costs_little() {
    let rsp = start("limits { head_timeout = \"60s\" }");
    let hello = hello();
    let truncated = cost(&rsp, 1000, &hello[..hello.len() - 1], false);
    assert!(truncated <= 20 << 10, "{truncated} bytes with half a hello");
    let silent = cost(&rsp, 1000, &hello, true);
    assert!(silent <= 20 << 10, "{silent} bytes behind a hello");
    println!("{truncated} bytes with half a hello, {silent} behind it");
}

#[test]
fn clients_in_a_handshake_count_as_connections_of_their_own() {
    let rsp = start("limits { connections_per_client = 3 }");
    let clients: Vec<Client> = (0..3).map(|_| rsp.client()).collect();
    let mut one_more = rsp.client();
    let (got, _) = one_more.read_to_end();
    assert!(got.is_empty() || got == [21, 3, 3, 0, 2, 2, 80], "{got:?}");
    drop(clients);
    eventually(SOON, || is_served(&rsp));
}

#[test]
fn a_drain_does_not_wait_for_handshakes() {
    let mut rsp = start("limits { head_timeout = \"60s\" } drain \"50s\"");
    let mut silent = rsp.client();
    let mut half = rsp.client();
    half.send(&hello()[..100]);
    let mut unanswering = rsp.client();
    unanswering.send(hello());
    unanswering.read_exactly(100);
    let began = std::time::Instant::now();
    assert_eq!(rsp.stop().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10));
    for client in [&mut silent, &mut half] {
        assert!(client.is_closed_within(SOON));
    }
    unanswering.read_to_end();
}

#[test]
fn who_goes_away_in_a_handshake_is_forgotten() {
    let rsp = start("");
    for _ in 0..50 {
        let mut client = rsp.client();
        client.send(hello());
        client.reset();
        let mut client = rsp.client();
        client.send(&hello()[..70]);
        client.half_close();
        assert!(client.is_closed_within(SOON));
    }
    eventually(SOON, || metric(&rsp, "rsp_tls_handshakes_total{result=\"gone\",version=\"\"}") == 100);
    assert!(is_served(&rsp));
}

#[test]
fn a_header_of_the_proxy_protocol_and_a_handshake_have_one_time_together() {
    let config = "workers(1) limits { head_timeout = \"2s\" } trust \"127.0.0.1\"\n\
                  listen { \"127.0.0.1:$PORT\", tls = true, proxy_protocol = true }\n\
                  site \"a.test\" { tls = { cert = \"a.pem\", key = \"a.key\" }, [\"/*\"] = reply(200, \"here\") }\n";
    let rsp = with(Rsp::config(config), &Authority::new(), "a", &["a.test"]).start();
    let mut client = rsp.client();
    let begun = Instant::now();
    client.send("PROXY TCP4 1.2.3.4 ");
    eventually(SOON, || begun.elapsed() > Duration::from_millis(1500));
    client.send("5.6.7.8 1 2\r\n");
    client.send(&hello()[..50]);
    client.read_to_end();
    assert!(begun.elapsed() < Duration::from_millis(3300), "{:?}", begun.elapsed());
}

#[test]
fn what_comes_behind_a_failed_handshake_is_not_taken_without_end() {
    let rsp = start("");
    let mut client = rsp.client();
    client.send(hello());
    // A finish that is none.
    client.send(b"\x16\x03\x03\0\x05xxxxx");
    let sent = (0..10_000).take_while(|_| client.try_send([0x17; 1 << 16]).is_ok()).count();
    // What the kernel has room for comes on top of what is let go.
    assert!(sent < 400, "{sent} times 64 KiB");
}
