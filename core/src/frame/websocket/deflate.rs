//! Per-message compression (RFC 7692), on offer without context takeover: each message stands for itself, so that one
//! compressed frame fits every subscriber.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CloseCode, Fault, receive::too_big};

/// What every compressed message ends with, and is sent without (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty final block: with it ends what is whole.
const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];

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
    /// Whether the client set a bound to that window, which the answer must repeat, be it the largest (RFC 7692 §7.1.2.1).
    pub window_asked: bool,
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
        if self.window_asked {
            answer.push_str(&format!("; server_max_window_bits={}", self.window));
        }
        answer
    }
}

/// The first of a client's offers (`Sec-WebSocket-Extensions`, one field a value) that can be agreed on.
pub fn negotiate<'a>(offers: impl IntoIterator<Item = &'a str>) -> Option<Deflate> {
    offers.into_iter().flat_map(|field| split(field, ',')).find_map(offer)
}

/// One offer; None: another extension, or parameters that RFC 7692 §7.1 doesn't allow.
fn offer(text: &str) -> Option<Deflate> {
    let mut parts = split(text, ';');
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut agreed = Deflate { window: WINDOW_MAX, window_asked: false, client_takeover: false };
    let mut seen = [false; 4];
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (trim(name), Some(unquoted(trim(value))?)),
            None => (part, None),
        };
        let index = match name.to_ascii_lowercase().as_str() {
            "server_no_context_takeover" if value.is_none() => 0,
            "client_no_context_takeover" if value.is_none() => 1,
            "server_max_window_bits" => {
                // 8 can't be had of zlib for raw data, so that offer is declined.
                agreed.window = bits(value?).filter(|bits| *bits >= WINDOW_MIN)?;
                agreed.window_asked = true;
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

/// Parts between separators that don't stand in quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |character| {
        match character {
            _ if is_escaped => is_escaped = false,
            '"' => is_quoted = !is_quoted,
            '\\' => is_escaped = is_quoted,
            _ => return !is_quoted && character == separator,
        }
        false
    });
    parts.map(trim)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The content of a value that may stand in quotes (RFC 6455 §9.1).
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(value) => value.strip_suffix('"'),
        None => Some(value),
    }
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

    /// The payload of a compressed message; None where that would not be shorter. Each call clears a table of 128 KiB (2 µs),
    /// so that short messages are not worth it.
    pub fn deflate(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        self.state.reset();
        // What noise can grow to. Even then the output is taken to its end: zlib-rs 0.6 keeps its place in what is left,
        // whatever is reset, and panics when there is no more room for the next message.
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 7 + 64);
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
    /// None between messages without takeover: some 40 KiB that an idle connection doesn't hold.
    stream: Option<Box<Stream>>,
    takeover: bool,
}

#[derive(Debug)]
struct Stream {
    state: Decompress,
    /// Whether nothing came since its beginning, or since a final block.
    is_fresh: bool,
}

impl Inflater {
    /// For what was agreed on; it takes any window of the client's.
    pub fn new(agreed: &Deflate) -> Self {
        Self { stream: None, takeover: agreed.client_takeover }
    }

    #[cfg(test)]
    pub(super) fn holds_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Decompresses the next piece of a message behind what is in `out`, which grows to `max` at most.
    pub(super) fn inflate(&mut self, piece: &[u8], is_last: bool, out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let stream = self.stream.get_or_insert_with(Stream::new);
        stream.fill(piece, out, max)?;
        if !is_last {
            return Ok(());
        }
        let length = out.len();
        // After a final block nothing is missing, though RFC 7692 §7.2.3.4 wants the beginning of another one.
        if !stream.is_fresh {
            stream.fill(&TAIL, out, max)?;
        }
        let mut is_whole = true;
        if !self.takeover {
            // A stream can end between two blocks only; this was its last message.
            if !stream.is_fresh {
                stream.fill(&END, out, max)?;
            }
            is_whole = stream.is_fresh;
            self.stream = None;
        }
        // None of these bytes may have been missing from a block that was cut short.
        if is_whole && out.len() == length { Ok(()) } else { Err(invalid()) }
    }
}

impl Stream {
    fn new() -> Box<Self> {
        Box::new(Self { state: Decompress::new(false), is_fresh: true })
    }

    /// Decompresses all of `input`.
    fn fill(&mut self, mut input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        let mut is_more = false;
        while !input.is_empty() || is_more {
            if out.len() == out.capacity() {
                // One byte more than allowed shows that there is more.
                let room = max.saturating_add(1).saturating_sub(out.len()).min(out.len().max(STEP));
                out.reserve_exact(room);
            }
            let (read, written) = (self.state.total_in(), out.len());
            let status = self.state.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| invalid())?;
            if out.len() > max {
                return Err(too_big());
            }
            let read = usize::try_from(self.state.total_in() - read).unwrap_or(usize::MAX);
            input = input.get(read..).unwrap_or_default();
            // A full buffer may hide that there is more to come of what was read.
            is_more = out.len() == out.capacity();
            self.is_fresh = status == Status::StreamEnd;
            if self.is_fresh {
                // A peer may end the stream; what follows begins another one.
                self.state.reset(false);
                is_more = false;
            } else if !input.is_empty() && read == 0 && out.len() == written && !is_more {
                return Err(invalid());
            }
        }
        Ok(())
    }
}

fn invalid() -> Fault {
    Fault { code: CloseCode::INVALID_DATA, reason: "compressed data that is none" }
}
