//! Stories of certificates of clients: who is let in, and who is told whose they are.

use std::time::{Duration, SystemTime};

use testkit::{Authority, Client, KeyKind, Origin, Output, Rsp, Signed, eventually, openssl};

use super::{
    SOON,
    tls::{metric, s_client, with},
};

/// A site for clients with a certificate of the authority, and one for everybody, on ports with TLS and without; both go to `$ORIGIN`.
const CONFIG: &str = r#"
    workers(1)
    listen { "127.0.0.1:$PORT", tls = true }
    listen "127.0.0.1:$PORT2"
    site "in.test" { tls = { cert = "in.pem", key = "in.key", client_ca = "ca.pem" },
      ["/who"] = function(request) return reply(200, tostring(request.tls.subject) .. "\n") end,
      ["/cgi/*"] = cgi "cgi",
      ["/*"] = proxy "$ORIGIN" }
    site "open.test" { tls = { cert = "open.pem", key = "open.key" }, ["/*"] = proxy "$ORIGIN" }
"#;

fn start(authority: &Authority, origin: &Origin) -> Rsp {
    let builder = Rsp::config(CONFIG).set("ORIGIN", origin.address()).file("ca.pem", authority.pem());
    let cgi = "#!/bin/sh\nprintf 'content-type: text/plain\\n\\n%s %s %s\\n' \"$HTTPS\" \"$SSL_CLIENT_S_DN\" \"$HTTP_X_SSL_CLIENT_S_DN\"\n";
    let builder = builder.program("cgi/it", cgi);
    with(with(builder, authority, "in", &["in.test"]), authority, "open", &["open.test"]).start()
}

/// What a client with this certificate gets.
fn come(rsp: &Rsp, signed: &Signed, request: &str) -> Output {
    let (cert, key) = signed.write(rsp.folder(), "client");
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let address = rsp.address();
    let all = ["s_client", "-connect", &address, "-ign_eof", "-servername", "in.test", "-cert", cert, "-key", key];
    openssl(&all, request)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: in.test\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_client_with_a_certificate_is_let_in_and_everybody_hears_whose_it_is() {
    let (authority, origin) = (Authority::new(), Origin::replying("x"));
    let rsp = start(&authority, &origin);
    let signed = authority.sign_client("a, \"Bücher\"");
    let subject = "CN=a\\, \\\"B\\C3\\BCcher\\\"";
    let got = come(&rsp, &signed, &request("/who")).text();
    assert!(got.contains(&format!("\n{subject}\n")), "{got}");
    let got = come(&rsp, &signed, &request("/cgi/it")).text();
    assert!(got.contains(&format!("\non {subject} {subject}\n")), "{got}");
    let forged = "GET / HTTP/1.1\r\nHost: in.test\r\nX-SSL-Client-S-DN: CN=root\r\nX-Ssl-Client-Verify: SUCCESS\r\n\
                  X_SSL_Client_S_DN: CN=root\r\nConnection: close\r\n\r\n";
    come(&rsp, &signed, forged);
    let received = &origin.wait_for_requests(1, SOON)[0];
    assert_eq!(received.request.head.headers.all("x-ssl-client-s-dn").collect::<Vec<_>>(), [subject]);
    assert_eq!(received.request.head.headers.all("x-ssl-client-verify").collect::<Vec<_>>(), ["SUCCESS"]);
}

#[test]
fn who_has_no_certificate_an_expired_one_or_a_foreign_one_is_told_so() {
    let (authority, origin) = (Authority::new(), Origin::replying("x"));
    let rsp = start(&authority, &origin);
    let old = authority.sign_with(&[], KeyKind::Ecdsa, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let server = authority.sign(&["in.test"]);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&key).unwrap();
    let foreign = Signed { cert: own.pem(), key: key.serialize_pem() };
    for (signed, alert) in [
        (&old, "alert certificate expired"),
        (&foreign, "alert unknown ca"),
        // One that has the authority's name and not its signature.
        (&Authority::new().sign_client("a"), "alert decrypt error"),
        (&server, "alert"),
    ] {
        let got = come(&rsp, signed, &request("/"));
        assert!(got.stderr.contains(alert), "{alert}: {}", got.stderr);
    }
    let got = s_client(&rsp, "in.test", &["-servername", "in.test"]);
    assert!(got.stderr.contains("alert certificate required"), "{}", got.stderr);
    let got = s_client(&rsp, "in.test", &["-servername", "in.test", "-tls1_2"]);
    assert!(
        got.stderr.contains("alert handshake failure") || got.stderr.contains("certificate required"),
        "{}",
        got.stderr
    );
    assert_eq!(metric(&rsp, "rsp_tls_handshakes_total{result=\"client_certificate\",version=\"\"}"), 6);
    assert!(origin.received().is_empty());
}

#[test]
fn nobody_comes_to_a_site_with_client_ca_by_another_door() {
    let (authority, origin) = (Authority::new(), Origin::replying("x"));
    let rsp = start(&authority, &origin);
    for arguments in [&["-servername", "open.test"][..], &["-servername", "open.test", "-tls1_2"]] {
        let got = s_client(&rsp, "in.test", arguments).text();
        assert!(got.contains("HTTP/1.1 421 "), "{got}");
    }
    let mut client = Client::connect(&format!("127.0.0.1:{}", rsp.port_of(2)));
    let forged = "GET / HTTP/1.1\r\nHost: HOST\r\nX-SSL-Client-S-DN: CN=root\r\nX-SSL-Client-Verify: SUCCESS\r\n\r\n";
    assert_eq!(client.request(&forged.replace("HOST", "in.test")).status, 421);
    assert!(origin.received().is_empty());
    // What a client says of its certificate is believed at no other site either.
    assert_eq!(client.request(&forged.replace("HOST", "open.test")).status, 200);
    let received = &origin.wait_for_requests(1, SOON)[0];
    assert_eq!((received.header("x-ssl-client-s-dn"), received.header("x-ssl-client-verify")), (None, None));
}

#[test]
fn without_a_name_a_client_is_asked_for_its_certificate_where_the_first_site_asks() {
    let (authority, origin) = (Authority::new(), Origin::replying("x"));
    let rsp = start(&authority, &origin);
    let got = s_client(&rsp, "in.test", &["-noservername"]);
    assert!(got.stderr.contains("alert certificate required"), "{}", got.stderr);
    let (cert, key) = authority.sign_client("a").write(rsp.folder(), "client");
    let own = ["-noservername", "-cert", cert.to_str().unwrap(), "-key", key.to_str().unwrap()];
    for host in ["in.test", "open.test"] {
        let got = s_client(&rsp, host, &own).text();
        assert!(got.contains("HTTP/1.1 200 "), "{host}: {got}");
    }
    assert_eq!(origin.wait_for_requests(2, SOON)[0].header("x-ssl-client-s-dn"), Some("CN=a"));
}

#[test]
fn a_session_of_before_lets_nobody_past_new_authorities() {
    let (authority, origin) = (Authority::new(), Origin::replying("x"));
    let rsp = start(&authority, &origin);
    let (cert, key) = authority.sign_client("a").write(rsp.folder(), "client");
    let session = rsp.folder().join("session");
    let own = ["-servername", "in.test", "-cert", cert.to_str().unwrap(), "-key", key.to_str().unwrap()];
    let keep = [&own[..], &["-sess_out", session.to_str().unwrap()]].concat();
    let resume = [&own[..], &["-sess_in", session.to_str().unwrap()]].concat();
    assert!(s_client(&rsp, "in.test", &keep).text().contains("HTTP/1.1 200 "));
    let got = s_client(&rsp, "in.test", &resume).text();
    assert!(got.contains("Reused, TLSv1.3") && got.contains("HTTP/1.1 200 "), "{got}");
    assert_eq!(
        origin.wait_for_requests(2, SOON)[1].header("x-ssl-client-s-dn"),
        Some("CN=a"),
        "it is kept with the session"
    );
    let other = Authority::new();
    std::fs::write(rsp.folder().join("ca.pem"), other.pem()).unwrap();
    rsp.wait_for_line(SOON, |line| line.contains("read anew"));
    let got = s_client(&rsp, "in.test", &resume);
    assert!(got.stderr.contains("alert decrypt error"), "{}\n{}", got.text(), got.stderr);
}

#[test]
fn a_session_ends_with_the_certificate_that_it_began_with() {
    let (authority, origin) = (Authority::new(), Origin::replying("x"));
    let rsp = start(&authority, &origin);
    let session = rsp.folder().join("session");
    for version in ["-tls1_3", "-tls1_2"] {
        let until = SystemTime::now() + Duration::from_secs(4);
        let signed = authority.sign_with(&[], KeyKind::Ecdsa, |params| {
            params.not_after = until.into();
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        });
        let (cert, key) = signed.write(rsp.folder(), "client");
        let own = [version, "-servername", "in.test", "-cert", cert.to_str().unwrap(), "-key", key.to_str().unwrap()];
        let session = session.to_str().unwrap();
        let get = |more: &[&str]| s_client(&rsp, "in.test", &[&own[..], more].concat());
        assert!(get(&["-sess_out", session]).text().contains("HTTP/1.1 200 "));
        let got = get(&["-sess_in", session, "-sess_out", session]).text();
        assert!(got.contains("Reused, ") && got.contains("HTTP/1.1 200 "), "{got}");
        eventually(SOON, || SystemTime::now() > until + Duration::from_secs(2));
        let got = get(&["-sess_in", session]);
        assert!(!got.text().contains("HTTP/1.1 "), "{version}: {}", got.text());
        let got = get(&[]);
        assert!(got.stderr.contains("alert certificate expired"), "{}", got.stderr);
    }
    assert_eq!(origin.received().len(), 4);
}
