//! Per-message compression (RFC 7692), on offer without context takeover: each message stands for itself, so that one
//! compressed frame fits every subscriber.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CloseCode, Fault, receive::too_big};

/// What every compressed message ends with, and is sent without (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Window of zlib at least; it knows no smaller one for raw data.
const WINDOW_MIN: u8 = 9;

/// Window at most, and where nothing is said.
const WINDOW_MAX: u8 = 15;

/// Room that an output buffer grows by.
const STEP: usize = 4096;

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deflate {
    /// Bits of the window that our messages are compressed with, 9 to 15.
    pub window: u8,
    /// Whether the client may refer to its earlier messages.
    pub client_takeover: bool,
}

impl Deflate {
    /// The value of `Sec-WebSocket-Extensions` that agrees.
    pub fn answer(&self) -> String {
        let mut answer = "permessage-deflate; server_no_context_takeover".to_owned();
        if !self.client_takeover {
            answer.push_str("; client_no_context_takeover");
        }
        if self.window < WINDOW_MAX {
            answer.push_str(&format!("; server_max_window_bits={}", self.window));
        }
        answer
    }
}

/// The first of a client's offers (`Sec-WebSocket-Extensions`, one field a value) that can be agreed on.
pub fn negotiate<'a>(offers: impl IntoIterator<Item = &'a str>) -> Option<Deflate> {
    offers.into_iter().flat_map(|field| field.split(',')).find_map(offer)
}

/// One offer; None: another extension, or parameters that RFC 7692 §7.1 doesn't allow.
fn offer(text: &str) -> Option<Deflate> {
    let mut parts = text.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut agreed = Deflate { window: WINDOW_MAX, client_takeover: false };
    let mut seen = [false; 4];
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start().trim_matches('"'))),
            None => (part, None),
        };
        let index = match name.to_ascii_lowercase().as_str() {
            "server_no_context_takeover" if value.is_none() => 0,
            "client_no_context_takeover" if value.is_none() => 1,
            "server_max_window_bits" => {
                // 8 can't be had of zlib for raw data, so that offer is declined.
                agreed.window = bits(value?).filter(|bits| *bits >= WINDOW_MIN)?;
                2
            }
            "client_max_window_bits" => {
                if let Some(value) = value {
                    bits(value)?;
                }
                3
            }
            _ => return None,
        };
        if std::mem::replace(&mut seen[index], true) {
            return None;
        }
    }
    Some(agreed)
}

/// 8 to 15, without a leading zero.
fn bits(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|bits| digits && (8..=WINDOW_MAX).contains(bits))
}

/// Compresses messages, each for itself.
#[derive(Debug)]
pub struct Deflater {
    state: Compress,
}

impl Deflater {
    /// For a window of 9 to 15 bits.
    pub fn new(window: u8) -> Self {
        let window = window.clamp(WINDOW_MIN, WINDOW_MAX);
        Self { state: Compress::new_with_window_bits(Compression::fast(), false, window) }
    }

    /// The payload of a compressed message; None where that would not be shorter.
    pub fn deflate(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        self.state.reset();
        let mut out = Vec::with_capacity(payload.len() / 2 + STEP);
        loop {
            let given = usize::try_from(self.state.total_in()).ok()?;
            self.state.compress_vec(payload.get(given..)?, &mut out, FlushCompress::Sync).ok()?;
            // Room that is left says that the flush is complete.
            if out.len() < out.capacity() {
                break;
            }
            out.reserve(STEP);
        }
        let length = out.strip_suffix(&TAIL)?.len();
        out.truncate(length);
        (length < payload.len()).then_some(out)
    }
}

/// Decompresses what a peer sends.
#[derive(Debug)]
pub struct Inflater {
    /// None between messages: 40 KiB that an idle connection doesn't hold.
    state: Option<Box<Decompress>>,
    takeover: bool,
}

impl Inflater {
    /// For what was agreed on; it takes any window of the client's.
    pub fn new(agreed: &Deflate) -> Self {
        Self { state: None, takeover: agreed.client_takeover }
    }

    /// A whole message of at most `max` bytes.
    pub(super) fn inflate(&mut self, payload: &[u8], max: usize) -> Result<Vec<u8>, Fault> {
        let mut state = self.state.take().unwrap_or_else(|| Box::new(Decompress::new(false)));
        let mut out = Vec::new();
        for part in [payload, &TAIL] {
            fill(&mut state, part, &mut out, max)?;
        }
        if self.takeover {
            self.state = Some(state);
        }
        Ok(out)
    }
}

/// Decompresses all of `input` behind what is in `out`, which grows to `max` at most.
fn fill(state: &mut Decompress, mut input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
    let invalid = || Fault { code: CloseCode::INVALID_DATA, reason: "compressed data that is none" };
    loop {
        if out.len() == out.capacity() {
            // One byte more than allowed shows that there is more.
            let room = (max + 1).saturating_sub(out.len()).min(out.len().max(STEP));
            out.reserve_exact(room);
        }
        let (read, written) = (state.total_in(), out.len());
        let status = state.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| invalid())?;
        if out.len() > max {
            return Err(too_big());
        }
        let read = usize::try_from(state.total_in() - read).unwrap_or(usize::MAX);
        input = input.get(read..).unwrap_or_default();
        match status {
            // A final block ends the stream; a peer may do that, and what follows begins another one.
            Status::StreamEnd => {
                state.reset(false);
                if input.is_empty() {
                    return Ok(());
                }
            }
            _ if input.is_empty() && out.len() < out.capacity() => return Ok(()),
            _ if read == 0 && out.len() == written && out.len() < out.capacity() => return Err(invalid()),
            _ => {}
        }
    }
}
