//! One cookie among those that a client sends: its value, and the fields without it (RFC 6265 §4.2).

use http::{HeaderMap, HeaderValue, header};

/// The value of the first cookie of that name, without quotes.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    let value = fields.flat_map(|field| pairs(field.as_bytes())).find_map(|pair| value_of(pair, name))?;
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some(quoted.unwrap_or(value))
}

/// Takes every cookie of that name away, and fields in which nothing else was.
pub fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    let is_in = |field: &HeaderValue| pairs(field.as_bytes()).any(|pair| value_of(pair, name).is_some());
    if !headers.get_all(header::COOKIE).iter().any(is_in) {
        return;
    }
    let without = |field: &HeaderValue| {
        let kept: Vec<_> = pairs(field.as_bytes()).filter(|pair| value_of(pair, name).is_none()).collect();
        // Parts of a value that was right are right.
        HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|value| !value.is_empty())
    };
    let left: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().filter_map(without).collect();
    headers.remove(header::COOKIE);
    for value in left {
        headers.append(header::COOKIE, value);
    }
}

fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    (pair[..at].trim_ascii_end() == name.as_bytes()).then(|| pair[at + 1..].trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(fields: &[&str]) -> HeaderMap {
        let fields = fields.iter().map(|field| (header::COOKIE, HeaderValue::from_str(field).unwrap()));
        fields.collect()
    }

    #[test]
    fn a_cookie_is_found_among_others_in_any_field() {
        let headers = sent(&["a=1; b=\"2\";c = 3", "xb=4; b=5; d"]);
        let found = |name| cookie(&headers, name).map(|value| String::from_utf8(value.to_vec()).unwrap());
        assert_eq!(
            ["a", "b", "c", "d", "xb"].map(found),
            [Some("1"), Some("2"), Some("3"), None, Some("4")].map(|value| value.map(str::to_owned))
        );
    }

    #[test]
    fn only_that_cookie_goes_and_an_empty_field_with_it() {
        let mut headers = sent(&["a=1; b=2;c=3", "b=4", "b=5; d"]);
        remove_cookie(&mut headers, "b");
        let left: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(left, ["a=1; c=3", "d"]);
        remove_cookie(&mut headers, "nope");
        assert_eq!(headers.len(), 2);
        remove_cookie(&mut headers, "a");
        remove_cookie(&mut headers, "c");
        assert_eq!(headers.len(), 1);
    }
}
