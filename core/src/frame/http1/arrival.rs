//! A request's head that arrives in pieces: when it is worth parsing.

use super::{HeadLimits, head_end};

/// Says when [`parse_request`](super::parse_request) may come to another result than before, and looks at each byte
/// once: a head that dribbles in must not cost its square.
#[derive(Debug, Default)]
pub struct Arrival {
    seen: usize,
    /// How far the request line was searched: first for its first space, then for its end.
    line_seen: usize,
    /// Before the target.
    space: Option<usize>,
    line_ended: bool,
}

impl Arrival {
    /// Whether to parse `input`, which is what came so far.
    ///
    /// True at first, as most heads come whole; then when the head is whole or broken, or when it or its target is over
    /// the limits.
    pub fn is_due(&mut self, input: &[u8], limits: &HeadLimits) -> bool {
        let from = std::mem::replace(&mut self.seen, input.len());
        from == 0
            || head_end(input, from).is_some()
            || input.len() > limits.head
            || self.target_length(input) > limits.uri
    }

    /// Bytes of the target as far as it came, at most ten more; 0 once the line has ended and this was said.
    fn target_length(&mut self, input: &[u8]) -> usize {
        if self.line_ended {
            return 0;
        }
        if self.space.is_none() {
            self.space = memchr::memchr(b' ', &input[self.line_seen..]).map(|offset| self.line_seen + offset);
            self.line_seen = self.space.unwrap_or(input.len());
        }
        let Some(space) = self.space else { return 0 };
        let end = memchr::memchr(b'\n', &input[self.line_seen..]).map(|offset| self.line_seen + offset);
        self.line_ended = end.is_some();
        self.line_seen = input.len();
        end.unwrap_or(input.len()) - space - 1
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HeadError, parse_request};
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head: 1 << 10, headers: 100, uri: 512 };

    /// Brings `input` a byte at a time: how often it was parsed, and what came of it after how many bytes.
    fn dribble(input: &[u8]) -> (usize, usize, Result<bool, HeadError>) {
        let (mut arrival, mut parsed) = (Arrival::default(), 0);
        for length in 1..=input.len() {
            let due = arrival.is_due(&input[..length], &LIMITS);
            parsed += usize::from(due);
            match parse_request(&input[..length], &LIMITS) {
                Ok(None) => {}
                // Broken lines may be found out later than the byte that breaks them.
                Err(HeadError::Malformed(_)) if !due => {}
                outcome => {
                    assert!(due, "{outcome:?} after {length} bytes");
                    return (parsed, length, outcome.map(|_| true));
                }
            }
        }
        (parsed, input.len(), Ok(false))
    }

    #[test]
    fn a_long_head_that_dribbles_in_is_parsed_at_its_begin_and_its_end() {
        let field = |number| format!("X-{number}: {}\r\n", "v".repeat(20));
        let head = format!("\r\nGET / HTTP/1.1\r\nHost: a\r\n{}\r\n", (0..30).map(field).collect::<String>());
        assert!(head.len() > LIMITS.uri + 300);
        assert_eq!(dribble(head.as_bytes()), (2, head.len(), Ok(true)));
    }

    #[test]
    fn what_is_over_a_limit_is_refused_with_the_byte_that_is_too_much() {
        let target = format!("GET /{}", "a".repeat(LIMITS.uri));
        assert_eq!(dribble(target.as_bytes()), (2, target.len(), Err(HeadError::UriTooLong)));
        let at_the_limit = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(LIMITS.uri - 1));
        let (parsed, _, outcome) = dribble(at_the_limit.as_bytes());
        assert!(parsed <= 14 && outcome == Ok(true), "parsed {parsed} times");
        let method = "A".repeat(LIMITS.head + 1);
        assert_eq!(dribble(method.as_bytes()), (2, method.len(), Err(HeadError::TooLarge)));
        let field = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(LIMITS.head));
        assert_eq!(dribble(field.as_bytes()), (2, LIMITS.head + 1, Err(HeadError::TooLarge)));
    }
}
