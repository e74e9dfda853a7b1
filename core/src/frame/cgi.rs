//! The head of an answer as CGI programs write it: fields, of which `Status` and `Location` say the status.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use crate::frame::http1::{HeadError, HeadLimits, read_program_fields};

/// A response's head.
#[derive(Debug, Clone)]
pub struct Head {
    /// 200 to 999.
    pub status: StatusCode,
    /// Whether the program said so itself.
    pub stated: bool,
    /// End-to-end fields only; `Status` is none of them.
    pub headers: HeaderMap,
    /// As stated.
    pub content_length: Option<u64>,
}

/// Where the head at the front of `input` ends, its empty line included; None while that has not come.
///
/// Lines end in CRLF or LF: RFC 3875 §6.3 leaves it to the system, and the two never mean different things here. `from`
/// is how much of `input` was searched before.
pub fn head_end(input: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(2).min(input.len());
    memchr::memchr_iter(b'\n', &input[from..]).map(|offset| from + offset).find_map(|at| match &input[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        // A head without a field.
        _ if at == 0 || (at == 1 && input[0] == b'\r') => Some(at + 1),
        _ => None,
    })
}

/// Reads a head that is all there: what [`head_end`] says.
///
/// Without a `Status` it is 302 with a `Location`, as nginx has it, and 200 otherwise; [`Head::elsewhere`] tells a
/// `Location` that may not be the client's.
///
/// # Errors
/// Whatever a head of HTTP/1.1 may not have, a `Transfer-Encoding`, a head without a field, and a `Status` that is no
/// final one.
pub fn parse_head(input: &[u8], limits: &HeadLimits) -> Result<Head, HeadError> {
    if input.len() > limits.head {
        return Err(HeadError::TooLarge);
    }
    let mut slots = vec![httparse::EMPTY_HEADER; limits.headers.min(input.len() / 3 + 1)];
    let fields = match httparse::parse_headers(input, &mut slots) {
        Ok(httparse::Status::Complete((length, fields))) if length == input.len() => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        _ => return Err(HeadError::Malformed("a line that is no field")),
    };
    if fields.is_empty() {
        return Err(HeadError::Malformed("no field"));
    }
    let kept = Bytes::copy_from_slice(input);
    let (mut headers, content_length) = read_program_fields(fields, input, kept)?;
    let status = status(&headers)?;
    let stated = headers.remove("status").is_some();
    Ok(Head { status, stated, headers, content_length })
}

impl Head {
    /// The path and query of a local redirect (RFC 3875 §6.2.2): a path as `Location`, and no other field. What a browser
    /// takes for another host, and a fragment, which is the browser's alone, make it the client's affair.
    pub fn elsewhere(&self) -> Option<&[u8]> {
        let alone = !self.stated && self.headers.len() == 1 && self.content_length.is_none();
        let location = self.headers.get(header::LOCATION).filter(|_| alone)?.as_bytes();
        let local = matches!(location, [b'/'] | [b'/', b'!'..=b'.' | b'0'..=b'[' | b']'..=b'~', ..]);
        (local && !location.contains(&b'#')).then_some(location)
    }
}

fn status(headers: &HeaderMap) -> Result<StatusCode, HeadError> {
    const BAD: HeadError = HeadError::Malformed("a Status that is no final one");
    let mut stated = headers.get_all("status").iter();
    let Some(status) = stated.next() else {
        return Ok(if headers.contains_key(header::LOCATION) { StatusCode::FOUND } else { StatusCode::OK });
    };
    if stated.next().is_some() {
        return Err(HeadError::Malformed("several Status fields"));
    }
    let (code, rest) = status.as_bytes().split_at_checked(3).ok_or(BAD)?;
    let status = StatusCode::from_bytes(code).map_err(|_| BAD)?;
    let ends = matches!(rest.first(), None | Some(b' '));
    if ends && !status.is_informational() { Ok(status) } else { Err(BAD) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head: 1000, headers: 5, uri: 0 };

    fn read(text: &str) -> Result<Head, HeadError> {
        let end = head_end(text.as_bytes(), 0).expect("an end");
        parse_head(&text.as_bytes()[..end], &LIMITS)
    }

    #[test]
    fn a_head_ends_at_the_first_empty_line_of_either_kind() {
        for (text, end) in [
            ("A: b\r\n\r\nrest", Some(8)),
            ("A: b\n\nrest", Some(6)),
            ("A: b\n\r\nrest", Some(7)),
            ("A: b\r\nC: d\n\n", Some(12)),
            ("\r\nrest", Some(2)),
            ("\nrest", Some(1)),
            ("A: b\r\n\r", None),
            ("A: b\r\n", None),
            ("", None),
        ] {
            assert_eq!(head_end(text.as_bytes(), 0), end, "{text:?}");
            for from in 0..text.len().min(end.unwrap_or(usize::MAX)) {
                assert_eq!(head_end(text.as_bytes(), from), end, "{text:?} from {from}");
            }
        }
    }

    #[test]
    fn the_status_is_stated_or_follows_from_a_location() {
        assert_eq!(read("Content-Type: a/b\n\n").unwrap().status, 200);
        assert_eq!(read("Location: http://a/\r\n\r\n").unwrap().status, 302);
        assert_eq!(read("Location: /a\r\n\r\n").unwrap().status, 302);
        assert_eq!(read("Status: 201\nLocation: /a\n\n").unwrap().status, 201);
        let head = read("Status: 404 Not Found\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 7\r\n\r\n").unwrap();
        assert_eq!((head.status.as_u16(), head.content_length), (404, Some(7)));
        assert_eq!((head.headers.len(), head.headers.get_all("x-a").iter().count()), (2, 2));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "\n",
            "no field\n\n",
            "A : b\n\n",
            " A: b\n\n",
            "A: b\n c\n\n",
            "A: b\rC: d\n\n",
            "A: \0\n\n",
            "Status: 100 Continue\n\n",
            "Status: 101\n\n",
            "Status: 20\n\n",
            "Status: 2000\n\n",
            "Status: 099\n\n",
            "Status: OK\n\n",
            "Status: 200\nStatus: 200\n\n",
            "Content-Length: 1\nContent-Length: 1\n\n",
            "Content-Length: +1\n\n",
            "Transfer-Encoding: chunked\n\n",
            "HTTP/1.1 200 OK\nA: b\n\n",
        ] {
            assert!(matches!(read(text), Err(HeadError::Malformed(_))), "{text:?}");
        }
        assert_eq!(read("A:b\nA:b\nA:b\nA:b\nA:b\nA:b\n\n").unwrap_err(), HeadError::TooLarge);
        assert_eq!(read(&format!("A: {}\n\n", "b".repeat(1000))).unwrap_err(), HeadError::TooLarge);
    }

    #[test]
    fn a_path_as_the_only_field_is_a_request_to_be_answered_in_its_place() {
        let to = |text| read(text).unwrap().elsewhere().map(|to| String::from_utf8_lossy(to).into_owned());
        assert_eq!(to("Location: /a/b?c=d\n\n").as_deref(), Some("/a/b?c=d"));
        assert_eq!(to("Location: /\r\nConnection: close\r\n\r\n").as_deref(), Some("/"));
        for text in [
            "Location: http://a/b\n\n",
            "Location: //a/b\n\n",
            "Location: /\\a/b\n\n",
            "Location: /a#b\n\n",
            "Location: a\n\n",
            "Location: \n\n",
            "Location: /a\nStatus: 302\n\n",
            "Location: /a\nX-B: c\n\n",
            "Location: /a\nLocation: /b\n\n",
            "Location: /a\nContent-Length: 0\n\n",
            "X-Location: /a\n\n",
        ] {
            assert_eq!(to(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_program_sets_no_field_of_our_connection() {
        let head = read("Connection: close, X-B\nKeep-Alive: 1\nUpgrade: a\nX-B: 1\nX-C: 1\n\n").unwrap();
        assert_eq!(head.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-c"]);
    }
}
