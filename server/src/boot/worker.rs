//! One worker thread: its runtime, its inbox and its listening sockets.

use std::{collections::HashMap, io, rc::Rc, sync::Arc, thread};

use rsp_core::config::{Address, Listener};
use tokio::sync::{mpsc, oneshot};

use super::memory;
use crate::{
    dispatch::{self, Current, Worker},
    filter::auth,
    limit::{Connections, Limiters},
    listen::{HandedOver, Share, accept},
    protocol::Origin,
    route::Snapshot,
    script::{Engine, Services, Sources},
    tls::Identities,
};

/// What every worker shares.
#[derive(Clone)]
pub struct Shared {
    /// What requests are served with.
    pub serving: dispatch::Shared,
    /// Limits by name.
    pub limiters: Arc<Limiters>,
    /// Who was let pass by `auth`.
    pub auth: Arc<auth::Known>,
    /// Open connections of the process.
    pub connections: Arc<Connections>,
    /// What TLS connections are opened with.
    pub identities: Arc<Identities>,
}

/// A config for a worker: the snapshot, and what its functions are made from.
#[derive(Clone)]
pub struct Plan {
    /// Sites and routes.
    pub snapshot: Arc<Snapshot>,
    /// Texts of the config; None when it has no functions.
    pub sources: Option<Arc<Sources>>,
}

/// What the control thread tells a worker.
pub enum Message {
    /// Get ready for another config, and say whether that worked.
    Prepare(Plan, oneshot::Sender<Result<(), String>>),
    /// Serve from what was prepared; answer when the old one is let go of.
    Commit(oneshot::Sender<()>),
    /// Accept from one more socket of an address.
    Listen(Listener, Share),
    /// Empty and close an address.
    Unlisten(Address),
    /// Close an address at once: a successor accepts from its queue.
    HandOver(Address),
    /// Say that you are alive.
    Ping(oneshot::Sender<()>),
    /// Stop accepting, end what is idle; answer when no connection is left.
    Drain(oneshot::Sender<()>),
}

/// Messages that may wait for a worker: one for each listener of the largest config, and those of a reload. Control
/// waits for the answers, so that a second reload never comes on top.
const INBOX_MAX: usize = 65_536;

/// The control thread's end of a worker.
#[derive(Clone)]
pub struct Handle {
    /// Where messages go.
    pub inbox: mpsc::Sender<Message>,
}

/// Starts a worker; fails when its functions can't be built.
pub fn spawn(number: usize, plan: Plan, shared: Shared) -> Result<Handle, String> {
    let (inbox, messages) = mpsc::channel(INBOX_MAX);
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let spawned = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = match tokio::runtime::LocalRuntime::new() {
            Ok(runtime) => runtime,
            Err(e) => return drop(ready.send(Err(e.to_string()))),
        };
        runtime.block_on(async move {
            match prepare(plan, &shared) {
                Ok(current) => {
                    // The control thread waits for this.
                    let _ = ready.send(Ok(()));
                    work(current, shared, messages).await;
                }
                Err(e) => drop(ready.send(Err(e))),
            }
        });
    });
    spawned.map_err(|e| e.to_string())?;
    started.recv().map_err(|_| "the worker ended while it started".to_owned())??;
    Ok(Handle { inbox })
}

/// A config that makes us panic is refused; the worker goes on with the one it has.
fn unharmed<T>(prepare: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a panic leaves half done is dropped with the closure; nothing outside of it has been touched.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(prepare));
    outcome.unwrap_or_else(|_| Err("a worker panicked over this config; please report it\n".to_owned()))
}

fn prepare(plan: Plan, shared: &Shared) -> Result<Current, String> {
    let engine = match plan.sources {
        None => None,
        Some(sources) => {
            let engine = Rc::new(engine(&sources, &plan.snapshot, shared)?);
            memory::give_back();
            Some(engine)
        }
    };
    Ok(Current { snapshot: plan.snapshot, engine })
}

fn engine(sources: &Arc<Sources>, snapshot: &Snapshot, shared: &Shared) -> Result<Engine, String> {
    let services =
        Services { broker: Arc::clone(&shared.serving.broker), metrics: Arc::clone(&shared.serving.metrics) };
    Engine::new(sources, &snapshot.config, services).map_err(|failed| failed.render())
}

async fn work(current: Current, shared: Shared, mut messages: mpsc::Receiver<Message>) {
    let worker = Worker::new(current, &shared.serving);
    tokio::task::spawn_local(Rc::clone(&worker.hub).run_for_ever());
    let sweeping = Rc::clone(&worker);
    tokio::task::spawn_local(async move { sweeping.pools.sweep_for_ever().await });
    tokio::task::spawn_local(crate::handler::sweep_for_ever());
    tokio::task::spawn_local(memory::give_back_for_ever(Arc::clone(&shared.serving.broker)));
    let mut listening: HashMap<Address, Vec<Open>> = HashMap::new();
    let mut prepared = None;
    while let Some(message) = messages.recv().await {
        match message {
            Message::Prepare(plan, answer) => {
                let outcome = unharmed(|| prepare(plan, &shared)).map(|current| prepared = Some(current));
                // A control thread that gave up on the reload needs no answer.
                let _ = answer.send(outcome);
            }
            Message::Commit(done) => {
                if let Some(current) = prepared.take() {
                    worker.replace(current);
                }
                for listener in &worker.current().snapshot.config.listeners {
                    let open = listening.get(&listener.address);
                    open.into_iter().flatten().for_each(|open| open.origin.change(listener));
                }
                let _ = done.send(());
            }
            Message::Listen(listener, share) => {
                let open = open(share, &listener, &worker, &shared);
                listening.entry(listener.address).or_default().push(open);
            }
            Message::Unlisten(address) => drop(listening.remove(&address)),
            Message::HandOver(address) => {
                for open in listening.remove(&address).into_iter().flatten() {
                    // One that has ended has nothing to hand over.
                    let _ = open.stop.send(HandedOver);
                }
            }
            // A control thread that waits no longer needs no answer.
            Message::Ping(alive) => drop(alive.send(())),
            Message::Drain(emptied) => {
                listening.clear();
                drain(&worker, emptied);
            }
        }
    }
}

impl Handle {
    /// Queues a message.
    pub fn tell(&self, message: Message) {
        // A worker that panicked has no inbox; the others go on.
        if let Err(e) = self.inbox.try_send(message) {
            tracing::error!("a worker takes no message: {e}");
        }
    }

    /// Lets the worker get ready for another config.
    pub async fn prepare(&self, plan: Plan) -> Result<(), String> {
        let (answer, outcome) = oneshot::channel();
        self.tell(Message::Prepare(plan, answer));
        outcome.await.map_err(|_| "a worker has ended\n".to_owned())?
    }

    /// Lets the worker serve from what it has prepared; resolves when it has let go of the old one.
    pub async fn commit(&self) {
        let (answer, committed) = oneshot::channel();
        self.tell(Message::Commit(answer));
        // A worker that has ended serves nothing.
        let _ = committed.await;
    }

    /// Resolves when no connection is left, or the worker is gone.
    pub fn drain(&self) -> oneshot::Receiver<()> {
        let (answer, emptied) = oneshot::channel();
        self.tell(Message::Drain(answer));
        emptied
    }

    /// Whether the worker has come to this message; false: it is gone.
    pub async fn is_alive(&self) -> bool {
        let (answer, alive) = oneshot::channel();
        self.inbox.try_send(Message::Ping(answer)).is_ok() && alive.await.is_ok()
    }
}

/// One socket that is accepted from.
struct Open {
    origin: Rc<Origin>,
    /// Dropped or sent, its end.
    stop: oneshot::Sender<HandedOver>,
}

fn open(share: Share, listener: &Listener, worker: &Rc<Worker>, shared: &Shared) -> Open {
    let (stop, stopped) = oneshot::channel();
    let counts = shared.serving.metrics.listener(&listener.address.to_string());
    let origin = Rc::new(Origin::new(listener, counts));
    let accepting = Rc::clone(&origin);
    let (worker, connections) = (Rc::clone(worker), Arc::clone(&shared.connections));
    tokio::task::spawn_local(async move {
        let ended: io::Result<()> = accept(share, Rc::clone(&accepting), worker, connections, stopped).await;
        if let Err(e) = ended {
            tracing::error!("{}: {e}", accepting.address);
        }
    });
    Open { origin, stop }
}

fn drain(worker: &Rc<Worker>, emptied: oneshot::Sender<()>) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        // The accept loops take what is queued first.
        tokio::task::yield_now().await;
        let time = worker.current().snapshot.config.drain;
        worker.hub.drain(time * 3 / 4);
        worker.sessions.end_after(time * 7 / 8);
        worker.drain.begin();
        worker.drain.emptied().await;
        let _ = emptied.send(());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_over_a_config_is_a_refusal() {
        let refused = unharmed(|| -> Result<(), String> { panic!("over the config") });
        assert!(refused.unwrap_err().contains("panicked"));
        assert_eq!(unharmed(|| Ok(1)), Ok(1));
    }
}
