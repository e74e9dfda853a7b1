//! Listeners whose connections all go through a tunnel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use testkit::{
    Client, End, Haproxy, Listener, Nginx, Pattern, Redis, Rsp, RspBuilder, Signal, Socket, curl, eventually,
};

use super::SOON;

/// rsp whose one listener is a tunnel to `$APP`.
fn tunnel(options: &str) -> RspBuilder {
    Rsp::config(&format!(
        "workers(1)\nupstream \"app\" {{ \"$APP\", {options} }}\nlisten {{ \"127.0.0.1:$PORT\", tcp = tunnel \"app\" }}\n"
    ))
}

/// Both ends of one connection through a tunnel.
fn ends(rsp: &Rsp, server: &Listener) -> (Client, Client) {
    (rsp.client(), server.accept())
}

fn metric(rsp: &Rsp, name: &str) -> Option<f64> {
    let admin = format!("unix:{}", rsp.folder().join("site.lua.sock").display());
    let page = Client::connect(&admin).get("/metrics").text();
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// A pattern of this length both ways at once, with an end of each direction behind it.
fn exchange(client: Client, server: Client, length: u64) {
    let talk = |mut end: Client| {
        std::thread::spawn(move || {
            let writing = end.socket().share().unwrap();
            let mut writer = Client::over(writing).unwrap();
            let sender = std::thread::spawn(move || {
                writer.send_pattern(&mut Pattern::new(), length).unwrap();
                writer.half_close();
            });
            end.read_pattern(&mut Pattern::new(), length);
            sender.join().unwrap();
            assert_eq!(end.read_to_end(), (vec![], End::Closed));
        })
    };
    let both = [talk(client), talk(server)];
    both.into_iter().for_each(|end| end.join().unwrap());
}

#[test]
fn a_server_may_speak_first_and_any_bytes_go_both_ways() {
    let server = Listener::start();
    let rsp = tunnel("").set("APP", server.address()).start();
    let (mut client, mut backend) = ends(&rsp, &server);
    backend.send("220 mail.example\r\n");
    assert_eq!(client.read_exactly(18), b"220 mail.example\r\n");
    for bytes in ["EHLO a\r\n", "\0\x01\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n"] {
        client.send(bytes);
        assert_eq!(backend.read_exactly(bytes.len() as u64), bytes.as_bytes());
    }
    assert_eq!(metric(&rsp, "rsp_tunnels_open"), Some(1.0));
    client.half_close();
    assert_eq!(backend.read_to_end(), (vec![], End::Closed));
    backend.send("221 bye\r\n");
    drop(backend);
    assert_eq!(client.read_to_end(), (b"221 bye\r\n".to_vec(), End::Closed));
    eventually(SOON, || metric(&rsp, "rsp_tunnels_open") == Some(0.0));
    let bytes = "rsp_bytes_total{site=\"\",upstream=\"app\",direction=\"out\"}";
    eventually(SOON, || metric(&rsp, bytes) == Some(27.0));
}

#[test]
fn megabytes_both_ways_at_once_arrive_intact_and_end_on_their_own() {
    let server = Listener::start();
    let rsp = tunnel("").set("APP", server.address()).start();
    for length in [0, 1, 4095, 16 << 10, 100_000, 20 << 20] {
        let (client, backend) = ends(&rsp, &server);
        exchange(client, backend, length);
    }
    eventually(SOON, || metric(&rsp, "rsp_tunnels_open") == Some(0.0));
}

#[test]
fn two_hundred_at_once_get_their_own_bytes() {
    let server = Listener::start();
    let rsp = tunnel("").set("APP", server.address()).start();
    let all: Vec<_> = (0..200).map(|_| ends(&rsp, &server)).collect();
    let descriptors = rsp.open_descriptors();
    assert!(descriptors < 450, "an idle tunnel has two sockets and no pipe: {descriptors}");
    let busy: Vec<_> = all
        .into_iter()
        .map(|(client, backend)| std::thread::spawn(move || exchange(client, backend, 300_000)))
        .collect();
    busy.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn a_reset_of_either_side_is_a_reset_to_the_other() {
    let server = Listener::start();
    let rsp = tunnel("").set("APP", server.address()).start();
    let (mut client, mut backend) = ends(&rsp, &server);
    client.send("ping");
    assert_eq!(backend.read_exactly(4), b"ping");
    client.reset();
    assert_eq!(backend.read_to_end(), (vec![], End::Cut));
    let (mut client, mut backend) = ends(&rsp, &server);
    backend.send("part of an ans");
    assert_eq!(client.read_exactly(14), b"part of an ans");
    backend.reset();
    assert_eq!(client.read_to_end(), (vec![], End::Cut));
}

#[test]
fn who_reads_nothing_stops_the_writer_and_costs_no_more_than_a_pipe() {
    let server = Listener::start();
    let rsp = tunnel("").set("APP", server.address()).start();
    let (mut client, mut backend) = ends(&rsp, &server);
    backend.send("x");
    client.read_exactly(1);
    let before = rsp.user_memory();
    let mut writing = Client::over(backend.socket().share().unwrap()).unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let writer = std::thread::spawn(move || {
        let mut pattern = Pattern::new();
        for _ in 0..64 {
            writing.send_pattern(&mut pattern, 1 << 20).unwrap();
            counted.store(pattern.position(), Ordering::Relaxed);
        }
        writing.half_close();
    });
    // The sockets' buffers fill up, and then nothing moves.
    let (mut seen, mut same) = (0, 0);
    eventually(SOON, || {
        let now = sent.load(Ordering::Relaxed);
        same = if now == seen { same + 1 } else { 0 };
        seen = now;
        same == 20
    });
    assert!(!writer.is_finished(), "64 MiB went to a client that reads nothing");
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes");
    client.read_pattern(&mut Pattern::new(), 64 << 20);
    writer.join().unwrap();
    assert_eq!(client.read_to_end(), (vec![], End::Closed));
}

#[test]
fn a_dead_endpoint_is_passed_over_and_ejected() {
    let (alive, dead) = (Listener::start(), Listener::start());
    let dead_address = dead.address();
    drop(dead);
    let rsp = tunnel("\"$DEAD\"").set("APP", alive.address()).set("DEAD", &dead_address).start();
    for _ in 0..6 {
        let (mut client, mut backend) = ends(&rsp, &alive);
        client.send("hello");
        assert_eq!(backend.read_exactly(5), b"hello");
    }
    rsp.wait_for_line(SOON, |line| line.contains("ejected"));
    let failures = format!("rsp_connect_failures_total{{upstream=\"app\",endpoint=\"{dead_address}\"}}");
    assert_eq!(metric(&rsp, &failures), Some(1.0));
}

#[test]
fn where_every_endpoint_is_dead_the_connection_is_closed_and_the_operator_told() {
    let dead = Listener::start();
    let address = dead.address();
    drop(dead);
    let rsp = tunnel("").set("APP", &address).start();
    let mut client = rsp.client();
    assert!(client.is_closed_within(SOON));
    rsp.wait_for_line(SOON, |line| line.contains("does not go on to app") && line.contains("connect"));
}

#[test]
fn a_full_upstream_lets_connections_wait_or_closes_them() {
    let server = Listener::start();
    let options = "max_connections = 1, queue = { size = 1, timeout = \"20s\" }";
    let rsp = tunnel(options).set("APP", server.address()).start();
    let (first, held) = ends(&rsp, &server);
    let mut second = rsp.client();
    eventually(SOON, || metric(&rsp, "rsp_queued{upstream=\"app\"}") == Some(1.0));
    assert!(rsp.client().is_closed_within(SOON), "no room in the line");
    drop((first, held));
    let mut backend = server.accept();
    second.send("my turn");
    assert_eq!(backend.read_exactly(7), b"my turn");
}

#[test]
fn silence_cuts_a_tunnel_only_where_the_config_says_so() {
    let server = Listener::start();
    let config = "workers(1)\nlisten { \"127.0.0.1:$PORT\", tcp = tunnel { \"$APP\", idle_timeout = \"300ms\" } }\n\
                  listen { \"127.0.0.1:$PORT2\", tcp = tunnel \"$APP\" }\nlimits { idle_timeout = \"100ms\" }\n";
    let rsp = Rsp::config(config).set("APP", server.address()).start();
    let (mut client, mut backend) = ends(&rsp, &server);
    for _ in 0..5 {
        client.send_in_pieces("a", 1, Duration::from_millis(100));
        assert_eq!(backend.read_exactly(1), b"a");
    }
    assert!(client.is_closed_within(SOON));
    assert_eq!(backend.read_to_end(), (vec![], End::Cut), "a cut is no end");
    let mut patient = Client::connect(&format!("127.0.0.1:{}", rsp.port_of(2)));
    let mut backend = server.accept();
    assert!(!patient.is_closed_within(Duration::from_secs(1)));
    backend.send("still");
    assert_eq!(patient.read_exactly(5), b"still");
}

#[test]
fn limits_of_tunnels_and_of_a_client_hold_without_a_word_of_http() {
    let server = Listener::start();
    for limit in ["tunnels = 1", "connections_per_client = 1", "connections = 1"] {
        let config =
            format!("limits {{ {limit} }}\nworkers(1)\nlisten {{ \"127.0.0.1:$PORT\", tcp = tunnel \"$APP\" }}\n");
        let rsp = Rsp::config(&config).set("APP", server.address()).start();
        let (first, held) = ends(&rsp, &server);
        eventually(SOON, || metric(&rsp, "rsp_tunnels_open") == Some(1.0));
        assert_eq!(rsp.client().read_to_end().0, b"", "{limit}");
        drop((first, held));
        eventually(SOON, || metric(&rsp, "rsp_tunnels_open") == Some(0.0));
        let (mut third, mut backend) = ends(&rsp, &server);
        third.send("x");
        assert_eq!(backend.read_exactly(1), b"x", "{limit}");
    }
}

#[test]
fn unix_sockets_do_on_either_side() {
    let config = "workers(1)\nlisten { \"127.0.0.1:$PORT\", tcp = tunnel \"unix:$DIR/app.sock\" }\n\
                  listen { \"unix:$DIR/front.sock\", tcp = tunnel \"unix:$DIR/app.sock\" }\n";
    let rsp = Rsp::config(config).start();
    let server = Listener::start_unix(&rsp.folder().join("app.sock"));
    let (client, backend) = ends(&rsp, &server);
    exchange(client, backend, 3 << 20);
    let front = Client::connect(&format!("unix:{}", rsp.folder().join("front.sock").display()));
    exchange(front, server.accept(), 3 << 20);
}

#[test]
fn redis_and_its_clients_talk_through_a_tunnel() {
    let redis = Redis::start();
    let rsp = tunnel("").set("APP", redis.address()).start();
    let mut client = rsp.client();
    client.send("PING\r\n");
    assert_eq!(client.read_exactly(7), b"+PONG\r\n");
    let value = "x".repeat(1 << 20);
    client.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", value.len()));
    assert_eq!(client.read_exactly(5), b"+OK\r\n");
    assert_eq!(client.read_exactly(10 + (1 << 20)), format!("$1048576\r\n{value}").as_bytes());
}

#[test]
fn the_proxy_protocol_comes_in_from_haproxy_and_goes_out_to_nginx() {
    let nginx = Nginx::start(
        "server { listen 127.0.0.1:$PORT proxy_protocol;
         location / { return 200 \"$proxy_protocol_addr $proxy_protocol_server_port\\n\"; } }",
    );
    for version in ["v1", "v2"] {
        let config = format!(
            "workers(1)\ntrust \"127.0.0.1\"\nupstream \"app\" {{ \"$APP\", proxy_protocol = \"{version}\" }}\n\
             listen {{ \"127.0.0.1:$PORT\", proxy_protocol = true, tcp = tunnel \"app\" }}\n"
        );
        let rsp = Rsp::config(&config).set("APP", nginx.address()).start();
        let haproxy = Haproxy::start(&format!(
            "listen front\n  mode tcp\n  bind 127.0.0.1:$PORT\n  server rsp {} send-proxy-v2\n",
            rsp.address()
        ));
        let answer = curl(&["--interface", "127.0.0.9", &format!("http://{}/", haproxy.address())]);
        let port = haproxy.address().rsplit_once(':').unwrap().1.to_owned();
        assert_eq!(answer.text(), format!("127.0.0.9 {port}\n"), "{version}");
    }
}

#[test]
fn a_drain_waits_for_tunnels_and_cuts_them_at_its_end() {
    let server = Listener::start();
    let config = "drain \"1s\"\nworkers(1)\nlisten { \"127.0.0.1:$PORT\", tcp = tunnel \"$APP\" }\n";
    let mut rsp = Rsp::config(config).set("APP", server.address()).start();
    let (mut client, mut backend) = ends(&rsp, &server);
    rsp.signal(Signal::TERM);
    rsp.wait_for_line(SOON, |line| line.contains("drain"));
    client.send("still here");
    assert_eq!(backend.read_exactly(10), b"still here");
    assert!(client.is_closed_within(SOON));
    assert!(rsp.find_exit(SOON).is_some_and(|status| status.success()));
}

#[test]
fn reloads_leave_open_tunnels_alone_and_send_new_ones_to_the_new_upstream() {
    let (old, new) = (Listener::start(), Listener::start());
    let text = |server: &Listener| {
        format!("workers(1)\nlisten {{ \"127.0.0.1:$PORT\", tcp = tunnel \"{}\" }}\n", server.address())
    };
    let mut rsp = Rsp::config(&text(&old)).start();
    let (mut client, mut backend) = ends(&rsp, &old);
    rsp.rewrite_config(&text(&new));
    let output = rsp.reload();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let (mut second, mut other) = ends(&rsp, &new);
    for (client, backend) in [(&mut client, &mut backend), (&mut second, &mut other)] {
        client.send("ping");
        assert_eq!(backend.read_exactly(4), b"ping");
    }
}

#[test]
fn urgent_data_is_no_end_of_what_a_tunnel_moves() {
    let server = Listener::start();
    let rsp = tunnel("").set("APP", server.address()).start();
    for towards_server in [true, false] {
        let (client, backend) = ends(&rsp, &server);
        let (mut writer, mut reader) = if towards_server { (client, backend) } else { (backend, client) };
        let writing = std::thread::spawn(move || {
            let Ok(Socket::Tcp(urgent)) = writer.socket().share() else { panic!("by TCP") };
            for _ in 0..4 {
                writer.send(vec![b'x'; 300_000]);
                rustix::net::send(&urgent, b"!", rustix::net::SendFlags::OOB).unwrap();
            }
            writer.send(vec![b'x'; 300_000]);
            writer.half_close();
            writer
        });
        let (got, end) = reader.read_to_end();
        assert_eq!((got.len(), end), (1_500_004, End::Closed), "towards the server: {towards_server}");
        assert_eq!(got.iter().filter(|byte| **byte == b'!').count(), 4);
        drop(writing.join().unwrap());
    }
}
