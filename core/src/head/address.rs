//! Who the client is, when trusted proxies stand before us.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, header};

/// Addresses looked at; a longer chain of trusted proxies is no chain.
const HOPS_MAX: usize = 64;

/// The address of the client: the last one in `X-Forwarded-For` (else `Forwarded`, else `X-Real-IP`) that a trusted
/// proxy vouches for and that is no trusted proxy itself.
///
/// An untrusted `peer` is the client, whatever the fields say. An entry that is no address ends the walk: who stands
/// before it is not known, so the last address that was is the answer.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted(peer) {
        return peer;
    }
    if headers.contains_key("x-forwarded-for") {
        let hops = from_the_right(headers, "x-forwarded-for").map(address);
        return walk(peer, hops, trusted);
    }
    if headers.contains_key(header::FORWARDED) {
        let hops = from_the_right(headers, "forwarded").map(|element| forwarded_for(element).and_then(address));
        return walk(peer, hops, trusted);
    }
    headers.get("x-real-ip").and_then(|value| address(value.as_bytes())).unwrap_or(peer)
}

fn walk(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer;
    for hop in hops.take(HOPS_MAX) {
        let Some(hop) = hop else { return client };
        client = hop;
        if !trusted(client) {
            return client;
        }
    }
    client
}

/// The elements of all fields of a name, the last one first; empty ones are left out.
fn from_the_right<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(|value: &HeaderValue| value.as_bytes().rsplit(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The `for` of one `Forwarded` element (RFC 7239 §4), quotes removed.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii).find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        let value = name.eq_ignore_ascii_case(b"for=").then_some(value)?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = match bracketed.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(ip.to_canonical())
}
