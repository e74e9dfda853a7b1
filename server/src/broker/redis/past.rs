//! What an answer says of the past of a channel.

use std::{sync::Arc, time::Duration};

use redis::Value;
use rsp_core::channel::{Item, Message, Position, Rules};

use super::{encode, script};
use crate::broker::{Look, Past};

/// What an answer says of the past. Too old messages are as if they were not there.
pub fn past(answer: Value, rules: &Rules, look: Look, now: Duration) -> Option<Past> {
    let (end, mut rest) = script::position(answer)?;
    let Value::Array(found) = rest.next()? else { return None };
    let mut items = Vec::with_capacity(found.len() / 2);
    let mut found = found.into_iter();
    while let (Some(id), Some(body)) = (found.next(), found.next()) {
        let id = String::from_utf8(script::bytes(id)?).ok()?;
        let offset = id.strip_suffix("-0")?.parse().ok()?;
        let message = encode::read_message(&script::bytes(body)?);
        items.push((offset, message.filter(|message| message.time + rules.ttl > now)));
    }
    let item = |(offset, message): (u64, Option<Message>)| {
        Some(Item { position: Position { offset, ..end }, message: Arc::new(message?) })
    };
    match look {
        Look::Latest(_) => {
            // From the end on, as long as there is no gap.
            let whole = items.into_iter().zip(0..).take_while(|((offset, _), back)| offset + back == end.offset);
            let mut items: Vec<_> = whole.map_while(|(found, _)| item(found)).collect();
            items.reverse();
            Some(Past { end, items, is_lost: false })
        }
        Look::Since(position, most) => {
            let is_known = position.epoch == end.epoch && position.offset <= end.offset;
            let count = items.len();
            let whole = items.into_iter().zip(position.offset + 1..).take_while(|((offset, _), next)| offset == next);
            let items: Vec<_> = whole.map_while(|(found, _)| item(found)).collect();
            let is_missing = items.len() < count || (items.is_empty() && most > 0 && position.offset < end.offset);
            let is_lost = !is_known || is_missing;
            Some(Past { end, items: if is_lost { Vec::new() } else { items }, is_lost })
        }
    }
}
