//! What a channel says of itself: `?history=N`, `?presence`, and the answer to DELETE.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Visitor,
    encode::{item_object, member_object},
    not_now, refusal,
};
use crate::{
    broker::Look,
    error::{Fault, Kind},
    message::{Body, Response},
};

/// Messages of one answer, whatever `history` is; it is put together in memory.
const ITEMS_MAX: usize = 10_000;

/// Bytes of the messages of one answer, but always the latest one. JSON may need six times as many.
const BYTES_MAX: usize = 4 << 20;

/// KiB of histories that are on their way to clients, in the process.
const ANSWERS_MAX: usize = 64 << 10;

static ANSWERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(ANSWERS_MAX)));

/// Clients that are listed; those that have been there longest.
const CLIENTS_MAX: usize = 1_000;

impl Visitor<'_> {
    /// The latest messages, the oldest of them first.
    pub(super) async fn history(self, count: usize) -> Result<Box<Response>, Fault> {
        let rules = &self.spec.rules;
        let count = count.min(rules.history).min(ITEMS_MAX);
        let past = self.context.hub.broker.read(&self.name, rules, Look::Latest(count)).await;
        let past = past.map_err(not_now)?;
        let mut bytes = 0;
        let fitting = past.items.iter().rev().take_while(|item| {
            bytes += item.message.data.len();
            bytes <= BYTES_MAX || bytes == item.message.data.len()
        });
        let first = past.items.len() - fitting.count();
        let mut text = format!("{{\"position\":\"{}\",\"items\":[", past.end);
        for (index, item) in past.items[first..].iter().enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            text.push_str(&item_object(item));
        }
        text.push_str("]}\n");
        let share = u32::try_from(text.len() / 1024 + 1).unwrap_or(u32::MAX);
        let share = Arc::clone(&ANSWERS).try_acquire_many_owned(share);
        let share = share.map_err(|_| Fault::new(Kind::Full, "as many histories as may be are on their way"))?;
        Ok(object(Bytes::from_owner(History { text, _share: share })))
    }

    /// Who is there.
    pub(super) async fn presence(self) -> Result<Box<Response>, Fault> {
        if !self.spec.presence {
            return Ok(refusal(StatusCode::NOT_FOUND, "who is there is not kept: this channel has no `presence`"));
        }
        let members = self.context.hub.broker.present(&self.name).await.map_err(not_now)?;
        let mut text = String::from("{\"clients\":[");
        for (index, member) in members.iter().take(CLIENTS_MAX).enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            text.push_str(&member_object(member, ""));
        }
        text.push_str(&format!("],\"count\":{}}}\n", members.len()));
        Ok(object(text.into()))
    }

    /// Drops the history, if the function `delete` says so; every subscriber is told, and a new epoch begins.
    pub(super) async fn delete(self) -> Result<Box<Response>, Fault> {
        if !self.may_delete().await? {
            return Err(Fault::new(Kind::Forbidden, "not allowed to drop the history"));
        }
        self.drop_history().await
    }

    /// The same without a question.
    pub(super) async fn drop_history(self) -> Result<Box<Response>, Fault> {
        let position = self.context.hub.broker.reset(&self.name).await.map_err(not_now)?;
        Ok(object(format!("{{\"position\":\"{position}\"}}\n").into()))
    }
}

/// An answer that gives its share back when its last byte is out.
struct History {
    text: String,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for History {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

fn object(text: Bytes) -> Box<Response> {
    let response = Response::new(StatusCode::OK, Body::Full(text));
    let response = response.with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Box::new(response.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
}
