//! Where a request has its token, and what goes on without it.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, Entry, REFERER, SEC_WEBSOCKET_PROTOCOL},
};

use super::{
    Refused,
    query::{masked, value, without},
};
use crate::{
    frame::http1::{RequestHead, Target},
    head::cookie,
};

/// Precedes the token among the subprotocols that a browser offers, as it can set no other field of a WebSocket.
const SUBPROTOCOL: &str = "bearer";

/// Names of the places that have names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A cookie.
    pub cookie: Box<str>,
    /// A parameter of the query.
    pub query: Box<str>,
}

impl Place {
    /// The token of a request: in `Authorization`, in the cookie, behind the subprotocol `bearer`, in the query. The first
    /// one that is there counts, and no other; what is empty is not there.
    ///
    /// # Errors
    /// There is none, or more than one `Authorization` field.
    pub fn find<'a>(&self, head: &'a RequestHead) -> Result<Cow<'a, [u8]>, Refused> {
        if let Some(token) = bearer(&head.headers)? {
            return Ok(token.into());
        }
        let cookie = cookie(&head.headers, &self.cookie).filter(|token| !token.is_empty());
        if let Some(token) = cookie.or_else(|| offered(&head.headers)) {
            return Ok(token.into());
        }
        head.target.query().and_then(|query| value(query, &self.query)).ok_or(Refused::Missing)
    }

    /// Takes the token out of the query, of the `Referer` that a page with one makes browsers send, and of the
    /// subprotocols, whether or not it counted: it would get into logs and answers of others. `Authorization` and
    /// cookies stay.
    pub fn remove(&self, head: &mut RequestHead) {
        remove(head, std::slice::from_ref(&self.query));
        remove_offered(&mut head.headers);
    }
}

/// Takes the parameters of these names out of the query and of `Referer`.
pub fn remove(head: &mut RequestHead, names: &[Box<str>]) {
    for name in names {
        change(head, |url| without(url, name));
    }
}

/// Puts `-` in the place of what the parameters of these names say, in the query and in `Referer`.
pub fn mask(head: &mut RequestHead, names: &[Box<str>]) {
    change(head, |url| masked(url, names));
}

/// Changes the target, and every `Referer`. What is made of parts of right ones, and a dash, is right.
fn change(head: &mut RequestHead, changed: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    if let Some(target) = changed(head.target.as_bytes()).and_then(|target| Target::new(target.into()).ok()) {
        head.target = target;
    }
    if let Entry::Occupied(mut referers) = head.headers.entry(REFERER) {
        for referer in referers.iter_mut() {
            if let Some(value) = changed(referer.as_bytes()).and_then(|value| HeaderValue::from_bytes(&value).ok()) {
                *referer = value;
            }
        }
    }
}

/// RFC 6750 §2.1; a field of another scheme says nothing.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Refused> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(Refused::Twice);
    }
    let (scheme, rest) = match field.as_bytes().iter().position(|byte| *byte == b' ') {
        Some(space) => field.as_bytes().split_at(space),
        None => (field.as_bytes(), &b""[..]),
    };
    Ok(scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii()).filter(|token| !token.is_empty()))
}

/// What is offered, in order.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let words = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    words.map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

fn offered(headers: &HeaderMap) -> Option<&[u8]> {
    let mut words = protocols(headers);
    words.by_ref().find(|word| *word == SUBPROTOCOL.as_bytes())?;
    words.next()
}

fn remove_offered(headers: &mut HeaderMap) {
    if offered(headers).is_none() {
        return;
    }
    let mut left = Vec::new();
    let mut words = protocols(headers);
    while let Some(word) = words.next() {
        if word == SUBPROTOCOL.as_bytes() {
            words.next();
            continue;
        }
        if !left.is_empty() {
            left.extend_from_slice(b", ");
        }
        left.extend_from_slice(word);
    }
    drop(words);
    // Parts of values that were right are right.
    match HeaderValue::from_bytes(&left).ok().filter(|left| !left.is_empty()) {
        Some(left) => _ = headers.insert(SEC_WEBSOCKET_PROTOCOL, left),
        None => _ = headers.remove(SEC_WEBSOCKET_PROTOCOL),
    }
}
