//! `rsp exec --ssl`, beside Debian's websocketd.

use serde_json::{Value, json};
use testkit::{Authority, Client, Puppet, Rsp, RspBuilder, Websocketd, free_port};

/// An authority, and certificates of it for this machine and for a client, in a folder.
fn certified() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.sign(&["localhost", "127.0.0.1"]).write(folder.path(), "site");
    authority.sign_client("alice").write(folder.path(), "alice");
    std::fs::write(folder.path().join("junk.pem"), "junk").unwrap();
    folder
}

fn flags(folder: &tempfile::TempDir) -> Vec<String> {
    let file = |name: &str| folder.path().join(name).display().to_string();
    vec!["--ssl".to_owned(), format!("--sslcert={}", file("site.pem")), format!("--sslkey={}", file("site.key"))]
}

fn exec(flags: &[String], command: &[&str]) -> RspBuilder {
    let here = ["exec", "--port=$PORT", "--address=127.0.0.1"].into_iter();
    Rsp::command(&here.chain(flags.iter().map(String::as_str)).chain(command.iter().copied()).collect::<Vec<_>>())
}

fn theirs(flags: &[String], command: &[&str]) -> Websocketd {
    let command = command.iter().map(|word| (*word).to_owned());
    let folder = tempfile::tempdir().unwrap();
    Websocketd::start(&flags.iter().cloned().chain(command).collect::<Vec<_>>(), folder.path(), &[])
}

/// A WebSocket over TLS that believes the authority of this folder; `more` has its own certificate.
fn open(address: &str, folder: &tempfile::TempDir, more: &[(&str, &str)]) -> Puppet {
    let (_, port) = address.rsplit_once(':').unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut start = json!({ "url": format!("wss://localhost:{port}/"), "ca": path("ca.pem") });
    for (name, file) in more {
        start[name] = Value::from(path(file));
    }
    Puppet::python("websocket.py", &start)
}

#[test]
fn a_program_talks_over_tls_and_is_told_of_it_as_by_websocketd() {
    let folder = certified();
    let command = ["sh", "-c", "echo \"$HTTPS $SERVER_PROTOCOL $REMOTE_ADDR\"; exec cat"];
    let (ours, theirs) = (exec(&flags(&folder), &command).start(), theirs(&flags(&folder), &command));
    for address in [ours.address(), theirs.address()] {
        let mut socket = open(&address, &folder, &[]);
        socket.hear_of("open");
        assert_eq!(socket.hear(), json!({ "text": "on HTTP/1.1 127.0.0.1" }), "{address}");
        socket.tell(&json!({ "text": "over TLS – 猫" }));
        assert_eq!(socket.hear(), json!({ "text": "over TLS – 猫" }), "{address}");
    }
}

#[test]
fn the_other_port_redirects_to_https_as_with_websocketd() {
    let folder = certified();
    let ours = exec(&[flags(&folder), vec!["--redirport=$PORT2".to_owned()]].concat(), &["cat"]).start();
    let port = free_port();
    let theirs = theirs(&[flags(&folder), vec![format!("--redirport={port}")]].concat(), &["cat"]);
    for (redirect, address) in [(ours.port_of(2), ours.address()), (port, theirs.address())] {
        let mut client = Client::connect(&format!("127.0.0.1:{redirect}"));
        // Debian's answers nobody who leaves the port out.
        let answer = client.request(&format!("GET /path?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{redirect}\r\n\r\n"));
        let wanted = format!("https://{address}/");
        assert_eq!((answer.status, answer.header("location")), (301, Some(wanted.as_str())));
    }
}

#[test]
fn with_authorities_only_clients_that_have_a_certificate_of_them_come_in() {
    let folder = certified();
    let ca = format!("--sslca={}", folder.path().join("ca.pem").display());
    let rsp = exec(&[flags(&folder), vec![ca]].concat(), &["sh", "-c", "echo hello; exec cat"]).start();
    // What it makes of the alert depends on whether it writes or reads.
    open(&rsp.address(), &folder, &[]).hear_of("failed");
    let mut alice = open(&rsp.address(), &folder, &[("cert", "alice.pem"), ("key", "alice.key")]);
    alice.hear_of("open");
    assert_eq!(alice.hear(), json!({ "text": "hello" }));
}

#[test]
fn files_that_are_no_certificates_end_it_with_the_code_of_websocketd() {
    let folder = certified();
    let file = |name: &str| folder.path().join(name).display().to_string();
    for (cert, key, named) in [
        ("gone.pem", "site.key", "gone.pem"),
        ("junk.pem", "site.key", "junk.pem"),
        ("site.pem", "junk.pem", "junk.pem"),
    ] {
        let flags = ["--ssl".to_owned(), format!("--sslcert={}", file(cert)), format!("--sslkey={}", file(key))];
        let ours = exec(&flags, &["cat"]).run();
        let theirs = Websocketd::run(&[flags.to_vec(), vec!["cat".to_owned()]].concat(), folder.path());
        assert_eq!((ours.code, theirs.code), (Some(3), Some(3)), "{named}: {}", ours.stderr);
        assert!(ours.stderr.starts_with("Can't start server: ") && ours.stderr.contains(named), "{}", ours.stderr);
        assert!([theirs.text(), theirs.stderr.clone()].concat().contains("Can't start server: "), "{}", theirs.stderr);
    }
}
