//! What rsp and a shared program say to each other: JSON objects.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::message::Request;
use rsp_core::route::Path;

/// A client, as the program knows it.
pub type Id = u64;

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// To whom; None: to all. A number that nobody has is nobody.
    pub to: Option<Option<Id>>,
    /// The message, and whether it is text.
    pub message: Option<(Bytes, bool)>,
    /// Whether they are closed, after the message.
    pub closes: bool,
}

impl Said {
    /// Reads an object; None: it is none of those that mean something.
    pub fn read(text: &[u8]) -> Option<Self> {
        let Value::Object(mut object) = serde_json::from_slice(text).ok()? else { return None };
        let to = match object.get("id") {
            None => None,
            // "+1" is nobody, as no client was called so.
            Some(Value::String(id)) => Some(id.parse().ok().filter(|_| !id.starts_with('+'))),
            // Were it taken for none, what is for one client would be told to all.
            Some(_) => return None,
        };
        let closes = match object.get("event") {
            None => false,
            Some(Value::String(event)) => match event.as_str() {
                "message" => false,
                "close" => true,
                _ => return None,
            },
            Some(_) => return None,
        };
        let message = match (object.remove("data"), object.remove("base64")) {
            (Some(Value::String(text)), None) => Some((text.into(), true)),
            (Some(value), None) => Some((value.to_string().into(), true)),
            (None, Some(Value::String(text))) => Some((STANDARD.decode(text).ok()?.into(), false)),
            (None, None) => None,
            _ => return None,
        };
        (message.is_some() || closes).then_some(Self { to, message, closes })
    }
}

/// `{"id", "event": "open", "request": {…}}`
pub fn open(id: Id, request: &Request) -> Box<[u8]> {
    let target = &request.head.target;
    let path = Path::new(target.path()).map(|path| lossy(path.decoded()));
    let mut headers = Map::new();
    for name in request.head.headers.keys() {
        let values: Vec<_> = request.head.headers.get_all(name).iter().map(|value| lossy(value.as_bytes())).collect();
        let between = if *name == http::header::COOKIE { "; " } else { ", " };
        headers.insert(name.as_str().to_owned(), values.join(between).into());
    }
    let request = json!({
        "path": path.unwrap_or_else(|_| lossy(target.path())),
        "query": lossy(target.query().unwrap_or_default()),
        "remote_addr": request.client.ip.map(|ip| ip.to_string()),
        "user": request.user.as_ref().map(|user| &*user.name).filter(|name| !name.is_empty()),
        "headers": headers,
    });
    format!("{{\"id\":\"{id}\",\"event\":\"open\",\"request\":{request}}}").into_bytes().into()
}

/// `{"id", "event": "message", "data" | "base64"}`
pub fn message(id: Id, data: &[u8]) -> Vec<u8> {
    let mut text = format!("{{\"id\":\"{id}\",\"event\":\"message\",").into_bytes();
    let (name, data) = match str::from_utf8(data) {
        Ok(data) => ("data", data.into()),
        Err(_) => ("base64", STANDARD.encode(data)),
    };
    text.extend_from_slice(format!("\"{name}\":{}}}", Value::String(data)).as_bytes());
    text
}

/// `{"id", "event": "close"}`
pub fn close(id: Id) -> Vec<u8> {
    format!("{{\"id\":\"{id}\",\"event\":\"close\"}}").into_bytes()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(to: Option<Option<Id>>, message: Option<(&'static str, bool)>, closes: bool) -> Option<Said> {
        Some(Said { to, message: message.map(|(text, is_text)| (text.into(), is_text)), closes })
    }

    #[test]
    fn an_object_says_what_and_to_whom() {
        for (text, meaning) in [
            (r#"{"data":"hi"}"#, said(None, Some(("hi", true)), false)),
            (r#"{"id":"7","data":"hi","event":"message"}"#, said(Some(Some(7)), Some(("hi", true)), false)),
            (
                r#"{"id":"7","data":{"b": 1, "a": null}}"#,
                said(Some(Some(7)), Some((r#"{"a":null,"b":1}"#, true)), false),
            ),
            (r#"{"id":"+7","data":"hi"}"#, said(Some(None), Some(("hi", true)), false)),
            (r#"{"id":"7","data":null}"#, said(Some(Some(7)), Some(("null", true)), false)),
            (r#"{"base64":"aGk="}"#, said(None, Some(("hi", false)), false)),
            (r#"{"id":"7","event":"close"}"#, said(Some(Some(7)), None, true)),
            (r#"{"id":"7","event":"close","data":"bye"}"#, said(Some(Some(7)), Some(("bye", true)), true)),
            (r#"{"id":"somebody","data":"hi"}"#, said(Some(None), Some(("hi", true)), false)),
        ] {
            assert_eq!(Said::read(text.as_bytes()), meaning, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_object_means_nothing_and_never_all() {
        for text in [
            "",
            "hello",
            "[]",
            "{}",
            r#"{"id":"7"}"#,
            r#"{"id":7,"data":"hi"}"#,
            r#"{"id":null,"data":"hi"}"#,
            r#"{"event":"open","data":"hi"}"#,
            r#"{"event":1,"data":"hi"}"#,
            r#"{"base64":"%"}"#,
            r#"{"base64":1}"#,
            r#"{"data":"hi","base64":"aGk="}"#,
        ] {
            assert_eq!(Said::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_program_is_told_who_came_in_one_line_of_json() {
        let request = Request::example(http::Method::GET, "/chat%20room?name=%22Ada%22")
            .with(http::header::COOKIE, "a=1")
            .with(http::header::COOKIE, "b=2");
        let text = open(7, &request);
        assert!(!text.contains(&b'\n'));
        let object: Value = serde_json::from_slice(&text).unwrap();
        let (path, query) = ("/chat room", "name=%22Ada%22");
        let headers = json!({ "cookie": "a=1; b=2" });
        let request = json!({ "path": path, "query": query, "remote_addr": null, "user": null, "headers": headers });
        assert_eq!(object, json!({ "id": "7", "event": "open", "request": request }));
    }

    #[test]
    fn a_program_is_told_text_as_text_and_bytes_in_base64() {
        assert_eq!(message(7, b"a\n\"b\""), br#"{"id":"7","event":"message","data":"a\n\"b\""}"#);
        assert_eq!(message(7, b"\xff"), br#"{"id":"7","event":"message","base64":"/w=="}"#);
        assert_eq!(close(7), br#"{"id":"7","event":"close"}"#);
    }
}
