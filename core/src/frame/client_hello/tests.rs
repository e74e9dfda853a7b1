//! Hellos as rustls makes them and as nobody should, whole and in pieces.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};

use super::*;

/// The bytes with which a client of rustls begins.
fn greeting(name: &str, alpn: &[&str]) -> Vec<u8> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.insert(0, rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768);
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

/// The same message in records of these sizes in turn.
fn in_records(greeting: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut left, mut sizes) = (&greeting[RECORD_HEADER..], sizes.iter().cycle());
    let mut out = Vec::new();
    while !left.is_empty() {
        let (one, rest) = left.split_at(left.len().min(*sizes.next().unwrap()));
        out.extend_from_slice(&[HANDSHAKE, 3, 1]);
        out.extend_from_slice(&u16::try_from(one.len()).unwrap().to_be_bytes());
        out.extend_from_slice(one);
        left = rest;
    }
    out
}

fn long(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), long(content)].concat()
}

fn named(name: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &long(&[vec![0], long(name)].concat()))
}

/// A hello with these extensions in one record.
fn hello(extensions: &[u8]) -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &long(extensions)].concat();
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[CLIENT_HELLO], &length[1..], body].concat();
    in_records(&[&[0; RECORD_HEADER], &message[..]].concat(), &[RECORD_MAX])
}

fn name_in(bytes: &[u8]) -> Result<Option<Box<str>>, NotTls> {
    read(bytes).map(|hello| hello.unwrap().server_name)
}

#[test]
fn a_hello_of_rustls_says_name_protocols_and_versions() {
    let greeting_of_app = greeting("App.Example", &["h2", "http/1.1"]);
    assert!(greeting_of_app.len() > 1200, "it has a post-quantum key share");
    let hello = read(&greeting_of_app).unwrap().unwrap();
    assert_eq!(hello.server_name.as_deref(), Some("app.example"));
    assert_eq!(hello.alpn, [Box::from(*b"h2"), Box::from(*b"http/1.1")]);
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    let nameless = read(&greeting("192.0.2.1", &[])).unwrap().unwrap();
    assert_eq!((nameless.server_name, nameless.alpn), (None, vec![]));
}

proptest! {
    #[test]
    fn a_hello_cut_anywhere_into_records_and_pieces_reads_the_same(
        sizes in proptest::collection::vec(1_usize..600, 1..6),
        label in "[a-z0-9_-]{1,30}",
        behind in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let name = format!("x{}.example", label.trim_end_matches('-'));
        prop_assume!(ServerName::try_from(name.as_str()).is_ok());
        let greeting = greeting(&name, &["http/1.1"]);
        let whole = read(&greeting).unwrap().unwrap();
        prop_assert_eq!(whole.server_name.as_deref(), Some(&*name));
        let mut bytes = in_records(&greeting, &sizes);
        prop_assume!(bytes.len() <= WIRE_MAX);
        for end in 0..bytes.len() {
            prop_assert_eq!(read(&bytes[..end]), Ok(None));
            let missing = missing(&bytes[..end]).unwrap();
            prop_assert!(missing > 0 && end + missing <= bytes.len(), "more was waited for than comes");
        }
        bytes.extend_from_slice(&behind);
        prop_assert_eq!(read(&bytes), Ok(Some(whole)));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (read(&bytes), read(&hello(&bytes)), read(&message(&bytes)), parse(&bytes));
        let _ = (name_in(&hello(&named(&bytes))), read(&hello(&extension(ALPN, &bytes))));
        let _ = read(&hello(&extension(SUPPORTED_VERSIONS, &bytes)));
    }
}

#[test]
fn who_waits_for_what_is_missing_looks_a_few_dozen_times_at_the_smallest_pieces() {
    // The longest hello that fits into records of six bytes each.
    let padding = extension(21, &vec![0; 3000]);
    let bytes = in_records(&hello(&[named(b"a.example"), padding].concat()), &[1]);
    assert!(bytes.len() < WIRE_MAX && bytes.len() > WIRE_MAX * 3 / 4);
    let (mut have, mut looks) = (0, 0);
    while let more @ 1.. = missing(&bytes[..have]).unwrap() {
        (have, looks) = (have + more, looks + 1);
    }
    assert!(looks < 60, "{looks} looks");
    assert_eq!(name_in(&bytes[..have]).unwrap().as_deref(), Some("a.example"));
}

#[test]
fn a_name_is_what_hosts_are_compared_with_or_the_hello_is_refused() {
    let long_name = ["a"; 64].join(".");
    for (name, wanted) in
        [("a.example.", "a.example"), ("A_b-9.x", "a_b-9.x"), ("localhost", "localhost"), (&long_name, &long_name)]
    {
        assert_eq!(name_in(&hello(&named(name.as_bytes()))).unwrap().as_deref(), Some(wanted));
    }
    for address in ["127.0.0.1", "::1", "2001:db8::1"] {
        assert_eq!(name_in(&hello(&named(address.as_bytes()))), Ok(None), "{address}");
    }
    let too_long = ["a"; 128].join(".");
    for garbage in ["", ".", "a..b", "a b", "*.x", "x/y", "a\0b", "é.example", "a:443", &"a".repeat(64), &too_long] {
        assert_eq!(
            name_in(&hello(&named(garbage.as_bytes()))),
            Err(NotTls::Malformed(Alert::IllegalParameter)),
            "{garbage}"
        );
    }
    assert!(name_in(&hello(&named(b"\xff\xfe"))).is_err());
}

#[test]
fn what_another_server_could_read_in_another_way_is_refused() {
    let illegal = Err(NotTls::Malformed(Alert::IllegalParameter));
    let twice = [named(b"a.example"), named(b"b.example")].concat();
    assert_eq!(name_in(&hello(&twice)), illegal, "two extensions of names");
    let names = [vec![0], long(b"a.example"), vec![0], long(b"b.example")].concat();
    assert_eq!(name_in(&hello(&extension(SERVER_NAME, &long(&names)))), illegal, "two names in one");
    let undecodable = Err(NotTls::Malformed(Alert::DecodeError));
    let behind = [long(&[vec![0], long(b"a.example")].concat()), vec![0]].concat();
    assert_eq!(name_in(&hello(&extension(SERVER_NAME, &behind))), undecodable, "bytes behind the list");
    let mut body = hello(&named(b"a.example"))[RECORD_HEADER + MESSAGE_HEADER..].to_vec();
    assert_eq!(name_in(&message(&body)).unwrap().as_deref(), Some("a.example"));
    body.push(0);
    assert_eq!(name_in(&message(&body)), undecodable, "bytes behind the extensions");
    for end in 0..body.len() - 1 {
        // A hello may end behind its compression methods.
        let expected = if end == 41 { Ok(None) } else { undecodable.clone() };
        assert_eq!(name_in(&message(&body[..end])), expected, "cut at {end}");
    }
}

#[test]
fn what_only_tries_us_is_no_version_and_unknown_extensions_are_none_of_ours() {
    let versions = extension(SUPPORTED_VERSIONS, &[6, 0x2a, 0x2a, 3, 4, 3, 3]);
    // Of an encrypted hello (RFC 9849) the public name counts.
    let all = [extension(0x3a3a, &[0]), extension(0xfe0d, &[0; 300]), versions, named(b"public.example")].concat();
    let read = read(&hello(&all)).unwrap().unwrap();
    assert_eq!(read.versions, [0x0304, 0x0303]);
    assert_eq!(read.server_name.as_deref(), Some("public.example"));
    let old = name_in(&message(&[&[3, 1][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat()));
    assert_eq!(old, Ok(None));
}

#[test]
fn plain_http_is_told_from_garbage_by_its_first_word() {
    for http in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "VERSION-CONTROL /x HTTP/1.1"] {
        let word = http.find(' ').unwrap();
        assert_eq!(read(&http.as_bytes()[..word]), Ok(None), "{http}");
        assert_eq!(read(&http.as_bytes()[..=word]), Err(NotTls::Http), "{http}");
    }
    let endless = "A".repeat(METHOD_MAX + 1);
    for garbage in ["SSH-2.0-OpenSSH_9.2\r\n", "get / ", "\0", "\x16\x02", "\u{80}\x2e\x01", " /", "A b", &endless] {
        assert_eq!(read(garbage.as_bytes()), Err(NotTls::Garbage), "{garbage:?}");
    }
}

#[test]
fn what_is_no_hello_is_known_with_its_first_wrong_byte() {
    let malformed = |alert| Err(NotTls::Malformed(alert));
    assert_eq!(missing(&[HANDSHAKE, 3, 1, 0, 10, 2]), malformed(Alert::UnexpectedMessage), "a ServerHello");
    assert_eq!(missing(&[HANDSHAKE, 3, 1, 0, 0]), malformed(Alert::UnexpectedMessage), "an empty record");
    assert_eq!(missing(&[HANDSHAKE, 3, 1, 0x40, 1]), malformed(Alert::RecordOverflow));
    assert_eq!(
        missing(&[HANDSHAKE, 3, 1, 0, 4, 1, 0, 1, 0, 21]),
        malformed(Alert::UnexpectedMessage),
        "an alert within"
    );
    assert_eq!(missing(&[HANDSHAKE, 3, 1, 0, 4, 1, 0, 0x40, 1]), Err(NotTls::TooLong));
    assert!(missing(&[HANDSHAKE, 3, 1, 0, 4, 1, 0, 0x40, 0]).is_ok(), "16 KiB are allowed");
}

#[test]
fn a_message_in_too_many_records_is_too_long() {
    let bytes = in_records(&hello(&extension(21, &vec![0; 4000])), &[1]);
    assert!(bytes.len() > WIRE_MAX);
    let refused = (0..bytes.len()).step_by(100).find(|end| missing(&bytes[..*end]).is_err()).unwrap();
    assert_eq!(missing(&bytes[..refused]), Err(NotTls::TooLong));
    assert!(refused < WIRE_MAX);
}

#[test]
fn an_alert_is_one_record_that_says_that_it_is_fatal() {
    assert_eq!(Alert::UnrecognizedName.record(), [21, 3, 3, 0, 2, 2, 112]);
    assert_eq!(NotTls::TooLong.alert(), Some(Alert::IllegalParameter));
    assert_eq!(NotTls::Http.alert(), None);
}

#[test]
fn hellos_of_browsers_and_tools_are_read() {
    for (bytes, name, protocols, newest) in [
        (&include_bytes!("../../../../fuzz/seeds/client_hello/chromium")[..], "c.example", 2, 0x0304),
        (include_bytes!("../../../../fuzz/seeds/client_hello/curl"), "a.example", 2, 0x0304),
        (include_bytes!("../../../../fuzz/seeds/client_hello/openssl-alpn"), "b.example", 2, 0x0304),
        (include_bytes!("../../../../fuzz/seeds/client_hello/openssl-tls12"), "a.example", 0, 0x0303),
        (include_bytes!("../../../../fuzz/seeds/client_hello/python"), "py.example", 0, 0x0304),
    ] {
        let hello = read(bytes).unwrap().unwrap();
        assert_eq!(hello.server_name.as_deref(), Some(name));
        assert_eq!(hello.alpn.len(), protocols, "{name}");
        assert_eq!(hello.versions.first(), Some(&newest), "{name}");
    }
}
