//! Which stream a request takes (RFC 9110 §12.5.1).

use http::header;

use crate::message::Request;

/// The place of the kind that a request prefers, the first one of equals. None: it names none of them.
pub fn preferred(request: &Request, kinds: &[&str]) -> Option<usize> {
    let mut best = (0, None);
    let fields = request.head.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in fields.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some(kind) = parts.next().and_then(|kind| kinds.iter().position(|known| kind.eq_ignore_ascii_case(known)))
        else {
            continue;
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1000), thousandths).unwrap_or(0);
        if weight > best.0 {
            best = (weight, Some(kind));
        }
    }
    best.1
}

/// Whether it takes an event stream.
pub fn takes_events(request: &Request) -> bool {
    preferred(request, &["text/event-stream"]).is_some()
}

/// `0`, `0.5` or `1.000` in thousandths; None: it is no weight.
fn thousandths(weight: &str) -> Option<u32> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !matches!(whole, "0" | "1") || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction:0<3}");
    digits.parse().ok().filter(|weight| *weight <= 1000)
}
