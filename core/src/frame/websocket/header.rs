//! The head of a frame (RFC 6455 §5.2) and its mask (§5.3).

use super::{CONTROL_MAX, Fault};

/// Which end of the connection we are; a client masks what it sends, a server doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The peer is a client.
    Server,
    /// The peer is a server.
    Client,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that has begun.
    Continuation,
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// The last frame of a direction.
    Close,
    /// To be answered with a pong.
    Ping,
    /// An answer, or a sign of life.
    Pong,
}

impl Opcode {
    fn new(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(super) fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it may stand between the frames of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub is_final: bool,
    /// The first frame of a compressed message.
    pub is_compressed: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// Bytes of payload.
    pub length: u64,
    /// How the payload is masked.
    pub mask: Option<[u8; 4]>,
}

impl Header {
    /// Reads a head from the front of `bytes`, and how long it is; None: it is not whole yet.
    ///
    /// `compression`: whether it was agreed on, so that the first reserved bit has a meaning.
    pub fn parse(bytes: &[u8], role: Role, compression: bool) -> Result<Option<(Self, usize)>, Fault> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::new(first & 0x0f).ok_or(Fault::protocol("an opcode that nobody knows"))?;
        let is_final = first & 0x80 != 0;
        let is_compressed = first & 0x40 != 0;
        let may_be_compressed = compression && matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & 0x30 != 0 || (is_compressed && !may_be_compressed) {
            return Err(Fault::protocol("a reserved bit is set"));
        }
        let is_masked = second & 0x80 != 0;
        match role {
            Role::Server if !is_masked => return Err(Fault::protocol("a client's frame is not masked")),
            Role::Client if is_masked => return Err(Fault::protocol("a server's frame is masked")),
            _ => {}
        }
        if opcode.is_control() && (!is_final || usize::from(second & 0x7f) > CONTROL_MAX) {
            return Err(Fault::protocol("a control frame is fragmented or too long"));
        }
        let Some((length, rest)) = length(second & 0x7f, rest)? else { return Ok(None) };
        let (mask, rest) = match is_masked {
            false => (None, rest),
            true => match rest.split_first_chunk() {
                Some((mask, rest)) => (Some(*mask), rest),
                None => return Ok(None),
            },
        };
        let header = Self { is_final, is_compressed, opcode, length, mask };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Writes it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        out.push(bit(self.is_final, 0x80) | bit(self.is_compressed, 0x40) | self.opcode.bits());
        let masked = bit(self.mask.is_some(), 0x80);
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(short), _) if short < 126 => out.push(masked | short),
            (_, Ok(medium)) => {
                out.push(masked | 126);
                out.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                out.push(masked | 127);
                out.extend_from_slice(&self.length.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| mask.as_slice()));
    }
}

/// The length, written in the fewest bytes (§5.2); None: not whole yet.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Fault> {
    let (length, rest, fewest) = match short {
        126 => match rest.split_first_chunk() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest, 126),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest, 1 << 16),
            None => return Ok(None),
        },
        short => return Ok(Some((u64::from(short), rest))),
    };
    match length {
        _ if length < fewest => Err(Fault::protocol("a length in more bytes than it needs")),
        _ if length >> 63 != 0 => Err(Fault::protocol("a length beyond 2^63")),
        _ => Ok(Some((length, rest))),
    }
}

/// Masks or unmasks a piece of a payload; `at` is how much of the payload came before it.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], at: u64) {
    let turn = (at % 4) as usize;
    let turned = [mask[turn], mask[(turn + 1) % 4], mask[(turn + 2) % 4], mask[(turn + 3) % 4]];
    let word = u32::from_ne_bytes(turned);
    let double = u64::from(word) | u64::from(word) << 32;
    let (doubles, rest) = bytes.as_chunks_mut::<8>();
    for eight in doubles {
        *eight = (u64::from_ne_bytes(*eight) ^ double).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MASKED: [u8; 4] = [1, 2, 3, 4];

    fn refused(bytes: &[u8]) -> &'static str {
        Header::parse(bytes, Role::Server, false).unwrap_err().reason
    }

    #[test]
    fn what_the_rfc_forbids_is_refused() {
        let cases: [(&[u8], &str); 12] = [
            (&[0x81, 0x05], "a client's frame is not masked"),
            (&[0xc1, 0x80], "a reserved bit is set"),
            (&[0xa1, 0x80], "a reserved bit is set"),
            (&[0x91, 0x80], "a reserved bit is set"),
            (&[0x83, 0x80], "an opcode that nobody knows"),
            (&[0x8b, 0x80], "an opcode that nobody knows"),
            (&[0x8f, 0x80], "an opcode that nobody knows"),
            (&[0x09, 0x80], "a control frame is fragmented or too long"),
            (&[0x88, 0xfe], "a control frame is fragmented or too long"),
            (&[0x82, 0xfe, 0, 125], "a length in more bytes than it needs"),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "a length in more bytes than it needs"),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], "a length beyond 2^63"),
        ];
        for (bytes, reason) in cases {
            assert_eq!(refused(bytes), reason, "{bytes:x?}");
        }
        assert!(Header::parse(&[0x81, 0x80, 0, 0, 0, 0], Role::Client, false).is_err());
        // With compression agreed on, only the first frame of a message may have the bit.
        assert!(Header::parse(&[0xc1, 0x80, 0, 0, 0, 0], Role::Server, true).is_ok());
        assert!(Header::parse(&[0xc0, 0x80], Role::Server, true).is_err());
        assert!(Header::parse(&[0xc9, 0x80], Role::Server, true).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(opcode in 0..3u8, is_final: bool, length in 0..1u64 << 40, is_masked: bool) {
            let opcode = Opcode::new(opcode).unwrap();
            let header = Header { is_final, is_compressed: false, opcode, length, mask: is_masked.then_some(MASKED) };
            let role = if is_masked { Role::Server } else { Role::Client };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            prop_assert_eq!(Header::parse(&bytes, role, false), Ok(Some((header, bytes.len()))));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Header::parse(&bytes[..cut], role, false), Ok(None));
            }
        }

        #[test]
        fn a_mask_does_not_mind_how_a_payload_is_cut(payload: Vec<u8>, mask: [u8; 4], cut: prop::sample::Index) {
            let mut whole = payload.clone();
            unmask(&mut whole, mask, 0);
            let one_by_one: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            prop_assert_eq!(&whole, &one_by_one);
            let cut = cut.index(payload.len() + 1);
            let mut halves = payload;
            let (first, second) = halves.split_at_mut(cut);
            unmask(first, mask, 0);
            unmask(second, mask, cut as u64);
            prop_assert_eq!(halves, whole);
        }
    }
}
