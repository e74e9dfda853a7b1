//! Endpoints that are names: what DNS says of them now.

use std::net::IpAddr;

use testkit::{Answer, Gate, NameServer, Origin, Record, Rsp, Step, eventually};

use super::{SOON, front};

fn at(ip: &str) -> Record {
    Record::Address(ip.parse::<IpAddr>().unwrap())
}

/// Two origins on one port of two addresses, and the port.
fn two() -> (Origin, Origin, u16) {
    let first = Origin::replying("first");
    let port: u16 = first.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let second = Origin::replying_at(&format!("127.0.0.2:{port}"), "second");
    (first, second, port)
}

fn before(names: &NameServer, endpoints: &str) -> Rsp {
    let statements = format!("resolver \"{}\"\nlocal app = upstream \"app\" {{ {endpoints} }}", names.address());
    front(&statements, "proxy(app)").start()
}

#[test]
fn a_name_is_followed_to_another_address() {
    let (_first, _second, port) = two();
    let names = NameServer::start();
    names.tell("app.test", 1, [at("127.0.0.1")]);
    let rsp = before(&names, &format!("\"app.test:{port}\""));
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "first");
    names.tell("app.test", 1, [at("127.0.0.2")]);
    eventually(SOON, || client.get("/").text() == "second");
}

#[test]
fn what_is_known_stands_while_name_servers_say_nothing_or_no() {
    let (_first, _second, port) = two();
    let names = NameServer::start();
    names.tell("app.test", 1, [at("127.0.0.1")]);
    let rsp = before(&names, &format!("\"app.test:{port}\", keepalive = 0"));
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "first");
    // It exists, and has no address.
    names.tell("app.test", 1, []);
    let asked = names.asked("app.test");
    eventually(SOON, || {
        assert_eq!(client.get("/").text(), "first");
        names.asked("app.test") > asked
    });
    assert_eq!(client.get("/").text(), "first");
    names.be_silent(true);
    assert_eq!(client.get("/").text(), "first");
}

#[test]
fn an_unknown_name_is_502_until_it_is_known() {
    let (_first, _second, port) = two();
    let names = NameServer::start();
    let rsp = before(&names, &format!("\"app.test:{port}\", outlier = {{ eject = \"100ms\", eject_max = \"100ms\" }}"));
    let mut client = rsp.client();
    assert_eq!(client.get("/").status, 502);
    names.tell("app.test", 60, [at("127.0.0.1")]);
    eventually(SOON, || client.get("/").text() == "first");
}

#[test]
fn every_address_of_a_name_is_an_endpoint() {
    let (first, second, port) = two();
    let names = NameServer::start();
    names.tell("app.test", 60, [at("127.0.0.1"), at("127.0.0.2")]);
    let rsp = front(
        &format!("resolver \"{}\"\nlocal app = upstream \"app\" {{ \"app.test:{port}\" }}", names.address()),
        "proxy { app, host = \"upstream\" }",
    )
    .start();
    let mut client = rsp.client();
    eventually(SOON, || [client.get("/").text(), client.get("/").text()].contains(&"second".to_owned()));
    let before = (first.received().len(), second.received().len());
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!((first.received().len() - before.0, second.received().len() - before.1), (10, 10));
    let host = format!("app.test:{port}");
    assert_eq!(second.received()[0].header("host"), Some(host.as_str()));
    let status = rsp.control(&["status", "--json", "site.lua"]).text();
    assert!(status.contains(&format!("127.0.0.2:{port}")), "{status}");
}

#[test]
fn a_service_record_states_ports_shares_and_backups() {
    let [mut much, mut little, backup] = ["much", "little", "backup"].map(Origin::replying);
    let names = NameServer::start();
    names.tell("here.test", 60, [at("127.0.0.1")]);
    let service = |origin: &Origin, priority, weight| {
        let port = origin.address().rsplit_once(':').unwrap().1.parse().unwrap();
        Record::Service(priority, weight, port, "here.test".to_owned())
    };
    names.tell("_http._tcp.app.test", 60, [service(&much, 1, 3), service(&little, 1, 1), service(&backup, 2, 1)]);
    let rsp = before(&names, "\"srv:_http._tcp.app.test\"");
    let mut client = rsp.client();
    assert_eq!(client.get("/").status, 200);
    eventually(SOON, || client.get("/").text() == "little");
    let before = (much.received().len(), little.received().len());
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    assert_eq!((much.received().len() - before.0, little.received().len() - before.1), (15, 5));
    assert_eq!(backup.received().len(), 0);
    much.stop();
    little.stop();
    eventually(SOON, || client.get("/").text() == "backup");
}

#[test]
fn a_reload_keeps_what_is_known_and_asks_other_name_servers() {
    let (_first, _second, port) = two();
    let (names, others) = (NameServer::start(), NameServer::start());
    names.tell("app.test", 1, [at("127.0.0.1")]);
    others.tell("app.test", 1, [at("127.0.0.2")]);
    let config = |server: &NameServer| {
        format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\nresolver \"{}\"\nlocal app = upstream \"app\" {{ \"app.test:{port}\" }}\nsite \"*\" {{ [\"/*\"] = proxy(app) }}\n",
            server.address()
        )
    };
    let mut rsp = Rsp::config(&config(&names)).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "first");
    rsp.rewrite_config(&config(&others));
    assert_eq!(rsp.reload().code, Some(0));
    eventually(SOON, || client.get("/").text() == "second");
}

#[test]
fn another_option_makes_nothing_unknown_while_name_servers_say_nothing() {
    let (_first, _second, port) = two();
    let names = NameServer::start();
    names.tell("app.test", 1, [at("127.0.0.1")]);
    let config = |options: &str| {
        format!(
            "workers(1)\nlisten \"127.0.0.1:$PORT\"\nresolver \"{}\"\nlocal app = upstream \"app\" {{ \"app.test:{port}\", {options} }}\nsite \"*\" {{ [\"/*\"] = proxy(app) }}\n",
            names.address()
        )
    };
    let mut rsp = Rsp::config(&config("keepalive = 0")).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "first");
    names.tell("app.test", 1, [at("127.0.0.2")]);
    eventually(SOON, || client.get("/").text() == "second");
    names.be_silent(true);
    rsp.rewrite_config(&config("keepalive = 1, slow_start = \"1s\""));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(client.get("/").text(), "second");
}

#[test]
fn who_waits_for_a_full_endpoint_gets_the_one_that_dns_adds() {
    let gate = Gate::new();
    let waits = gate.clone();
    let first = Origin::start(move |_| {
        Answer(vec![Step::ReadBody, Step::Pass(waits.clone())]).then(Step::Write(b"HTTP/1.1 204 No\r\n\r\n".to_vec()))
    });
    let port = first.address().rsplit_once(':').unwrap().1.to_owned();
    let _second = Origin::replying_at(&format!("127.0.0.2:{port}"), "second");
    let names = NameServer::start();
    names.tell("app.test", 1, [at("127.0.0.1")]);
    let rsp =
        before(&names, &format!("\"app.test:{port}\", max_connections = 1, queue = {{ size = 5, timeout = \"60s\" }}"));
    let status = || rsp.control(&["status", "--json", "site.lua"]).text();
    eventually(SOON, || status().contains(&format!("127.0.0.1:{port}")));
    let mut clients = [rsp.client(), rsp.client()];
    for (index, client) in clients.iter_mut().enumerate() {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        first.wait_for_heads(1, SOON);
        eventually(SOON, || status().contains(&format!("\"queued\":{index}")));
    }
    names.tell("app.test", 1, [at("127.0.0.1"), at("127.0.0.2")]);
    assert_eq!(clients[1].read_response("GET").text(), "second");
    gate.open();
    assert_eq!(clients[0].read_response("GET").status, 204);
}

#[test]
fn a_target_without_an_address_is_asked_for_again_before_its_record_is_too_old() {
    let (here, there) = (Origin::replying("here"), Origin::replying("there"));
    let names = NameServer::start();
    names.tell("here.test", 300, [at("127.0.0.1")]);
    let service = |origin: &Origin, target: &str| {
        let port = origin.address().rsplit_once(':').unwrap().1.parse().unwrap();
        Record::Service(1, 1, port, target.to_owned())
    };
    names.tell("_http._tcp.app.test", 300, [service(&here, "here.test"), service(&there, "there.test")]);
    let rsp = before(&names, "\"srv:_http._tcp.app.test\"");
    let mut client = rsp.client();
    eventually(SOON, || names.asked("there.test") > 0);
    assert_eq!(client.get("/").text(), "here");
    names.tell("there.test", 300, [at("127.0.0.1")]);
    eventually(SOON, || client.get("/").text() == "there");
}
