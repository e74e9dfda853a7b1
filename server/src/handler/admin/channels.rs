//! Channels through the admin API: the list of them, and the operator's place at one.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode;
use rsp_core::{
    channel::check_name,
    config::{self, Config, Publish},
};
use serde_json::{Value, json};

use crate::{
    broker::{Broker, Name, Summary},
    message::{Request, Response},
};

/// Channels of one list, the first ones by name: more are counted only.
const LISTED_MAX: usize = 1000;

/// What stands before a channel's name in the path.
const FRONT: &[u8] = b"/channels/";

/// A request for a channel's own handler: the operator may do everything there.
pub struct Visit {
    /// The channel's rules without its restrictions.
    pub spec: Arc<config::Channel>,
    /// The channel.
    pub name: Name,
    /// Without its `Origin`, which has been judged.
    pub request: Request,
}

/// The channel that a path names, percent-decoded; it may hold `/`. None: the path is none of a channel.
///
/// # Errors
/// Why it is no name.
pub fn named(path: &[u8]) -> Option<Result<Name, String>> {
    let name = percent_decode(path.strip_prefix(FRONT)?).decode_utf8();
    Some(match name {
        Err(_) => Err("a channel's name is UTF-8".to_owned()),
        Ok(name) => check_name(&name).map(|()| name.into()).map_err(|e| e.to_string()),
    })
}

/// `{"channels":[{"name","position","subscribers","kept"}],"channels_total":n}`, of names with the query's `prefix`.
pub fn list(broker: &Broker, request: &Request) -> Response {
    let prefix = parameter(request, "prefix").unwrap_or_default();
    let (channels, total) = broker.channels(&prefix, LISTED_MAX);
    let channel = |channel: &Summary| -> Value {
        json!({
            "name": &*channel.name,
            "position": channel.position.to_string(),
            "subscribers": channel.subscribers,
            "kept": channel.kept,
        })
    };
    let channels: Vec<_> = channels.iter().map(channel).collect();
    let text = json!({ "channels": channels, "channels_total": total }).to_string() + "\n";
    let kind = HeaderValue::from_static("application/json");
    Response::new(StatusCode::OK, text.into()).with(header::CONTENT_TYPE, kind)
}

/// Lets the operator in: the rules that the running config has for the name, and nobody to ask.
pub fn visit(name: Name, mut request: Request, config: &Config, broker: &Broker) -> Visit {
    // The API's own rule is the one that counts.
    request.head.headers.remove(header::ORIGIN);
    let declared = config::Channel::clone(&broker.spec(config, &name));
    let spec = config::Channel {
        publish: Publish::Client,
        subscribe: None,
        delete: None,
        origins: None,
        field: None,
        // Who looks in from the shell is nobody who is there.
        presence: declared.presence && asks_who_is_there(&request),
        join_leave: false,
        ..declared
    };
    Visit { spec: Arc::new(spec), name, request }
}

fn asks_who_is_there(request: &Request) -> bool {
    let is_question = matches!(request.head.method, Method::GET | Method::HEAD) && request.head.upgrade.is_none();
    is_question && parameter(request, "presence").is_some()
}

/// A parameter of the query, percent-decoded; the first one of its name.
fn parameter<'r>(request: &'r Request, name: &str) -> Option<Cow<'r, str>> {
    let pairs = request.head.target.query()?.split(|byte| *byte == b'&');
    let mut pairs = pairs.map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &b""[..]),
    });
    let (_, value) = pairs.find(|(known, _)| *known == name.as_bytes())?;
    Some(percent_decode(value).decode_utf8_lossy())
}
