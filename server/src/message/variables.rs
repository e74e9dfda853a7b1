//! How a program of CGI hears of a request (RFC 3875 §4.1): what fields and addresses are called in its environment.
//!
//! **Invariant:** no field of a request becomes a variable but its own.

use http::{HeaderMap, HeaderName, Version, header};

use super::Request;

/// `SERVER_SOFTWARE`.
pub const SOFTWARE: &str = concat!("rsp/", env!("CARGO_PKG_VERSION"));

/// `SERVER_PROTOCOL`, as others say it.
pub fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    }
}

/// What a client calls this server: the name of `Host` without its port, or `localhost`; then the port that it came to.
pub fn server(request: &Request) -> (&[u8], Option<u16>) {
    let host = request.head.headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let (name, stated) = without_port(host);
    let local = request.interim.client().and_then(|client| client.local_address());
    let port = match local {
        Some(local) => Some(local.port()),
        None => str::from_utf8(stated).ok().and_then(|port| port.parse().ok()),
    };
    (if name.is_empty() { b"localhost" } else { name }, port)
}

/// A host as `Host` has it, and its port.
fn without_port(host: &[u8]) -> (&[u8], &[u8]) {
    match host.iter().rposition(|&byte| byte == b':') {
        Some(at) if !host[at..].contains(&b']') => (&host[..at], &host[at + 1..]),
        _ => (host, b""),
    }
}

/// Whether the client came by TLS, to us or to the proxy before us, if that is to be believed. Of a WebSocket some say
/// `wss`.
pub fn is_https(request: &Request) -> bool {
    let stated = request.head.headers.get("x-forwarded-proto").filter(|_| request.client.trusted);
    let is_secure = |stated: &[u8]| [&b"https"[..], b"wss"].iter().any(|name| stated.eq_ignore_ascii_case(name));
    request.scheme == "https" || stated.is_some_and(|stated| is_secure(stated.as_bytes()))
}

/// What Apache's `SSLOptions +StdEnvVars` tells of a client's certificate: its subject, and that it was right.
pub fn each_of_certificate(request: &Request, mut tell: impl FnMut(&str, &[u8])) {
    if let Some(subject) = request.security.as_ref().and_then(|security| security.subject.as_deref()) {
        tell("SSL_CLIENT_S_DN", subject.as_bytes());
        tell("SSL_CLIENT_VERIFY", b"SUCCESS");
    }
}

/// Tells of each field by the name of its variable, with its values joined. Those of `Content-Length` are none.
pub fn each_field(headers: &HeaderMap, trusted: bool, mut tell: impl FnMut(&str, &[u8])) {
    let mut name = String::with_capacity(32);
    let mut joined = Vec::new();
    for key in headers.keys().filter(|key| goes_on(key, trusted)) {
        name.clear();
        if key != header::CONTENT_TYPE {
            name.push_str("HTTP_");
        }
        name.extend(key.as_str().chars().map(|c| if c == '-' { '_' } else { c.to_ascii_uppercase() }));
        let separator: &[u8] = if key == header::COOKIE { b"; " } else { b", " };
        let mut values = headers.get_all(key).iter().map(|value| value.as_bytes());
        let first = values.next().unwrap_or_default();
        joined.clear();
        for value in values {
            joined.extend_from_slice(if joined.is_empty() { first } else { &[] });
            joined.extend_from_slice(separator);
            joined.extend_from_slice(value);
        }
        tell(&name, if joined.is_empty() { first } else { &joined });
    }
}

/// Whether a field becomes a variable. `Proxy` would be `HTTP_PROXY`, which programs take for their own proxy; PHP
/// takes dots for underscores, so that a name with one could be another's.
fn goes_on(name: &HeaderName, trusted: bool) -> bool {
    let name = name.as_str();
    match name {
        "proxy" | "content-length" => false,
        "forwarded" | "x-real-ip" => trusted,
        _ if name.starts_with("x-forwarded-") => trusted,
        _ => name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
    }
}
