//! Stories of `bridge`: a WebSocket, or an event stream and POST, to a socket that speaks lines.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use testkit::{Message, Rsp, RspBuilder, WebSocket};

use super::{SOON, front};

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
fn bridge(server: &Server, options: &str) -> Rsp {
    bridging(server, options).start()
}

fn bridging(server: &Server, options: &str) -> RspBuilder {
    front("", &format!("bridge {{ \"$SERVER\", {options} }}")).set("SERVER", server.address())
}

#[test]
fn each_message_is_a_line_and_each_line_a_message() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let mut socket = WebSocket::open(&rsp.address(), "/");
    let mut far = server.accept();
    socket.send("hello");
    socket.send("wörld");
    assert_eq!(read(&mut far, 13), "hello\nwörld\n");
    far.write_all(b"one\ntwo\r\n\nthree\xff\nrest").unwrap();
    assert_eq!([socket.text(), socket.text(), socket.text()], ["one", "two", ""]);
    assert_eq!(socket.read(), Message::Binary(b"three\xff".to_vec()), "what is no text goes as bytes");
    drop(far);
    assert_eq!(socket.read(), Message::Close(1000, String::new()), "what has no end is no line");
}

#[test]
fn what_a_client_says_last_is_delivered_before_its_end() {
    let server = Server::start();
    let rsp = bridge(&server, "");
    let mut socket = WebSocket::open(&rsp.address(), "/");
    let mut far = server.accept();
    socket.send("bye");
    socket.close(1000);
    let mut all = String::new();
    far.read_to_string(&mut all).unwrap();
    assert_eq!(all, "bye\n");
    assert_eq!(socket.read(), Message::Close(1000, String::new()));
}

#[test]
fn a_server_that_can_not_be_reached_is_502_at_the_handshake() {
    let server = Server::start();
    let builder = bridging(&server, "");
    drop(server);
    let rsp = builder.start();
    assert_eq!(WebSocket::try_open(&rsp.address(), "/", "").unwrap_err().status, 502);
    assert_eq!(rsp.client().get("/").status, 404, "no WebSocket");
    let _ = Duration::ZERO;
}
