//! An answer's head as a HEADERS frame has it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use crate::{
    frame::http1::{Framing, is_connection_field},
    head::client_framing,
};

/// What is known of an answer beside its fields.
#[derive(Debug, Clone)]
pub struct Answered<'a> {
    /// The status.
    pub status: StatusCode,
    /// How the body came, or how long it is that `HEAD` leaves out.
    pub framing: Framing,
    /// The length that was stated where there is no body: `HEAD` and 304.
    pub content_length: Option<u64>,
    /// The method that is answered.
    pub method: &'a Method,
    /// The version that the upstream answered in; None for our own answers.
    pub via: Option<Version>,
    /// Used if the fields have none (RFC 9110 §6.6.1).
    pub date: HeaderValue,
}

/// Makes end-to-end fields those of an HTTP/2 answer, and says whether a body follows: `Empty`, `Length` or `Chunked`, which
/// is a body that ends with its stream.
pub fn response(headers: &mut HeaderMap, answered: Answered<'_>) -> Framing {
    let Answered { status, framing: received, content_length, method, via, date } = answered;
    let foreign: Vec<HeaderName> = headers.keys().filter(|name| is_connection_field(name)).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    let framing = match client_framing(received, status, method, Version::HTTP_2) {
        Framing::UntilClose => Framing::Chunked,
        framing => framing,
    };
    // At most these three are new: one growth of the map, not three.
    headers.reserve(3);
    // Only a map of 2^15 names refuses, and limits keep heads far below.
    let mut set = |name, value| headers.try_insert(name, value).is_ok();
    let stated = match (framing, received) {
        (Framing::Length(length), _) => Some(length),
        (Framing::Empty, Framing::Length(length)) if may_state(status) => Some(length),
        (Framing::Empty, _) if may_state(status) => content_length,
        _ => None,
    };
    if let Some(length) = stated {
        set(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(received) = via {
        let value = via_value(headers, received);
        headers.insert(header::VIA, value);
    }
    if !status.is_informational() && !headers.contains_key(header::DATE) {
        headers.insert(header::DATE, date);
    }
    framing
}

/// RFC 9110 §8.6
fn may_state(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

/// What was there, then us, naming the version that we received (RFC 9110 §7.6.3).
fn via_value(headers: &HeaderMap, received: Version) -> HeaderValue {
    let own = match received {
        Version::HTTP_10 => "1.0 rsp",
        Version::HTTP_2 => "2.0 rsp",
        Version::HTTP_3 => "3.0 rsp",
        _ => "1.1 rsp",
    };
    let mut before = headers.get_all(header::VIA).iter().filter(|value| !value.is_empty()).peekable();
    if before.peek().is_none() {
        return HeaderValue::from_static(own);
    }
    let mut all = Vec::new();
    for value in before {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(own.as_bytes());
    HeaderValue::from_bytes(&all).unwrap_or(HeaderValue::from_static(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, framing: Framing, method: &Method) -> Answered<'_> {
        let status = StatusCode::from_u16(status).unwrap();
        let date = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");
        Answered { status, framing, content_length: None, method, via: None, date }
    }

    #[test]
    fn a_body_is_stated_where_its_length_is_known_and_left_out_where_there_can_be_none() {
        let (get, head) = (Method::GET, Method::HEAD);
        for (status, received, method, framing, stated) in [
            (200, Framing::Length(5), &get, Framing::Length(5), Some("5")),
            (200, Framing::Empty, &get, Framing::Length(0), Some("0")),
            (200, Framing::Chunked, &get, Framing::Chunked, None),
            (200, Framing::UntilClose, &get, Framing::Chunked, None),
            (200, Framing::Length(5), &head, Framing::Empty, Some("5")),
            (200, Framing::Chunked, &head, Framing::Empty, None),
            (204, Framing::Empty, &get, Framing::Empty, None),
            (304, Framing::Empty, &get, Framing::Empty, None),
        ] {
            let mut headers = HeaderMap::new();
            assert_eq!(response(&mut headers, answered(status, received, method)), framing, "{status} {received:?}");
            let length = headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap());
            assert_eq!(length, stated, "{status} {received:?} {method}");
        }
        let mut headers = HeaderMap::new();
        let not_modified = Answered { content_length: Some(7), ..answered(304, Framing::Empty, &get) };
        assert_eq!(response(&mut headers, not_modified), Framing::Empty);
        assert_eq!(headers[header::CONTENT_LENGTH], "7");
    }

    #[test]
    fn no_field_of_a_connection_crosses_and_via_and_date_are_set() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "5"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("proxy-connection", "close"),
            ("content-length", "99"),
            ("via", "1.0 a"),
            ("x-kept", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let method = Method::GET;
        let proxied = Answered { via: Some(Version::HTTP_11), ..answered(200, Framing::Length(3), &method) };
        response(&mut headers, proxied);
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        let date = "date: Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(left, ["content-length: 3", date, "via: 1.0 a, 1.1 rsp", "x-kept: 1"]);
    }
}
