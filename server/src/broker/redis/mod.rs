//! Channels that several processes share at one Redis, or at a cluster of them.
//!
//! The stream of a channel is a hash (epoch, offset) and a stream of messages; to publish is one script. Each process
//! listens to the channels that it has subscribers of, over one connection a server.
//!
//! **Invariant:** nothing is asked twice that could be done twice.
//! **Invariant:** a server that comes back with less than was seen of a channel gives it a new epoch before anything
//! else happens to the channel.

mod address;
mod encode;
mod flight;
mod held;
mod interests;
mod link;
mod listener;
mod names;
mod node;
mod own;
mod past;
mod script;
mod shared;
mod slots;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use redis::Value;
use rsp_core::channel::{KEYS_MAX, Member, Message, Position, Rules};
use tokio::time::timeout;

use self::{
    address::Target,
    held::{Entering, Held, Subscribing},
    interests::Known,
    script::millis,
    shared::{LINGER, Shared, life},
};
use super::{Inbox, Look, Name, Past, Receipt, Refused, Server, Summary};
use crate::observe::Metrics;

/// Members in one answer, nearly.
const PRESENT_MAX: usize = 10_000;

/// How long the members of this process may take to leave at the end, and how many channels are told in one go.
const LAST_LEAVES: Duration = Duration::from_secs(2);
const LAST_BATCH: usize = 500;

/// The channels of a Redis.
pub struct Redis {
    shared: Arc<Shared>,
}

impl Redis {
    /// Errors: the URL is none; without the password.
    pub fn new(url: &str, prefix: &str, timeout: Duration, metrics: Arc<Metrics>) -> Result<Self, String> {
        let shared = Shared::new(Target::parse(url)?, prefix, timeout, metrics);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps the connections, for ever; on a thread that nothing blocks, in a [`LocalSet`](tokio::task::LocalSet).
    pub(super) async fn run_for_ever(&self) {
        slots::keep(Arc::clone(&self.shared)).await;
        std::future::pending().await
    }

    /// The members of this process leave, as far as Redis is there.
    pub(super) async fn end(&self) {
        let shared = &self.shared;
        let leave = async {
            let channels = shared.own.take_all();
            for node in &shared.routes.load_full().nodes {
                let Some(session) = node.session() else { continue };
                let here = channels.iter().filter(|name| shared.node(name).is_some_and(|at| Arc::ptr_eq(&at, node)));
                let calls: Vec<_> = here.map(|name| shared.presence("mine", name)).collect();
                for calls in calls.chunks(LAST_BATCH) {
                    // Who can't be told finds out when this process has been silent for long enough.
                    let _ = session.ask_all(calls, shared.timeout).await;
                }
            }
        };
        let _ = timeout(LAST_LEAVES, leave).await;
    }

    pub(super) fn servers(&self) -> Vec<Server> {
        self.shared.routes.load().nodes.iter().map(|node| node.health()).collect()
    }

    pub(super) fn bound(&self, channels_max: usize) {
        self.shared.interests.bound(channels_max);
    }

    pub(super) async fn publish(
        &self,
        channel: &Name,
        rules: &Rules,
        message: Message,
        key: Option<&str>,
    ) -> Result<Receipt, Refused> {
        let shared = &self.shared;
        let body = encode::message(&message);
        let (answer, run) = shared
            .ask(channel, |run| {
                shared
                    .stream("publish", channel, run, life(rules))
                    .with(&*body)
                    .with(rules.history.to_string())
                    .with(millis(rules.ttl))
                    .with(key.unwrap_or_default())
                    .with(millis(rules.repeat))
                    .with(KEYS_MAX.to_string())
            })
            .await?;
        let (position, mut rest) = script::position(answer).ok_or_else(|| shared.not_an_answer(channel))?;
        let (Some(Value::Int(is_repeat)), Some(Value::Int(heard))) = (rest.next(), rest.next()) else {
            return Err(shared.not_an_answer(channel));
        };
        shared.published(channel, Known { position, run });
        let (subscribers, is_heard) = shared.interests.subscribers(channel);
        let others = usize::try_from(heard).unwrap_or(0).saturating_sub(usize::from(is_heard));
        Ok(Receipt { position, subscribers: subscribers + others, is_repeat: is_repeat == 1 })
    }

    pub(super) async fn subscribe(
        &self,
        channel: &Name,
        rules: &Rules,
        inbox: &Arc<Inbox>,
        look: Look,
    ) -> Result<Past, Refused> {
        let shared = &self.shared;
        let node = shared.node(channel).filter(|node| node.session().is_some()).ok_or(Refused::Away)?;
        let waiting = shared.interests.hold(channel, &node, inbox)?;
        let held = Held::new(shared, channel, inbox);
        if let Some(waiting) = waiting {
            let _place = Subscribing::begin(shared).ok_or(Refused::Away)?;
            match timeout(shared.timeout, waiting).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(Refused::Away),
            }
        }
        let (past, run) = shared.look("read", channel, rules, look).await?;
        shared.interests.begin(channel, past.end, &run);
        held.keep();
        Ok(past)
    }

    pub(super) fn unsubscribe(&self, channel: &Name, inbox: &Arc<Inbox>) {
        self.shared.interests.release(channel, inbox);
    }

    pub(super) async fn read(&self, channel: &Name, rules: &Rules, look: Look) -> Result<Past, Refused> {
        self.shared.look("look", channel, rules, look).await.map(|(past, _)| past)
    }

    pub(super) async fn reset(&self, channel: &Name) -> Result<Position, Refused> {
        let shared = &self.shared;
        let (answer, _) = shared.ask(channel, |run| shared.stream("reset", channel, run, LINGER)).await?;
        script::position(answer).map(|(position, _)| position).ok_or_else(|| shared.not_an_answer(channel))
    }

    pub(super) async fn enter(&self, channel: &Name, member: Member, announce: bool) -> Result<(), Refused> {
        let shared = &self.shared;
        let encoded = encode::member(&member, announce);
        shared.own.enter(channel, &member.id, encoded.clone());
        let entering = Entering::begin(shared, channel, &member.id);
        let call = |shared: &Shared| shared.presence("enter", channel).with(member.id.as_bytes()).with(&*encoded);
        let asked = shared.ask_presence(channel, call).await;
        entering.end(asked.as_ref().err().copied());
        asked.map(drop).map_err(Refused::from)
    }

    pub(super) fn leave(&self, channel: &Name, id: &str) {
        self.shared.own.leave(channel, id);
        if let Some(node) = self.shared.node(channel) {
            node.work.notify_one();
        }
    }

    pub(super) async fn present(&self, channel: &Name) -> Result<Vec<Member>, Refused> {
        let call = |shared: &Shared| shared.presence("present", channel).with(PRESENT_MAX.to_string());
        let answer = self.shared.ask_presence(channel, call).await?;
        let Value::Array(values) = answer else { return Err(self.shared.not_an_answer(channel)) };
        let read = |value| script::bytes(value).as_deref().and_then(encode::read_member);
        let mut members: Vec<Member> = values.into_iter().filter_map(read).collect();
        members.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
        Ok(members)
    }

    pub(super) fn channels(&self, prefix: &str, most: usize) -> (Vec<Summary>, usize) {
        self.shared.interests.summaries(prefix, most)
    }

    pub(super) fn count(&self) -> usize {
        self.shared.interests.count()
    }
}
