//! Close frames and their codes (RFC 6455 §7.4).

use std::fmt;

use super::{CONTROL_MAX, Fault};

/// A status code of a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the page went away.
    pub const AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of data that is not taken here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8, or compressed data that is none.
    pub const INVALID_DATA: Self = Self(1007);
    /// The peer may not do that.
    pub const POLICY: Self = Self(1008);
    /// A message larger than its bound.
    pub const TOO_BIG: Self = Self(1009);
    /// Something failed here.
    pub const INTERNAL: Self = Self(1011);
    /// Come back, here or elsewhere.
    pub const RESTART: Self = Self(1012);
    /// Come back later.
    pub const TRY_LATER: Self = Self(1013);

    /// A code that may stand in a frame: those that are registered, and those for libraries and applications.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// As it stands in a frame.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What a close frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub code: CloseCode,
    /// For a person; at most 123 bytes.
    pub reason: String,
}

impl Close {
    /// The payload of a close frame: nothing, or a code and UTF-8.
    pub(super) fn parse(payload: &[u8]) -> Result<Option<Self>, Fault> {
        let Some((code, reason)) = payload.split_at_checked(2) else {
            return match payload {
                [] => Ok(None),
                _ => Err(Fault::protocol("half a close code")),
            };
        };
        let code = CloseCode::new(u16::from_be_bytes([code[0], code[1]]));
        let code = code.ok_or(Fault::protocol("a close code that may not be sent"))?;
        let reason = str::from_utf8(reason);
        let reason =
            reason.map_err(|_| Fault { code: CloseCode::INVALID_DATA, reason: "a reason that is not UTF-8" })?;
        Ok(Some(Self { code, reason: reason.to_owned() }))
    }

    /// The payload that says it; a reason that is too long is cut between two characters.
    pub(super) fn payload(code: CloseCode, reason: &str) -> Vec<u8> {
        let end = reason.floor_char_boundary(CONTROL_MAX - 2);
        let mut payload = code.get().to_be_bytes().to_vec();
        payload.extend_from_slice(&reason.as_bytes()[..end]);
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_not_be_sent_are_none() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(CloseCode::new(code), None, "{code}");
            assert_eq!(Close::parse(&u16::to_be_bytes(code)).unwrap_err().code, CloseCode::PROTOCOL, "{code}");
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), Some(code));
        }
    }

    #[test]
    fn a_payload_is_empty_or_a_code_and_text() {
        assert_eq!(Close::parse(b""), Ok(None));
        assert_eq!(Close::parse(b"\x03").unwrap_err().code, CloseCode::PROTOCOL);
        assert_eq!(Close::parse(b"\x03\xe8\xff").unwrap_err().code, CloseCode::INVALID_DATA);
        let away = Close { code: CloseCode::AWAY, reason: "bye".to_owned() };
        assert_eq!(Close::parse(b"\x03\xe9bye"), Ok(Some(away)));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let payload = Close::payload(CloseCode::NORMAL, &"ü".repeat(100));
        assert_eq!(payload.len(), CONTROL_MAX - 1);
        assert!(Close::parse(&payload).is_ok());
    }
}
