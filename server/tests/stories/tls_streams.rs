//! Stories of what flows over TLS: nothing is held back, nothing is lost behind a slow reader, and a cut is no end.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use testkit::{Answer, Authority, Origin, Pattern, Rsp};

use super::{
    SOON,
    channel::{metric, publish, wait_for_subscribers},
    tls::with,
};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Bytes that the kernel does not take of one who writes to a peer that does not read.
const LARGE: usize = 12 << 20;

struct Scene {
    rsp: Rsp,
    authority: Authority,
}

/// One site, on the first port without TLS and on the second one with it.
fn scene(routes: &str, origin: &Origin) -> Scene {
    let authority = Authority::new();
    let config = format!(
        "workers(1) listen \"127.0.0.1:$PORT\" listen {{ \"127.0.0.1:$PORT2\", tls = true }}\n\
         site \"*\" {{ tls = {{ cert = \"a.pem\", key = \"a.key\" }}, {routes} }}\n"
    );
    let rsp = with(Rsp::config(&config), &authority, "a", &["a.test"]).set("ORIGIN", origin.address());
    Scene { rsp: rsp.file("files/large", Pattern::bytes(LARGE)).start(), authority }
}

impl Scene {
    /// A client whose kernel takes little, after this request.
    fn ask(&self, request: &str) -> Stream {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), "a.test".try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.rsp.port_of(2))).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }
}

/// Reads until this was said; all that came.
#[track_caller]
fn read_until(stream: &mut Stream, said: &str) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains(said) {
        let n = stream.read(&mut bytes).unwrap();
        assert!(n > 0, "it ended with {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    text
}

/// What follows the head, to the end of the connection.
fn body(stream: &mut Stream) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all).map(drop);
    let head = all.windows(4).position(|four| four == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    (all.split_off(head), end)
}

#[test]
fn an_event_is_there_as_soon_as_it_is_said() {
    let scene = scene("[\"/room\"] = channel { \"room\" }", &Origin::replying("-"));
    let mut stream = scene.ask("GET /room HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\n\r\n");
    wait_for_subscribers(&scene.rsp, 1);
    for message in ["one", "two", "three"] {
        publish(&scene.rsp, message);
        assert!(read_until(&mut stream, &format!("data: {message}\n")).contains(message));
    }
}

#[test]
fn a_websocket_that_reads_late_reads_everything() {
    let scene = scene("[\"/room\"] = channel { \"room\", queue_max = \"32MiB\" }", &Origin::replying("-"));
    let mut stream = scene.ask(
        "GET /room HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    read_until(&mut stream, "\r\n\r\n");
    wait_for_subscribers(&scene.rsp, 1);
    let (size, count) = (60_000, LARGE / 60_000);
    for number in 0..count {
        publish(&scene.rsp, &format!("{number:06}{}", "x".repeat(size - 6)));
    }
    let mut frame = vec![0; 4 + size];
    for number in 0..count {
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..4], [0x81, 126, 0xea, 0x60], "a text of 60,000 bytes");
        assert_eq!(frame[4..10], *format!("{number:06}").as_bytes());
    }
    assert_eq!(metric(&scene.rsp, "rsp_channel_slow_total"), 0);
}

#[test]
fn large_bodies_are_copied_whole_where_the_kernel_would_move_them() {
    let origin = Origin::start(|_| Answer::pattern(LARGE as u64));
    let scene = scene("[\"/f/*\"] = files \"files\", [\"/*\"] = proxy(\"$ORIGIN\")", &origin);
    for path in ["/f/large", "/proxied"] {
        let mut stream = scene.ask(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"));
        let (body, end) = body(&mut stream);
        end.unwrap();
        assert!(body.len() == LARGE && Pattern::new().matches(&body), "{path}: {} bytes", body.len());
    }
}

#[test]
fn an_upload_arrives_whole() {
    let origin = Origin::replying("all of it is here");
    let scene = scene("[\"/*\"] = proxy(\"$ORIGIN\")", &origin);
    let mut stream = scene.ask(&format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LARGE}\r\n\r\n"));
    stream.write_all(&Pattern::bytes(LARGE)).unwrap();
    assert!(read_until(&mut stream, "all of it is here").starts_with("HTTP/1.1 200"));
    let received = &origin.received()[0];
    assert!(received.body_length == LARGE as u64 && received.body_is_pattern);
}

#[test]
fn who_waits_for_the_close_is_told_of_an_end_and_not_of_a_cut() {
    let origin = Origin::start(|head| match head.target.as_str() {
        "/whole" => Answer::chunked(&["all ", "of it"], ""),
        _ => {
            Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").then(testkit::Step::Close)
        }
    });
    let scene = scene("[\"/*\"] = proxy(\"$ORIGIN\")", &origin);
    let (whole, end) = body(&mut scene.ask("GET /whole HTTP/1.0\r\nHost: a.test\r\n\r\n"));
    assert_eq!((&whole[..], end.is_ok()), (&b"all of it"[..], true), "close_notify says that this is the end");
    let (cut, end) = body(&mut scene.ask("GET /cut HTTP/1.0\r\nHost: a.test\r\n\r\n"));
    assert!(end.is_err(), "{:?} is no whole answer", String::from_utf8_lossy(&cut));
}
