//! A row is bytes of a peer and what must come of them: events, and the code of the fault that ends them.

use bytes::Bytes;
use rsp_core::frame::websocket::{Close, CloseCode, Deflate, Event, Inflater, Receiver, Role, Rules};

/// Compression as it is agreed on with browsers, and where the client may refer to its earlier messages.
pub const EACH: Deflate = Deflate { window: 15, window_asked: false, client_takeover: false };
pub const TAKEOVER: Deflate = Deflate { client_takeover: true, ..EACH };

/// Bytes of a message in most rows.
pub const MAX: usize = 1000;

pub struct Row {
    /// Section of the RFC.
    section: &'static str,
    what: String,
    bytes: Vec<u8>,
    role: Role,
    agreed: Option<Deflate>,
    max: usize,
    events: Vec<Event>,
    fault: Option<u16>,
}

impl Row {
    /// A client's bytes.
    pub fn new(section: &'static str, what: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        let (what, bytes) = (what.into(), bytes.as_ref().to_vec());
        Self { section, what, bytes, role: Role::Server, agreed: None, max: MAX, events: Vec::new(), fault: None }
    }

    pub fn of_server(self) -> Self {
        Self { role: Role::Client, ..self }
    }

    pub fn with(self, agreed: Deflate) -> Self {
        Self { agreed: Some(agreed), ..self }
    }

    pub fn max(self, max: usize) -> Self {
        Self { max, ..self }
    }

    pub fn gives(self, events: impl Into<Vec<Event>>) -> Self {
        Self { events: events.into(), ..self }
    }

    /// The last of the bytes is the first that tells.
    pub fn faults(self, code: u16) -> Self {
        Self { fault: Some(code), ..self }
    }

    /// Reads the row in pieces of these sizes, over and over.
    fn read(&self, mut sizes: impl FnMut() -> usize) -> (Vec<Event>, Option<(u16, usize)>) {
        let rules = Rules { role: self.role, message_max: self.max };
        let mut receiver = Receiver::new(rules, self.agreed.as_ref().map(Inflater::new));
        let (mut events, mut waiting, mut given) = (Vec::new(), Vec::new(), 0);
        while given < self.bytes.len() {
            let size = sizes().clamp(1, self.bytes.len() - given);
            waiting.extend_from_slice(&self.bytes[given..given + size]);
            given += size;
            loop {
                match receiver.receive(&mut waiting) {
                    Err(fault) => {
                        assert_eq!(receiver.receive(&mut frame(0x81, b"more")), Ok((10, None)), "{}", self.what);
                        return (events, Some((fault.code.get(), given)));
                    }
                    Ok((taken, event)) => {
                        waiting.drain(..taken);
                        let Some(event) = event else { break };
                        events.push(event);
                    }
                }
            }
            assert!(waiting.len() <= 13, "{}: only the head of a frame may wait", self.what);
        }
        (events, None)
    }

    pub fn fails(&self) -> bool {
        self.read(|| usize::MAX).1.is_some()
    }

    fn check(&self) {
        let name = format!("§{} {}", self.section, self.what);
        let (events, fault) = self.read(|| 1);
        assert_eq!(events, self.events, "{name}, byte by byte");
        assert_eq!(fault, self.fault.map(|code| (code, self.bytes.len())), "{name}: code, and with which byte");
        let mut seed = self.bytes.len() as u64;
        for most in [usize::MAX, 3, 5, 9, 17, 40, 200, 2000] {
            let random = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if most == usize::MAX { most } else { (seed >> 33) as usize % most }
            };
            let (events, fault) = self.read(random);
            assert_eq!(events, self.events, "{name}, in pieces of up to {most}");
            assert_eq!(fault.map(|(code, _)| code), self.fault, "{name}, in pieces of up to {most}");
        }
    }
}

pub fn check(rows: impl IntoIterator<Item = Row>) {
    rows.into_iter().for_each(|row| row.check());
}

/// A client's frame with this first byte, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let mut bytes = head(first, 0x80, payload.len() as u64);
    bytes.extend(mask);
    bytes.extend(masked);
    bytes
}

/// A server's frame with this first byte, bare.
pub fn bare(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, 0, payload.len() as u64), payload.to_vec()].concat()
}

/// The front of a client's frame that announces `length` bytes and brings only these.
pub fn part(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let start = head(first, 0x80, length).len();
    let whole = frame(first, payload);
    let payload = &whole[whole.len() - payload.len() - 4..];
    let mut bytes = head(first, 0x80, length);
    bytes.extend_from_slice(payload);
    assert!(bytes.len() > start);
    bytes
}

fn head(first: u8, masked: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    if length < 126 {
        bytes.push(masked | length as u8);
    } else if length < 65536 {
        bytes.push(masked | 126);
        bytes.extend((length as u16).to_be_bytes());
    } else {
        bytes.push(masked | 127);
        bytes.extend(length.to_be_bytes());
    }
    bytes
}

pub fn text(text: impl Into<String>) -> Event {
    Event::Text(text.into().into())
}

pub fn binary(bytes: impl AsRef<[u8]>) -> Event {
    Event::Binary(Bytes::copy_from_slice(bytes.as_ref()))
}

pub fn ping(bytes: impl AsRef<[u8]>) -> Event {
    Event::Ping(Bytes::copy_from_slice(bytes.as_ref()))
}

pub fn pong(bytes: impl AsRef<[u8]>) -> Event {
    Event::Pong(Bytes::copy_from_slice(bytes.as_ref()))
}

pub fn close(code: u16, reason: &str) -> Event {
    Event::Close(Some(Close { code: CloseCode::new(code).unwrap(), reason: reason.to_owned() }))
}

pub const SILENT_CLOSE: Event = Event::Close(None);
