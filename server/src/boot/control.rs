//! The control thread: starts the workers, then listens to signals and to the admin API.

use std::{
    fmt,
    io::Write,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rsp_core::config::{Address, Config, Listener};
use tokio::sync::{mpsc, oneshot};

use super::{
    BAD_CONFIG, CANNOT_LISTEN, ENDED, Loaded, load,
    load::Origin,
    signals::{Signals, Wish},
    status,
    worker::{self, Handle, Message, Plan, Shared},
};
use crate::{
    dispatch::{Current, Worker},
    handler::{
        Handler,
        admin::{Admin, Command, Operations},
    },
    listen::{BindError, Bound, accept, bind},
    observe::{AccessLogs, Metrics, timestamp},
    protocol,
    route::{self, Snapshot},
    upstream::Registry,
};

/// Commands of the admin API that may wait at once; more wait in their connections.
const COMMANDS_MAX: usize = 16;

/// How long the access log may take to write out its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A running rsp, as its control thread sees it.
pub struct Control {
    origin: Origin,
    snapshot: Arc<Snapshot>,
    shared: Shared,
    logs: AccessLogs,
    workers: Vec<Handle>,
    /// Bound, and not yet accepted from.
    bound: Vec<Bound>,
    listening: Vec<Address>,
    admin: Option<(Bound, Admin)>,
    admin_address: Address,
    commands: mpsc::Receiver<Command>,
    started: Instant,
}

/// Why rsp did not start.
pub enum StartError {
    /// The config can't be run.
    Config(String),
    /// An address can't be listened on.
    Bind(BindError),
}

impl StartError {
    /// For the shell.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => BAD_CONFIG,
            Self::Bind(_) => CANNOT_LISTEN,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(why) => f.write_str(why),
            Self::Bind(e) => e.fmt(f),
        }
    }
}

impl Control {
    /// Builds everything, then binds.
    pub fn start(origin: Origin, loaded: Loaded) -> Result<Self, StartError> {
        let metrics = Metrics::new();
        let logs = AccessLogs::new(Arc::clone(&metrics));
        let shared = Shared {
            registry: Arc::new(Registry::new(Arc::clone(&metrics))),
            metrics: Arc::clone(&metrics),
            connections: Arc::default(),
        };
        let plan = plan(&loaded, &shared, &logs).map_err(StartError::Config)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = loaded.config.workers.map_or(cores, usize::from);
        let workers = (0..count)
            .map(|number| worker::spawn(number, plan.clone(), shared.clone()).map_err(StartError::Config))
            .collect::<Result<Vec<_>, _>>()?;
        let bound = loaded.config.listeners.iter().map(|listener| bind(listener, count));
        let bound = bound.collect::<Result<Vec<_>, _>>().map_err(StartError::Bind)?;
        let admin_address = admin_address(&loaded.config, &origin);
        let admin_bound = bind(&admin_listener(&admin_address), 1).map_err(StartError::Bind)?;
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let admin = Admin {
            operations: Operations { commands: sender },
            metrics,
            registry: Arc::clone(&shared.registry),
            token: loaded.config.admin.token.clone(),
        };
        Ok(Self {
            origin,
            snapshot: plan.snapshot,
            shared,
            logs,
            workers,
            bound,
            listening: Vec::new(),
            admin: Some((admin_bound, admin)),
            admin_address,
            commands,
            started: Instant::now(),
        })
    }

    /// Lets the workers accept, and runs until told to end; the exit code.
    pub fn run(mut self) -> u8 {
        let runtime = match tokio::runtime::LocalRuntime::new() {
            Ok(runtime) => runtime,
            Err(e) => {
                tracing::error!("no runtime for the control thread: {e}");
                return BAD_CONFIG;
            }
        };
        let code = runtime.block_on(self.control());
        self.logs.flush_and_close(LAST_LINES);
        for address in self.listening.iter().chain([&self.admin_address]) {
            remove_socket(address);
        }
        code
    }

    async fn control(&mut self) -> u8 {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(e) => {
                tracing::error!("no signals: {e}");
                return BAD_CONFIG;
            }
        };
        // Who reads that it has started may send a signal at once.
        for bound in std::mem::take(&mut self.bound) {
            self.listen(bound).await;
        }
        // A shell that closed its end wants no greeting.
        let _ = std::io::stdout().write_all(self.origin.greeting().as_bytes());
        let _serving = self.serve_admin();
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Reload => drop(self.reload().await),
                    Wish::Reopen => self.logs.reopen(),
                    Wish::Drain => return self.drain(&mut signals).await,
                },
                Some(command) = self.commands.recv() => match command {
                    Command::Reload(answer) => drop(answer.send(self.reload().await)),
                    Command::Status(answer) => drop(answer.send(self.status())),
                    Command::Drain => return self.drain(&mut signals).await,
                    Command::Stop => return ENDED,
                },
            }
        }
    }

    /// Serves the admin API on this thread, through the same codec as every site.
    fn serve_admin(&mut self) -> Option<oneshot::Sender<()>> {
        let (bound, admin) = self.admin.take()?;
        let share = bound.shares.into_iter().next()?;
        let shared = route::Shared { registry: &self.shared.registry, metrics: &self.shared.metrics, logs: &self.logs };
        let snapshot = match Snapshot::serving(Handler::Admin(admin), &shared) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(e) => {
                tracing::error!("no admin API: {e}");
                return None;
            }
        };
        let current = Current { snapshot, engine: None };
        let worker = Worker::new(current, Arc::clone(&self.shared.registry), Arc::clone(&self.shared.metrics));
        let counts = self.shared.metrics.listener("admin");
        let origin = Rc::new(protocol::Origin { address: bound.address, counts });
        let (stop, stopped) = oneshot::channel();
        let accepting = accept(share, origin, worker, Arc::default(), stopped);
        tokio::task::spawn_local(async move {
            if let Err(e) = accepting.await {
                tracing::error!("the admin API ended: {e}");
            }
        });
        Some(stop)
    }

    /// Lets every worker accept from an address, and says so.
    async fn listen(&mut self, bound: Bound) {
        // The first line of this shape is what scripts wait for.
        let place = match &bound.address {
            Address::Tcp(address) => format!("port {}", address.port()),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        let address = bound.spec.address;
        for (worker, share) in self.workers.iter().zip(bound.shares) {
            worker.tell(Message::Listen(address.clone(), share)).await;
        }
        self.listening.push(address);
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{} Started.  Listening on {place}.", timestamp()).and_then(|()| out.flush());
    }

    /// Swaps the running config for what the file says now; the error is the diagnostic, and nothing has changed.
    async fn reload(&mut self) -> Result<String, String> {
        let outcome = self.try_reload().await;
        self.shared.registry.settle(&self.snapshot.groups);
        let counter =
            if outcome.is_ok() { &self.shared.metrics.reloads_ok } else { &self.shared.metrics.reloads_failed };
        counter.inc();
        match &outcome {
            Ok(warnings) if warnings.is_empty() => tracing::info!("reloaded"),
            Ok(warnings) => tracing::warn!("reloaded\n{warnings}"),
            Err(diagnostic) => tracing::error!("reload refused, nothing has changed\n{diagnostic}"),
        }
        outcome
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        let mut loaded = load::load(&self.origin)?;
        if loaded.config.workers != self.snapshot.config.workers {
            loaded.warnings.push_str("warning: `workers` can't change on reload; it stays as it was\n");
        }
        let running = &self.snapshot.config;
        let new_token = loaded.config.admin.token != running.admin.token;
        if new_token || admin_address(&loaded.config, &self.origin) != self.admin_address {
            loaded.warnings.push_str("warning: `admin` can't change on reload; address and token stay as they were\n");
        }
        let changed = |new: &&Listener| running.listeners.iter().any(|old| old.address == new.address && old != *new);
        for listener in loaded.config.listeners.iter().filter(changed) {
            let address = &listener.address;
            let warning =
                format!("warning: the options of `listen` {address} can't change on reload; they stay as they were\n");
            loaded.warnings.push_str(&warning);
        }
        let new = loaded.config.listeners.iter().filter(|listener| !self.listening.contains(&listener.address));
        let bound = new.map(|listener| bind(listener, self.workers.len()));
        let bound = bound.collect::<Result<Vec<_>, _>>().map_err(|e| format!("{e}\n"))?;
        let plan = plan(&loaded, &self.shared, &self.logs)?;
        for worker in &self.workers {
            worker.prepare(plan.clone()).await?;
        }
        for worker in &self.workers {
            worker.tell(Message::Commit).await;
        }
        for bound in bound {
            self.listen(bound).await;
        }
        let wanted = |address: &Address| loaded.config.listeners.iter().any(|listener| listener.address == *address);
        let (stay, go) = std::mem::take(&mut self.listening).into_iter().partition::<Vec<_>, _>(wanted);
        self.listening = stay;
        for address in go {
            for worker in &self.workers {
                worker.tell(Message::Unlisten(address.clone())).await;
            }
            remove_socket(&address);
        }
        self.snapshot = plan.snapshot;
        Ok(loaded.warnings)
    }

    /// Ends what is idle, waits for what is busy, and gives up after `drain`, or at a second signal.
    async fn drain(&mut self, signals: &mut Signals) -> u8 {
        tracing::info!("draining for {:?} at most", self.snapshot.config.drain);
        let mut emptied = Vec::new();
        for worker in &self.workers {
            emptied.push(worker.drain().await);
        }
        let all = async {
            for worker in emptied {
                // A worker that is gone is empty.
                let _ = worker.await;
            }
        };
        tokio::select! {
            () = all => tracing::info!("drained"),
            () = tokio::time::sleep(self.snapshot.config.drain) => tracing::warn!("the drain took too long; closing what is left"),
            () = second(signals) => tracing::warn!("told twice; closing what is left"),
        }
        ENDED
    }

    fn status(&self) -> serde_json::Value {
        status::status(&self.snapshot.config, &self.shared, self.workers.len(), self.started.elapsed())
    }
}

impl Handle {
    async fn tell(&self, message: Message) {
        // A worker that panicked has no inbox; the others go on.
        if self.inbox.send(message).await.is_err() {
            tracing::error!("a worker has ended");
        }
    }

    async fn prepare(&self, plan: Plan) -> Result<(), String> {
        let (answer, outcome) = oneshot::channel();
        self.tell(Message::Prepare(plan, answer)).await;
        outcome.await.map_err(|_| "a worker has ended\n".to_owned())?
    }

    async fn drain(&self) -> oneshot::Receiver<()> {
        let (answer, emptied) = oneshot::channel();
        self.tell(Message::Drain(answer)).await;
        emptied
    }
}

/// A second TERM or INT.
async fn second(signals: &mut Signals) {
    while signals.next().await != Wish::Drain {}
}

fn plan(loaded: &Loaded, shared: &Shared, logs: &AccessLogs) -> Result<Plan, String> {
    let parts = route::Shared { registry: &shared.registry, metrics: &shared.metrics, logs };
    let snapshot = Snapshot::build(Arc::clone(&loaded.config), &parts).map_err(|e| format!("{e}\n"))?;
    let sources = (loaded.config.functions > 0).then(|| Arc::clone(&loaded.sources));
    Ok(Plan { snapshot: Arc::new(snapshot), sources })
}

fn admin_address(config: &Config, origin: &Origin) -> Address {
    config.admin.address.clone().unwrap_or_else(|| Address::Unix(origin.admin_socket()))
}

fn admin_listener(address: &Address) -> Listener {
    Listener { address: address.clone(), mode: 0o600, backlog: 64 }
}

fn remove_socket(address: &Address) {
    if let Address::Unix(path) = address {
        // Gone already is as good.
        let _ = std::fs::remove_file(path);
    }
}
