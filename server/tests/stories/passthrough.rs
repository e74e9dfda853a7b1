//! Sites that are passed through unopened, chosen by the name in the first message.

use std::time::Duration;

use testkit::{Authority, Client, End, Haproxy, Listener, Nginx, Pattern, Rsp, RspBuilder, Signal, curl, eventually};

use super::SOON;

/// What Chromium begins with at c.example: post-quantum, with GREASE and an encrypted hello that is none.
const CHROMIUM: &[u8] = include_bytes!("../../../fuzz/seeds/client_hello/chromium");

/// rsp that passes c.example through to `$APP`; `more` are options of its upstream and other sites.
fn passing(options: &str, more: &str) -> RspBuilder {
    Rsp::config(&format!(
        "workers(1)\nlisten {{ \"127.0.0.1:$PORT\", tls = true }}\nupstream \"c\" {{ \"$APP\", {options} }}\n\
         site \"c.example\" {{ tls = passthrough \"c\" }}\n{more}\n"
    ))
}

/// A hello for a name, with padding; no name where that is empty.
fn hello(name: &str, padding: usize) -> Vec<u8> {
    let long = |content: &[u8]| [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat();
    let server_name = long(&[&[0][..], &long(name.as_bytes())].concat());
    let named = if name.is_empty() { vec![] } else { [&[0, 0][..], &long(&server_name)].concat() };
    let extensions = [named, vec![0, 21], long(&vec![0; padding])].concat();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &long(&extensions)].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    in_records(&[&[1], &length[1..], &body].concat(), 16 << 10)
}

fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    message.chunks(size).flat_map(record).collect()
}

/// Both ends of one connection behind these first bytes.
fn begun(rsp: &Rsp, server: &Listener, first: &[u8]) -> (Client, Client) {
    let mut client = rsp.client();
    client.send(first);
    let mut backend = server.accept();
    assert!(backend.read_exactly(first.len() as u64) == first, "the hello arrives as it was sent");
    (client, backend)
}

fn alert(description: u8) -> (Vec<u8>, End) {
    (vec![21, 3, 3, 0, 2, 2, description], End::Closed)
}

fn metric(rsp: &Rsp, name: &str) -> Option<f64> {
    let admin = format!("unix:{}", rsp.folder().join("site.lua.sock").display());
    let page = Client::connect(&admin).get("/metrics").text();
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// curl at this name, from this address, believing the authority.
fn ask(rsp: &Rsp, (name, from): (&str, &str), more: &[&str]) -> testkit::Output {
    let (url, resolve) = (format!("https://{name}:{}/", rsp.port()), format!("{name}:{}:127.0.0.1", rsp.port()));
    curl(&[&["--insecure", "--interface", from, "--resolve", &resolve, &url], more].concat())
}

#[test]
fn nginx_and_haproxy_that_have_the_key_see_the_client_and_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let signed = Authority::new().sign(&["c.example", "d.example"]);
    let (cert, key) = signed.write(folder.path(), "c");
    let both = folder.path().join("both.pem");
    std::fs::write(&both, format!("{}{}", signed.cert, signed.key)).unwrap();
    let nginx = Nginx::start(&format!(
        "server {{ listen 127.0.0.1:$PORT ssl proxy_protocol; ssl_certificate {}; ssl_certificate_key {};
         location / {{ return 200 \"nginx $proxy_protocol_addr $ssl_server_name\\n\"; }} }}",
        cert.display(),
        key.display()
    ));
    let haproxy = Haproxy::start(&format!(
        "frontend f\n  mode http\n  bind 127.0.0.1:$PORT accept-proxy ssl crt {}\n  http-request return status 200 \
         content-type text/plain lf-string \"haproxy %[src] %[fc_pp_authority]\\n\"\n",
        both.display()
    ));
    let rsp = passing(
        "proxy_protocol = \"v2\"",
        "upstream \"d\" { \"$HAPROXY\", proxy_protocol = \"v2\" }\nsite \"*.example\" { tls = passthrough \"d\" }\n\
         site \"here.example\" { tls = { cert = \"$CERT\", key = \"$KEY\" }, [\"/*\"] = reply(200, \"rsp\\n\") }",
    )
    .set("APP", nginx.address())
    .set("HAPROXY", haproxy.address())
    .set("CERT", cert.display())
    .set("KEY", key.display())
    .start();
    for from in ["127.0.0.5", "127.0.0.6"] {
        assert_eq!(ask(&rsp, ("c.example", from), &[]).text(), format!("nginx {from} c.example\n"));
        assert_eq!(ask(&rsp, ("d.example", from), &[]).text(), format!("haproxy {from} d.example\n"));
        assert_eq!(
            ask(&rsp, ("here.example", from), &["--http1.1"]).text(),
            "rsp\n",
            "and one is opened on the same port"
        );
    }
    let refused = ask(&rsp, ("nowhere.test", "127.0.0.5"), &[]);
    let limited = passing("", "limits { tunnels = 1 }").set("APP", "127.0.0.1:1").start();
    assert!(ask(&limited, ("c.example", "127.0.0.5"), &[]).code == Some(35), "no endpoint is an alert to curl, too");
    assert!(refused.code == Some(35) && refused.stderr.contains("unrecognized name"), "{}", refused.stderr);
}

#[test]
fn the_endpoint_is_told_the_name_and_what_the_client_offers_and_then_gets_every_byte() {
    let server = Listener::start();
    let rsp = passing("proxy_protocol = \"v2\"", "").set("APP", server.address()).start();
    let mut client = rsp.client();
    client.send(CHROMIUM);
    let mut backend = server.accept();
    let fixed = backend.read_exactly(16);
    assert_eq!(&fixed[..14], b"\r\n\r\n\0\r\nQUIT\n\x21\x11");
    let rest = backend.read_exactly(u64::from(u16::from_be_bytes([fixed[14], fixed[15]])));
    let fields = [&[2, 0, 9][..], b"c.example", &[1, 0, 12], b"\x02h2\x08http/1.1"].concat();
    assert_eq!(rest[12..], fields, "authority and ALPN behind the addresses");
    assert!(backend.read_exactly(CHROMIUM.len() as u64) == CHROMIUM);
}

#[test]
fn an_upstream_learns_of_tls_that_ended_here_and_whose_the_certificate_is() {
    let server = Listener::start();
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let ca = authority.write(folder.path());
    let (cert, key) = authority.sign(&["c.example"]).write(folder.path(), "c");
    let (own, own_key) = authority.sign_client("Ada").write(folder.path(), "ada");
    let config = "workers(1)\nlisten { \"127.0.0.1:$PORT\", tls = true }\n\
                  upstream \"app\" { \"$APP\", proxy_protocol = \"v2\" }\n\
                  site \"c.example\" { tls = { cert = \"$CERT\", key = \"$KEY\", client_ca = \"$CA\" }, [\"/*\"] = proxy \"app\" }";
    let rsp = Rsp::config(config).set("APP", server.address()).set("CERT", cert.display());
    let rsp = rsp.set("KEY", key.display()).set("CA", ca.display()).start();
    let asking = std::thread::spawn(move || {
        let (own, own_key) = (own.display().to_string(), own_key.display().to_string());
        ask(&rsp, ("c.example", "127.0.0.5"), &["--http1.1", "--cert", &own, "--key", &own_key]).text()
    });
    let mut backend = server.accept();
    let fixed = backend.read_exactly(16);
    let rest = backend.read_exactly(u64::from(u16::from_be_bytes([fixed[14], fixed[15]])));
    let tls = [&[0x20, 0, 21, 7, 0, 0, 0, 0, 0x21, 0, 7][..], b"TLSv1.3", &[0x22, 0, 3], b"Ada"].concat();
    assert_eq!(rest[..4], [127, 0, 0, 5]);
    assert_eq!(rest[12..], [&[2, 0, 9][..], b"c.example", &tls].concat());
    backend.read_head();
    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(asking.join().unwrap(), "ok");
}

#[test]
fn megabytes_go_both_ways_and_each_direction_ends_on_its_own() {
    let server = Listener::start();
    let rsp = passing("", "").set("APP", server.address()).start();
    let (mut client, mut backend) = begun(&rsp, &server, CHROMIUM);
    client.half_close();
    assert_eq!(backend.read_to_end(), (vec![], End::Closed), "an end behind the hello");
    let sender = std::thread::spawn(move || backend.send_pattern(&mut Pattern::new(), 20 << 20).unwrap());
    client.read_pattern(&mut Pattern::new(), 20 << 20);
    sender.join().unwrap();
    assert_eq!(client.read_to_end(), (vec![], End::Closed));
    let (mut client, mut backend) = begun(&rsp, &server, CHROMIUM);
    let sender = std::thread::spawn(move || {
        client.send_pattern(&mut Pattern::new(), 20 << 20).unwrap();
        client
    });
    backend.read_pattern(&mut Pattern::new(), 20 << 20);
    let client = sender.join().unwrap();
    client.reset();
    assert_eq!(backend.read_to_end(), (vec![], End::Cut), "a reset is no end");
}

#[test]
fn a_hello_in_single_bytes_and_in_small_records_finds_its_site() {
    let server = Listener::start();
    let rsp = passing("", "").set("APP", server.address()).start();
    let small = hello("C.Example", 60);
    let records = in_records(&small[5..], 7);
    for (bytes, piece) in [(&small, 1), (&records, 1), (&records, 11), (&hello("c.example.", 15_000), 5000)] {
        let mut client = rsp.client();
        client.send_in_pieces(bytes, piece, Duration::from_millis(1));
        let mut backend = server.accept();
        assert!(backend.read_exactly(bytes.len() as u64) == *bytes);
        backend.send("there");
        assert_eq!(client.read_exactly(5), b"there");
    }
}

#[test]
fn who_asks_for_nobody_here_gets_an_alert_unless_there_is_a_site_for_all() {
    let server = Listener::start();
    let only = passing("", "").set("APP", server.address()).start();
    let mut client = only.client();
    client.send(hello("d.example", 0));
    assert_eq!(client.read_to_end(), alert(112));
    let rsp = passing("", "site \"*\" { tls = passthrough \"$OTHER\" }").set("APP", "127.0.0.1:1");
    let rsp = rsp.set("OTHER", server.address()).start();
    for name in ["", "d.example", "127.0.0.1"] {
        begun(&rsp, &server, &hello(name, 0));
    }
}

#[test]
fn what_is_no_hello_gets_an_alert_and_what_comes_too_slowly_a_close() {
    let rsp = passing("", "limits { head_timeout = \"500ms\" }").set("APP", "127.0.0.1:1").start();
    let too_long = in_records(&[1, 0, 0x41, 0].repeat(5000), 16 << 10);
    let mut unknown = hello("c.example", 0);
    unknown[5] = 2;
    for (bytes, description) in [(too_long, 22), (unknown, 10), (hello("c..example", 0), 47)] {
        let mut client = rsp.client();
        client.send(&bytes);
        assert_eq!(client.read_to_end(), alert(description));
    }
    let mut slow = rsp.client();
    slow.send(&CHROMIUM[..1000]);
    let before = rsp.user_memory();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let mut client = rsp.client();
            client.send(&CHROMIUM[..1900]);
            client
        })
        .collect();
    assert_eq!(slow.read_to_end().0, b"");
    let each = rsp.user_memory().saturating_sub(before) / 100;
    assert!(each < 20 << 10, "{each} bytes a client that waits with its hello");
    drop(waiting);
    // A beginning, and then an end: known at once, not at the time-out.
    let patient = passing("", "").set("APP", "127.0.0.1:1").start();
    let mut half = patient.client();
    half.send(&CHROMIUM[..1000]);
    half.half_close();
    assert!(half.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn a_dead_endpoint_is_an_alert_and_one_that_dies_midway_a_reset() {
    let dead = Listener::start();
    let address = dead.address();
    drop(dead);
    let rsp = passing("", "").set("APP", &address).start();
    let mut client = rsp.client();
    client.send(CHROMIUM);
    assert_eq!(client.read_to_end(), alert(80));
    rsp.wait_for_line(SOON, |line| line.contains("does not go on to c"));
    let server = Listener::start();
    let rsp = passing("\"$DEAD\"", "").set("APP", server.address()).set("DEAD", &address).start();
    for _ in 0..4 {
        let (mut client, mut backend) = begun(&rsp, &server, CHROMIUM);
        backend.send("part");
        assert_eq!(client.read_exactly(4), b"part");
        backend.reset();
        assert_eq!(client.read_to_end(), (vec![], End::Cut));
    }
}

#[test]
fn clients_are_kept_on_an_endpoint_by_their_address() {
    let servers = [Listener::start(), Listener::start(), Listener::start()];
    let rsp = passing("\"$B\", \"$C\", balance = \"hash\"", "");
    let [a, b, c] = servers.each_ref().map(Listener::address);
    let rsp = rsp.set("APP", a).set("B", b).set("C", c).start();
    let mut reached = Vec::new();
    for _ in 0..6 {
        let mut client = rsp.client();
        client.send(CHROMIUM);
        eventually(SOON, || {
            let new = servers.iter().position(|server| server.try_accept().is_ok());
            reached.extend(new);
            new.is_some()
        });
        // One that is still counted as work of its endpoint would send the next one elsewhere.
        client.read_to_end();
    }
    assert!(reached.iter().all(|one| *one == reached[0]), "{reached:?}");
}

#[test]
fn two_hundred_at_once_keep_their_bytes_apart_and_hold_no_pipe_when_idle() {
    let server = Listener::start();
    let rsp = passing("", "").set("APP", server.address()).start();
    let mut all: Vec<_> = (0..200).map(|_| begun(&rsp, &server, CHROMIUM)).collect();
    for (n, (client, backend)) in all.iter_mut().enumerate() {
        let text = format!("{n:0>60000}");
        backend.send(&text);
        assert!(client.read_exactly(60_000) == text.as_bytes());
    }
    assert!(rsp.open_descriptors() < 460 + 2 * 64, "{}", rsp.open_descriptors());
    assert_eq!(metric(&rsp, "rsp_tunnels_open"), Some(200.0));
    drop(all);
    eventually(SOON, || metric(&rsp, "rsp_tunnels_open") == Some(0.0));
}

#[test]
fn a_thousand_reloads_keep_every_passage_and_no_memory() {
    let server = Listener::start();
    let mut rsp = passing("", "").set("APP", server.address()).start();
    let mut all: Vec<_> = (0..20).map(|_| begun(&rsp, &server, CHROMIUM)).collect();
    let text = |n: usize| {
        format!(
            "workers(1)\nlisten {{ \"127.0.0.1:$PORT\", tls = true }}\nupstream \"c\" {{ \"{}\" }}\n\
             site \"c.example\" {{ tls = passthrough \"c\" }}\nsite \"d{n}.example\" {{ tls = passthrough \"c\" }}\n",
            server.address()
        )
    };
    let mut reload = |times: usize| {
        for n in 0..times {
            rsp.rewrite_config(&text(n % 2));
            let mut admin = Client::connect(&format!("unix:{}", rsp.folder().join("site.lua.sock").display()));
            let answer = admin.request("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        (rsp.user_memory(), rsp.open_descriptors())
    };
    let (before, descriptors) = reload(200);
    let (after, descriptors_after) = reload(800);
    assert!(after < before + (4 << 20), "{before} bytes became {after}");
    assert!(descriptors_after <= descriptors + 2, "{descriptors} descriptors became {descriptors_after}");
    for (client, backend) in &mut all {
        client.send("ping");
        assert_eq!(backend.read_exactly(4), b"ping");
    }
}

#[test]
fn a_drain_and_an_upgrade_keep_what_is_open() {
    let server = Listener::start();
    let mut rsp = passing("", "drain \"20s\"").set("APP", server.address()).has_successors().start();
    let (mut client, mut backend) = begun(&rsp, &server, CHROMIUM);
    rsp.signal(Signal::USR2);
    rsp.wait_for_line(SOON, |line| line.contains("upgraded: process"));
    client.send("of the old");
    assert_eq!(backend.read_exactly(10), b"of the old");
    let (mut newer, mut other) = begun(&rsp, &server, CHROMIUM);
    other.send("of the new");
    assert_eq!(newer.read_exactly(10), b"of the new");
    // Whichever of them took it: the old one accepts to its last moment.
    drop((client, backend, newer, other));
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0), "the last passage was its last work");
}
