//! Endless bytes that both ends can compute, so that a gigabyte is checked without being kept.

/// A fixed byte sequence; every position's byte is known, and no shift by a power of two looks like it.
#[derive(Debug, Clone, Default)]
pub struct Pattern {
    position: u64,
}

/// A prime, so that the period falls on no buffer's size.
const PERIOD: usize = 65_521;

static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    (0..PERIOD as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 16) as u8).collect()
});

impl Pattern {
    /// From its beginning.
    pub fn new() -> Pattern {
        Pattern::default()
    }

    /// How many bytes were written or checked.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes into the whole of `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.walk(out.len(), |pattern, from| out[from..from + pattern.len()].copy_from_slice(pattern));
    }

    /// Whether `bytes` are the next ones; moves on either way.
    pub fn matches(&mut self, bytes: &[u8]) -> bool {
        let mut same = true;
        self.walk(bytes.len(), |pattern, from| same &= &bytes[from..from + pattern.len()] == pattern);
        same
    }

    /// The first `length` bytes.
    pub fn bytes(length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        Pattern::new().fill(&mut out);
        out
    }

    fn walk(&mut self, length: usize, mut piece: impl FnMut(&[u8], usize)) {
        let mut done = 0;
        while done < length {
            let at = (self.position % PERIOD as u64) as usize;
            let take = (length - done).min(PERIOD - at);
            piece(&BYTES[at..at + take], done);
            done += take;
            self.position += take as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_make_the_same_pattern() {
        let whole = Pattern::bytes(200_000);
        let mut pieces = Pattern::new();
        for piece in whole.chunks(977) {
            assert!(pieces.matches(piece));
        }
        assert_eq!(pieces.position(), 200_000);
    }

    #[test]
    fn a_byte_lost_in_the_middle_is_noticed() {
        let mut bytes = Pattern::bytes(4096);
        bytes.remove(1000);
        assert!(!Pattern::new().matches(&bytes));
    }
}
