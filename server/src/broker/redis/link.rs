//! Keeps a session with one server of Redis: connects, subscribes, compares positions, says that this process lives.
//!
//! Two connections: a flood of messages ends the one that they come over, and no answer waits behind them.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Pipeline, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use rsp_core::channel::Position;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    address::Target,
    interests::{Found, Known},
    listener::listener,
    node::{End, Node, Session, ping, send},
    own, script,
    shared::Shared,
};
use crate::broker::{Name, random};

/// The first pause before connecting again, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// How often it is looked whether the server answers.
const TICK: Duration = Duration::from_secs(1);

/// Ticks in which each channel's position is compared once: pub/sub may lose messages without a word.
const ROUND: usize = 40;

/// Ticks between two signs of life for the members of this process, a third of [`own::LIFE`].
const BEAT: usize = 20;

/// Channels whose members could not be told before the others wait for the next tick.
const FAILED_MAX: usize = 16;

/// How long a channel without subscribers is listened to: the next one may come soon.
const LINGER: Duration = Duration::from_secs(2);

/// Commands sent in one go.
const BATCH: usize = 500;

/// So many in a row before it is looked what else is due.
const BATCHES: usize = 200;

/// A session and what belongs to it.
struct Link<'a> {
    shared: &'a Arc<Shared>,
    node: &'a Arc<Node>,
    session: Arc<Session>,
    /// What messages come over.
    listening: MultiplexedConnection,
    /// Confirmations that are due; one more means that the server has unsubscribed us.
    unsubscribed: Arc<AtomicUsize>,
    /// Channels by the time of their last comparison.
    heard: VecDeque<Name>,
    /// Where they were told to be, and where they are.
    doubts: Vec<(Name, Known, Position)>,
    /// Channels that another server was said to have; they are tried again.
    moved: Vec<Name>,
    ticks: usize,
    /// Channels that were compared, and those that began anew.
    compared: usize,
    anew: usize,
}

/// Keeps a node up, for ever.
pub async fn keep(shared: Arc<Shared>, node: Arc<Node>, target: Target) {
    let mut pause = PAUSES[0];
    let mut lost: Option<Instant> = None;
    let mut last_run = None;
    loop {
        let why = match timeout(shared.timeout, connect(&shared, &node, &target)).await {
            Ok(Ok(mut link)) => {
                let begun = Instant::now();
                let why = link.run(&mut lost, &mut last_run).await;
                shared.interests.deafen(&node);
                if begun.elapsed() > PAUSES[1] {
                    pause = PAUSES[0];
                }
                why
            }
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {:?}", shared.timeout),
        };
        node.lost(&why, shared.counts());
        if lost.is_none() {
            lost = Some(Instant::now());
            let what = if last_run.is_some() { "connection lost" } else { "no connection" };
            tracing::warn!("redis {}: {what}: {why}; trying again every second at most", node.name);
        }
        // Between a half and the whole of it, so that many processes don't come at once.
        tokio::time::sleep(pause.mul_f64(0.5 + (random() % 1024) as f64 / 2048.0)).await;
        pause = (pause * 2).min(PAUSES[1]);
        shared.routes_wanted.notify_one();
    }
}

/// Makes both connections, and makes the scripts known.
async fn connect<'a>(shared: &'a Arc<Shared>, node: &'a Arc<Node>, target: &Target) -> Result<Link<'a>, String> {
    let client = target.client().await.map_err(|e| e.to_string())?;
    let end = Arc::new(End::default());
    let unsubscribed = Arc::new(AtomicUsize::new(0));
    let at_end = Arc::clone(&end);
    let config = settings().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            at_end.because("closed by the server");
        }
        Ok::<_, ()>(())
    });
    let connected = client.get_multiplexed_async_connection_with_config(&config).await;
    let commands = connected.map_err(|e| e.to_string())?;
    let mut first = Pipeline::new();
    first.cmd("INFO").arg("server").add_command(script::CHANNEL.load()).add_command(script::PRESENCE.load());
    let mut answers = send(&commands, &first, 3, shared.timeout).await?;
    if let Some(e) = answers.iter().find_map(|answer| answer.clone().extract_error().err()) {
        return Err(e.to_string());
    }
    let run: Arc<str> = run_id(answers.swap_remove(0)).into();
    let config = settings().set_push_sender(listener(shared, &run, &end, &unsubscribed));
    let connected = client.get_multiplexed_async_connection_with_config(&config).await;
    let listening = connected.map_err(|e| e.to_string())?;
    Ok(Link {
        shared,
        node,
        session: Arc::new(Session::new(commands, run, end)),
        listening,
        unsubscribed,
        heard: VecDeque::new(),
        doubts: Vec::new(),
        moved: Vec::new(),
        ticks: 0,
        compared: 0,
        anew: 0,
    })
}

fn settings() -> AsyncConnectionConfig {
    // Every wait here has its own limit, and what waits to be written is bounded by the commands in flight.
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None).set_pipeline_buffer_size(1024)
}

/// What one life of a server is called; one that doesn't say is taken for immortal.
fn run_id(info: Value) -> String {
    let info = match info {
        Value::VerbatimString { text, .. } => text,
        other => script::bytes(other).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default(),
    };
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    run.unwrap_or("unknown").trim().to_owned()
}

impl Link<'_> {
    /// Serves until the session ends; why it did.
    async fn run(&mut self, lost: &mut Option<Instant>, last_run: &mut Option<Arc<str>>) -> String {
        self.node.begin_anew();
        self.node.is_up(Arc::clone(&self.session), self.shared.counts());
        for name in self.shared.interests.of(self.node) {
            self.node.want(&name);
        }
        if last_run.as_ref().is_some_and(|run| *run != self.session.run) {
            // It may have forgotten some members.
            self.shared.own.doubt_all(|channel| self.is_here(channel));
        }
        *last_run = Some(Arc::clone(&self.session.run));
        let end = Arc::clone(&self.session.end);
        let node = self.node;
        let work = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                self.catch_up().await?;
                if let Some(lost) = lost.take() {
                    tracing::info!(
                        "redis {}: back after {:.1} s, {} channels checked, {} began anew",
                        node.name,
                        lost.elapsed().as_secs_f64(),
                        self.compared,
                        self.anew
                    );
                }
                tokio::select! {
                    () = node.work.notified() => {}
                    _ = ticks.tick() => self.tick().await?,
                }
            }
        };
        let why: Result<std::convert::Infallible, String> = tokio::select! {
            why = work => why,
            why = end.ended() => Err(why),
        };
        let why = match why {
            Err(why) => why,
            Ok(never) => match never {},
        };
        end.because(&why);
        why
    }

    /// Subscribes to what is wanted, and sends leaves.
    async fn catch_up(&mut self) -> Result<(), String> {
        for _ in 0..BATCHES {
            let names = self.node.take_wanted(BATCH);
            let leaves = self.shared.own.take_leaving(BATCH);
            if names.is_empty() && leaves.is_empty() {
                return Ok(());
            }
            self.subscribe(names).await?;
            self.leave(leaves).await?;
        }
        self.node.work.notify_one();
        Ok(())
    }

    async fn subscribe(&mut self, names: Vec<Name>) -> Result<(), String> {
        let names = self.shared.interests.unheard(self.node, names);
        let answers = self.listen("SUBSCRIBE", &names).await?;
        let (mut heard, mut unwanted) = (Vec::new(), Vec::new());
        for (name, answer) in names.into_iter().zip(answers) {
            match answer.extract_error() {
                Ok(_) if self.shared.interests.hear(self.node, &name) => heard.push(name),
                Ok(_) => unwanted.push(name),
                Err(e) if e.code() == Some("MOVED") => {
                    self.shared.routes_wanted.notify_one();
                    self.moved.push(name);
                }
                Err(e) => return Err(e.to_string()),
            }
        }
        self.unsubscribe(&unwanted).await?;
        self.heard.extend(heard.iter().map(Arc::clone));
        self.compare(&heard, true).await
    }

    async fn unsubscribe(&mut self, names: &[Name]) -> Result<(), String> {
        self.unsubscribed.fetch_add(names.len(), Ordering::Relaxed);
        self.listen("UNSUBSCRIBE", names).await.map(drop)
    }

    /// One command a channel, of which each has one confirmation.
    async fn listen(&self, command: &str, names: &[Name]) -> Result<Vec<Value>, String> {
        let command = if self.shared.is_cluster { format!("S{command}") } else { command.to_owned() };
        let mut commands = Pipeline::with_capacity(names.len());
        for name in names {
            commands.cmd(&command).arg(&self.shared.names.place(name).heard);
        }
        send(&self.listening, &commands, names.len(), self.shared.timeout).await
    }

    /// Compares where channels are with what their subscribers were told.
    async fn compare(&mut self, names: &[Name], is_certain: bool) -> Result<(), String> {
        let asked = names.iter().filter_map(|name| Some((name, self.shared.interests.told(name)?)));
        let asked: Vec<_> = asked.collect();
        let calls: Vec<_> = asked.iter().map(|(name, _)| self.shared.check(name, &self.session.run)).collect();
        let answers = self.session.ask_all(&calls, self.shared.timeout).await?;
        for ((name, asked), answer) in asked.into_iter().zip(answers) {
            let answer = match answer.extract_error() {
                Ok(answer) => answer,
                // Another node has the slot, or the script is gone and comes with the next command that needs it.
                Err(e) if e.code() == Some("MOVED") || e.code() == Some("NOSCRIPT") => {
                    self.shared.routes_wanted.notify_one();
                    continue;
                }
                // What is wrong with one channel concerns no other.
                Err(e) if e.code().is_some_and(|code| !matches!(code, "READONLY" | "MASTERDOWN" | "NOAUTH")) => {
                    self.shared.not_understood(name);
                    continue;
                }
                Err(e) => return Err(e.to_string()),
            };
            let Some((position, _)) = script::position(answer) else {
                self.shared.not_understood(name);
                continue;
            };
            self.compared += 1;
            match self.shared.interests.compare(name, &asked, position, &self.session.run, is_certain) {
                Found::Anew => self.anew += 1,
                Found::Doubt => self.doubts.push((Arc::clone(name), asked, position)),
                Found::Same | Found::Behind => {}
            }
        }
        Ok(())
    }

    async fn leave(&mut self, leaves: Vec<(Name, Arc<str>)>) -> Result<(), String> {
        let (here, elsewhere): (Vec<_>, Vec<_>) = leaves.into_iter().partition(|(channel, _)| self.is_here(channel));
        // The queue is everybody's; a comparison takes a leave to the node that it is for.
        for (channel, _) in &elsewhere {
            self.shared.own.doubt(channel);
        }
        // Until they are known to have arrived; the session may end at any time.
        let doubts: Vec<_> = here.iter().map(|(channel, _)| self.shared.own.doubt(channel)).collect();
        let calls = here.iter().map(|(channel, id)| self.shared.presence("leave", channel).with(id.as_bytes()));
        let answers = self.session.ask_all(&calls.collect::<Vec<_>>(), self.shared.timeout).await?;
        for (((channel, _), doubt), answer) in here.iter().zip(doubts).zip(answers).rev() {
            if !matches!(answer, Value::ServerError(_)) {
                self.shared.own.settle(channel, doubt);
            }
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), String> {
        self.session.ping(self.shared.timeout).await?;
        ping(&self.listening, self.shared.timeout).await?;
        for name in std::mem::take(&mut self.moved) {
            self.node.want(&name);
        }
        // What was on its way has come by now: before the answer to the ping.
        for (name, asked, position) in std::mem::take(&mut self.doubts) {
            self.shared.interests.compare(&name, &asked, position, &self.session.run, true);
        }
        loop {
            let until = Instant::now().checked_sub(LINGER).unwrap_or_else(Instant::now);
            let names = self.node.take_leaving(until, BATCH);
            if names.is_empty() {
                break;
            }
            let gone: Vec<_> = names.into_iter().filter(|name| self.shared.interests.forget(self.node, name)).collect();
            self.unsubscribe(&gone).await?;
        }
        let mut due = self.heard.len().div_ceil(ROUND);
        while due > 0 {
            let count = due.min(BATCH).min(self.heard.len());
            due -= count;
            let names: Vec<_> = self.heard.drain(..count).collect();
            let names: Vec<_> =
                names.into_iter().filter(|name| self.shared.interests.is_heard(self.node, name)).collect();
            self.compare(&names, false).await?;
            self.heard.extend(names);
        }
        self.presence().await?;
        self.ticks += 1;
        Ok(())
    }

    /// Says that this process lives, and what Redis may not know of its members.
    async fn presence(&mut self) -> Result<(), String> {
        if self.ticks.is_multiple_of(BEAT) {
            let channels = self.shared.own.channels(|channel| self.is_here(channel));
            for channels in channels.chunks(BATCH) {
                let calls: Vec<_> = channels.iter().map(|channel| self.shared.presence("beat", channel)).collect();
                let answers = self.session.ask_all(&calls, self.shared.timeout).await?;
                for (channel, answer) in channels.iter().zip(answers) {
                    if answer != Value::Int(1) {
                        self.shared.own.doubt(channel);
                    }
                }
            }
        }
        let mut failed = Vec::new();
        while let Some((channel, members)) = self.shared.own.take_dirty(|channel| self.is_here(channel)) {
            let call = members.into_iter().fold(self.shared.presence("mine", &channel), |call, (id, encoded)| {
                call.with(id.as_bytes()).with(encoded)
            });
            let counts = self.shared.counts();
            if self.session.ask(&call, self.shared.timeout, &self.shared.flight, counts).await.is_err() {
                failed.push(channel);
                if failed.len() == FAILED_MAX {
                    break;
                }
            }
        }
        for channel in &failed {
            self.shared.own.doubt(channel);
        }
        Ok(())
    }

    fn is_here(&self, channel: &str) -> bool {
        self.shared.node(channel).is_some_and(|node| Arc::ptr_eq(&node, self.node))
    }
}

/// After which a process that says nothing is dead; here, so that it is seen beside the beat.
const _: () = assert!(own::LIFE.as_secs() as usize >= 3 * BEAT);
