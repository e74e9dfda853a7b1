//! Header names and values that the file sets; none that would change the framing of a message.

use http::{HeaderName, HeaderValue};

use super::Checker;
use crate::{
    config::{
        raw::{Key, Span, Table, Value},
        reader::{found, strings},
    },
    frame::http1::is_authority,
};

/// What frames a message or belongs to one connection: never the file's to set (RFC 9110 §7.6.1, RFC 9112 §6).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Checker<'_> {
    /// A table of names and values; a list as value is the header once for each. `owner` is what the table is for.
    pub(super) fn fields(&mut self, owner: &str, value: &Value, span: Span) -> Vec<(HeaderName, HeaderValue)> {
        let Value::Table(Table { items, entries }) = value else {
            let message = format!("the headers of `{owner}` must be a table, not {}", found(value));
            self.reader.error(span, message, EXAMPLE);
            return Vec::new();
        };
        if let Some(item) = items.first() {
            self.reader.error(item.span, format!("the headers of `{owner}` need names"), EXAMPLE);
        }
        let mut fields = Vec::new();
        for entry in entries {
            let Key::Text(name) = &entry.key else {
                self.reader.error(entry.span, format!("the headers of `{owner}` need names"), EXAMPLE);
                continue;
            };
            let Some(name) = self.field_name(name, entry.span) else { continue };
            if name == http::header::HOST && owner == "add" {
                self.reader.error(entry.span, "a request has one `Host`", "put it into `set`");
                continue;
            }
            let Some(values) = strings(&entry.value, entry.span) else {
                let message = format!("the value of `{name}` must be a string, not {}", found(&entry.value));
                self.reader.error(entry.span, message, EXAMPLE);
                continue;
            };
            if name == http::header::HOST && values.len() > 1 {
                self.reader.error(entry.span, "a request has one `Host`", "remove the others");
                continue;
            }
            for (value, span) in values {
                fields.extend(self.field_value(&name, value, span).map(|value| (name.clone(), value)));
            }
        }
        fields
    }

    /// One name or a list of names.
    pub(super) fn field_names(&mut self, value: &Value, span: Span) -> Vec<HeaderName> {
        let Some(names) = strings(value, span) else {
            let message = format!("`remove` must be a list of names, not {}", found(value));
            self.reader.error(span, message, "for example { \"Server\" }");
            return Vec::new();
        };
        let mut removed = Vec::new();
        for (text, span) in names {
            let Some(name) = self.field_name(text, span) else { continue };
            match name == http::header::HOST {
                true => self.reader.error(span, "`Host` can't be removed", "a request must have one"),
                false => removed.push(name),
            }
        }
        removed
    }

    pub(super) fn field_name(&mut self, text: &str, span: Span) -> Option<HeaderName> {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            let message = format!("\"{}\" is no header's name", text.escape_debug());
            self.reader.error(span, message, "letters, digits and hyphens");
            return None;
        };
        if FRAMING.contains(&name.as_str()) {
            self.reader.error(span, format!("`{text}` frames the message and can't be touched"), "remove it");
            return None;
        }
        Some(name)
    }

    fn field_value(&mut self, name: &HeaderName, text: &str, span: Span) -> Option<HeaderValue> {
        let trimmed = text.trim_matches([' ', '\t']);
        let value = HeaderValue::from_bytes(trimmed.as_bytes()).ok();
        if value.is_none() {
            let message = format!("the value of `{name}` has a line break or another control character in it");
            self.reader.error(span, message, "one line of text");
        } else if *name == http::header::HOST && (trimmed.is_empty() || !is_authority(trimmed.as_bytes())) {
            let message = format!("\"{}\" is no host", trimmed.escape_debug());
            self.reader.error(span, message, "a name or an address, and a port if it needs one: \"example.com:8080\"");
        }
        value
    }
}

const EXAMPLE: &str = "for example { [\"Cache-Control\"] = \"no-store\" }";
