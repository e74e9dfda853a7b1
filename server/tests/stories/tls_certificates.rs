//! Stories of certificates: which one a client is shown, how a new one takes the place of the old, and sessions that are resumed.

use std::{fs, path::Path};

use testkit::{Authority, KeyKind, Rsp, RspBuilder, Signed, openssl};

use super::{
    SOON,
    tls::{ask, keep_open, metric, s_client, with},
};

/// One site with `tls`, for two workers.
fn one(tls: &str) -> RspBuilder {
    Rsp::config(&format!(
        "workers(2) listen {{ \"127.0.0.1:$PORT\", tls = true }}\n\
         site \"a.test\" {{ tls = {tls}, [\"/*\"] = reply(200, \"here\") }}\n"
    ))
}

const FILES: &str = r#"{ cert = "a.pem", key = "a.key" }"#;

/// What openssl says of a handshake for the site.
fn shake(rsp: &Rsp, arguments: &[&str]) -> String {
    let got = s_client(rsp, "a.test", &[&["-servername", "a.test"], arguments].concat());
    got.text() + &got.stderr
}

/// The serial number of the certificate that clients are shown.
fn shown(rsp: &Rsp) -> String {
    let text = shake(rsp, &[]);
    openssl(&["x509", "-noout", "-serial"], text).text()
}

/// That of a certificate.
fn serial(signed: &Signed) -> String {
    openssl(&["x509", "-noout", "-serial"], &signed.cert).text()
}

#[test]
fn a_client_is_shown_the_certificate_that_it_can_check() {
    let authority = Authority::new();
    let tls = r#"{ { cert = "ec.pem", key = "ec.key" }, { cert = "rsa.pem", key = "rsa.key" } }"#;
    let rsa = authority.sign_with(&["a.test"], KeyKind::Rsa, |_| {});
    let rsp = with(one(tls), &authority, "ec", &["a.test"]).file("rsa.pem", rsa.cert).file("rsa.key", rsa.key).start();
    for (arguments, kind) in [
        (&[][..], "Server public key is 256 bit"),
        (&["-sigalgs", "ECDSA+SHA256"], "Server public key is 256 bit"),
        (&["-sigalgs", "RSA-PSS+SHA256"], "Server public key is 2048 bit"),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "Server public key is 2048 bit"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "Server public key is 256 bit"),
    ] {
        let got = shake(&rsp, arguments);
        assert!(got.contains(kind) && got.contains("HTTP/1.1 200 "), "{arguments:?}: {got}");
    }
}

#[test]
fn of_several_certificates_a_client_is_shown_the_one_for_the_name_it_asks_for() {
    let authority = Authority::new();
    let config = "workers(1) listen { \"127.0.0.1:$PORT\", tls = true }\n\
                  site { \"a.test\", \"b.test\", \"*.c.test\" } {\n  tls = {\n    \
                    { cert = \"a.pem\", key = \"a.key\" }, { cert = \"b.pem\", key = \"b.key\" },\n    \
                    { cert = \"c.pem\", key = \"c.key\" }, { cert = \"rsa.pem\", key = \"rsa.key\" },\n  },\n  \
                    [\"/*\"] = reply(200, \"here\") }\n";
    let [a, b, c] = ["a.test", "b.test", "*.c.test"].map(|name| authority.sign(&[name]));
    let rsa = authority.sign_with(&["b.test"], KeyKind::Rsa, |_| {});
    let files = [("a", &a), ("b", &b), ("c", &c), ("rsa", &rsa)];
    let rsp = files
        .iter()
        .fold(Rsp::config(config), |builder, (name, signed)| {
            builder.file(&format!("{name}.pem"), signed.cert.clone()).file(&format!("{name}.key"), signed.key.clone())
        })
        .start();
    for (arguments, wanted) in [
        (&["-servername", "a.test"][..], &a),
        (&["-servername", "b.test"], &b),
        (&["-servername", "x.c.test"], &c),
        (&["-servername", "b.test", "-sigalgs", "RSA-PSS+SHA256"], &rsa),
        // What is for nobody who asks is still what a client can check.
        (&["-servername", "a.test", "-sigalgs", "RSA-PSS+SHA256"], &rsa),
        (&["-noservername"], &a),
    ] {
        let got = s_client(&rsp, "a.test", arguments).text();
        assert_eq!(openssl(&["x509", "-noout", "-serial"], got).text(), serial(wanted), "{arguments:?}");
    }
}

#[test]
fn versions_and_cipher_suites_that_are_not_wanted_get_an_alert() {
    let authority = Authority::new();
    let rsp = with(one(r#"{ cert = "a.pem", key = "a.key", min = "1.3" }"#), &authority, "a", &["a.test"]).start();
    let got = shake(&rsp, &["-tls1_2"]);
    assert!(got.contains("alert protocol version"), "{got}");
    let tls = r#"{ cert = "a.pem", key = "a.key", ciphers = { "TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" } }"#;
    let rsp = with(one(tls), &authority, "a", &["a.test"]).start();
    for (arguments, said) in [
        (&[][..], "TLS_CHACHA20_POLY1305_SHA256"),
        (&["-tls1_2"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (&["-ciphersuites", "TLS_AES_128_GCM_SHA256"], "alert handshake failure"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "alert handshake failure"),
    ] {
        let got = shake(&rsp, arguments);
        assert!(got.contains(said), "{arguments:?}: {got}");
    }
    let got = shake(&rsp, &["-alpn", "imap"]);
    assert!(got.contains("no application protocol"), "{got}");
    assert_eq!(metric(&rsp, "rsp_tls_handshakes_total{result=\"incompatible\",version=\"\"}"), 3);
    // The listener's own lowest version holds for every site.
    let config = "workers(1) listen { \"127.0.0.1:$PORT\", tls = { min = \"1.3\" } }\n\
                  site \"a.test\" { tls = { cert = \"a.pem\", key = \"a.key\" }, [\"/*\"] = reply(200, \"here\") }";
    let rsp = with(Rsp::config(config), &authority, "a", &["a.test"]).start();
    assert!(shake(&rsp, &["-tls1_2"]).contains("alert protocol version"));
    assert!(shake(&rsp, &["-tls1_3"]).contains("HTTP/1.1 200 "));
}

#[test]
fn an_ocsp_response_is_stapled() {
    let authority = Authority::new();
    // Not one that anybody would believe: what clients think of it is theirs.
    let response = [&[0x30, 0x03, 0x0a, 0x01, 0x06][..]].concat();
    let builder = one(r#"{ cert = "a.pem", key = "a.key", ocsp = "a.ocsp" }"#).file("a.ocsp", response);
    let rsp = with(builder, &authority, "a", &["a.test"]).start();
    let got = shake(&rsp, &["-status"]);
    assert!(got.contains("OCSP Response Status: unauthorized (0x6)"), "{got}");
    assert!(!shake(&rsp, &[]).contains("OCSP Response Status"));
}

#[test]
fn a_certificate_that_changes_is_shown_from_then_on_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let first = authority.sign(&["a.test"]);
    let rsp = one(FILES).file("a.pem", &first.cert).file("a.key", &first.key).start();
    assert_eq!(shown(&rsp), serial(&first));
    let put = |name: &str, content: &str| fs::write(rsp.folder().join(name), content).unwrap();
    put("a.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    rsp.wait_for_line(SOON, |line| line.contains("a.pem") && line.contains("what was read before stays"));
    assert_eq!(shown(&rsp), serial(&first));
    // A reload finds it broken, too, and says where.
    let refused = rsp.reload();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("a.pem") && refused.stderr.contains("PEM"), "{}", refused.stderr);
    assert_eq!(shown(&rsp), serial(&first));
    // Its two files are written one after the other, and handshakes go on meanwhile.
    let second = authority.sign(&["a.test"]);
    put("a.pem", &second.cert);
    assert_eq!(shown(&rsp), serial(&first));
    put("a.key", &second.key);
    rsp.wait_for_line(SOON, |line| line.contains("read anew"));
    assert_eq!(shown(&rsp), serial(&second));
}

#[test]
fn a_reload_reads_certificates_anew_and_leaves_connections_alone() {
    let authority = Authority::new();
    let (first, second) = (authority.sign(&["a.test"]), authority.sign(&["a.test"]));
    let rsp = one(FILES).file("a.pem", &first.cert).file("a.key", &first.key).start();
    let mut before = keep_open(&rsp, &authority, "a.test", "");
    ask(&mut before, "a.test", "here");
    second.write(rsp.folder(), "a");
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(shown(&rsp), serial(&second));
    ask(&mut before, "a.test", "here");
}

/// Resumes a session that was kept in this file; whether that worked.
fn resume(rsp: &Rsp, session: &Path, version: &str) -> bool {
    let got = shake(rsp, &[version, "-sess_in", session.to_str().unwrap()]);
    assert!(got.contains("HTTP/1.1 200 "), "{got}");
    got.contains("Reused, TLSv1")
}

#[test]
fn a_session_is_resumed_at_every_worker_and_after_a_reload() {
    let authority = Authority::new();
    let rsp = with(one(FILES), &authority, "a", &["a.test"]).start();
    for version in ["-tls1_3", "-tls1_2"] {
        let session = rsp.folder().join("session");
        shake(&rsp, &[version, "-sess_out", session.to_str().unwrap()]);
        // The kernel spreads connections over the workers: that all of ten go to one is one in a thousand.
        for _ in 0..10 {
            assert!(resume(&rsp, &session, version), "{version}");
        }
        authority.sign(&["a.test"]).write(rsp.folder(), "a");
        assert_eq!(rsp.reload().code, Some(0));
        assert!(resume(&rsp, &session, version), "{version} after a reload");
    }
    let done = |version| metric(&rsp, &format!("rsp_tls_handshakes_total{{result=\"resumed\",version=\"{version}\"}}"));
    assert_eq!((done("1.2"), done("1.3")), (11, 11));
}

#[test]
fn a_session_of_one_name_is_none_of_another() {
    let authority = Authority::new();
    let config = r#"workers(1) listen { "127.0.0.1:$PORT", tls = true }
        site "a.test" { tls = { cert = "a.pem", key = "a.key" }, ["/*"] = reply(200, "a") }
        site "b.test" { tls = { cert = "b.pem", key = "b.key" }, ["/*"] = reply(200, "b") }"#;
    let rsp = with(with(Rsp::config(config), &authority, "a", &["a.test"]), &authority, "b", &["b.test"]).start();
    let session = rsp.folder().join("session");
    shake(&rsp, &["-sess_out", session.to_str().unwrap()]);
    let got = s_client(&rsp, "b.test", &["-servername", "b.test", "-sess_in", session.to_str().unwrap()]).text();
    assert!(got.contains("New, TLSv1.3") && got.contains("\r\n\r\nb"), "{got}");
}

#[test]
fn a_certificate_that_is_wrong_at_the_start_ends_it_with_the_file_and_the_reason() {
    let authority = Authority::new();
    let (one_of, other) = (authority.sign(&["a.test"]), authority.sign(&["a.test"]));
    for (cert, key, file, reason) in [
        (&*one_of.cert, &*other.key, "a.key", "is not the one of the certificate"),
        ("", &one_of.key, "a.pem", "no certificate"),
        (&one_of.cert, "no key", "a.key", "no key"),
    ] {
        let output = one(FILES).file("a.pem", cert).file("a.key", key).run();
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        assert!(output.stderr.contains(file) && output.stderr.contains(reason), "{}", output.stderr);
        assert!(output.stderr.contains("site.lua:2"), "{}", output.stderr);
    }
}

#[test]
fn a_hundred_sites_of_one_certificate_are_opened_with_it() {
    let authority = Authority::new();
    let config = r#"workers(1) listen { "127.0.0.1:$PORT", tls = true }
        for i = 1, 100 do
          site("s" .. i .. ".test") { tls = { cert = "a.pem", key = "a.key" }, ["/*"] = reply(200, "site " .. i) }
        end"#;
    let rsp = with(Rsp::config(config), &authority, "a", &["*.test"]).start();
    for i in [1, 50, 100] {
        let host = format!("s{i}.test");
        let got = s_client(&rsp, &host, &["-servername", &host]).text();
        assert!(got.contains(&format!("\r\n\r\nsite {i}")), "{got}");
    }
}
