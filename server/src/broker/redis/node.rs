//! One server of Redis as workers see it: up or away, and what came of asking it.
//!
//! **Invariant:** nothing is sent twice; what may have been sent and was not answered is `Unknown`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use redis::{Pipeline, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection};
use tokio::{sync::Notify, time::timeout};

use super::{flight::Flight, script::Call};
use crate::{
    broker::{Name, Refused, Server},
    observe::BrokerCounts,
};

/// One server.
pub struct Node {
    /// For log lines.
    pub name: Box<str>,
    session: ArcSwapOption<Session>,
    health: Mutex<Server>,
    /// Channels to subscribe to; as many as there are interests, and some twice.
    wanted: Mutex<VecDeque<Name>>,
    /// Channels that nobody wanted at a time.
    leaving: Mutex<VecDeque<(Instant, Name)>>,
    /// There is something to do.
    pub work: Notify,
}

/// The time from a connection to its loss.
pub struct Session {
    commands: MultiplexedConnection,
    /// Names this life of the server.
    pub run: Arc<str>,
    /// How it ends.
    pub end: Arc<End>,
}

/// The end of a session, by whoever finds a reason first.
#[derive(Default)]
pub struct End {
    reason: OnceLock<String>,
    notify: Notify,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It was not done.
    Away,
    /// It may have been done.
    Unknown,
    /// It was not done, because another node has the slot.
    Moved,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away | Failure::Moved => Self::Away,
            Failure::Unknown => Self::Unknown,
        }
    }
}

impl Node {
    /// One that is away.
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            session: ArcSwapOption::empty(),
            health: Mutex::new(Server {
                address: name.into(),
                is_up: false,
                since: SystemTime::now(),
                last_error: None,
            }),
            wanted: Mutex::default(),
            leaving: Mutex::default(),
            work: Notify::new(),
        })
    }

    /// The session, if it is up.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.session.load_full().filter(|session| session.end.reason().is_none())
    }

    /// From now on it is up.
    pub fn is_up(&self, session: Arc<Session>, counts: &BrokerCounts) {
        self.session.store(Some(session));
        self.turn(true, None, counts);
    }

    /// From now on it is away.
    pub fn lost(&self, why: &str, counts: &BrokerCounts) {
        self.session.store(None);
        self.turn(false, Some(why), counts);
    }

    /// How it is.
    pub fn health(&self) -> Server {
        lock(&self.health).clone()
    }

    fn turn(&self, is_up: bool, why: Option<&str>, counts: &BrokerCounts) {
        let mut health = lock(&self.health);
        if health.is_up != is_up {
            health.is_up = is_up;
            health.since = SystemTime::now();
            if is_up {
                counts.up.inc();
                counts.connected.inc();
            } else {
                counts.up.dec();
            }
        }
        if let Some(why) = why {
            health.last_error = Some(why.to_owned());
        }
    }

    /// Somebody wants to hear of a channel.
    pub fn want(&self, name: &Name) {
        lock(&self.wanted).push_back(Arc::clone(name));
        self.work.notify_one();
    }

    /// Nobody wants to hear of a channel.
    pub fn leave_soon(&self, name: &Name, since: Instant) {
        lock(&self.leaving).push_back((since, Arc::clone(name)));
    }

    /// Channels to subscribe to, `most` at most.
    pub fn take_wanted(&self, most: usize) -> Vec<Name> {
        let mut wanted = lock(&self.wanted);
        let count = wanted.len().min(most);
        wanted.drain(..count).collect()
    }

    /// Channels that nobody wanted before `until`, `most` at most.
    pub fn take_leaving(&self, until: Instant, most: usize) -> Vec<Name> {
        let mut leaving = lock(&self.leaving);
        let count = leaving.iter().take(most).take_while(|(since, _)| *since <= until).count();
        leaving.drain(..count).map(|(_, name)| name).collect()
    }

    /// A new session has subscribed to nothing.
    pub fn begin_anew(&self) {
        lock(&self.wanted).clear();
        lock(&self.leaving).clear();
    }
}

impl Session {
    /// With a connection for commands.
    pub fn new(commands: MultiplexedConnection, run: Arc<str>, end: Arc<End>) -> Self {
        Self { commands, run, end }
    }

    /// Runs a script.
    pub async fn ask(
        &self,
        call: &Call,
        limit: Duration,
        flight: &Flight,
        counts: &BrokerCounts,
    ) -> Result<Value, Failure> {
        let Some(_place) = flight.take(call.size(), counts) else {
            counts.full.inc();
            return Err(Failure::Away);
        };
        let mut connection = self.commands.clone();
        let deadline = tokio::time::Instant::now() + limit;
        for with_code in [false, true] {
            if self.end.reason().is_some() {
                return Err(Failure::Away);
            }
            let command = call.command(with_code);
            let answer = tokio::time::timeout_at(deadline, connection.send_packed_command(&command)).await;
            match answer {
                Ok(Ok(Value::ServerError(e))) if e.kind() == Some(ServerErrorKind::NoScript) => {}
                Ok(Ok(Value::ServerError(e))) => return Err(self.judge(&e.into())),
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(e)) if e.kind() == ServerErrorKind::NoScript.into() => {}
                Ok(Err(e)) => return Err(self.judge(&e)),
                Err(_) => {
                    self.end.because(&no_answer(limit));
                    return Err(Failure::Unknown);
                }
            }
        }
        Err(Failure::Away)
    }

    /// Runs scripts in one go; each has its own answer.
    pub async fn ask_all(&self, calls: &[Call], limit: Duration) -> Result<Vec<Value>, String> {
        let mut commands = Pipeline::with_capacity(calls.len());
        for call in calls {
            commands.add_command(call.command(false));
        }
        send(&self.commands, &commands, calls.len(), limit).await
    }

    /// Whether it answers.
    pub async fn ping(&self, limit: Duration) -> Result<(), String> {
        ping(&self.commands, limit).await
    }

    /// What an error says about whether it was done.
    fn judge(&self, error: &RedisError) -> Failure {
        match error.code() {
            Some("MOVED") => Failure::Moved,
            Some("READONLY" | "MASTERDOWN" | "NOAUTH") => {
                // Another server is in its place, or will be.
                self.end.because(&error.to_string());
                Failure::Away
            }
            Some(
                "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "BUSY" | "OOM" | "MISCONF" | "NOREPLICAS" | "NOPERM"
                | "CROSSSLOT",
            ) => Failure::Away,
            Some(_) => Failure::Unknown,
            None => {
                self.end.because(&error.to_string());
                Failure::Unknown
            }
        }
    }
}

/// Sends commands of which each has one answer, in one go.
pub async fn send(
    connection: &MultiplexedConnection,
    commands: &Pipeline,
    count: usize,
    limit: Duration,
) -> Result<Vec<Value>, String> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut connection = connection.clone();
    match timeout(limit, connection.send_packed_commands(commands, 0, count)).await {
        Ok(Ok(answers)) if answers.len() == count => Ok(answers),
        Ok(Ok(answers)) => Err(format!("{} answers to {count} commands", answers.len())),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(no_answer(limit)),
    }
}

/// Whether a connection's server answers.
pub async fn ping(connection: &MultiplexedConnection, limit: Duration) -> Result<(), String> {
    let mut ping = Pipeline::with_capacity(1);
    ping.cmd("PING");
    send(connection, &ping, 1, limit).await.map(drop)
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {limit:?}")
}

impl End {
    /// It ends, if it has not ended.
    pub fn because(&self, why: &str) {
        let _ = self.reason.set(why.to_owned());
        self.notify.notify_one();
    }

    /// Why it ended.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Waits for the end; for one who waits.
    pub async fn ended(&self) -> String {
        loop {
            if let Some(reason) = self.reason() {
                return reason.to_owned();
            }
            self.notify.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
