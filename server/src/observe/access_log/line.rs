//! The formats of a log line, and the escaping that keeps a client from forging one.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use rsp_core::config::LogFormat;

use super::{Moment, Record};
use crate::observe::clock::{push_clf, push_rfc1123, push_rfc3339};

/// Appends the line of `record` with its line end; nothing for `LogFormat::None`.
pub fn push(line: &mut Vec<u8>, format: LogFormat, record: &Record<'_>) {
    match format {
        LogFormat::None => return,
        LogFormat::Json => push_json(line, record),
        LogFormat::Websocketd => push_websocketd(line, record),
        LogFormat::Common => push_common(line, record),
        LogFormat::Combined => {
            push_common(line, record);
            push_rest_of_combined(line, record);
        }
    }
    line.push(b'\n');
}

/// Appends the line that says how many others are missing here.
pub fn push_dropped(line: &mut Vec<u8>, format: LogFormat, dropped: u64, now: SystemTime) {
    match format {
        LogFormat::Json => {
            line.extend_from_slice(b"{\"time\":\"");
            push_rfc3339(line, now);
            append(line, format_args!("\",\"dropped\":{dropped}}}\n"));
        }
        LogFormat::Websocketd => {
            push_rfc1123(line, now);
            append(line, format_args!(" | ERROR  | server     |  | {dropped} lines were dropped here\n"));
        }
        LogFormat::Combined | LogFormat::Common | LogFormat::None => {
            line.extend_from_slice(b"# [");
            push_clf(line, now);
            append(line, format_args!("] {dropped} lines were dropped here\n"));
        }
    }
}

fn push_common(line: &mut Vec<u8>, record: &Record<'_>) {
    push_client(line, record);
    line.extend_from_slice(b" - ");
    match record.user {
        None => line.push(b'-'),
        // A name that is empty is another than none.
        Some("") => line.extend_from_slice(b"\"\""),
        Some(user) => push_word(line, user.as_bytes()),
    }
    line.extend_from_slice(b" [");
    push_clf(line, record.time);
    line.extend_from_slice(b"] \"");
    push_escaped(line, record.method.as_bytes());
    line.push(b' ');
    push_escaped(line, record.target);
    line.push(b' ');
    push_escaped(line, record.version.as_bytes());
    line.extend_from_slice(b"\" ");
    push_number(line, record.status.into());
    line.push(b' ');
    // Apache's %b: a dash for no bytes.
    if record.bytes_out == 0 { line.push(b'-') } else { push_number(line, record.bytes_out) }
}

fn push_rest_of_combined(line: &mut Vec<u8>, record: &Record<'_>) {
    for field in [record.referer, record.user_agent] {
        line.extend_from_slice(b" \"");
        push_escaped(line, field.unwrap_or(b"-"));
        line.push(b'"');
    }
    line.push(b' ');
    push_id(line, record.id);
    line.push(b' ');
    match record.upstream {
        None => line.push(b'-'),
        Some((upstream, endpoint)) => {
            push_word(line, upstream.as_bytes());
            line.push(b'/');
            push_word(line, endpoint.as_bytes());
        }
    }
    line.push(b' ');
    push_seconds(line, record.took);
    line.push(b' ');
    match record.upstream_took {
        None => line.push(b'-'),
        Some(took) => push_seconds(line, took),
    }
}

fn push_json(line: &mut Vec<u8>, record: &Record<'_>) {
    line.extend_from_slice(b"{\"time\":\"");
    push_rfc3339(line, record.time);
    line.extend_from_slice(b"\",\"client\":\"");
    push_client(line, record);
    line.push(b'"');
    if let Some(user) = record.user {
        push_json_text(line, "user", user.as_bytes());
    }
    push_json_text(line, "method", record.method.as_bytes());
    push_json_text(line, "target", record.target);
    push_json_text(line, "version", record.version.as_bytes());
    line.extend_from_slice(b",\"status\":");
    push_number(line, record.status.into());
    line.extend_from_slice(b",\"bytes_out\":");
    push_number(line, record.bytes_out);
    for (key, field) in [("host", record.host), ("referer", record.referer), ("user_agent", record.user_agent)] {
        if let Some(field) = field {
            push_json_text(line, key, field);
        }
    }
    line.extend_from_slice(b",\"id\":\"");
    push_id(line, record.id);
    line.push(b'"');
    push_json_text(line, "site", record.site.as_bytes());
    if let Some((upstream, endpoint)) = record.upstream {
        push_json_text(line, "upstream", upstream.as_bytes());
        push_json_text(line, "endpoint", endpoint.as_bytes());
    }
    line.extend_from_slice(b",\"took\":");
    push_seconds(line, record.took);
    if let Some(took) = record.upstream_took {
        line.extend_from_slice(b",\"upstream_took\":");
        push_seconds(line, took);
    }
    if let Some(fault) = record.fault {
        push_json_text(line, "fault", fault.as_bytes());
    }
    line.push(b'}');
}

/// `DATE | ACCESS | session    | url:'http://a/path' id:'…' remote:'…' command:'…' origin:'…' | CONNECT`; what is no
/// session is of `http`, and ends with the words of its status.
fn push_websocketd(line: &mut Vec<u8>, record: &Record<'_>) {
    push_rfc1123(line, record.time);
    let what = if record.session.is_some() { "session" } else { "http" };
    append(line, format_args!(" | ACCESS | {what:<10} | url:'http://"));
    push_in_ticks(line, record.host.unwrap_or_default());
    push_in_ticks(line, record.target);
    line.extend_from_slice(b"' id:'");
    push_id(line, record.id);
    line.extend_from_slice(b"' remote:'");
    push_client(line, record);
    line.push(b'\'');
    if let (Some(_), Some(command)) = (record.session, record.command) {
        push_named(line, " command:", command.as_os_str().as_encoded_bytes());
    }
    if record.session.is_some() {
        // A page without one is a file's, to websocketd.
        push_named(line, " origin:", record.origin.filter(|origin| *origin != b"null").unwrap_or(b"file:"));
    }
    line.extend_from_slice(b" | ");
    match record.session {
        Some(Moment::Connect) => line.extend_from_slice(b"CONNECT"),
        Some(Moment::Disconnect) => line.extend_from_slice(b"DISCONNECT"),
        None => {
            let reason = StatusCode::from_u16(record.status).ok().and_then(|status| status.canonical_reason());
            match reason {
                Some(reason) => line.extend(reason.bytes().map(|byte| byte.to_ascii_uppercase())),
                None => push_number(line, record.status.into()),
            }
        }
    }
}

fn push_named(line: &mut Vec<u8>, name: &str, text: &[u8]) {
    line.extend_from_slice(name.as_bytes());
    line.push(b'\'');
    push_in_ticks(line, text);
    line.push(b'\'');
}

/// `unix:` for a unix socket, as nginx writes it.
fn push_client(line: &mut Vec<u8>, record: &Record<'_>) {
    match record.client {
        Some(ip) => append(line, format_args!("{ip}")),
        None => line.extend_from_slice(b"unix:"),
    }
}

fn push_number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_id(line: &mut Vec<u8>, id: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles: [u8; 16] = std::array::from_fn(|i| DIGITS[(id >> (60 - 4 * i)) as usize & 15]);
    line.extend_from_slice(&nibbles);
}

/// Seconds with six digits behind the point.
fn push_seconds(line: &mut Vec<u8>, took: Duration) {
    push_number(line, took.as_secs());
    let micros = took.subsec_micros();
    let digits: [u8; 6] = std::array::from_fn(|i| b'0' + (micros / 10u32.pow(5 - i as u32) % 10) as u8);
    line.push(b'.');
    line.extend_from_slice(&digits);
}

fn push_json_text(line: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(key.as_bytes());
    line.extend_from_slice(b"\":\"");
    for part in bytes.utf8_chunks() {
        push_json_escaped(line, part.valid());
        if !part.invalid().is_empty() {
            line.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    line.push(b'"');
}

/// Escapes all control characters (U+0080 to U+009F too) and the two line separators some readers split at.
fn push_json_escaped(line: &mut Vec<u8>, text: &str) {
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if !(c.is_control() || matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}')) {
            continue;
        }
        line.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + c.len_utf8();
        match c {
            '"' | '\\' => line.extend_from_slice(&[b'\\', c as u8]),
            _ => append(line, format_args!("\\u{:04x}", u32::from(c))),
        }
    }
    line.extend_from_slice(&text.as_bytes()[plain..]);
}

/// As Apache escapes: `\"`, `\\`, and `\xhh` for what is no visible ASCII.
fn push_escaped(line: &mut Vec<u8>, bytes: &[u8]) {
    push_escaped_but(line, bytes, |byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
}

/// The same between `'`: no byte of a client ends a field, or looks like the `|` between them.
fn push_in_ticks(line: &mut Vec<u8>, bytes: &[u8]) {
    push_escaped_but(line, bytes, |byte| matches!(byte, b' '..=b'~') && !b"'|\\".contains(&byte));
}

/// The same for a field without quotes, which a space would end.
fn push_word(line: &mut Vec<u8>, bytes: &[u8]) {
    push_escaped_but(line, bytes, |byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
}

fn push_escaped_but(line: &mut Vec<u8>, bytes: &[u8], plain: impl Fn(u8) -> bool) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| !plain(byte)) {
        line.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
            byte => append(line, format_args!("\\x{byte:02x}")),
        }
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
}

fn append(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A Vec takes whatever is written to it.
    let _ = line.write_fmt(text);
}
