//! Who may publish, and what: by POST or over a WebSocket.

use std::sync::Arc;

use rsp_core::{
    channel::{KEY_MAX, Message, Who},
    config,
    frame::websocket::CloseCode,
};
use serde_json::Value;

use super::{encode::push_string, gate::Gate, hub::Place, kind};
use crate::{
    broker::{self, Receipt, Refused},
    error::{Fault, Kind},
};

/// One client, as a publisher. It costs a pointer where nothing is known of the client and no function asked.
pub struct Publisher(Option<Box<Particular>>);

struct Particular {
    /// Who it is.
    who: Option<Arc<Who>>,
    /// The function of the channel.
    gate: Option<Gate>,
}

/// Why a message was not published.
#[derive(Debug)]
pub enum NotPublished {
    /// This client may not.
    Denied,
    /// More bytes than `message_max`.
    TooLarge,
    /// It is not what it should be.
    Malformed(&'static str),
    /// The broker did not take it.
    Broker(Refused),
    /// The function failed.
    Function(Fault),
    /// The function is of a config that is long gone; whoever comes again meets another one.
    Outdated,
}

impl NotPublished {
    /// For whoever has a status to look at.
    pub fn fault(&self) -> Fault {
        let kind = match self {
            Self::Function(fault) => return fault.clone(),
            Self::Denied => Kind::Forbidden,
            Self::Outdated => Kind::Full,
            Self::TooLarge => Kind::BodyTooLarge,
            Self::Malformed(_) => Kind::Malformed,
            Self::Broker(refused) => kind(*refused),
        };
        Fault::new(kind, self.reason())
    }

    /// For a WebSocket without objects, which it ends.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Denied => CloseCode::POLICY,
            Self::TooLarge => CloseCode::TOO_BIG,
            Self::Malformed(_) => CloseCode::UNSUPPORTED,
            Self::Broker(_) => CloseCode::TRY_LATER,
            Self::Function(_) => CloseCode::INTERNAL,
            Self::Outdated => CloseCode::RESTART,
        }
    }

    /// For a person.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied => "not allowed to publish here",
            Self::TooLarge => "a message larger than allowed",
            Self::Malformed(why) => why,
            Self::Broker(refused) => refused.reason(),
            // Why is for the log only.
            Self::Function(_) => "a function of the channel failed",
            Self::Outdated => "come back",
        }
    }
}

impl Publisher {
    /// A client as far as it is known, behind its channel's function.
    pub fn new(who: Option<Arc<Who>>, gate: Option<Gate>) -> Self {
        let is_particular = who.is_some() || gate.is_some();
        Self(is_particular.then(|| Box::new(Particular { who, gate })))
    }

    /// Publishes a message, under a key only once.
    pub async fn publish(
        &self,
        place: Place<'_>,
        data: &[u8],
        is_text: bool,
        key: Option<&str>,
    ) -> Result<Receipt, NotPublished> {
        let gate = self.0.as_ref().and_then(|particular| particular.gate.as_ref());
        let gate = match (place.spec.publish, gate) {
            (config::Publish::Client, _) => None,
            (config::Publish::Function(_), Some(gate)) => Some(gate),
            (config::Publish::Function(_) | config::Publish::Server, _) => return Err(NotPublished::Denied),
        };
        if data.len() > place.spec.message_max {
            return Err(NotPublished::TooLarge);
        }
        if key.is_some_and(|key| key.is_empty() || key.len() > KEY_MAX) {
            return Err(NotPublished::Malformed("an idempotency key is 1 to 128 bytes"));
        }
        let other = match gate {
            None => None,
            // Boxed, so that those without a function don't pay for its state.
            Some(gate) => Box::pin(gate.judge(data, &place.hub.metrics)).await?,
        };
        if other.as_ref().is_some_and(|other| other.len() > place.spec.message_max) {
            return Err(NotPublished::TooLarge);
        }
        let is_text = is_text && other.as_ref().is_none_or(|other| str::from_utf8(other).is_ok());
        let data = other.as_deref().unwrap_or(data);
        let by = self.0.as_ref().and_then(|particular| particular.who.clone());
        let message = Message { data: data.into(), is_text, time: broker::now(), by };
        place.hub.metrics.channels.published.inc();
        let published = place.hub.broker.publish(place.name, &place.spec.rules, message, key).await;
        published.map_err(NotPublished::Broker)
    }

    /// Publishes what an object says, and returns the object that answers; none where the client has to come again.
    pub async fn publish_object(&self, place: Place<'_>, text: &[u8]) -> Option<String> {
        let object: Value = serde_json::from_slice(text).unwrap_or_default();
        let id = object.get("id").filter(|id| id.is_number() || id.is_string());
        let outcome = match content(&object) {
            Some((data, is_text)) => {
                match object.get("key") {
                    None => self.publish(place, &data, is_text, None).await,
                    Some(Value::String(key)) => self.publish(place, &data, is_text, Some(key)).await,
                    // To publish without it would publish twice what is repeated.
                    Some(_) => Err(NotPublished::Malformed("a key is a string")),
                }
            }
            None => Err(NotPublished::Malformed("what is sent here is {\"data\":…,\"id\":n}")),
        };
        if matches!(outcome, Err(NotPublished::Outdated)) {
            return None;
        }
        let mut answer = String::from("{\"event\":");
        answer.push_str(if outcome.is_ok() { "\"ack\"" } else { "\"error\"" });
        if let Some(id) = id {
            answer.push_str(&format!(",\"id\":{id}"));
        }
        match outcome {
            Ok(receipt) => answer.push_str(&format!(",\"position\":\"{}\"}}", receipt.position)),
            Err(refused) => {
                answer.push_str(&format!(",\"status\":{},\"reason\":", refused.fault().kind.status().as_u16()));
                push_string(&mut answer, refused.reason());
                answer.push('}');
            }
        }
        Some(answer)
    }
}

/// The message in an object, and whether it is text: `data` as it is if it is a string, else as JSON; or `base64`.
fn content(object: &Value) -> Option<(Vec<u8>, bool)> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    match (object.get("data"), object.get("base64")) {
        (Some(Value::String(text)), None) => Some((text.clone().into_bytes(), true)),
        (Some(value), None) => Some((value.to_string().into_bytes(), true)),
        (None, Some(Value::String(text))) => Some((STANDARD.decode(text).ok()?, false)),
        _ => None,
    }
}
