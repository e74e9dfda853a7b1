//! A WebSocket client of a few lines (RFC 6455), written apart from rsp's own frames: it sends what it is told and tells
//! what came.

use crate::Client;

/// One conversation.
#[derive(Debug)]
pub struct WebSocket {
    client: Client,
}

/// What a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The end, with its code and reason; 1005 where there is none.
    Close(u16, String),
}

impl WebSocket {
    /// Shakes hands at `path`; `fields` are header lines, each with its line end. Panics at any answer but 101.
    #[track_caller]
    pub fn connect(address: &str, path: &str, fields: &str) -> WebSocket {
        let (client, status) = WebSocket::try_connect(address, path, fields);
        assert_eq!(status, 101, "handshake at {path}");
        WebSocket { client }
    }

    /// Asks to shake hands; the connection, and what the answer's status is.
    #[track_caller]
    pub fn try_connect(address: &str, path: &str, fields: &str) -> (Client, u16) {
        let mut client = Client::connect(address);
        let status = client
            .request(&format!(
                "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
            ))
            .status;
        (client, status)
    }

    /// Sends a text message.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.client.send(masked(1, text.as_bytes()));
    }

    /// Sends a binary message.
    #[track_caller]
    pub fn send_binary(&mut self, data: &[u8]) {
        self.client.send(masked(2, data));
    }

    /// Sends several text messages in one piece.
    #[track_caller]
    pub fn send_at_once(&mut self, texts: impl IntoIterator<Item = String>) {
        let frames: Vec<u8> = texts.into_iter().flat_map(|text| masked(1, text.as_bytes())).collect();
        self.client.send(frames);
    }

    /// The next message or the end; answers pings.
    #[track_caller]
    pub fn read(&mut self) -> Frame {
        loop {
            let head = self.client.read_exactly(2);
            let length = match head[1] {
                126 => u64::from(u16::from_be_bytes(self.take())),
                127 => u64::from_be_bytes(self.take()),
                length => u64::from(length),
            };
            let data = self.client.read_exactly(length);
            match head[0] {
                0x81 => return Frame::Text(String::from_utf8(data).expect("a text message is UTF-8")),
                0x82 => return Frame::Binary(data),
                0x88 => {
                    let code = data.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Frame::Close(code, String::from_utf8_lossy(data.get(2..).unwrap_or_default()).into_owned());
                }
                0x89 => self.client.send(masked(0xa, &data)),
                0x8a => {}
                other => panic!("a frame that begins with {other:#x}"),
            }
        }
    }

    /// The next message, which is text.
    #[track_caller]
    pub fn read_text(&mut self) -> String {
        match self.read() {
            Frame::Text(text) => text,
            other => panic!("{other:?} instead of a text"),
        }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.client.read_exactly(N as u64);
        bytes.try_into().expect("as many as asked for")
    }
}

/// A whole message as a client has to send it (RFC 6455 §5.3).
fn masked(opcode: u8, data: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x9a, 0x00, 0xff];
    let mut frame = vec![0x80 | opcode];
    match data.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(data.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
