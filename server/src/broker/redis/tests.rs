//! Against a real Redis, with processes that are as far from each other as two brokers in one process can be.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    time::{Duration, Instant},
};

use rsp_core::channel::{Item, Member, Message, Position, Rules};
use testkit::{RedisCluster, eventually};
use tokio::{
    runtime::{LocalRuntime, Runtime},
    sync::oneshot,
};

use super::{Inbox, Look, Past, Receipt, Refused};
use crate::{
    broker::{Broker, Name, What, now},
    observe::Metrics,
};

mod outages;
mod presence;
mod streams;

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// For what takes a while.
const PATIENCE: Duration = Duration::from_secs(20);

const RULES: Rules = Rules { history: 10, ttl: Duration::from_secs(3600), repeat: Duration::from_secs(300) };

/// One rsp: a broker, one worker, and a thread for the links.
struct Process {
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    inbox: Arc<Inbox>,
    runtime: Runtime,
    /// Dropped, it ends without a word, as if it were killed.
    _links: oneshot::Sender<()>,
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Text(String, Position),
    Join(String),
    Leave(String),
    Reset(Position),
    Behind,
}

impl Process {
    /// Waits until it is connected.
    fn start(url: &str) -> Self {
        let process = Self::begin(url);
        eventually(PATIENCE, || process.metrics.broker.up.get() > 0);
        process
    }

    fn begin(url: &str) -> Self {
        let metrics = Metrics::new();
        let broker = Arc::new(Broker::redis(url, "rsp:", TIMEOUT, Arc::clone(&metrics)).unwrap());
        let (_links, ended) = oneshot::channel::<()>();
        let linked = Arc::clone(&broker);
        std::thread::spawn(move || {
            LocalRuntime::new().unwrap().block_on(async {
                tokio::select! {
                    () = linked.run_for_ever() => {}
                    _ = ended => {}
                }
            });
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { broker, metrics, inbox: Arc::default(), runtime, _links }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it ends") })
    }

    fn publish(&self, channel: &str, text: &str) -> Result<Receipt, Refused> {
        self.publish_under(channel, text, &RULES, None)
    }

    fn publish_under(&self, channel: &str, text: &str, rules: &Rules, key: Option<&str>) -> Result<Receipt, Refused> {
        let message = Message { data: text.as_bytes().into(), is_text: true, time: now(), by: None };
        self.run(self.broker.publish(&channel.into(), rules, message, key))
    }

    /// Until the broker is back.
    fn publish_at_last(&self, channel: &str, text: &str) -> Position {
        let mut position = None;
        eventually(PATIENCE, || {
            position = self.publish(channel, text).ok().map(|receipt| receipt.position);
            position.is_some()
        });
        position.unwrap()
    }

    fn subscribe(&self, channel: &str) -> Result<Past, Refused> {
        let look = Look::Latest(0);
        self.run(self.broker.subscribe(&channel.into(), &RULES, &self.inbox, look))
    }

    fn unsubscribe(&self, channel: &str) {
        self.broker.unsubscribe(&channel.into(), &self.inbox);
    }

    fn read(&self, channel: &str, look: Look) -> Result<Past, Refused> {
        self.run(self.broker.read(&channel.into(), &RULES, look))
    }

    /// As soon as Redis is there.
    fn since(&self, channel: &str, position: Position) -> Past {
        let mut past = None;
        eventually(PATIENCE, || {
            past = self.read(channel, Look::Since(position, 100)).ok();
            past.is_some()
        });
        past.unwrap()
    }

    fn enter(&self, channel: &str, id: &str) -> Result<(), Refused> {
        let member = Member { id: id.into(), who: None, since: now() };
        self.run(self.broker.enter(&channel.into(), member, true))
    }

    fn leave(&self, channel: &str, id: &str) {
        self.broker.leave(&channel.into(), id, true);
    }

    fn present(&self, channel: &str) -> Vec<String> {
        let members = self.run(self.broker.present(&channel.into())).unwrap();
        members.iter().map(|member| member.id.to_string()).collect()
    }

    /// What the worker is told next, all that is there.
    fn told(&self) -> Vec<(Name, Told)> {
        let batch = self.run(poll_fn(|cx| self.inbox.poll_take(cx)));
        assert!(!batch.overflowed);
        let told = |what| match what {
            What::Item(Item { position, message }) => {
                Told::Text(String::from_utf8(message.data.to_vec()).unwrap(), position)
            }
            What::Join(member) => Told::Join(member.id.to_string()),
            What::Leave(member) => Told::Leave(member.id.to_string()),
            What::Reset(position) => Told::Reset(position),
            What::Behind => Told::Behind,
        };
        batch.notices.into_iter().map(|notice| (notice.channel, told(notice.what))).collect()
    }

    /// Everything up to something.
    fn told_until(&self, wanted: impl Fn(&Told) -> bool) -> Vec<Told> {
        let mut all = Vec::new();
        let end = Instant::now() + PATIENCE;
        while !all.iter().any(&wanted) {
            assert!(Instant::now() < end, "told {all:?}");
            all.extend(self.told().into_iter().map(|(_, told)| told));
        }
        all
    }

    /// Everything up to a text.
    fn told_until_text(&self, wanted: &str) -> Vec<Told> {
        self.told_until(|told| matches!(told, Told::Text(text, _) if text == wanted))
    }
}

fn texts(past: &Past) -> Vec<&str> {
    past.items.iter().map(|item| str::from_utf8(&item.message.data).unwrap()).collect()
}
