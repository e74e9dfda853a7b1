//! Durations, sizes, rates and permission bits as the config file writes them.

use std::time::Duration;

/// `"250ms" "5s" "2m" "1h" "7d"`: a whole number and a unit; more than [`u64::MAX`] milliseconds is that many.
pub fn duration(text: &str) -> Option<Duration> {
    let (count, unit) = whole_and_unit(text)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.saturating_mul(milliseconds)))
}

/// A duration in the largest unit that holds it exactly, as [`duration`] reads it.
pub fn write_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let fits = |(size, _): &&(u64, &str)| milliseconds > 0 && milliseconds.is_multiple_of(*size);
    match units.iter().find(fits) {
        Some((size, unit)) => format!("{}{unit}", milliseconds / size),
        None if milliseconds == 0 => "0s".to_owned(),
        None => format!("{milliseconds}ms"),
    }
}

/// Bytes: `"64KiB"`, `"1MB"`, `"512B"` or digits alone; `KB MB GB TB` count in thousands, `KiB MiB GiB TiB` in 1024s.
/// More than [`u64::MAX`] bytes is that many.
pub fn size(text: &str) -> Option<u64> {
    let (count, unit) = whole_and_unit(text)?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "TB" => 1000 * 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    Some(count.saturating_mul(bytes))
}

/// Bytes in the largest unit of 1024s that holds them exactly, as [`size`] reads them.
pub fn write_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &&(u32, &str)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    units.iter().find(fits).map_or(bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// So many in a time, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; 1 to 4294967295.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// `"10/s" "600/m" "5000/h"`: a whole number from 1 on, a second, a minute or an hour.
pub fn rate(text: &str) -> Option<Rate> {
    let (count, unit) = whole_and_unit(text)?;
    let count = u32::try_from(count).ok().filter(|count| *count > 0)?;
    let seconds = match unit {
        "/s" => 1,
        "/m" => 60,
        "/h" => 3600,
        _ => return None,
    };
    Some(Rate { count, per: Duration::from_secs(seconds) })
}

/// Permission bits in octal, `"660"` or `"0660"`, at most `0777`.
pub fn mode(text: &str) -> Option<u32> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777)
}

/// Digits, then what follows them. Too many digits are the largest number, so that they fail by range and not by form.
fn whole_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits.parse().unwrap_or(u64::MAX), unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, milliseconds) in
            [("250ms", 250), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(write_duration(Duration::from_millis(milliseconds)), text);
        }
        for wrong in ["", "s", "5", "1.5s", "-5s", "5 s", " 5s", "5S", "5sec", "1m30s", "0x5s", "٣s"] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
        assert_eq!(duration("99999999999999999999999d"), Some(Duration::from_millis(u64::MAX)));
    }

    #[test]
    fn sizes_tell_thousands_from_1024s() {
        let cases =
            [("64KiB", 65536), ("1MB", 1_000_000), ("1kB", 1000), ("0", 0), ("12", 12), ("12B", 12), ("1TiB", 1 << 40)];
        for (text, bytes) in cases {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "KiB", "64K", "64kib", "1.5MB", "-1", "1 MB"] {
            assert_eq!(size(wrong), None, "{wrong:?}");
        }
        assert_eq!(size("99999999999TiB"), Some(u64::MAX));
        assert_eq!((write_size(65536), write_size(1000), write_size(0)), ("64KiB".into(), "1000".into(), "0".into()));
    }

    #[test]
    fn rates_are_at_least_one() {
        assert_eq!(rate("10/s"), Some(Rate { count: 10, per: Duration::from_secs(1) }));
        assert_eq!(rate("600/m"), Some(Rate { count: 600, per: Duration::from_secs(60) }));
        for wrong in ["0/s", "10", "/s", "10/d", "10 / s", "4294967296/s"] {
            assert_eq!(rate(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!((mode("0660"), mode("600"), mode("0777")), (Some(0o660), Some(0o600), Some(0o777)));
        for wrong in ["", "0o660", "0888", "1777", "66", "00660", "+660"] {
            assert_eq!(mode(wrong), None, "{wrong:?}");
        }
    }
}
