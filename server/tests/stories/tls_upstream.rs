//! Stories of TLS towards upstreams: who is believed, what is said of who is not, and what goes over it.

use std::{path::Path, process::Command, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use testkit::{
    Answer, Authority, Nginx, Origin, Pattern, Program, Rsp, RspBuilder, Signed, WebSocket, eventually, free_port,
};

use super::SOON;

/// A folder with an authority, and with a server's certificate and key of it as `server.pem` and `server.key`.
struct Keys {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Keys {
    fn new() -> Self {
        Self::signing(|authority| authority.sign(&["localhost", "127.0.0.1"]))
    }

    fn signing(sign: impl FnOnce(&Authority) -> Signed) -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new() };
        keys.authority.write(keys.path());
        sign(&keys.authority).write(keys.path(), "server");
        keys
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// nginx with that certificate; `more` of its `listen`, and what its server does.
    fn nginx(&self, more: &str, server: &str) -> Nginx {
        let keys = self.path().display();
        Nginx::start(&format!(
            "server {{ listen 127.0.0.1:$PORT ssl {more}; ssl_certificate {keys}/server.pem; \
             ssl_certificate_key {keys}/server.key; {server} }}"
        ))
    }

    /// rsp that proxies to `https://host:port` with these options of the upstream and of the proxy.
    fn proxying(&self, to: &str, upstream: &str, proxy: &str) -> RspBuilder {
        let text = format!(
            "upstream \"app\" {{ \"https://{to}\", {upstream} }}\n\
             workers(1)\nlisten \"127.0.0.1:$PORT\"\nsite \"*\" {{ [\"/*\"] = proxy {{ \"app\", {proxy} }} }}"
        );
        Rsp::config(&text).set("KEYS", self.path().display())
    }
}

/// What it believes.
const CA: &str = "tls = { ca = \"$KEYS/ca.pem\" }";

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

#[test]
fn an_upstream_of_https_is_asked_by_its_name_over_kept_connections() {
    let keys = Keys::new();
    let says = "location / { return 200 \"$ssl_server_name $http_host $scheme $connection_requests\"; }";
    let nginx = keys.nginx("", says);
    let to = format!("localhost:{}", port(&nginx.address()));
    let rsp = keys.proxying(&to, CA, "host = \"upstream\"").start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), format!("localhost {to} https 1"));
    // `localhost` is looked up meanwhile, and each of its addresses has connections of its own.
    eventually(SOON, || client.get("/").text() == format!("localhost {to} https 4"));
}

#[test]
fn an_upstream_of_an_address_must_have_it_in_its_certificate() {
    let keys = Keys::new();
    let nginx = keys.nginx("", "location / { return 200 \"[$ssl_server_name]\"; }");
    let rsp = keys.proxying(&nginx.address(), CA, "").start();
    assert_eq!(rsp.client().get("/").text(), "[]");
}

#[test]
fn the_name_that_is_asked_for_and_verified_can_be_another_one() {
    let keys = Keys::signing(|authority| authority.sign(&["app.internal"]));
    let nginx = keys.nginx("", "location / { return 200 \"$ssl_server_name\"; }");
    let tls = "tls = { ca = \"$KEYS/ca.pem\", server_name = \"app.internal\" }";
    let rsp = keys.proxying(&nginx.address(), tls, "").start();
    assert_eq!(rsp.client().get("/").text(), "app.internal");
}

/// What rsp says of an upstream that it does not believe, beside a 502.
#[track_caller]
fn refused(keys: &Keys, tls: &str) -> String {
    let nginx = keys.nginx("", "location / { return 200 hello; }");
    said_of(&keys.proxying(&nginx.address(), tls, "").start())
}

#[track_caller]
fn said_of(rsp: &Rsp) -> String {
    let answer = rsp.client().get("/");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(!answer.text().contains("certificate"), "{}", answer.text());
    rsp.wait_for_line(SOON, |line| line.contains("warn: 502"))
}

#[track_caller]
fn assert_says(line: &str, wanted: &str) {
    assert!(line.contains(wanted), "{wanted:?} is not in {line:?}");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_with_the_reason() {
    let keys = Keys::new();
    Authority::new().write(keys.path());
    assert_says(&refused(&keys, CA), "is not trusted: unknown issuer");
}

#[test]
fn the_authorities_of_the_system_do_not_know_the_tests() {
    assert_says(&refused(&Keys::new(), ""), "is not trusted: unknown issuer");
}

#[test]
fn a_certificate_of_another_host_is_refused_with_both_names() {
    let keys = Keys::signing(|authority| authority.sign(&["other.example", "10.0.0.1"]));
    assert_says(&refused(&keys, CA), "it is for another name than 127.0.0.1: other.example, 10.0.0.1");
}

#[test]
fn an_expired_certificate_is_refused() {
    let keys = Keys::signing(|authority| {
        authority.sign_with(&["127.0.0.1"], testkit::KeyKind::Ecdsa, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    });
    assert_says(&refused(&keys, CA), "is not trusted: it has expired");
}

#[test]
fn a_certificate_that_signed_itself_is_refused_unless_it_is_named() {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let keys = Keys::signing(|_| Signed { cert: own.cert.pem(), key: own.signing_key.serialize_pem() });
    assert_says(&refused(&keys, CA), "is not trusted: unknown issuer");
    std::fs::write(keys.path().join("ca.pem"), own.cert.pem()).unwrap();
    let nginx = keys.nginx("", "location / { return 200 hello; }");
    assert_eq!(keys.proxying(&nginx.address(), CA, "").start().client().get("/").text(), "hello");
}

#[test]
fn a_missing_certificate_in_between_is_refused() {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
    let between = CertifiedIssuer::signed_by(authority("between"), KeyPair::generate().unwrap(), &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &between).unwrap();
    let keys = Keys::signing(|_| Signed { cert: cert.pem(), key: key.serialize_pem() });
    std::fs::write(keys.path().join("ca.pem"), root.pem()).unwrap();
    assert_says(&refused(&keys, CA), "is not trusted: unknown issuer");
    // With it the chain is whole.
    let whole = cert.pem() + &between.pem();
    std::fs::write(keys.path().join("server.pem"), whole).unwrap();
    let nginx = keys.nginx("", "location / { return 200 hello; }");
    assert_eq!(keys.proxying(&nginx.address(), CA, "").start().client().get("/").text(), "hello");
}

#[test]
fn who_wants_no_certificate_believes_anybody_and_is_warned() {
    let keys = Keys::signing(|_| Authority::new().sign(&["other.example"]));
    let nginx = keys.nginx("", "location / { return 200 hello; }");
    let rsp = keys.proxying(&nginx.address(), "tls = { verify = false }", "").start();
    assert_eq!(rsp.client().get("/").text(), "hello");
    rsp.wait_for_line(SOON, |line| line.contains("`verify = false` of upstream \"app\""));
}

#[test]
fn our_own_certificate_is_shown_to_who_asks() {
    let keys = Keys::new();
    keys.authority.sign_client("rsp").write(keys.path(), "client");
    let asks = format!(
        "ssl_verify_client on; ssl_client_certificate {}/ca.pem; location / {{ return 200 \"$ssl_client_s_dn\"; }}",
        keys.path().display()
    );
    let nginx = keys.nginx("", &asks);
    let tls = "tls = { ca = \"$KEYS/ca.pem\", cert = \"$KEYS/client.pem\", key = \"$KEYS/client.key\" }";
    let rsp = keys.proxying(&nginx.address(), tls, "").start();
    assert_eq!(rsp.client().get("/").text(), "CN=rsp");
}

/// `openssl s_server`, which ends the connection of a client without a certificate by an alert.
fn strict_server(keys: &Keys, version: &str) -> (Program, u16) {
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", version, "-Verify", "1", "-verify_return_error"]);
    command.args(["-accept", &format!("127.0.0.1:{port}")]).current_dir(keys.path());
    command.args(["-cert", "server.pem", "-key", "server.key", "-CAfile", "ca.pem"]);
    let program = Program::start(&mut command);
    program.wait_for_line(SOON, |line| line.contains("ACCEPT"));
    (program, port)
}

#[test]
fn a_server_that_wants_a_certificate_and_gets_none_is_a_502_that_says_so() {
    let keys = Keys::new();
    for (version, alert) in [("-tls1_3", "CertificateRequired"), ("-tls1_2", "HandshakeFailure")] {
        let (_server, port) = strict_server(&keys, version);
        let rsp = keys.proxying(&format!("127.0.0.1:{port}"), CA, "").start();
        assert_says(&said_of(&rsp), alert);
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_a_502_that_says_so() {
    let keys = Keys::new();
    let nginx = Nginx::start("server { listen 127.0.0.1:$PORT; }");
    assert_says(&said_of(&keys.proxying(&nginx.address(), CA, "").start()), "TLS with 127.0.0.1");
}

#[test]
fn a_server_that_never_answers_the_handshake_is_a_504_within_the_time_to_connect() {
    let keys = Keys::new();
    let origin = Origin::start(|_| Answer::never());
    let rsp = keys.proxying(&origin.address(), &format!("{CA}, connect_timeout = \"300ms\""), "").start();
    assert_eq!(rsp.client().get("/").status, 504);
}

#[test]
fn untrusted_endpoints_are_ejected_and_others_answer() {
    let keys = Keys::new();
    let good = keys.nginx("", "location / { return 200 good; }");
    let other = Keys::new();
    let bad = other.nginx("", "location / { return 200 bad; }");
    let rsp = keys.proxying(&good.address(), &format!("\"https://{}\", {CA}", bad.address()), "").start();
    let mut client = rsp.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "good");
    }
    rsp.wait_for_line(SOON, |line| line.contains(&bad.address()) && line.contains("ejected"));
}

#[test]
fn large_bodies_go_both_ways_whole_and_within_bounds() {
    const LENGTH: usize = 30 << 20;
    let keys = Keys::new();
    let origin = Origin::replying("thanks");
    let nginx = keys.nginx(
        "",
        &format!(
            "root {}; location /up {{ client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1; \
             proxy_pass http://{}; }}",
            keys.path().display(),
            origin.address()
        ),
    );
    let body: Vec<u8> = (0..LENGTH).map(|at| (at ^ (at >> 9) ^ (at >> 17)) as u8).collect();
    std::fs::write(keys.path().join("large"), &body).unwrap();
    let rsp = keys.proxying(&nginx.address(), CA, "").start();
    let mut client = rsp.client();
    assert_eq!(client.request("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").text(), "thanks");
    let before = rsp.user_memory();
    client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"));
    client.send_pattern(&mut Pattern::new(), LENGTH as u64).unwrap();
    assert_eq!(client.read_response("POST").text(), "thanks");
    let received = &origin.wait_for_requests(2, SOON)[1];
    assert!(received.body_is_pattern && received.body_length == LENGTH as u64);
    assert!(client.get("/large").body == body);
    let grown = rsp.user_memory().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn the_proxy_protocol_goes_before_tls() {
    let keys = Keys::new();
    let nginx = keys.nginx("proxy_protocol", "location / { return 200 $proxy_protocol_addr; }");
    let rsp = keys.proxying(&nginx.address(), &format!("{CA}, proxy_protocol = \"v2\""), "").start();
    assert_eq!(rsp.client().get("/").text(), "127.0.0.1");
}

#[test]
fn a_websocket_goes_through_to_an_upstream_of_tls() {
    let keys = Keys::new();
    let app = Rsp::config("listen \"127.0.0.1:$PORT\" site \"*\" { [\"/\"] = exec { \"cat\" } }").start();
    let nginx = keys.nginx(
        "",
        &format!(
            "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
             proxy_set_header Connection upgrade; proxy_set_header Host $http_host; }}",
            app.address()
        ),
    );
    let rsp = keys.proxying(&nginx.address(), CA, "").start();
    let mut socket = WebSocket::open(&rsp.address(), "/");
    for text in ["hello", "again"] {
        socket.send(text);
        assert_eq!(socket.text(), text);
    }
}

#[test]
fn probes_speak_tls_too() {
    let keys = Keys::new();
    let other = Keys::new();
    let nginx = other.nginx("", "location / { return 200 hello; }");
    let probe = "probe = { path = \"/\", every = \"100ms\", fall = 1 }";
    let rsp = keys.proxying(&nginx.address(), &format!("{CA}, {probe}"), "").start();
    let line = rsp.wait_for_line(SOON, |line| line.contains("is down, probes say"));
    assert_says(&line, "unknown issuer");
    let nginx = keys.nginx("", "location / { return 200 hello; }");
    let rsp = keys.proxying(&nginx.address(), &format!("{CA}, {probe}"), "").start();
    assert_eq!(rsp.client().get("/").text(), "hello");
    assert!(rsp.find_line(Duration::from_millis(500), |line| line.contains("is down")).is_none());
}

#[test]
fn a_file_that_is_wrong_is_named_at_the_start_and_refused_at_a_reload() {
    let keys = Keys::new();
    let nginx = keys.nginx("", "location / { return 200 hello; }");
    let rsp = keys.proxying(&nginx.address(), CA, "").start();
    assert_eq!(rsp.client().get("/").text(), "hello");
    std::fs::write(keys.path().join("ca.pem"), "no certificate").unwrap();
    let reload = rsp.reload();
    assert_eq!(reload.code, Some(2));
    assert_says(&reload.stderr, "ca.pem");
    assert_eq!(rsp.client().get("/").text(), "hello");
    let start = keys.proxying(&nginx.address(), CA, "").run();
    assert_eq!(start.code, Some(2));
    assert_says(&start.stderr, "ca.pem");
    // A file that changed is read anew at a reload.
    Authority::new().write(keys.path());
    assert_eq!(rsp.reload().code, Some(0));
    eventually(SOON, || rsp.client().get("/").status == 502);
    keys.authority.write(keys.path());
    assert_eq!(rsp.reload().code, Some(0));
    eventually(SOON, || rsp.client().get("/").status == 200);
}
