//! Stories of TLS that ends here: which site a connection is for, which requests go over it, and what is said without it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject},
};
use testkit::{Authority, Client, Origin, Output, Rsp, RspBuilder, curl, openssl};

use super::SOON;

/// The files of a certificate for these hosts, as `NAME.pem` and `NAME.key`.
pub fn with(builder: RspBuilder, authority: &Authority, name: &str, hosts: &[&str]) -> RspBuilder {
    let signed = authority.sign(hosts);
    builder.file(&format!("{name}.pem"), signed.cert).file(&format!("{name}.key"), signed.key)
}

/// `openssl s_client` to rsp's first port: with these arguments, and a request of `/` to `host`.
pub fn s_client(rsp: &Rsp, host: &str, arguments: &[&str]) -> Output {
    let connect = rsp.address();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let all = [&["s_client", "-connect", &connect, "-ign_eof"], arguments].concat();
    openssl(&all, request)
}

/// What curl gets of `url`, whose host is rsp, and whose certificate is `authority`'s.
pub fn get(rsp: &Rsp, authority: &Authority, url: &str, arguments: &[&str]) -> Output {
    let ca = authority.write(rsp.folder());
    let ports = [rsp.port(), rsp.port_of(2)].map(|port| format!(":{port}:127.0.0.1:{port}"));
    let [first, second] = &ports;
    let own = ["--cacert", ca.to_str().unwrap(), "--connect-to", first, "--connect-to", second, url];
    curl(&[&own, arguments].concat())
}

/// A connection that stays open, to rsp's first port; `first` is sent before anything of TLS.
pub fn keep_open(
    rsp: &Rsp,
    authority: &Authority,
    name: &str,
    first: &str,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(rsp.address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(first.as_bytes()).unwrap();
    StreamOwned::new(client, socket)
}

/// Asks for `/` on such a connection; the answer must end with this.
pub fn ask(connection: &mut StreamOwned<ClientConnection, TcpStream>, host: &str, ends_with: &str) {
    write!(connection, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut got = Vec::new();
    while !got.ends_with(ends_with.as_bytes()) {
        let mut piece = [0; 1024];
        let n = connection.read(&mut piece).unwrap();
        assert_ne!(n, 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&piece[..n]);
    }
}

/// Four sites on a port with TLS, and the same without.
fn sites(authority: &Authority) -> RspBuilder {
    let config = r#"
        workers(2)
        listen { "127.0.0.1:$PORT", tls = true }
        listen "127.0.0.1:$PORT2"
        local function who(request)
          return reply(200, request.site .. " " .. request.scheme .. " " .. tostring(request.tls.sni) .. " " .. tostring(request.tls.version) .. "\n")
        end
        site "a.test" { tls = { cert = "a.pem", key = "a.key" }, hsts = "1h", redirect_http = true,
          ["GET /*"] = who, ["/x/only"] = who }
        site "*.b.test" { tls = { cert = "b.pem", key = "b.key" }, ["/*"] = who }
        site "c.b.test" { tls = { cert = "c.pem", key = "c.key" }, ["/*"] = who }
        site "plain.test" { ["/*"] = who }
    "#;
    let builder = with(Rsp::config(config), authority, "a", &["a.test"]);
    with(with(builder, authority, "b", &["*.b.test"]), authority, "c", &["c.b.test"])
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate_and_the_site() {
    let authority = Authority::new();
    let rsp = sites(&authority).start();
    let port = rsp.port();
    for (host, site) in [("a.test", "a.test"), ("x.b.test", "*.b.test"), ("c.b.test", "c.b.test"), ("A.Test", "a.test")]
    {
        for protocol in ["--http1.1", "--http2"] {
            let got = get(&rsp, &authority, &format!("https://{host}:{port}/"), &[protocol]);
            assert_eq!(got.text(), format!("{site} https {} 1.3\n", host.to_lowercase()), "{protocol} {}", got.stderr);
        }
        let got = s_client(&rsp, host, &["-servername", host, "-tls1_2"]);
        assert!(got.text().contains(&format!("{site} https {} 1.2\n", host.to_lowercase())), "{}", got.text());
    }
}

#[test]
fn without_a_name_the_first_site_with_tls_answers_for_all_of_them() {
    let authority = Authority::new();
    let rsp = sites(&authority).start();
    for (host, answer) in [("a.test", "a.test https nil"), ("c.b.test", "c.b.test https nil"), ("plain.test", "421 ")] {
        let got = s_client(&rsp, host, &["-noservername"]).text();
        assert!(got.contains("subject=CN = a.test") && got.contains(answer), "{got}");
    }
    // A site for any host is the one for no name.
    let any = r#"site "*" { tls = { cert = "any.pem", key = "any.key" }, ["/*"] = reply(200, "any") }"#;
    let config = format!(
        "workers(1) listen {{ \"127.0.0.1:$PORT\", tls = true }}\n\
         site \"a.test\" {{ tls = {{ cert = \"a.pem\", key = \"a.key\" }}, [\"/*\"] = reply(200, \"a\") }}\n{any}"
    );
    let builder = with(Rsp::config(&config), &authority, "a", &["a.test"]);
    let rsp = with(builder, &authority, "any", &["any.test"]).start();
    for arguments in [&["-noservername"][..], &["-servername", "unknown.test"]] {
        let got = s_client(&rsp, "unknown.test", arguments).text();
        assert!(got.contains("subject=CN = any.test") && got.contains("\r\n\r\nany"), "{got}");
    }
}

#[test]
fn a_name_that_no_site_has_gets_an_alert() {
    let authority = Authority::new();
    let rsp = sites(&authority).start();
    for name in ["unknown.test", "b.test", "plain.test"] {
        let got = s_client(&rsp, name, &["-servername", name]);
        assert!(got.stderr.contains("tlsv1 unrecognized name"), "{name}: {}", got.stderr);
    }
    assert_eq!(metric(&rsp, "rsp_tls_handshakes_total{result=\"unknown_name\",version=\"\"}"), 3);
}

/// A value of rsp's metrics.
pub fn metric(rsp: &Rsp, name: &str) -> u64 {
    let socket = rsp.folder().join("site.lua.sock");
    let page = curl(&["--unix-socket", socket.to_str().unwrap(), "http://rsp/metrics"]).text();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{page}")).trim().parse().unwrap()
}

#[test]
fn a_request_for_another_site_than_the_handshake_is_misdirected() {
    let authority = Authority::new();
    let rsp = sites(&authority).start();
    for (host, is_meant) in [("a.test", true), ("c.b.test", false), ("plain.test", false), ("x.b.test", false)] {
        let got = s_client(&rsp, host, &["-servername", "a.test"]).text();
        assert_eq!(got.contains("HTTP/1.1 200 "), is_meant, "{host}: {got}");
        assert_eq!(got.contains("HTTP/1.1 421 Misdirected Request"), !is_meant, "{host}: {got}");
    }
    let got = s_client(&rsp, "unknown.test", &["-servername", "a.test"]).text();
    assert!(got.contains("HTTP/1.1 404 "), "{got}");
    let url = format!("https://a.test:{}/", rsp.port());
    let said = ["--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "-H", "Host: c.b.test"];
    assert_eq!(get(&rsp, &authority, &url, &said).text(), "2 421");
}

#[test]
fn plain_requests_are_sent_to_https_and_browsers_are_told_to_stay_there() {
    let authority = Authority::new();
    let rsp = sites(&authority).start();
    let (secure, plain) = (rsp.port(), rsp.port_of(2));
    let ask = |request: &str| Client::connect(&format!("127.0.0.1:{plain}")).request(request);
    let moved = format!("https://a.test:{secure}/x//y?z=1");
    for (method, status) in [("GET", 301), ("HEAD", 301), ("POST", 308), ("DELETE", 308)] {
        let mut client = Client::connect(&format!("127.0.0.1:{plain}"));
        client.send(format!("{method} /x//y?z=1 HTTP/1.1\r\nHost: A.test:{plain}\r\nContent-Length: 0\r\n\r\n"));
        let got = client.read_response(method);
        assert_eq!((got.status, got.header("location")), (status, Some(&*moved)));
        assert_eq!(got.header("strict-transport-security"), None, "RFC 6797 §7.2");
    }
    let got = ask("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(got.header("location"), Some(&*format!("https://a.test:{secure}/")));
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: x.b.test\r\n\r\n").text(), "*.b.test http nil nil\n");
    // Also where rsp itself answers.
    for (path, status) in [("/", "200"), ("/x/only", "200"), ("/%zz", "400")] {
        let format = "%{http_code} %header{strict-transport-security}";
        let url = format!("https://a.test:{secure}{path}");
        let got = get(&rsp, &authority, &url, &["--http1.1", "-o", "/dev/null", "-w", format]).text();
        let hsts = if status == "400" { "" } else { "max-age=3600" };
        assert_eq!(got, format!("{status} {hsts}"));
    }
    let url = format!("https://a.test:{secure}/");
    let got = get(
        &rsp,
        &authority,
        &url,
        &["--http1.1", "-X", "PUT", "-o", "/dev/null", "-w", "%{http_code} %header{strict-transport-security}"],
    );
    assert_eq!(got.text(), "405 max-age=3600");
}

#[test]
fn who_came_by_tls_to_a_trusted_proxy_is_not_sent_to_https_again() {
    let authority = Authority::new();
    let config = r#"
        workers(1)
        trust "127.0.0.1"
        listen { "127.0.0.1:$PORT", tls = true }
        listen "127.0.0.1:$PORT2"
        site "a.test" { tls = { cert = "a.pem", key = "a.key" }, redirect_http = true, hsts = true, ["/*"] = reply(200, "here") }
    "#;
    let rsp = with(Rsp::config(config), &authority, "a", &["a.test"]).start();
    let mut client = Client::connect(&format!("127.0.0.1:{}", rsp.port_of(2)));
    let got = client.request("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_eq!((got.status, got.header("strict-transport-security")), (200, Some("max-age=31536000")));
    assert_eq!(client.request("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: http\r\n\r\n").status, 301);
}

#[test]
fn upstreams_hear_that_the_client_came_by_tls() {
    let (authority, origin) = (Authority::new(), Origin::replying("x"));
    let config = r#"
        workers(1)
        listen { "127.0.0.1:$PORT", tls = { min = "1.3" } }
        site "a.test" { tls = { cert = "a.pem", key = "a.key" }, ["/*"] = proxy { "$ORIGIN", forwarded = "both" } }
    "#;
    let rsp = with(Rsp::config(config).set("ORIGIN", origin.address()), &authority, "a", &["a.test"]).start();
    s_client(&rsp, "a.test", &["-servername", "a.test"]);
    let received = &origin.wait_for_requests(1, SOON)[0];
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
    assert!(received.header("forwarded").unwrap().ends_with(";proto=https"));
}

#[test]
fn plain_http_on_the_port_of_tls_is_told_where_it_would_be_right() {
    let authority = Authority::new();
    let rsp = sites(&authority).start();
    let address = rsp.address();
    let got = rsp.client().request(&format!("GET /x?y HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!((got.status, got.header("connection")), (400, Some("close")));
    assert!(got.text().ends_with(&format!("this port speaks HTTPS only: https://{address}/x?y\n")), "{}", got.text());
    let mut client = rsp.client();
    client.send("POST /");
    assert_eq!(client.read_response("POST").status, 400, "what has not all come is enough to know");
    assert_eq!(metric(&rsp, "rsp_tls_handshakes_total{result=\"plain_http\",version=\"\"}"), 2);
}

#[test]
fn a_reload_turns_a_plain_address_into_one_with_tls_and_back() {
    let authority = Authority::new();
    let plain = r#"workers(2) listen "127.0.0.1:$PORT" site "*" { ["/*"] = reply(200, "plain") }"#;
    let secure = r#"workers(2) listen { "127.0.0.1:$PORT", tls = true }
        site "a.test" { tls = { cert = "a.pem", key = "a.key" }, ["/*"] = reply(200, "secure") }"#;
    let mut rsp = with(Rsp::config(plain), &authority, "a", &["a.test"]).start();
    let mut before = rsp.client();
    assert_eq!(before.get("/").text(), "plain");
    rsp.rewrite_config(secure);
    assert_eq!(rsp.reload().code, Some(0));
    for _ in 0..4 {
        let got = s_client(&rsp, "a.test", &["-servername", "a.test"]).text();
        assert!(got.contains("\r\n\r\nsecure"), "{got}");
    }
    rsp.rewrite_config(plain);
    assert_eq!(rsp.reload().code, Some(0));
    for _ in 0..4 {
        assert_eq!(rsp.client().get("/").text(), "plain");
    }
}

#[test]
fn who_passes_a_connection_of_tls_on_says_first_whose_it_is() {
    let authority = Authority::new();
    let config = r#"workers(1) trust "127.0.0.1"
        listen { "127.0.0.1:$PORT", tls = true, proxy_protocol = true }
        site "a.test" { tls = { cert = "a.pem", key = "a.key" }, ["/*"] = function(request)
          return reply(200, request.client.ip .. " " .. request.scheme .. " " .. request.tls.sni .. "\n") end }"#;
    let rsp = with(Rsp::config(config), &authority, "a", &["a.test"]).start();
    let mut client = keep_open(&rsp, &authority, "a.test", "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n");
    for _ in 0..2 {
        ask(&mut client, "a.test", "\r\n\r\n203.0.113.7 https a.test\n");
    }
}
