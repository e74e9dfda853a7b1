//! Counts what a client sends beside requests: frames that cost us work and its sender nothing.
//!
//! A connection that is used for what it is for never comes near these bounds: content and requests earn what frames that
//! manage the connection cost, and so does what goes to the client, which such frames follow.

use std::time::Duration;

/// What a client sends before its first frame (RFC 9113 §3.4).
const PREFACE: u32 = 24;

/// Bytes before a frame's payload (RFC 9113 §4.1).
const HEADER: usize = 9;

/// Bytes of a payload, as we let clients have it: what everybody may send.
const FRAME_MAX: u32 = 16 << 10;

/// Frames that manage the connection, more than what was earned: windows of a hundred streams, each ten times.
const CONTROLS_MAX: u32 = 1000;

/// How many of them a second forgives.
const CONTROLS_A_SECOND: u32 = 100;

/// Streams that were reset, more than were answered: a browser's user who leaves a page of a hundred pictures, twice.
const RESETS_MAX: u32 = 200;

/// How many of them a second forgives.
const RESETS_A_SECOND: u32 = 20;

/// How many frames that manage the connection a request earns.
const OF_A_REQUEST: u32 = 8;

/// How many bytes earn one, in either direction.
const BYTES_FOR_ONE: usize = 512;

/// Types of frames and their flags (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Why nothing more of a connection is worth reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// A frame that is not as long as frames of its type are, or longer than any may be: FRAME_SIZE_ERROR (RFC 9113 §4.2).
    FrameSize,
    /// Streams that were opened and reset: ENHANCE_YOUR_CALM (§10.5), CVE-2023-44487.
    Resets,
    /// SETTINGS, PING, PRIORITY, WINDOW_UPDATE, CONTINUATION, empty DATA, and frames of unknown types: CVE-2019-9511 to 9518,
    /// CVE-2024-27316.
    Controls,
}

/// The frames of one connection.
#[derive(Debug, Default)]
pub struct Meter {
    begun: bool,
    header: [u8; HEADER],
    /// Bytes of `header` that are there.
    have: usize,
    /// Bytes of a payload to come.
    rest: u32,
    /// Whether a head has begun and its last frame has not.
    in_head: bool,
    /// HEADERS frames that came.
    heads: u32,
    controls: u32,
    resets: u32,
    /// Up to when time has forgiven.
    forgiven: Duration,
}

impl Meter {
    /// Reads bytes as they come, in any pieces. `now` is the age of the connection; it is asked when a bound is reached.
    ///
    /// # Errors
    /// [`Misuse`].
    pub fn read(&mut self, mut bytes: &[u8], now: impl Fn() -> Duration) -> Result<(), Misuse> {
        if !self.begun {
            (self.begun, self.rest) = (true, PREFACE);
        }
        loop {
            let skipped = bytes.len().min(self.rest as usize);
            bytes = &bytes[skipped..];
            self.rest -= u32::try_from(skipped).unwrap_or(self.rest);
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = bytes.len().min(HEADER - self.have);
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.have += taken;
            if self.have < HEADER {
                return Ok(());
            }
            self.have = 0;
            self.frame(&now)?;
        }
    }

    /// One frame has begun.
    fn frame(&mut self, now: &impl Fn() -> Duration) -> Result<(), Misuse> {
        let [a, b, c, kind, flags, ..] = self.header;
        self.rest = u32::from_be_bytes([0, a, b, c]);
        if !is_sized(kind, flags, self.rest) {
            return Err(Misuse::FrameSize);
        }
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_head = flags & END_HEADERS == 0;
        }
        match kind {
            DATA if self.rest > 0 => self.earn(self.rest as usize / BYTES_FOR_ONE),
            DATA if flags & END_STREAM != 0 => {}
            HEADERS => {
                self.heads = self.heads.wrapping_add(1);
                self.controls = self.controls.saturating_sub(OF_A_REQUEST);
            }
            RST_STREAM => {
                self.resets += 1;
                if self.resets > RESETS_MAX {
                    self.forgive(now());
                }
            }
            _ => {
                self.controls += 1;
                if self.controls > CONTROLS_MAX {
                    self.forgive(now());
                }
            }
        }
        match (self.resets > RESETS_MAX, self.controls > CONTROLS_MAX) {
            (true, _) => Err(Misuse::Resets),
            (_, true) => Err(Misuse::Controls),
            _ => Ok(()),
        }
    }

    /// The number of a head that has begun and is not whole: its sender is waited for. Also of what may become one.
    pub fn unfinished_head(&self) -> Option<u32> {
        let is_cut = self.rest > 0 && matches!(self.header[3], HEADERS | CONTINUATION);
        match self.have {
            0 => (self.in_head || is_cut).then_some(self.heads),
            _ if self.in_head => Some(self.heads),
            _ => Some(self.heads.wrapping_add(1)),
        }
    }

    /// `bytes` went to the client, which answers some of them with frames of its own.
    pub fn sent(&mut self, bytes: usize) {
        self.earn(1 + bytes / BYTES_FOR_ONE);
    }

    /// A request was answered to its end.
    pub fn answered(&mut self) {
        self.resets = self.resets.saturating_sub(1);
    }

    fn earn(&mut self, controls: usize) {
        self.controls = self.controls.saturating_sub(u32::try_from(controls).unwrap_or(u32::MAX));
    }

    fn forgive(&mut self, now: Duration) {
        let passed = u32::try_from(now.saturating_sub(self.forgiven).as_millis()).unwrap_or(u32::MAX);
        self.forgiven = now;
        self.resets = self.resets.saturating_sub(passed.saturating_mul(RESETS_A_SECOND) / 1000);
        self.controls = self.controls.saturating_sub(passed.saturating_mul(CONTROLS_A_SECOND) / 1000);
    }
}

/// Whether a frame is as long as its type says (RFC 9113 §6).
fn is_sized(kind: u8, flags: u8, length: u32) -> bool {
    const ACK: u8 = 1;
    match kind {
        PRIORITY => length == 5,
        RST_STREAM | WINDOW_UPDATE => length == 4,
        SETTINGS if flags & ACK != 0 => length == 0,
        SETTINGS => length.is_multiple_of(6) && length <= FRAME_MAX,
        PING => length == 8,
        _ => length <= FRAME_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head[..], payload].concat()
    }

    fn after_preface() -> Meter {
        let mut meter = Meter::default();
        meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", || Duration::ZERO).unwrap();
        meter
    }

    /// How many of these frames pass, with what `between` does after each.
    fn passed(frame: &[u8], now: Duration, between: impl Fn(&mut Meter)) -> usize {
        let mut meter = after_preface();
        for count in 0..10_000 {
            if meter.read(frame, || now).is_err() {
                return count;
            }
            between(&mut meter);
        }
        10_000
    }

    #[test]
    fn frames_are_counted_alike_however_they_are_split() {
        let pings = frame(6, 0, &[0; 8]).repeat(CONTROLS_MAX as usize);
        for size in [1, 2, 8, 9, 10, 17, 4096] {
            let mut meter = after_preface();
            pings.chunks(size).for_each(|piece| meter.read(piece, || Duration::ZERO).unwrap());
            assert_eq!(meter.controls, CONTROLS_MAX, "in pieces of {size}");
            assert_eq!(meter.read(&frame(6, 0, &[0; 8]), || Duration::ZERO), Err(Misuse::Controls));
        }
    }

    #[test]
    fn each_kind_of_frame_that_costs_its_sender_nothing_is_bounded() {
        let zero = Duration::ZERO;
        for (kind, payload) in
            [(0, &b""[..]), (2, &[0; 5]), (4, b""), (6, &[0; 8]), (8, &[0; 4]), (9, b""), (250, b"x")]
        {
            assert_eq!(passed(&frame(kind, 0, payload), zero, |_| ()), CONTROLS_MAX as usize, "{kind}");
        }
        let opened_and_reset = [frame(1, 5, b"..."), frame(3, 0, &[0; 4])].concat();
        assert_eq!(passed(&opened_and_reset, zero, |_| ()), RESETS_MAX as usize);
    }

    #[test]
    fn what_a_connection_is_for_passes_without_end() {
        let zero = Duration::ZERO;
        assert_eq!(passed(&frame(1, 5, b"..."), zero, |_| ()), 10_000, "requests");
        assert_eq!(passed(&frame(0, 0, &[0; 1000]), zero, |_| ()), 10_000, "content");
        assert_eq!(passed(&frame(8, 0, &[0; 4]), zero, |meter| meter.sent(100)), 10_000, "windows of a download");
        assert_eq!(passed(&frame(3, 0, &[0; 4]), zero, Meter::answered), 10_000, "resets after early answers");
    }

    #[test]
    fn a_head_is_waited_for_until_its_last_byte() {
        let mut meter = after_preface();
        assert_eq!(meter.unfinished_head(), None);
        let head = [frame(1, 0, b"abc"), frame(9, 0, b""), frame(9, 4, b"d")].concat();
        for byte in head {
            meter.read(&[byte], || Duration::ZERO).unwrap();
            assert_eq!(meter.unfinished_head(), (byte != b'd').then_some(1));
        }
    }

    #[test]
    fn time_forgives() {
        let mut meter = after_preface();
        let ping = frame(6, 0, &[0; 8]);
        for second in 0..10_000 {
            let now = Duration::from_secs(second);
            assert_eq!(meter.read(&ping.repeat(50), || now), Ok(()), "{second}");
        }
        assert_eq!(
            passed(&frame(3, 0, &[0; 4]), Duration::from_secs(1), |_| ()),
            (RESETS_MAX + RESETS_A_SECOND) as usize
        );
    }
}
