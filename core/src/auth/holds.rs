//! How long an auth server's yes may be used again.

use std::time::Duration;

use http::{HeaderMap, header};

/// For so long the answer with these fields may stand for the same question: `at_most`, or less where `Cache-Control`
/// says so (RFC 9111 §5.2.2). Zero: not at all. What is not understood makes it shorter, never longer.
pub fn holds_for(headers: &HeaderMap, at_most: Duration) -> Duration {
    let mut holds = at_most;
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    for directive in values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')) {
        let Ok(directive) = std::str::from_utf8(directive) else { return Duration::ZERO };
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Duration::ZERO,
            "max-age" | "s-maxage" => holds = holds.min(seconds(argument.trim().trim_matches('"')).unwrap_or_default()),
            _ => {}
        }
    }
    let mut ages = headers.get_all(header::AGE).iter();
    ages.try_fold(holds, |holds, age| Some(holds.saturating_sub(seconds(age.to_str().ok()?)?))).unwrap_or_default()
}

/// Delta-seconds (RFC 9111 §1.2.2).
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_shorter_of_what_the_file_and_the_answer_say_counts() {
        let cases: &[(&[&str], u64)] = &[
            (&[], 60),
            (&["max-age=10"], 10),
            (&["max-age=3600"], 60),
            (&["private, MAX-AGE = 30"], 30),
            (&["max-age=\"5\""], 5),
            (&["max-age=20", "s-maxage=7"], 7),
            (&["max-age=99999999999999999999999"], 60),
            (&["max-age=soon"], 0),
            (&["max-age"], 0),
            (&["public, no-store"], 0),
            (&["no-cache=\"x-user\""], 0),
            (&["max-age=30, no-cache"], 0),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
            }
            assert_eq!(holds_for(&headers, Duration::from_secs(60)).as_secs(), *expected, "{values:?}");
        }
    }

    #[test]
    fn an_answer_that_was_kept_elsewhere_holds_for_the_rest() {
        for (age, expected) in [("0", 60), ("45", 15), ("61", 0), ("old", 0)] {
            let mut headers = HeaderMap::new();
            headers.append(header::AGE, HeaderValue::from_static(age));
            assert_eq!(holds_for(&headers, Duration::from_secs(60)).as_secs(), expected, "{age}");
        }
    }
}
