//! What a request at a channel asks for: its query, where the client was, and which kind of answer it takes.

use std::str::FromStr;

use http::{HeaderName, header};
use rsp_core::channel::{NotAPosition, Position};

use crate::{message::Request, observe::Transport, session::preferred};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The names under which a query says where a client was: a page can't set a field of an `EventSource`.
const SINCE: [&str; 3] = ["since", "last_event_id", "lastEventId"];

/// What a GET wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// What comes, from a position on.
    Live,
    /// So many of the latest messages.
    History(usize),
    /// Who is there.
    Presence,
}

/// What a GET wants, by its query.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn wanted(request: &Request) -> Result<Wanted, &'static str> {
    let wrong = "`history` is a number of messages, once";
    let history = parameter(request, "history").map_err(|Twice| wrong)?;
    // Any value will do, also none.
    let presence = !matches!(parameter(request, "presence"), Ok(None));
    match history {
        None if presence => Ok(Wanted::Presence),
        None => Ok(Wanted::Live),
        Some(_) if presence => Err("`history` and `presence` are asked for one at a time"),
        Some(count) if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) => {
            // More than can be counted is more than there is.
            Ok(Wanted::History(count.parse().unwrap_or(usize::MAX)))
        }
        Some(_) => Err(wrong),
    }
}

/// Where the client was: `Last-Event-ID`, or `since` of the query. None: it begins at the end.
pub fn since(request: &Request) -> Result<Option<Position>, NotAPosition> {
    let mut stated = request.head.headers.get_all(LAST_EVENT_ID).iter();
    match (stated.next().filter(|id| !id.is_empty()), stated.next()) {
        (_, Some(_)) => return Err(NotAPosition),
        // It is newer than the URL, with which a browser comes back each time.
        (Some(id), None) => return id.to_str().map_err(|_| NotAPosition)?.parse().map(Some),
        (None, None) => {}
    }
    let mut found = None;
    for name in SINCE {
        let stated = parameter(request, name).map_err(|Twice| NotAPosition)?;
        match (stated, found) {
            (Some(_), Some(_)) => return Err(NotAPosition),
            (Some(text), None) => found = Some(Position::from_str(&text)?),
            (None, _) => {}
        }
    }
    Ok(found)
}

/// As [`since`], for a poll: `If-None-Match` with the entity tag of the last answer is newer than the URL, too.
pub fn since_of_poll(request: &Request) -> Result<Option<Position>, NotAPosition> {
    let mut tags = request.head.headers.get_all(header::IF_NONE_MATCH).iter();
    match (tags.next(), tags.next()) {
        (None, _) => since(request),
        (Some(tag), None) => {
            let tag = tag.to_str().map_err(|_| NotAPosition)?.trim();
            // Who compresses on the way makes it a weak one.
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let id = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(NotAPosition)?;
            id.parse().map(Some)
        }
        (Some(_), Some(_)) => Err(NotAPosition),
    }
}

/// The stream that a request accepts. None: it names none.
pub fn accepted(request: &Request) -> Option<Transport> {
    let preferred = preferred(request, &["text/event-stream", "application/x-ndjson"])?;
    Some(if preferred == 0 { Transport::EventStream } else { Transport::Lines })
}

/// A name stands there more than once, so that two readers could take it for two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twice;

fn parameter(request: &Request, name: &str) -> Result<Option<String>, Twice> {
    let value = form_value(request.head.target.query().unwrap_or_default(), name)?;
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

/// The value of a name in `a=1&b=2` as forms encode it (WHATWG URL §5.1); what has no `=` is a name without a value.
pub fn form_value(form: &[u8], name: &str) -> Result<Option<Vec<u8>>, Twice> {
    let mut found = None;
    for pair in form.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        if decoded(&pair[..end]) == name.as_bytes()
            && found.replace(decoded(pair.get(end + 1..).unwrap_or_default())).is_some()
        {
            return Err(Twice);
        }
    }
    Ok(found)
}

/// A plus is a space.
fn decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_encoding::percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const POSITION: &str = "0000000000007-12";

    fn get(target: &'static str) -> Request {
        Request::example(Method::GET, target)
    }

    fn position() -> Option<Position> {
        POSITION.parse().ok()
    }

    #[test]
    fn a_position_stands_in_the_query_under_any_of_its_names_or_in_a_newer_field() {
        for target in [
            "/a?since=0000000000007-12",
            "/a?x=1&last_event_id=0000000000007-12",
            "/a?lastEventId=0000000000007%2d12&y",
        ] {
            assert_eq!(since(&get(target)), Ok(position()), "{target}");
        }
        assert_eq!(since(&get("/a?sinc=e")), Ok(None));
        let newer = get("/a?since=0000000000007-1").with(LAST_EVENT_ID, POSITION);
        assert_eq!(since(&newer), Ok(position()));
        assert_eq!(since(&get("/a").with(LAST_EVENT_ID, "")), Ok(None));
        let tagged = get("/a?since=0000000000007-1").with(header::IF_NONE_MATCH, "W/\"0000000000007-12\"");
        assert_eq!(since_of_poll(&tagged), Ok(position()));
        assert_eq!(since_of_poll(&get("/a?since=0000000000007-12")), Ok(position()));
    }

    #[test]
    fn what_is_no_position_or_two_is_refused() {
        for target in ["/a?since=", "/a?since", "/a?since=7", "/a?since=%ff"] {
            assert_eq!(since(&get(target)), Err(NotAPosition), "{target}");
        }
        for target in [
            "/a?since=0000000000007-12&since=0000000000007-12",
            "/a?since=0000000000007-12&lastEventId=0000000000007-12",
        ] {
            assert_eq!(since(&get(target)), Err(NotAPosition), "{target}");
        }
        assert_eq!(since(&get("/a").with(LAST_EVENT_ID, POSITION).with(LAST_EVENT_ID, POSITION)), Err(NotAPosition));
        for tag in [POSITION, "*", "\"0000000000007-12\", \"0000000000007-13\"", "\"\""] {
            assert_eq!(since_of_poll(&get("/a").with(header::IF_NONE_MATCH, tag)), Err(NotAPosition), "{tag}");
        }
    }

    #[test]
    fn the_preferred_stream_is_taken_and_one_of_no_weight_is_not() {
        for (accept, kind) in [
            ("text/event-stream", Some(Transport::EventStream)),
            ("*/*, Text/Event-Stream; charset=utf-8", Some(Transport::EventStream)),
            ("text/event-stream;q=0, */*", None),
            ("text/event-stream;q=0.000", None),
            ("text/event-stream;q=2", None),
            ("text/event-stream;q=0.5, application/x-ndjson; q=0.7", Some(Transport::Lines)),
            ("application/x-ndjson, text/event-stream", Some(Transport::Lines)),
            ("*/*", None),
            ("text/event-streams", None),
            ("", None),
        ] {
            assert_eq!(accepted(&get("/a").with(header::ACCEPT, accept)), kind, "{accept}");
        }
        assert_eq!(accepted(&get("/a")), None);
    }

    #[test]
    fn history_is_a_number_and_presence_a_word() {
        assert_eq!(wanted(&get("/a?since=x")), Ok(Wanted::Live));
        assert_eq!(wanted(&get("/a?history=20")), Ok(Wanted::History(20)));
        assert_eq!(wanted(&get("/a?history=99999999999999999999999")), Ok(Wanted::History(usize::MAX)));
        assert_eq!(wanted(&get("/a?presence")), Ok(Wanted::Presence));
        for target in ["/a?history", "/a?history=", "/a?history=-1", "/a?history=%2B1", "/a?history=1&history=1"] {
            assert!(wanted(&get(target)).is_err(), "{target}");
        }
        assert!(wanted(&get("/a?history=1&presence=1")).is_err());
    }

    #[test]
    fn a_form_is_decoded_name_by_name() {
        assert_eq!(form_value(b"a=1&&m%65ssage=b+c%26%C3%A4&z", "message"), Ok(Some("b c&\u{e4}".into())));
        assert_eq!(form_value(b"a=1&z", "z"), Ok(Some(Vec::new())));
        assert_eq!(form_value(b"a=1", "z"), Ok(None));
        assert_eq!(form_value(b"z=1&%7a=1", "z"), Err(Twice));
    }
}
