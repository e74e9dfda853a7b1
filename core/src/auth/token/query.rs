//! Parameters of a query that must be in no log: found however they are encoded, taken out, or masked.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Whether a parameter has this name: as forms encode it, a plus is a space.
fn is_named(pair: &[u8], name: &str) -> bool {
    let written = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    if written == name.as_bytes() {
        return true;
    }
    written.iter().any(|byte| matches!(byte, b'%' | b'+')) && {
        let spaced: Vec<u8> = written.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        percent_decode(&spaced).eq(name.bytes())
    }
}

/// The value of the first parameter of that name that has one, decoded.
pub(super) fn value<'a>(query: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    let value = |pair: &'a [u8]| pair.iter().position(|byte| *byte == b'=').map(|at| &pair[at + 1..]);
    let mut pairs = query.split(|byte| *byte == b'&').filter(|pair| is_named(pair, name)).filter_map(value);
    pairs.find(|value| !value.is_empty()).map(|value| percent_decode(value).into())
}

/// A URL, or a path with a query, without the parameters of that name; None: it has none.
pub(super) fn without(url: &[u8], name: &str) -> Option<Vec<u8>> {
    let (path, query) = split(url)?;
    if !query.split(|byte| *byte == b'&').any(|pair| is_named(pair, name)) {
        return None;
    }
    let mut left = path.to_vec();
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !is_named(pair, name)) {
        left.push(if left.len() == path.len() { b'?' } else { b'&' });
        left.extend_from_slice(pair);
    }
    Some(left)
}

/// The same URL with `-` as the value of the parameters of these names; None: it has none of them.
pub(super) fn masked(url: &[u8], names: &[Box<str>]) -> Option<Vec<u8>> {
    let (path, query) = split(url)?;
    let is_secret = |pair: &[u8]| pair.contains(&b'=') && names.iter().any(|name| is_named(pair, name));
    if !query.split(|byte| *byte == b'&').any(is_secret) {
        return None;
    }
    let mut shown = path.to_vec();
    for (index, pair) in query.split(|byte| *byte == b'&').enumerate() {
        shown.push(if index == 0 { b'?' } else { b'&' });
        match pair.iter().position(|byte| *byte == b'=').filter(|_| is_secret(pair)) {
            Some(equals) => {
                shown.extend_from_slice(&pair[..=equals]);
                shown.push(b'-');
            }
            None => shown.extend_from_slice(pair),
        }
    }
    Some(shown)
}

fn split(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let mark = memchr::memchr(b'?', url)?;
    Some((&url[..mark], &url[mark + 1..]))
}
