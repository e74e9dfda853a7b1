//! What happens on a channel as the bytes of each transport; encoded once, and shared by all who speak it.

use std::{fmt::Write, time::UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rsp_core::{
    channel::{Item, Member, Position, Who},
    frame::{
        event_stream,
        websocket::{Opcode, message_frame},
    },
};
use smallvec::SmallVec;

use crate::{observe::push_rfc3339, session::Deflaters};

/// What subscribers are told.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A message.
    Item(&'a Item),
    /// It is subscribed, and sees what comes after this.
    Subscribed(Position),
    /// Something was lost; it goes on from here.
    Reset(Position),
    /// Somebody came.
    Join(&'a Member),
    /// Somebody left.
    Leave(&'a Member),
}

/// How a subscriber is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A WebSocket message is the message; nothing else is told.
    Plain(Compression),
    /// A WebSocket message is an object.
    Json(Compression),
    /// An event stream, each event a chunk if need be.
    Events { is_chunked: bool },
    /// An object a line, each line a chunk if need be.
    Lines { is_chunked: bool },
}

/// Bits of the window of the compression that was agreed on; None: none was.
pub type Compression = Option<u8>;

/// The compressors of a worker.
#[derive(Default)]
pub struct Encoder {
    deflaters: Deflaters,
}

/// One event, and the frames that were made of it so far.
pub struct Encoded<'a> {
    event: Event<'a>,
    encoder: &'a Encoder,
    made: SmallVec<[(Format, Option<Bytes>); 2]>,
}

impl<'a> Encoded<'a> {
    /// Nothing is made of it yet.
    pub fn new(event: Event<'a>, encoder: &'a Encoder) -> Self {
        Self { event, encoder, made: SmallVec::new() }
    }

    /// Its frame; None: nobody who speaks this is told.
    pub fn frame(&mut self, format: Format) -> Option<&Bytes> {
        let index = match self.made.iter().position(|(made, _)| *made == format) {
            Some(index) => index,
            None => {
                self.made.push((format, self.encoder.encode(self.event, format)));
                self.made.len() - 1
            }
        };
        self.made[index].1.as_ref()
    }

    /// What it is.
    pub fn event(&self) -> Event<'a> {
        self.event
    }
}

impl Encoder {
    /// One event in one format.
    pub fn encode(&self, event: Event<'_>, format: Format) -> Option<Bytes> {
        match (format, event) {
            (Format::Plain(compression), Event::Item(item)) => {
                let opcode = if item.message.is_text { Opcode::Text } else { Opcode::Binary };
                Some(self.message(opcode, &item.message.data, compression))
            }
            (Format::Plain(_), _) => None,
            (Format::Json(compression), event) => Some(self.object(&object(event), compression)),
            (Format::Events { is_chunked }, event) => Some(chunk(&stream_event(event), is_chunked)),
            (Format::Lines { is_chunked }, event) => Some(chunk(&(object(event) + "\n"), is_chunked)),
        }
    }

    /// A WebSocket message that holds an object.
    pub fn object(&self, object: &str, compression: Compression) -> Bytes {
        self.message(Opcode::Text, object.as_bytes(), compression)
    }

    fn message(&self, opcode: Opcode, payload: &[u8], compression: Compression) -> Bytes {
        let deflated = compression.and_then(|window| self.deflaters.deflate(window, payload));
        match deflated {
            Some(shorter) => message_frame(opcode, &shorter, true, None),
            None => message_frame(opcode, payload, false, None),
        }
    }
}

/// A piece of an HTTP/1 body.
pub fn chunk(text: &str, is_chunked: bool) -> Bytes {
    match is_chunked {
        true => format!("{:x}\r\n{text}\r\n", text.len()).into(),
        false => text.to_owned().into(),
    }
}

fn stream_event(event: Event<'_>) -> String {
    let mut out = String::new();
    let named = |name, position: Option<String>, data: &str, out: &mut String| {
        event_stream::Event { id: position.as_deref(), name, data }.write(out);
    };
    match event {
        Event::Item(item) => {
            let position = Some(item.position.to_string());
            match text(item) {
                Some(text) => named(None, position, text, &mut out),
                None => named(Some("binary"), position, &STANDARD.encode(&item.message.data), &mut out),
            }
        }
        // An id alone would do for browsers, but npm's `eventsource` comes back with one only if there was data, too.
        Event::Subscribed(position) | Event::Reset(position) => {
            let name = if matches!(event, Event::Reset(_)) { "reset" } else { "subscribed" };
            let position = position.to_string();
            let data = format!("{{\"position\":\"{position}\"}}");
            named(Some(name), Some(position), &data, &mut out);
        }
        Event::Join(member) => named(Some("join"), None, &member_object(member, ""), &mut out),
        Event::Leave(member) => named(Some("leave"), None, &member_object(member, ""), &mut out),
    }
    out
}

fn object(event: Event<'_>) -> String {
    match event {
        Event::Item(item) => item_object(item),
        Event::Subscribed(position) => format!("{{\"event\":\"subscribed\",\"position\":\"{position}\"}}"),
        Event::Reset(position) => format!("{{\"event\":\"reset\",\"position\":\"{position}\"}}"),
        Event::Join(member) => member_object(member, "\"event\":\"join\","),
        Event::Leave(member) => member_object(member, "\"event\":\"leave\","),
    }
}

/// `{"position":…,"time":…,"data":…}`, with `user` and `info` if they are known.
pub fn item_object(item: &Item) -> String {
    let mut out = format!("{{\"position\":\"{}\",\"time\":\"", item.position);
    push_time(&mut out, item.message.time);
    match text(item) {
        Some(text) => {
            out.push_str("\",\"data\":");
            push_string(&mut out, text);
        }
        None => {
            out.push_str("\",\"base64\":\"");
            STANDARD.encode_string(&item.message.data, &mut out);
            out.push('"');
        }
    }
    push_who(&mut out, item.message.by.as_deref());
    out.push('}');
    out
}

/// `{"id":…,"user":…,"info":…,"since":…}`, behind `front`.
pub fn member_object(member: &Member, front: &str) -> String {
    let mut out = format!("{{{front}\"id\":");
    push_string(&mut out, &member.id);
    push_who(&mut out, member.who.as_deref());
    out.push_str(",\"since\":\"");
    push_time(&mut out, member.since);
    out.push_str("\"}");
    out
}

/// A message that is text; bytes that happen to be UTF-8 are shown as such, too.
fn text(item: &Item) -> Option<&str> {
    str::from_utf8(&item.message.data).ok()
}

fn push_who(out: &mut String, who: Option<&Who>) {
    let Some(who) = who else { return };
    if let Some(user) = &who.user {
        out.push_str(",\"user\":");
        push_string(out, user);
    }
    if let Some(info) = &who.info {
        // JSON already.
        let _ = write!(out, ",\"info\":{info}");
    }
}

fn push_time(out: &mut String, time: std::time::Duration) {
    let mut bytes = Vec::with_capacity(32);
    push_rfc3339(&mut bytes, UNIX_EPOCH + time);
    out.push_str(&String::from_utf8_lossy(&bytes));
}

/// A string of JSON.
pub fn push_string(out: &mut String, text: &str) {
    // A string has no key that could fail.
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rsp_core::channel::{Epoch, Message};

    use super::*;

    fn item(data: &[u8], is_text: bool) -> Item {
        let who = Who { user: Some("ann".into()), info: Some("{\"a\":1}".into()) };
        let message =
            Message { data: data.into(), is_text, time: Duration::from_millis(1_500), by: Some(Arc::new(who)) };
        Item { position: Position { epoch: Epoch::new(1), offset: 7 }, message: Arc::new(message) }
    }

    fn encoded(event: Event<'_>, format: Format) -> String {
        let frame = Encoder::default().encode(event, format).unwrap();
        String::from_utf8_lossy(&frame).into_owned()
    }

    #[test]
    fn an_item_is_an_object_a_line_an_event_or_itself() {
        let item = item(b"a \"b\"\n", true);
        let line = encoded(Event::Item(&item), Format::Lines { is_chunked: false });
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["position"], "0000000000001-7");
        assert_eq!(object["data"], "a \"b\"\n");
        assert_eq!((object["user"].as_str(), &object["info"]["a"]), (Some("ann"), &1.into()));
        assert!(object["time"].as_str().unwrap().contains("01.500"), "{object}");
        let event = encoded(Event::Item(&item), Format::Events { is_chunked: false });
        assert_eq!(event, "id: 0000000000001-7\ndata: a \"b\"\ndata: \n\n");
        assert_eq!(encoded(Event::Item(&item), Format::Plain(None)), "\u{fffd}\u{6}a \"b\"\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        let item = item(b"\xff\0", false);
        let event = encoded(Event::Item(&item), Format::Events { is_chunked: true });
        assert_eq!(event, "36\r\nid: 0000000000001-7\nevent: binary\ndata: /wA=\n\n\r\n".replace("36", "2e"));
        let line = encoded(Event::Item(&item), Format::Lines { is_chunked: false });
        assert!(line.contains("\"base64\":\"/wA=\"") && !line.contains("data"), "{line}");
    }

    #[test]
    fn a_frame_is_made_once_for_each_format() {
        let (encoder, item) = (Encoder::default(), item(&[b'a'; 200], true));
        let mut frames = Encoded::new(Event::Item(&item), &encoder);
        let plain = frames.frame(Format::Plain(None)).unwrap().clone();
        assert_eq!(frames.frame(Format::Plain(None)).unwrap().as_ptr(), plain.as_ptr());
        assert!(frames.frame(Format::Plain(Some(15))).unwrap().len() < plain.len());
        assert_eq!(frames.frame(Format::Plain(None)).unwrap().as_ptr(), plain.as_ptr());
        let mut frames = Encoded::new(Event::Reset(item.position), &encoder);
        assert_eq!(frames.frame(Format::Plain(None)), None);
    }
}
