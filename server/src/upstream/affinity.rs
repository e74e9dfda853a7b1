//! What of a request binds it to an endpoint: the key of a ring, the cookie of an upstream.

use http::{HeaderMap, header};
use rsp_core::{
    balance::key_hash,
    config::{Balance, HashKey},
    head::{cookie, remove_cookie},
};

use super::{Affinity, Group};
use crate::{
    message::{Request, Response},
    stream::Peer,
};

/// Reads what the group goes by, and takes its cookie away: it is none of the upstream's business.
pub fn read(group: &Group, request: &mut Request) -> Option<Box<Affinity>> {
    let key = if group.spec.balance == Balance::Hash { key(&group.spec.key, request) } else { None };
    let before = group.sticky.as_ref().and_then(|sticky| {
        let before = sticky.endpoint(&request.head.headers);
        remove_cookie(&mut request.head.headers, &sticky.name);
        before
    });
    (key.is_some() || before.is_some()).then(|| Box::new(Affinity { key, before, until: None }))
}

/// The same for a connection of which nothing is read: only its client's address can be a key.
pub fn of_connection(group: &Group, peer: Peer) -> Option<Box<Affinity>> {
    let by_address = group.spec.balance == Balance::Hash && group.spec.key == HashKey::ClientIp;
    let key = if by_address { peer.ip().map(|ip| key_hash(&address(ip))) } else { None };
    key.map(|key| Box::new(Affinity { key: Some(key), ..Affinity::default() }))
}

fn key(key: &HashKey, request: &Request) -> Option<u64> {
    match key {
        HashKey::ClientIp => request.client.ip.map(|ip| key_hash(&address(ip))),
        HashKey::Header(name) => request.head.headers.get(name).map(|value| key_hash(value.as_bytes())),
        HashKey::Cookie(name) => cookie(&request.head.headers, name).map(key_hash),
        HashKey::Uri => Some(key_hash(request.head.target.as_bytes())),
    }
}

/// A v4 address has one form, however it came.
fn address(ip: std::net::IpAddr) -> [u8; 16] {
    match ip {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(ip) => ip.octets(),
    }
}

/// Names the endpoint that answered in a cookie, unless the client's names it already.
pub fn bind(group: &Group, before: Option<usize>, scheme: &str, response: &mut Response) {
    let Some(sticky) = &group.sticky else { return };
    let Some(answered) = &response.upstream else { return };
    let index = group.endpoints.iter().position(|endpoint| std::sync::Arc::ptr_eq(&endpoint.names, &answered.by));
    if let Some(index) = index.filter(|index| Some(*index) != before)
        && let Some(cookie) = sticky.set_cookie(index, scheme == "https")
    {
        append(&mut response.headers, cookie);
    }
}

/// A map that is full stays as it is: the answer matters more than its cookie.
fn append(headers: &mut HeaderMap, cookie: http::HeaderValue) {
    let _ = headers.try_append(header::SET_COOKIE, cookie);
}
