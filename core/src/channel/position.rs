//! Where a subscriber is: the channel's epoch, and how many of its messages came before.

use std::{fmt, str::FromStr};

/// Digits of an epoch: a `u64` to the base of 36 has at most 13.
const DIGITS: usize = 13;

/// One unbroken life of a channel's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Of random bits, so that two epochs are never the same.
    pub const fn new(random: u64) -> Self {
        Self(random)
    }
}

/// 13 letters and digits.
impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; DIGITS];
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
        }
        digits.iter().try_for_each(|digit| fmt::Write::write_char(out, char::from(*digit)))
    }
}

/// `EPOCH-OFFSET`: after the message of that offset; 0 is before the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which stream.
    pub epoch: Epoch,
    /// Of the last message that was seen.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.epoch, self.offset)
    }
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAPosition;

impl fmt::Display for NotAPosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not a position, which is an epoch, `-` and an offset")
    }
}

impl std::error::Error for NotAPosition {}

/// Takes what [`Position`] displays, and nothing else: one position has one text.
impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (epoch, offset) = text.split_once('-').ok_or(NotAPosition)?;
        let epoch = u64::from_str_radix(epoch, 36).map(Epoch).map_err(|_| NotAPosition)?;
        let offset = offset.parse().map_err(|_| NotAPosition)?;
        let position = Self { epoch, offset };
        if position.to_string() == text { Ok(position) } else { Err(NotAPosition) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_read_as_it_is_written(epoch: u64, offset: u64) {
            let position = Position { epoch: Epoch::new(epoch), offset };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let right = Position { epoch: Epoch::new(7), offset: 12 }.to_string();
        assert_eq!(right, "0000000000007-12");
        for wrong in ["", "-", "7-12", "0000000000007", "0000000000007-", "0000000000007-012", "0000000000007-+1"] {
            assert_eq!(wrong.parse::<Position>(), Err(NotAPosition), "{wrong}");
        }
        for wrong in ["zzzzzzzzzzzzz-1", "000000000000A-1", "0000000000007-18446744073709551616", "ü-1"] {
            assert_eq!(wrong.parse::<Position>(), Err(NotAPosition), "{wrong}");
        }
    }
}
