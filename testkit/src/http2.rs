//! A client that sends frames of HTTP/2 as it is told, right or wrong, and reads those that come back. Its fields are never
//! compressed, and of those that it reads it knows the status only: whoever wants more asks curl.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use crate::Socket;

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
#[allow(missing_docs, reason = "the names are the RFC's")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// `END_STREAM` of DATA and HEADERS, `ACK` of SETTINGS and PING.
pub const END: u8 = 1;

/// `END_HEADERS`.
pub const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// As the type defines them.
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
    /// All of it.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub fn error(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }

    /// The status of a HEADERS frame, which comes first.
    pub fn status(&self) -> Option<u16> {
        const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        let rest = (self.kind == kind::HEADERS).then_some(&self.payload[..])?;
        // A changed size of the table comes before all (RFC 7541 §6.3).
        let rest = &rest[rest.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
        match rest {
            [first, ..] if *first & 0x80 != 0 => KNOWN.get(usize::from(first & 0x7f).checked_sub(8)?).copied(),
            [_, length, text @ ..] if length & 0x80 == 0 => {
                str::from_utf8(text.get(..usize::from(*length))?).ok()?.parse().ok()
            }
            [_, _, text @ ..] => digits(text),
            _ => None,
        }
    }
}

/// Three digits in Huffman's code (RFC 7541 appendix B).
fn digits(text: &[u8]) -> Option<u16> {
    let bits =
        text.iter().take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - text.len().min(3)));
    let (mut bits, mut number) = (bits << 8, 0);
    for _ in 0..3 {
        let (digit, length) = match (bits >> 27, bits >> 26) {
            (digit @ 0..=2, _) => (digit, 5),
            (_, code @ 0b01_1001..=0b01_1111) => (code - 0b01_1001 + 3, 6),
            _ => return None,
        };
        number = number * 10 + u16::try_from(digit).ok()?;
        bits <<= length;
    }
    Some(number)
}

/// One connection. Reads and writes that make no progress for ten seconds fail.
#[derive(Debug)]
pub struct Http2 {
    socket: Socket,
}

impl Http2 {
    /// Connects to `host:port` and sends the preface with settings of (identifier, value), and one that there is no table of
    /// fields.
    #[track_caller]
    pub fn connect(address: &str, settings: &[(u16, u32)]) -> Http2 {
        let mut client = Http2::silent(address);
        let mut all = PREFACE.to_vec();
        let settings: Vec<u8> = [(1, 0)]
            .iter()
            .chain(settings)
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        all.extend(encoded(kind::SETTINGS, 0, 0, &settings));
        client.send(&all).expect("the preface");
        client
    }

    /// Connects, and says nothing.
    #[track_caller]
    pub fn silent(address: &str) -> Http2 {
        let socket = Socket::connect(address).expect("connect");
        socket.set_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        Http2 { socket }
    }

    /// A second handle on the same connection.
    #[track_caller]
    pub fn shared(&self) -> Http2 {
        Http2 { socket: self.socket.share().expect("a second handle") }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(bytes)
    }

    /// Sends a frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.send(&encoded(kind, flags, stream, payload))
    }

    /// Asks for a path, and that is all of the request.
    #[track_caller]
    pub fn get(&mut self, stream: u32, path: &str) {
        self.frame(kind::HEADERS, END | END_HEADERS, stream, &get(path)).expect("a request");
    }

    /// Lets the peer send so many bytes more, on a stream or, for 0, on all.
    pub fn widen(&mut self, stream: u32, bytes: u32) -> io::Result<()> {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
    }

    /// The next frame; None: the connection ended.
    pub fn read(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 9];
        match (&self.socket).read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof || e.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        (&self.socket).read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Some(Frame { kind: head[3], flags: head[4], stream, payload }))
    }

    /// The next frame that is as wanted. Settings and pings of the peer are acknowledged on the way.
    #[track_caller]
    pub fn wait_for(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        self.try_wait_for(wanted).expect("a frame that never came")
    }

    /// The same; None: the connection ended before it, or nothing comes.
    pub fn try_wait_for(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let end = Instant::now() + Duration::from_secs(20);
        while let Ok(Some(frame)) = self.read() {
            if wanted(&frame) {
                return Some(frame);
            }
            assert!(Instant::now() < end, "only other frames came");
            if matches!(frame.kind, kind::SETTINGS | kind::PING) && frame.flags & END == 0 {
                let echo = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
                // Who is sending its last frames may not take it.
                let _ = self.frame(frame.kind, END, 0, echo);
            }
        }
        None
    }

    /// The status of a stream's answer.
    #[track_caller]
    pub fn status(&mut self, stream: u32) -> u16 {
        let head =
            self.wait_for(|frame| frame.stream == stream && matches!(frame.kind, kind::HEADERS | kind::RST_STREAM));
        head.status().unwrap_or_else(|| panic!("{head:?}"))
    }

    /// The code with which a stream or, for 0, the connection ends.
    #[track_caller]
    pub fn error(&mut self, stream: u32) -> u32 {
        self.wait_for(|frame| frame.stream == stream && frame.error().is_some()).error().unwrap_or_default()
    }

    /// Content to its end.
    #[track_caller]
    pub fn body(&mut self, stream: u32) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let frame = self.wait_for(|frame| frame.stream == stream);
            assert!(frame.error().is_none(), "{frame:?}");
            if frame.kind == kind::DATA {
                all.extend_from_slice(&frame.payload);
            }
            if matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.flags & END != 0 {
                return all;
            }
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// The fields of a GET.
pub fn get(path: &str) -> Vec<u8> {
    fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

/// Fields as literals that nobody keeps (RFC 7541 §6.2.2).
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let mut rest = text.len();
            if rest < 127 {
                block.push(u8::try_from(rest).unwrap_or_default());
            } else {
                block.push(127);
                rest -= 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap_or_default());
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A frame's bytes.
pub fn encoded(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut all = vec![length[1], length[2], length[3], kind, flags];
    all.extend_from_slice(&stream.to_be_bytes());
    all.extend_from_slice(payload);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_however_it_is_encoded() {
        for (payload, status) in [
            (&[0x88][..], 200),
            (&[0x20, 0x8d], 404),
            (&[0x48, 0x03, b'4', b'3', b'1'], 431),
            // 4: 011010, 3: 011001, 1: 00001, and ones.
            (&[0x48, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111], 431),
            (&[0x08, 0x82, 0b0001_0000, 0b0000_0101], 202),
        ] {
            let frame = Frame { kind: kind::HEADERS, flags: 0, stream: 1, payload: payload.to_vec() };
            assert_eq!(frame.status(), Some(status), "{payload:x?}");
        }
    }
}
