//! A WebSocket client over a raw connection: it masks what it sends, and reads with a codec that plays the client.

use std::io::{self, Write};

use rsp_core::frame::websocket::{Event, Opcode, Receiver, Role, Rules, close_frame, control_frame, message_frame};

use crate::{Client, Response, Socket, client::HANDSHAKE_KEY};

/// Any mask will do.
const MASK: Option<[u8; 4]> = Some([0x12, 0x34, 0x56, 0x78]);

/// One WebSocket. Reads that make no progress for ten seconds fail.
#[derive(Debug)]
pub struct WebSocket {
    client: Client,
    receiver: Receiver,
    input: Vec<u8>,
    handshake: Response,
}

/// The sending side of one, for a thread of its own.
#[derive(Debug)]
pub struct WebSocketSender(Socket);

/// What comes over a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// The peer's close: its code, 1005 for none, and its reason.
    Close(u16, String),
    /// The connection ended without a close, or was reset.
    Cut,
}

impl WebSocket {
    /// Opens `path` at `host:port`; panics with the answer if that is refused.
    #[track_caller]
    pub fn open(address: &str, path: &str) -> WebSocket {
        WebSocket::open_with(address, path, "")
    }

    /// The same with more fields, each with its line end: `"Sec-WebSocket-Protocol: rsp.json\r\n"`.
    #[track_caller]
    pub fn open_with(address: &str, path: &str, fields: &str) -> WebSocket {
        WebSocket::try_open(address, path, fields).unwrap_or_else(|refused| panic!("no WebSocket: {refused:?}"))
    }

    /// Opens one, or returns the answer that refuses it.
    #[track_caller]
    pub fn try_open(address: &str, path: &str, fields: &str) -> Result<WebSocket, Box<Response>> {
        WebSocket::try_ask(
            address,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {HANDSHAKE_KEY}\r\n{fields}\r\n"
            ),
        )
    }

    /// The same with a handshake of the test's own.
    #[track_caller]
    pub fn try_ask(address: &str, request: &str) -> Result<WebSocket, Box<Response>> {
        let mut client = Client::connect(address);
        let handshake = client.request(request);
        if handshake.status != 101 {
            return Err(Box::new(handshake));
        }
        let receiver = Receiver::new(Rules { role: Role::Client, message_max: 64 << 20 }, None);
        Ok(WebSocket { client, receiver, input: Vec::new(), handshake })
    }

    /// A field of the answer to the handshake.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.handshake.header(name)
    }

    /// Sends a text.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.client.send(message_frame(Opcode::Text, text.as_bytes(), false, MASK));
    }

    /// Sends a text, or says why not; for peers that don't read.
    pub fn try_send(&mut self, text: &str) -> io::Result<()> {
        self.client.try_send(message_frame(Opcode::Text, text.as_bytes(), false, MASK))
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.client.send(message_frame(Opcode::Binary, bytes, false, MASK));
    }

    /// Sends a close.
    #[track_caller]
    pub fn close(&mut self, code: u16) {
        let code = rsp_core::frame::websocket::CloseCode::new(code).expect("a code that may be sent");
        self.client.send(close_frame(code, "", MASK));
    }

    /// The next message, the close or the end; pings are answered and passed over, as browsers do.
    #[track_caller]
    pub fn read(&mut self) -> Message {
        self.try_read().unwrap_or_else(|error| panic!("no message: {error}"))
    }

    /// The next message, or `WouldBlock` after ten seconds without one.
    pub fn try_read(&mut self) -> io::Result<Message> {
        loop {
            let (taken, event) = self.receiver.receive(&mut self.input).map_err(io::Error::other)?;
            self.input.drain(..taken);
            match event {
                Some(Event::Text(text)) => return Ok(Message::Text(String::from_utf8_lossy(&text).into_owned())),
                Some(Event::Binary(bytes)) => return Ok(Message::Binary(bytes.to_vec())),
                Some(Event::Ping(payload)) => {
                    // A peer that is about to close may be gone.
                    let _ = self.client.try_send(control_frame(Opcode::Pong, &payload, MASK));
                }
                Some(Event::Pong(_)) => {}
                Some(Event::Close(None)) => return Ok(Message::Close(1005, String::new())),
                Some(Event::Close(Some(close))) => return Ok(Message::Close(close.code.get(), close.reason)),
                None => match self.client.read_some() {
                    Ok(bytes) if bytes.is_empty() => return Ok(Message::Cut),
                    Ok(bytes) => self.input.extend(bytes),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Message::Cut),
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// The next message, which must be a text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        match self.read() {
            Message::Text(text) => text,
            other => panic!("{other:?} in place of a text"),
        }
    }

    /// The next message, which must be a JSON object.
    #[track_caller]
    pub fn object(&mut self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?} is no object: {error}"))
    }

    /// The connection itself.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// A second hand that sends while this one reads.
    pub fn sender(&self) -> WebSocketSender {
        WebSocketSender(self.client.socket().share().expect("a second handle"))
    }
}

impl WebSocketSender {
    /// Sends a text, or says why not.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        (&self.0).write_all(&message_frame(Opcode::Text, text.as_bytes(), false, MASK))
    }

    /// Sends bytes, or says why not.
    pub fn send_binary(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(&message_frame(Opcode::Binary, bytes, false, MASK))
    }
}
