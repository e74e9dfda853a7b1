//! The point of the codec, as a function for tests and fuzzers: whatever bytes come in, what is forwarded re-parses
//! to exactly one message with the same meaning, or nothing goes.
//!
//! The judge is a second parser, written from RFC 9112 byte by byte and sharing nothing with the first.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use rsp_core::{
    config::Forwarded,
    frame::{
        http1::{self, ChunkedDecoder, Framing, HeadLimits, RequestHead, parse_request, parse_response},
        http2,
    },
    head::{Clientward, Upstreamward, client_framing, write_client_response, write_upstream_request},
};

pub const LIMITS: HeadLimits = HeadLimits { head: 16 << 10, headers: 100, uri: 8 << 10 };

/// A message as the judge reads it.
#[derive(Debug, PartialEq)]
pub struct Message {
    /// The start line, in three parts.
    pub start: [String; 3],
    pub fields: Vec<(String, Vec<u8>)>,
    pub framing: Framing,
    /// Bytes of the head.
    pub length: usize,
}

/// Judges one request: panics if it is read differently, or forwarded as something else.
pub fn judge_request(input: &[u8]) {
    let Ok(Some((head, length))) = parse_request(input, &LIMITS) else { return };
    let read = naive_request(&input[..length]).expect("a head that breaks a rule was accepted");
    assert_eq!(read.length, length, "the head ends elsewhere");
    assert_eq!(read.framing, head.framing, "the body is framed otherwise");
    assert_eq!(read.start[0], head.method.as_str());
    let expected = end_to_end(&read.fields, true);
    assert_eq!(without(&grouped(&head.headers), &["host"]), without(&expected, &["host", "expect"]));
    let Some((body, trailers)) = read_body(&input[length..], head.framing) else { return };
    for forwarded in [Forwarded::X, Forwarded::Rfc, Forwarded::Both, Forwarded::Off] {
        for trusted in [false, true] {
            let request = Upstreamward {
                head: &head,
                target: head.target.as_bytes(),
                host: None,
                client: Some([192, 0, 2, 1].into()),
                real_ip: None,
                trusted,
                scheme: "http",
                forwarded,
                framing: head.framing,
                upgrade: true,
            };
            judge_forwarded(&request, &body, &trailers);
        }
    }
}

/// Judges one request of HTTP/2: a first byte whose last bit says that it ended with its head, then lines: method, scheme,
/// authority, path, protocol (`-` is none of these), and fields with a colon. Panics if it is forwarded as something else.
pub fn judge_http2_request(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let mut lines = rest.split(|&byte| byte == b'\n');
    let mut pseudo = || lines.next().and_then(|line| str::from_utf8(line).ok()).filter(|line| *line != "-");
    let Some(Ok(method)) = pseudo().map(|method| Method::from_bytes(method.as_bytes())) else { return };
    let (scheme, authority, path, protocol) = (pseudo(), pseudo(), pseudo(), pseudo());
    let mut headers = HeaderMap::new();
    for line in lines.take(200) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let asked = http2::Asked { method, scheme, authority, path, protocol, headers, ended: first & 1 == 1 };
    let Ok((head, _)) = http2::request(asked, &LIMITS, || HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")) else {
        return;
    };
    assert_eq!(head.headers.get_all("host").iter().count(), 1);
    assert!(head.headers.get_all("cookie").iter().count() <= 1);
    let body = match head.framing {
        Framing::Empty => Vec::new(),
        Framing::Length(length) if length <= 1000 => vec![b'x'; length as usize],
        Framing::Length(_) => return,
        Framing::Chunked | Framing::UntilClose => b"some".to_vec(),
    };
    for forwarded in [Forwarded::X, Forwarded::Rfc, Forwarded::Off] {
        let request = Upstreamward {
            head: &head,
            target: head.target.as_bytes(),
            host: None,
            client: Some([192, 0, 2, 1].into()),
            real_ip: None,
            trusted: first & 2 == 2,
            scheme: "https",
            forwarded,
            framing: head.framing,
            upgrade: true,
        };
        judge_forwarded(&request, &body, &HeaderMap::new());
    }
}

fn judge_forwarded(request: &Upstreamward<'_>, body: &[u8], trailers: &HeaderMap) {
    const OURS: [&str; 7] =
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded", "via", "expect"];
    let head = request.head;
    let mut out = Vec::new();
    write_upstream_request(&mut out, request);
    let head_length = out.len();
    encode_body(&mut out, body, head.framing, trailers);

    let sent = naive_request(&out).expect("what is forwarded breaks a rule");
    assert_eq!(sent.length, head_length);
    assert_eq!(sent.start, [head.method.as_str(), head.target.as_str(), "HTTP/1.1"]);
    assert_eq!(sent.framing, head.framing);
    let (again, used) = naive_body(&out[head_length..], sent.framing).expect("the body that is forwarded has no end");
    assert_eq!(again, body, "another body is forwarded");
    assert_eq!(head_length + used, out.len(), "more than one request is forwarded");

    let mut received = grouped(&head.headers);
    received.entry("host".to_owned()).or_insert_with(|| vec![Vec::new()]);
    let mut ours = OURS.to_vec();
    ours.extend(received.keys().filter(|name| name.starts_with("x-forwarded-")).map(String::as_str));
    assert_eq!(without(&end_to_end(&sent.fields, true), &ours), without(&received, &ours));
    let expects = sent.fields.iter().any(|(name, _)| name == "expect");
    assert_eq!(expects, head.expect_continue);

    let (parsed, used) = parse_request(&out, &HeadLimits { head: 64 << 10, headers: 120, uri: 8 << 10 })
        .expect("we refuse what we wrote")
        .expect("we wrote half a head");
    assert_eq!(used, head_length);
    assert_eq!((&parsed.method, &parsed.target, parsed.framing), (&head.method, &head.target, head.framing));
    assert_eq!(parsed.upgrade, head.upgrade);
}

/// Judges one response to `method`, on its way to a client that speaks `version`.
pub fn judge_response(input: &[u8], method: &Method, version: Version) {
    let Ok(Some((head, length))) = parse_response(input, method, &LIMITS) else { return };
    let read = naive_response(&input[..length], method).expect("a head that breaks a rule was accepted");
    assert_eq!((read.length, read.framing), (length, head.framing));
    assert_eq!(read.start[1], head.status.as_str());
    assert_eq!(grouped(&head.headers), end_to_end(&read.fields, false));
    let body = match head.framing {
        Framing::UntilClose => input[length..].to_vec(),
        framing => match read_body(&input[length..], framing) {
            Some((body, _)) => body,
            None => return,
        },
    };
    let mut out = Vec::new();
    let framing = write_client_response(
        &mut out,
        &Clientward {
            status: head.status,
            headers: &head.headers,
            framing: head.framing,
            content_length: head.content_length,
            method,
            version,
            keep_alive: true,
            upgrade: None,
            via: Some(head.version),
            date: b"Thu, 01 Jan 1970 00:00:00 GMT",
        },
    );
    assert_eq!(framing, client_framing(head.framing, head.status, method, version));
    let head_length = out.len();
    encode_body(&mut out, &body, framing, &HeaderMap::new());

    let sent = naive_response(&out, method).expect("what goes to the client breaks a rule");
    assert_eq!((sent.length, sent.framing), (head_length, framing));
    assert_eq!(sent.start[1], head.status.as_str());
    let (again, used) = naive_body(&out[head_length..], framing).expect("the body has no end");
    assert_eq!(again, body);
    assert_eq!(head_length + used, out.len(), "more than one response goes to the client");
    let ours = ["via", "date"];
    assert_eq!(without(&end_to_end(&sent.fields, false), &ours), without(&grouped(&head.headers), &ours));
}

/// Judges one chunked body, cut into pieces of `sizes`, over and over.
pub fn judge_chunks(input: &[u8], sizes: &[usize]) {
    let expected = naive_chunks(input);
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    let (mut body, mut position, mut sizes) = (Vec::new(), 0, sizes.iter().cycle());
    loop {
        let size = sizes.next().map_or(input.len(), |&size| size.max(1)).min(input.len() - position);
        let mut piece = input[position..].to_vec();
        let Ok(decoded) = decoder.decode(&mut piece[..size]) else {
            // We refuse at the first wrong byte, the naive decoder at the end of its line.
            return assert!(!matches!(expected, Ok(Some(_))), "a legal body was refused");
        };
        assert!(decoded.data <= decoded.consumed && (decoded.done || decoded.consumed == size));
        assert_eq!(piece[decoded.consumed..], input[position + decoded.consumed..], "unread input was changed");
        body.extend_from_slice(&piece[..decoded.data]);
        position += decoded.consumed;
        if decoded.done {
            return assert_eq!(expected, Ok(Some((body, position))));
        }
        if position == input.len() {
            return assert_eq!(expected, Ok(None), "the end was not found, or a fault");
        }
    }
}

fn read_body(input: &[u8], framing: Framing) -> Option<(Vec<u8>, HeaderMap)> {
    let (expected, _) = naive_body(input, framing)?;
    if framing != Framing::Chunked {
        return Some((expected, HeaderMap::new()));
    }
    let (mut buffer, mut decoder) = (input.to_vec(), ChunkedDecoder::new(&LIMITS));
    let decoded = decoder.decode(&mut buffer).ok().filter(|decoded| decoded.done)?;
    assert_eq!(buffer[..decoded.data], expected);
    Some((expected, decoder.take_trailers().unwrap_or_default()))
}

fn encode_body(out: &mut Vec<u8>, body: &[u8], framing: Framing, trailers: &HeaderMap) {
    if framing != Framing::Chunked {
        return out.extend_from_slice(body);
    }
    for chunk in body.chunks(7) {
        out.extend_from_slice(http1::chunk_header(chunk.len()).as_ref());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    http1::write_trailers(out, trailers);
}

// The judge.

pub fn naive_request(input: &[u8]) -> Option<Message> {
    let skipped = (0..=4).rev().find(|lines| input.starts_with(&b"\r\n".repeat(*lines)))? * 2;
    let (start, fields, length) = naive_head(&input[skipped..])?;
    let mut parts = start.split(' ');
    let start = [parts.next()?, parts.next()?, parts.next()?].map(str::to_owned);
    let [method, target, version] = &start;
    let legal_target = target.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#');
    if parts.next().is_some() || !is_token(method) || target.is_empty() || !legal_target {
        return None;
    }
    let hosts: Vec<_> = fields.iter().filter(|(name, _)| name == "host").collect();
    let hosts_wanted = match version.as_str() {
        "HTTP/1.1" => 1..=1,
        "HTTP/1.0" => 0..=1,
        _ => return None,
    };
    if !hosts_wanted.contains(&hosts.len()) || hosts.iter().any(|(_, host)| !naive_host(host)) {
        return None;
    }
    let framing = naive_framing(&fields, version)?.unwrap_or(Framing::Empty);
    Some(Message { start, fields, framing, length: skipped + length })
}

pub fn naive_response(input: &[u8], method: &Method) -> Option<Message> {
    let (start, fields, length) = naive_head(input)?;
    let mut parts = start.splitn(3, ' ');
    let start = [parts.next()?, parts.next()?, parts.next().unwrap_or_default()].map(str::to_owned);
    let [version, status, _] = &start;
    if !["HTTP/1.0", "HTTP/1.1"].contains(&version.as_str()) || status.len() != 3 {
        return None;
    }
    let status: u16 = status.bytes().all(|byte| byte.is_ascii_digit()).then(|| status.parse().ok())??;
    let stated = naive_framing(&fields, version)?;
    let framing = match status {
        100..=199 | 204 | 304 => Framing::Empty,
        _ if method == Method::HEAD => Framing::Empty,
        _ => stated.unwrap_or(Framing::UntilClose),
    };
    Some(Message { start, fields, framing, length })
}

type Head = (String, Vec<(String, Vec<u8>)>, usize);

fn naive_head(input: &[u8]) -> Option<Head> {
    let (start, mut position) = naive_line(input)?;
    let mut fields = Vec::new();
    loop {
        let (line, next) = naive_line(&input[position..])?;
        position += next;
        if line.is_empty() {
            return Some((start.iter().copied().map(char::from).collect(), fields, position));
        }
        fields.push(naive_field(line)?);
    }
}

/// A line without its end, and its length with it. Text only.
fn naive_line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.iter().position(|&byte| byte == b'\r' || byte == b'\n')?;
    let legal = input[..end].iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f));
    (legal && input[end..].starts_with(b"\r\n")).then(|| (&input[..end], end + 2))
}

fn naive_field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = String::from_utf8(line[..colon].to_ascii_lowercase()).ok()?;
    is_token(&name).then(|| (name, trim(&line[colon + 1..]).to_vec()))
}

fn naive_framing(fields: &[(String, Vec<u8>)], version: &str) -> Option<Option<Framing>> {
    let all = |wanted: &str| -> Vec<&Vec<u8>> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
    };
    match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Some(None),
        ([length], []) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length = String::from_utf8_lossy(length).parse().ok().filter(|_| digits)?;
            Some(Some(Framing::Length(length)))
        }
        ([], [coding]) if version == "HTTP/1.1" && coding.eq_ignore_ascii_case(b"chunked") => {
            Some(Some(Framing::Chunked))
        }
        _ => None,
    }
}

fn naive_body(input: &[u8], framing: Framing) -> Option<(Vec<u8>, usize)> {
    match framing {
        Framing::Empty => Some((Vec::new(), 0)),
        Framing::Length(length) => {
            let length = usize::try_from(length).ok()?;
            Some((input.get(..length)?.to_vec(), length))
        }
        Framing::UntilClose => Some((input.to_vec(), input.len())),
        Framing::Chunked => naive_chunks(input).ok().flatten(),
    }
}

/// The body and how many bytes it took; None without an end; Err if it breaks a rule.
pub fn naive_chunks(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let (mut body, mut position, mut extensions) = (Vec::new(), 0, 0);
    loop {
        let Some(lf) = input[position..].iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let (line, next) = naive_line(&input[position..]).filter(|(_, next)| *next == lf + 1).ok_or(())?;
        position += next;
        let semicolon = line.iter().position(|&byte| byte == b';').unwrap_or(line.len());
        let (digits, extension) = line.split_at(semicolon);
        extensions += extension.len().saturating_sub(1);
        if !(1..=16).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(());
        }
        if extension.len() > 257 || extensions > 16 << 10 {
            return Err(());
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        if size == 0 {
            return naive_trailers(&input[position..]).map(|end| end.map(|length| (body, position + length)));
        }
        let Some(end) = usize::try_from(size).ok().and_then(|size| position.checked_add(size)) else { return Ok(None) };
        if end + 2 > input.len() {
            return Ok(None);
        }
        body.extend_from_slice(&input[position..end]);
        if &input[end..end + 2] != b"\r\n" {
            return Err(());
        }
        position = end + 2;
    }
}

/// A fault counts once the section is complete, as a section is read in one piece.
fn naive_trailers(input: &[u8]) -> Result<Option<usize>, ()> {
    let (mut position, mut fields, mut legal) = (0, 0, true);
    while let Some(lf) = input[position..].iter().position(|&byte| byte == b'\n') {
        let raw = &input[position..=position + lf];
        position += lf + 1;
        legal &= position <= LIMITS.head && fields <= LIMITS.headers;
        if raw == b"\r\n" {
            return if legal { Ok(Some(position)) } else { Err(()) };
        }
        let line = naive_line(raw).filter(|(_, length)| *length == raw.len());
        legal &= line.is_some_and(|(line, _)| naive_field(line).is_some());
        fields += 1;
    }
    Ok(None)
}

fn naive_host(host: &[u8]) -> bool {
    let text = String::from_utf8_lossy(host);
    let (name, port) = match text.rfind(']') {
        Some(end) if text.starts_with('[') => {
            let inside = text[1..end].parse::<std::net::Ipv6Addr>().is_ok();
            let after = &text[end + 1..];
            return inside && (after.is_empty() || after.strip_prefix(':').is_some_and(naive_port));
        }
        _ => text.split_once(':').unwrap_or((&text, "")),
    };
    let legal = |char: char| char.is_ascii_alphanumeric() || "-._~%!$&'()*+;=".contains(char);
    name.chars().all(legal) && naive_port(port)
}

fn naive_port(port: &str) -> bool {
    port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

type Grouped = BTreeMap<String, Vec<Vec<u8>>>;

/// What of a received head may go on.
fn end_to_end(fields: &[(String, Vec<u8>)], request: bool) -> Grouped {
    let mut gone: Vec<String> =
        ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "transfer-encoding", "content-length"]
            .map(str::to_owned)
            .to_vec();
    for (_, value) in fields.iter().filter(|(name, _)| name == "connection") {
        for option in value.split(|&byte| byte == b',') {
            let option = String::from_utf8_lossy(trim(option)).to_ascii_lowercase();
            if !(request && ["host", "cookie"].contains(&option.as_str())) {
                gone.push(option);
            }
        }
    }
    let mut kept = Grouped::new();
    for (name, value) in fields {
        let dropped = request && name.contains('_');
        if !dropped && !gone.contains(name) {
            kept.entry(name.clone()).or_default().push(value.clone());
        }
    }
    kept
}

fn grouped(headers: &HeaderMap) -> Grouped {
    let mut all = Grouped::new();
    for (name, value) in headers {
        all.entry(name.to_string()).or_default().push(value.as_bytes().to_vec());
    }
    all
}

fn without(fields: &Grouped, names: &[&str]) -> Grouped {
    fields.iter().filter(|(name, _)| !names.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// A head alone, for stories.
pub fn request(input: &str) -> RequestHead {
    let (head, length) = parse_request(input.as_bytes(), &LIMITS).expect("refused").expect("half a head");
    assert!(length <= input.len());
    head
}
