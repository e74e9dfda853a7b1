//! Stories of `bridge`: a WebSocket to a TCP or unix socket that speaks lines, and what becomes of either side.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use rsp_core::frame::websocket::{Opcode, control_frame};
use testkit::{Message, Rsp, RspBuilder, Signal, WebSocket, eventually};

use super::{SOON, front};

/// More than all buffers on the way hold.
const FLOOD: usize = 32 << 20;

/// What rsp may grow by when somebody floods it: a buffer or two.
const SMALL: u64 = 4 << 20;

/// A server whose connections the test itself answers.
pub(super) struct Server(TcpListener);

impl Server {
    pub(super) fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(super) fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next connection.
    pub(super) fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream
    }
}

/// Reads so many bytes as text.
pub(super) fn read(stream: &mut impl Read, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// rsp with a bridge to `server`; `options` are more of the bridge's.
pub(super) fn bridge(server: &Server, options: &str) -> Rsp {
    bridging(server, "", options).start()
}

fn bridging(server: &Server, statements: &str, options: &str) -> RspBuilder {
    front(statements, &format!("bridge {{ \"$SERVER\", {options} }}")).set("SERVER", server.address())
}

/// A client and the server's end of its bridge.
fn pair(rsp: &Rsp, server: &Server) -> (WebSocket, TcpStream) {
    let socket = WebSocket::open(&rsp.address(), "/");
    (socket, server.accept())
}

/// Writes until nobody takes more, or everything is out; how much that was.
fn fill(mut write: impl FnMut(&[u8]) -> io::Result<()>, piece: &[u8]) -> usize {
    let mut written = 0;
    while written < FLOOD && write(piece).is_ok() {
        written += piece.len();
    }
    written
}

#[test]
fn each_message_is_a_line_and_each_line_a_message() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, mut far) = pair(&rsp, &server);
    socket.send("hello");
    socket.send_binary(b"no line");
    socket.send("wörld");
    assert_eq!(read(&mut far, 13), "hello\nwörld\n");
    far.write_all(b"one\ntwo\r\n\nthree\xff\nrest").unwrap();
    assert_eq!([socket.text(), socket.text(), socket.text()], ["one", "two", ""]);
    assert_eq!(socket.read(), Message::Binary(b"three\xff".to_vec()), "what is no text goes as bytes");
    drop(far);
    assert_eq!(socket.read(), Message::Close(1000, String::new()), "what has no end is no line");
}

#[test]
fn bytes_come_as_they_are_and_lengths_measure_messages() {
    let server = Server::start();
    let rsp = bridge(&server, "framing = \"raw\"");
    let (mut socket, mut far) = pair(&rsp, &server);
    socket.send("no bytes");
    socket.send_binary(b"\0a\n");
    assert_eq!(read(&mut far, 3), "\0a\n");
    far.write_all(b"b\n\xff").unwrap();
    assert_eq!(socket.read(), Message::Binary(b"b\n\xff".to_vec()));
    drop(far);
    assert_eq!(socket.read(), Message::Close(1000, String::new()));

    let rsp = bridge(&server, "framing = \"length\"");
    let (mut socket, mut far) = pair(&rsp, &server);
    socket.send("a\nb");
    assert_eq!(read(&mut far, 7), "\0\0\0\x03a\nb");
    far.write_all(b"\0\0\0\x03c\nd\0\0\0\0\0\0").unwrap();
    assert_eq!([socket.text(), socket.text()], ["c\nd", ""]);
    socket.send_binary(b"e");
    assert_eq!(read(&mut far, 5), "\0\0\0\x01e");
    far.write_all(b"\0\x01f").unwrap();
    assert_eq!(socket.read(), Message::Binary(b"f".to_vec()), "it is answered in kind");
}

#[test]
fn a_bridge_leads_to_a_unix_socket_as_well() {
    let rsp = front("", "bridge \"unix:$DIR/far.sock\"").start();
    assert_eq!(WebSocket::try_open(&rsp.address(), "/", "").unwrap_err().status, 502);
    let server = UnixListener::bind(rsp.folder().join("far.sock")).unwrap();
    // The endpoint may be out for a moment.
    let mut opened = None;
    eventually(2 * SOON, || {
        opened = WebSocket::try_open(&rsp.address(), "/", "").ok();
        opened.is_some()
    });
    let mut socket = opened.unwrap();
    let (mut far, _) = server.accept().unwrap();
    socket.send("hello");
    assert_eq!(read(&mut far, 6), "hello\n");
    far.write_all(b"there\n").unwrap();
    assert_eq!(socket.text(), "there");
}

#[test]
fn what_a_client_says_last_is_delivered_before_its_end() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, mut far) = pair(&rsp, &server);
    socket.send("bye");
    socket.close(1000);
    let mut all = String::new();
    far.read_to_string(&mut all).unwrap();
    assert_eq!(all, "bye\n");
    assert_eq!(socket.read(), Message::Close(1000, String::new()));
    for leave in [
        |client: WebSocket| drop(client),
        |mut client: WebSocket| {
            client.client().half_close();
            assert_eq!(client.read(), Message::Close(1005, String::new()));
        },
    ] {
        let (mut socket, mut far) = pair(&rsp, &server);
        socket.send("bye");
        assert_eq!(read(&mut far, 4), "bye\n");
        leave(socket);
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn what_a_server_says_last_is_delivered_before_its_end() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, mut far) = pair(&rsp, &server);
    let line = "x".repeat(1000);
    let writer =
        std::thread::spawn(move || (0..5000).for_each(|_| far.write_all(format!("{line}\n").as_bytes()).unwrap()));
    for _ in 0..5000 {
        assert_eq!(socket.text().len(), 1000);
    }
    assert_eq!(socket.read(), Message::Close(1000, String::new()));
    writer.join().unwrap();
}

#[test]
fn a_connection_that_breaks_is_1011() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, far) = pair(&rsp, &server);
    rustix::net::sockopt::set_socket_linger(&far, Some(Duration::ZERO)).unwrap();
    drop(far);
    assert!(matches!(socket.read(), Message::Close(1011, _)));
}

#[test]
fn a_server_that_can_not_be_reached_is_502_at_the_handshake() {
    let server = Server::start();
    let builder = bridging(&server, "", "");
    drop(server);
    let rsp = builder.start();
    assert_eq!(WebSocket::try_open(&rsp.address(), "/", "").unwrap_err().status, 502);
    assert_eq!(rsp.client().get("/").status, 404, "no WebSocket");
    let wrong =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\r\n";
    assert_eq!(rsp.client().request(wrong).status, 426, "found out before anybody is asked");
}

#[test]
fn messages_that_are_too_long_end_a_talk_with_1009_either_way() {
    let server = Server::start();
    let rsp = bridge(&server, "line_max = 10, message_max = 5");
    let (mut socket, mut far) = pair(&rsp, &server);
    socket.send("12345");
    assert_eq!(read(&mut far, 6), "12345\n");
    socket.send("123456");
    assert!(matches!(socket.read(), Message::Close(1009, _)));
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);

    let (mut socket, mut far) = pair(&rsp, &server);
    far.write_all(b"1234567890\r\n12345678901").unwrap();
    assert_eq!(socket.text(), "1234567890", "what came before it is delivered");
    assert!(matches!(socket.read(), Message::Close(1009, _)));
}

#[test]
fn a_long_line_is_a_message_like_any_other() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, mut far) = pair(&rsp, &server);
    let line = "y".repeat(1 << 20);
    let writer = std::thread::spawn(move || {
        far.write_all(format!("{line}\nshort\n").as_bytes()).unwrap();
        far
    });
    assert_eq!(socket.text().len(), 1 << 20);
    assert_eq!(socket.text(), "short");
    let mut far = writer.join().unwrap();
    let reader = std::thread::spawn(move || read(&mut far, (1 << 20) + 1));
    socket.send(&"z".repeat(1 << 20));
    assert!(reader.join().unwrap().ends_with("z\n"));
}

#[test]
fn a_server_that_floods_waits_for_a_client_that_does_not_read() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, mut far) = pair(&rsp, &server);
    socket.client().socket().set_receive_buffer(32 << 10).unwrap();
    far.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let before = rsp.user_memory();
    let line = format!("{}\n", "x".repeat((64 << 10) - 1));
    assert!(fill(|piece| far.write_all(piece), line.as_bytes()) < FLOOD, "nobody reads, and all of it is taken");
    assert!(rsp.user_memory() < before + SMALL, "{} bytes more", rsp.user_memory() - before);
    for _ in 0..4 {
        assert_eq!(socket.text().len(), line.len() - 1);
    }
}

#[test]
fn a_client_that_floods_waits_for_a_server_that_does_not_read() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, mut far) = pair(&rsp, &server);
    let message = "x".repeat((64 << 10) - 1);
    socket.client().socket().set_timeout(Some(Duration::from_secs(1))).unwrap();
    let before = rsp.user_memory();
    let mut sender = socket.sender();
    let taken = fill(|_| sender.send(&message), message.as_bytes());
    assert!(taken < FLOOD, "nobody reads, and all of it is taken");
    drop(sender);
    assert!(rsp.user_memory() < before + SMALL, "{} bytes more", rsp.user_memory() - before);
    for _ in 0..4 {
        assert!(read(&mut far, message.len() + 1).ends_with("x\n"));
    }
    // It leaves, and nothing that is still on its way keeps the connection.
    drop(socket);
    let mut rest = Vec::new();
    let _ = far.read_to_end(&mut rest);
}

#[test]
fn a_client_that_takes_nothing_for_the_write_timeout_is_cut() {
    let server = Server::start();
    let rsp = bridging(&server, "limits { write_timeout = \"300ms\" }", "").start();
    let (socket, mut far) = pair(&rsp, &server);
    let line = format!("{}\n", "x".repeat((64 << 10) - 1));
    let written = fill(|piece| far.write_all(piece), line.as_bytes());
    assert!(written < FLOOD, "the bridge has ended under it");
    drop(socket);
}

#[test]
fn silence_after_two_pings_is_the_end() {
    let server = Server::start();
    let rsp = bridge(&server, "ping = \"100ms\"");
    let (mut lively, mut far) = pair(&rsp, &server);
    // Whoever reads answers.
    let reader = std::thread::spawn(move || lively.text());
    for _ in 0..2 {
        let (silent, mut end) = pair(&rsp, &server);
        let began = Instant::now();
        assert_eq!(end.read(&mut [0; 1]).unwrap_or_default(), 0, "nothing answers for it");
        assert!(began.elapsed() > Duration::from_millis(150), "{:?}", began.elapsed());
        drop(silent);
    }
    far.write_all(b"still there\n").unwrap();
    assert_eq!(reader.join().unwrap(), "still there");
}

#[test]
fn a_ping_is_answered_between_messages() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let (mut socket, mut far) = pair(&rsp, &server);
    socket.client().send(control_frame(Opcode::Ping, b"are you?", Some([1, 2, 3, 4])));
    assert_eq!(socket.client().read_exactly(10), b"\x8a\x08are you?");
    far.write_all(b"yes\n").unwrap();
    assert_eq!(socket.text(), "yes");
}

#[test]
fn long_messages_are_compressed_where_that_was_agreed_on() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: one, two\r\n";
    let mut socket = WebSocket::open_with(&rsp.address(), "/", offer);
    assert!(socket.header("sec-websocket-extensions").is_some_and(|agreed| agreed.starts_with("permessage-deflate")));
    assert_eq!(socket.header("sec-websocket-protocol"), Some("one"), "the first that is offered");
    let mut far = server.accept();
    far.write_all(b"short\n").unwrap();
    assert_eq!(socket.text(), "short");
    far.write_all(format!("{}\n", "x".repeat(1000)).as_bytes()).unwrap();
    let head = socket.client().read_exactly(2);
    assert_eq!(head[0], 0xc1, "a whole text, compressed");
    assert!(head[1] < 50, "{} bytes of a thousand equal ones", head[1]);
}

#[test]
fn a_drain_ends_talks_with_1001() {
    let server = Server::start();
    let mut rsp = bridging(&server, "drain \"2s\"", "").start();
    let (mut socket, mut far) = pair(&rsp, &server);
    rsp.signal(Signal::TERM);
    socket.send("still here");
    assert_eq!(read(&mut far, 11), "still here\n", "a talk goes on meanwhile");
    assert!(matches!(socket.read(), Message::Close(1001, _)));
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    drop(socket);
    assert!(rsp.wait_exit(SOON).success());
}

#[test]
fn a_client_that_does_not_read_its_goodbye_holds_up_no_drain() {
    let server = Server::start();
    let mut rsp = bridging(&server, "drain \"1s\"", "").start();
    let (socket, mut far) = pair(&rsp, &server);
    rsp.signal(Signal::TERM);
    let began = Instant::now();
    assert!(rsp.wait_exit(SOON).success());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(far.read(&mut [0; 1]).unwrap_or_default(), 0);
    drop(socket);
}

#[test]
fn a_page_of_another_origin_opens_no_talk_unless_it_is_listed() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let own = format!("Origin: http://{}\r\n", rsp.address());
    let ask =
        |rsp: &Rsp, origin: &str| WebSocket::try_open(&rsp.address(), "/", origin).map_err(|refused| refused.status);
    assert!(ask(&rsp, &own).is_ok() && ask(&rsp, "").is_ok());
    assert_eq!(ask(&rsp, "Origin: http://evil.example\r\n").unwrap_err(), 403);
    let rsp = bridge(&server, "origins = { \"a.example\" }, origin_required = true");
    assert!(ask(&rsp, "Origin: https://a.example:8443\r\n").is_ok());
    assert_eq!(ask(&rsp, &own).unwrap_err(), 403);
    assert_eq!(ask(&rsp, "").unwrap_err(), 403);
}

#[test]
fn an_endpoint_that_is_dead_costs_no_talk_and_counts_until_it_ends() {
    let (dead, server) = (Server::start(), Server::start());
    let builder = front("upstream \"u\" { \"$DEAD\", { \"$SERVER\", max_connections = 1 } }", "bridge \"u\"");
    let builder = builder.set("DEAD", dead.address()).set("SERVER", server.address());
    drop(dead);
    let rsp = builder.start();
    let (socket, far) = pair(&rsp, &server);
    let refused = WebSocket::try_open(&rsp.address(), "/", "").unwrap_err().status;
    assert!(matches!(refused, 502 | 503), "{refused}");
    drop((socket, far));
    eventually(SOON, || WebSocket::try_open(&rsp.address(), "/", "").is_ok());
}
