//! Frames as bytes to send; a server's are the same for everybody, so that one encoding is shared.

use bytes::Bytes;

use super::{Close, CloseCode, Header, Opcode, unmask};

/// One unfragmented text or binary message.
///
/// `is_compressed` says that the payload went through a [`Deflater`](super::Deflater). A client gives a `mask`.
pub fn message_frame(opcode: Opcode, payload: &[u8], is_compressed: bool, mask: Option<[u8; 4]>) -> Bytes {
    let header = Header { is_final: true, is_compressed, opcode, length: payload.len() as u64, mask };
    let mut out = Vec::with_capacity(payload.len() + 14);
    header.write(&mut out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        unmask(&mut out[start..], mask, 0);
    }
    out.into()
}

/// A ping or pong; `payload` is cut to the 125 bytes that it may have.
pub fn control_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Bytes {
    message_frame(opcode, &payload[..payload.len().min(super::CONTROL_MAX)], false, mask)
}

/// The last frame of a direction.
pub fn close_frame(code: CloseCode, reason: &str, mask: Option<[u8; 4]>) -> Bytes {
    control_frame(Opcode::Close, &Close::payload(code, reason), mask)
}
