//! The first message of TLS (RFC 8446 §4.1.2), for those who choose by it and leave it to others to answer.
//!
//! **Invariant:** the name that is found here is the one that any server finds: what could be read in two ways is refused.

use std::{fmt, net::IpAddr};

/// Bytes of the message's body; with a key share of a post-quantum algorithm 2 KiB are common.
pub const HELLO_MAX: usize = 16 << 10;

/// Bytes that it may take with the headers of the records that it is cut into.
pub const WIRE_MAX: usize = 20 << 10;

/// Bytes of a record's content, RFC 8446 §5.1.
const RECORD_MAX: usize = 1 << 14;

/// Letters of a method, so that a client of plain HTTP can be told from garbage.
const METHOD_MAX: usize = 20;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a client says of itself before anything is agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host it asks for, lower-cased and without a final dot; None: no name, or an address, which is none (RFC 6066 §3).
    pub server_name: Option<Box<str>>,
    /// The protocols it offers, the one it likes best first (RFC 7301).
    pub alpn: Vec<Box<[u8]>>,
    /// The numbers of the versions it offers (`0x0304` is TLS 1.3), in its order, without those that only try us (RFC 8701).
    pub versions: Vec<u16>,
}

/// Why there will be no [`ClientHello`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTls {
    /// It speaks HTTP without TLS.
    Http,
    /// It speaks something else.
    Garbage,
    /// The message is longer than [`HELLO_MAX`], or takes more than [`WIRE_MAX`].
    TooLong,
    /// It is TLS, but not its first message, or one that could be read in two ways.
    Malformed(Alert),
}

/// What ends a connection that has no keys yet, RFC 8446 §6.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Alert {
    /// Another message than the first one.
    UnexpectedMessage = 10,
    /// A record of more than it may hold.
    RecordOverflow = 22,
    /// Nothing to agree on.
    HandshakeFailure = 40,
    /// A field that can't be so.
    IllegalParameter = 47,
    /// Lengths that don't fit.
    DecodeError = 50,
    /// No version in common.
    ProtocolVersion = 70,
    /// Trouble of ours, or of whom the connection was to go to.
    InternalError = 80,
    /// Nobody here has that name, RFC 6066 §3.
    UnrecognizedName = 112,
}

impl Alert {
    /// The record that says so, to be sent as it is.
    pub fn record(self) -> [u8; 7] {
        const ALERT: u8 = 21;
        const FATAL: u8 = 2;
        [ALERT, 3, 3, 0, 2, FATAL, self as u8]
    }
}

impl NotTls {
    /// What the client is told, if it speaks TLS.
    pub fn alert(self) -> Option<Alert> {
        match self {
            Self::Http | Self::Garbage => None,
            Self::TooLong => Some(Alert::IllegalParameter),
            Self::Malformed(alert) => Some(alert),
        }
    }
}

impl fmt::Display for NotTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "plain HTTP where TLS is spoken",
            Self::Garbage => "neither TLS nor HTTP",
            Self::TooLong => "a ClientHello of more than 16 KiB",
            Self::Malformed(_) => "a malformed ClientHello",
        })
    }
}

/// The hello that `bytes` begin with; None: more of it must come, [`missing`] bytes at least.
///
/// # Errors
/// What can't become one any more.
pub fn read(bytes: &[u8]) -> Result<Option<ClientHello>, NotTls> {
    if missing(bytes)? > 0 {
        return Ok(None);
    }
    let mut message = Vec::new();
    walk(bytes, |part| message.extend_from_slice(part))?;
    let body = message.get(MESSAGE_HEADER..).unwrap_or_default();
    parse(body).map(Some).map_err(NotTls::Malformed)
}

/// How many bytes must come at least before there is a hello; 0: it is whole. Who looks again only then looks a few
/// dozen times, however small the pieces in which it comes.
///
/// # Errors
/// What can't become one any more.
pub fn missing(bytes: &[u8]) -> Result<usize, NotTls> {
    match walk(bytes, |_| {})? {
        missing if bytes.len() + missing > WIRE_MAX => Err(NotTls::TooLong),
        missing => Ok(missing),
    }
}

/// Goes through the records and gives out the parts of the message; the bytes that are missing at least.
fn walk<'a>(bytes: &'a [u8], mut part: impl FnMut(&'a [u8])) -> Result<usize, NotTls> {
    if !looks_like_tls(bytes)? {
        return Ok(1);
    }
    let mut left = bytes;
    let mut header = [0; MESSAGE_HEADER];
    let (mut have, mut wanted) = (0, MESSAGE_HEADER);
    loop {
        let Some((record, rest)) = left.split_at_checked(RECORD_HEADER) else {
            is_handshake(left)?;
            return Ok(RECORD_HEADER - left.len() + wanted - have);
        };
        is_handshake(record)?;
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        match length {
            0 => return Err(NotTls::Malformed(Alert::UnexpectedMessage)),
            1..=RECORD_MAX => {}
            _ => return Err(NotTls::Malformed(Alert::RecordOverflow)),
        }
        let mut content = &rest[..length.min(rest.len())];
        if have < MESSAGE_HEADER {
            let (own, after) = content.split_at(content.len().min(MESSAGE_HEADER - have));
            header[have..have + own.len()].copy_from_slice(own);
            have += own.len();
            part(own);
            content = after;
            wanted = message_length(&header[..have])?;
        }
        let own = &content[..content.len().min(wanted - have)];
        have += own.len();
        part(own);
        let rest_of_message = wanted - have;
        if rest_of_message == 0 {
            return Ok(0);
        }
        if rest.len() < length {
            // Where the record ends before the message does, another one has to begin.
            let another = if rest_of_message > length - rest.len() { RECORD_HEADER } else { 0 };
            return Ok(rest_of_message + another);
        }
        left = &rest[length..];
    }
}

/// Whether the first record is one; false: what came may become a method of HTTP.
fn looks_like_tls(bytes: &[u8]) -> Result<bool, NotTls> {
    match bytes {
        [] | [HANDSHAKE] | [HANDSHAKE, 3, ..] => return Ok(true),
        _ => {}
    }
    match bytes.iter().position(|byte| !byte.is_ascii_uppercase() && *byte != b'-') {
        Some(end @ 3..=METHOD_MAX) if bytes[end] == b' ' => Err(NotTls::Http),
        None if bytes.len() <= METHOD_MAX => Ok(false),
        _ => Err(NotTls::Garbage),
    }
}

/// Whether a record, or its beginning, goes on with the handshake. The minor version says nothing.
fn is_handshake(record: &[u8]) -> Result<(), NotTls> {
    match record {
        [] | [HANDSHAKE] | [HANDSHAKE, 3, ..] => Ok(()),
        [HANDSHAKE, ..] => Err(NotTls::Malformed(Alert::ProtocolVersion)),
        _ => Err(NotTls::Malformed(Alert::UnexpectedMessage)),
    }
}

/// The length of the message with its header; of the header alone as long as that is not whole.
fn message_length(header: &[u8]) -> Result<usize, NotTls> {
    match *header {
        [] | [CLIENT_HELLO] | [CLIENT_HELLO, _] | [CLIENT_HELLO, _, _] => Ok(MESSAGE_HEADER),
        [CLIENT_HELLO, a, b, c] => {
            let body = u32::from_be_bytes([0, a, b, c]) as usize;
            if body > HELLO_MAX { Err(NotTls::TooLong) } else { Ok(MESSAGE_HEADER + body) }
        }
        _ => Err(NotTls::Malformed(Alert::UnexpectedMessage)),
    }
}

fn parse(body: &[u8]) -> Result<ClientHello, Alert> {
    let mut body = Fields(body);
    let legacy_version = body.number()?;
    let _random = body.take(32)?;
    let session_id = body.short()?.0;
    let cipher_suites = body.long()?.0;
    let compressions = body.short()?.0;
    if session_id.len() > 32 || cipher_suites.is_empty() || cipher_suites.len() % 2 > 0 || compressions.is_empty() {
        return Err(Alert::DecodeError);
    }
    let mut hello = ClientHello::default();
    let mut seen = [false; 3];
    // TLS 1.2 allows a hello to end here, RFC 5246 §7.4.1.2.
    let mut extensions = if body.is_empty() { Fields(&[]) } else { body.last_long()? };
    while !extensions.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.long()?;
        let place = match kind {
            SERVER_NAME => 0,
            ALPN => 1,
            SUPPORTED_VERSIONS => 2,
            _ => continue,
        };
        if std::mem::replace(&mut seen[place], true) {
            return Err(Alert::IllegalParameter);
        }
        match kind {
            SERVER_NAME => hello.server_name = server_name(content)?,
            ALPN => hello.alpn = alpn(content)?,
            _ => hello.versions = versions(content)?,
        }
    }
    if !seen[2] {
        hello.versions = vec![legacy_version];
    }
    Ok(hello)
}

/// RFC 6066 §3.
fn server_name(mut content: Fields<'_>) -> Result<Option<Box<str>>, Alert> {
    const HOST_NAME: u8 = 0;
    let mut list = content.last_long()?;
    if list.is_empty() {
        return Err(Alert::DecodeError);
    }
    let mut host = None;
    while !list.is_empty() {
        let kind = list.take(1)?[0];
        let name = list.long()?.0;
        // Of other kinds nothing is known, not even whether they have a length.
        if kind != HOST_NAME || host.replace(name).is_some() {
            return Err(Alert::IllegalParameter);
        }
    }
    host.map_or(Ok(None), host_name)
}

/// A name as hosts of the config are compared; None: an address.
fn host_name(name: &[u8]) -> Result<Option<Box<str>>, Alert> {
    let text = std::str::from_utf8(name).map_err(|_| Alert::IllegalParameter)?;
    if text.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_inner);
    match text.len() <= 253 && text.split('.').all(is_label) {
        true => Ok(Some(text.to_ascii_lowercase().into())),
        false => Err(Alert::IllegalParameter),
    }
}

/// RFC 7301 §3.1.
fn alpn(mut content: Fields<'_>) -> Result<Vec<Box<[u8]>>, Alert> {
    let mut list = content.last_long()?;
    let mut protocols = Vec::new();
    while !list.is_empty() {
        match list.short()?.0 {
            [] => return Err(Alert::DecodeError),
            protocol => protocols.push(protocol.into()),
        }
    }
    if protocols.is_empty() { Err(Alert::DecodeError) } else { Ok(protocols) }
}

/// RFC 8446 §4.2.1.
fn versions(mut content: Fields<'_>) -> Result<Vec<u16>, Alert> {
    let list = content.short()?.0;
    if list.is_empty() || list.len() % 2 > 0 || !content.is_empty() {
        return Err(Alert::DecodeError);
    }
    let only_tries = |[a, b]: [u8; 2]| a == b && a & 0x0f == 0x0a;
    let numbers = list.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    Ok(numbers.filter(|pair| !only_tries(*pair)).map(u16::from_be_bytes).collect())
}

/// What is left of a structure; a length that goes beyond it is `DecodeError`.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Alert> {
        let (taken, left) = self.0.split_at_checked(length).ok_or(Alert::DecodeError)?;
        self.0 = left;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, Alert> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Behind a length of one byte.
    fn short(&mut self) -> Result<Self, Alert> {
        let length = usize::from(self.take(1)?[0]);
        self.take(length).map(Self)
    }

    /// Behind a length of two bytes.
    fn long(&mut self) -> Result<Self, Alert> {
        let length = usize::from(self.number()?);
        self.take(length).map(Self)
    }

    /// The same, where nothing may follow.
    fn last_long(&mut self) -> Result<Self, Alert> {
        let all = self.long()?;
        if self.is_empty() { Ok(all) } else { Err(Alert::DecodeError) }
    }
}

#[cfg(test)]
mod tests;
