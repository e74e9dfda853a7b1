//! The fields of a head, sorted: what frames the body, what belongs to this connection only, and what goes on.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use httparse::Header;

use super::{HeadError, target::is_authority};

/// Which message the fields belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// What the fields of one head say.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// End-to-end only.
    pub(super) headers: HeaderMap,
    /// As stated.
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// The first `Upgrade` field, if `Connection` nominates it.
    pub(super) upgrade: Option<HeaderValue>,
    pub(super) host: bool,
    pub(super) expect_continue: bool,
}

/// A head's bytes: what httparse read, and the copy that values are slices of. Both have the same length.
pub(super) struct Copied<'a> {
    pub(super) read: &'a [u8],
    pub(super) kept: Bytes,
}

impl Copied<'_> {
    /// The shared copy of `part`, which is a slice of `read`.
    pub(super) fn share(&self, part: &[u8]) -> Bytes {
        let start = (part.as_ptr() as usize).wrapping_sub(self.read.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.kept.len() => self.kept.slice(start..end),
            _ => Bytes::copy_from_slice(part),
        }
    }
}

/// Whether a field belongs to one connection, or says where the body ends, and so never crosses (RFC 9110 §7.6.1).
pub fn is_connection_field(name: &HeaderName) -> bool {
    !matches!(role(name.as_str().as_bytes()), Role::EndToEnd | Role::Host | Role::Expect)
}

/// Whether a field may stand in a trailer section (RFC 9110 §6.5.1): nothing that frames, routes, authenticates,
/// says how to read the content, or bears a name that a CGI program could take for another one.
pub fn is_allowed_trailer(name: &HeaderName) -> bool {
    let text = name.as_str();
    let named = matches!(
        text,
        "age"
            | "authorization"
            | "authentication-info"
            | "cache-control"
            | "content-encoding"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "expires"
            | "forwarded"
            | "location"
            | "max-forwards"
            | "pragma"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "range"
            | "retry-after"
            | "set-cookie"
            | "trailer"
            | "vary"
            | "via"
            | "warning"
            | "www-authenticate"
            | "x-real-ip"
    );
    let conditional = text.starts_with("if-");
    !named
        && !conditional
        && !text.starts_with("x-forwarded-")
        && !text.contains('_')
        && role(text.as_bytes()) == Role::EndToEnd
}

/// Sorts the fields of a head and checks those that frame or route it.
pub(super) fn read_fields(
    fields: &[Header<'_>],
    copied: &Copied<'_>,
    side: Side,
    version: Version,
) -> Result<Fields, HeadError> {
    let mut found = Fields {
        headers: HeaderMap::try_with_capacity(fields.len()).map_err(|_| HeadError::TooLarge)?,
        ..Fields::default()
    };
    let mut upgrade = None;
    let mut connection = Connection::default();
    for field in fields {
        let name = field.name.as_bytes();
        match role(name) {
            Role::EndToEnd => found.keep(field, copied, side)?,
            Role::Host if side == Side::Request => found.host(field, copied)?,
            Role::Expect if side == Side::Request => found.expect(field.value, version)?,
            Role::Host | Role::Expect => found.keep(field, copied, side)?,
            Role::ContentLength => found.content_length(field.value)?,
            Role::TransferEncoding => found.transfer_encoding(field.value, version)?,
            Role::Connection => connection.read(field.value),
            Role::Upgrade if upgrade.is_none() => upgrade = Some(value(field, copied)?),
            Role::Upgrade | Role::Dropped => {}
        }
    }
    if found.chunked && found.content_length.is_some() {
        return Err(HeadError::Malformed("both Content-Length and Transfer-Encoding"));
    }
    found.close = connection.close;
    found.keep_alive = connection.keep_alive;
    found.upgrade = upgrade.filter(|value| connection.upgrade && !value.is_empty());
    if connection.nominates {
        remove_nominated(&mut found.headers, fields, side);
    }
    Ok(found)
}

/// Sorts the fields of a head that a CGI program wrote, and gives those that go on and the `Content-Length`. `kept` is a
/// copy of `read`. Nothing but that frames its body (RFC 3875 §6.3).
pub(in crate::frame) fn read_program_fields(
    fields: &[Header<'_>],
    read: &[u8],
    kept: Bytes,
) -> Result<(HeaderMap, Option<u64>), HeadError> {
    let found = read_fields(fields, &Copied { read, kept }, Side::Response, Version::HTTP_11)?;
    if found.chunked {
        return Err(HeadError::Malformed("a Transfer-Encoding from a program"));
    }
    Ok((found.headers, found.content_length))
}

/// Reads a trailer section's fields, leaving out those that may not stand there.
pub(super) fn read_trailers(fields: &[Header<'_>], copied: &Copied<'_>) -> Result<HeaderMap, HeadError> {
    let mut trailers = HeaderMap::new();
    for field in fields {
        let name = name(field)?;
        let value = value(field, copied)?;
        if is_allowed_trailer(&name) {
            trailers.try_append(name, value).map_err(|_| HeadError::TooLarge)?;
        }
    }
    Ok(trailers)
}

impl Fields {
    fn keep(&mut self, field: &Header<'_>, copied: &Copied<'_>, side: Side) -> Result<(), HeadError> {
        // `X_Forwarded_For` and `X-Forwarded-For` are one variable to a CGI-like program; a response has no such reader.
        if side == Side::Request && memchr::memchr(b'_', field.name.as_bytes()).is_some() {
            return Ok(());
        }
        self.headers.try_append(name(field)?, value(field, copied)?).map_err(|_| HeadError::TooLarge)?;
        Ok(())
    }

    fn host(&mut self, field: &Header<'_>, copied: &Copied<'_>) -> Result<(), HeadError> {
        if std::mem::replace(&mut self.host, true) {
            return Err(HeadError::Malformed("several Host fields"));
        }
        if !is_authority(field.value) {
            return Err(HeadError::Malformed("illegal character in Host"));
        }
        self.headers.try_append(header::HOST, value(field, copied)?).map_err(|_| HeadError::TooLarge)?;
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.content_length.is_some() {
            return Err(HeadError::Malformed("several Content-Length fields"));
        }
        self.content_length = Some(decimal(value).ok_or(HeadError::Malformed("Content-Length is no number"))?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8], version: Version) -> Result<(), HeadError> {
        if version == Version::HTTP_10 {
            return Err(HeadError::Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        if self.chunked {
            return Err(HeadError::Malformed("a transfer coding after chunked"));
        }
        let mut codings = list(value).rev();
        if !codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")) {
            return Err(HeadError::Malformed("the last transfer coding is not chunked"));
        }
        match codings.next() {
            None => self.chunked = true,
            Some(b"") => return Err(HeadError::Malformed("an empty transfer coding")),
            Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => {
                return Err(HeadError::Malformed("chunked twice"));
            }
            Some(_) => return Err(HeadError::TransferCoding),
        }
        Ok(())
    }

    /// RFC 9110 §10.1.1: an HTTP/1.0 client can't wait for the answer, so its expectation counts for nothing.
    fn expect(&mut self, value: &[u8], version: Version) -> Result<(), HeadError> {
        if version == Version::HTTP_10 {
            return Ok(());
        }
        for expectation in list(value).filter(|expectation| !expectation.is_empty()) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(HeadError::Expectation);
            }
            self.expect_continue = true;
        }
        Ok(())
    }
}

/// What `Connection` asks for (RFC 9110 §7.6.1).
#[derive(Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// Other fields are nominated.
    nominates: bool,
}

impl Connection {
    fn read(&mut self, value: &[u8]) {
        for option in list(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                0 => {}
                _ => self.nominates = true,
            }
        }
    }
}

fn remove_nominated(headers: &mut HeaderMap, fields: &[Header<'_>], side: Side) {
    let connection = fields.iter().filter(|field| role(field.name.as_bytes()) == Role::Connection);
    for option in connection.flat_map(|field| list(field.value)) {
        // What is no field name nominates nothing.
        let Ok(name) = HeaderName::from_bytes(option) else { continue };
        // A client could otherwise make us drop what the upstream decides by, after a filter saw it.
        let kept = side == Side::Request && (name == header::HOST || name == header::COOKIE);
        if !kept {
            headers.remove(name);
        }
    }
}

/// What a field is to a message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::frame) enum Role {
    EndToEnd,
    Host,
    Expect,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    /// Belongs to this connection, and we have no use for it.
    Dropped,
}

pub(in crate::frame) fn role(name: &[u8]) -> Role {
    // Two looks tell nearly all others apart.
    let first = name.first().map_or(0, |byte| byte | 0x20);
    if !matches!(first, b't' | b'h' | b'e' | b'u' | b'c' | b'k' | b'p') {
        return Role::EndToEnd;
    }
    let (known, role): (&[u8], Role) = match name.len() {
        2 => (b"te", Role::Dropped),
        4 => (b"host", Role::Host),
        6 => (b"expect", Role::Expect),
        7 => (b"upgrade", Role::Upgrade),
        10 if name[0] | 0x20 == b'c' => (b"connection", Role::Connection),
        10 => (b"keep-alive", Role::Dropped),
        14 => (b"content-length", Role::ContentLength),
        16 => (b"proxy-connection", Role::Dropped),
        17 => (b"transfer-encoding", Role::TransferEncoding),
        _ => return Role::EndToEnd,
    };
    // By hand, for most names differ at their first byte.
    let same = name.iter().zip(known).all(|(byte, known)| byte.to_ascii_lowercase() == *known);
    if same { role } else { Role::EndToEnd }
}

fn name(field: &Header<'_>) -> Result<HeaderName, HeadError> {
    HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Malformed("illegal field name"))
}

fn value(field: &Header<'_>, copied: &Copied<'_>) -> Result<HeaderValue, HeadError> {
    HeaderValue::from_maybe_shared(copied.share(field.value))
        .map_err(|_| HeadError::Malformed("control character in a field value"))
}

/// The elements of a comma-separated list, blanks trimmed, empty ones included (RFC 9110 §5.6.1).
fn list(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(|element| {
        let start = element.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(element.len());
        let end = element.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(start, |last| last + 1);
        &element[start..end]
    })
}

/// `1*DIGIT` that fits.
pub(in crate::frame) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}
