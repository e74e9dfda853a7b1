//! Where a subscriber is: the channel's epoch, and how many of its messages came before.

use std::{fmt, str::FromStr, time::Duration};

/// Digits of an epoch: a `u64` to the base of 36 has at most 13.
const DIGITS: usize = 13;

/// One unbroken life of a channel's stream. A later one is greater, so that news of an earlier one is known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

/// Bits of an epoch that are random; above them is its time in milliseconds.
const RANDOM_BITS: u32 = 22;

impl Epoch {
    /// Of a number that was an epoch.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// One that begins `now`, since the Unix epoch; the random bits tell it from others of that millisecond. It follows
    /// `last`, whatever clock that went by.
    pub fn begin(now: Duration, random: u64, last: Option<Self>) -> Self {
        let time = u64::try_from(now.as_millis()).unwrap_or_default() << RANDOM_BITS;
        let number = time | (random >> (u64::BITS - RANDOM_BITS));
        Self(last.map_or(number, |last| number.max(last.0.saturating_add(1))))
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    fn a_later_epoch_is_greater_also_by_a_clock_that_is_behind() {
        let at = |seconds, last| Epoch::begin(Duration::from_secs(seconds), u64::MAX, last);
        assert!(at(1_800_000_000, None) < at(1_800_000_001, None));
        let late = at(1_800_000_000, None);
        assert!(at(1_700_000_000, Some(late)) > late);
        assert!(late.to_string() < at(1_800_000_001, None).to_string(), "their texts are in the same order");
        assert_ne!(Epoch::begin(Duration::from_secs(1), 0, None), Epoch::begin(Duration::from_secs(1), u64::MAX, None));
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
