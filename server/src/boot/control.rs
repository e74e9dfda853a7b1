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
    memory,
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
    listen::{BindError, Bound, accept, bind, bind_all, discard, remove_socket},
    observe::{AccessLogs, Metrics, timestamp},
    protocol,
    route::{self, Snapshot},
    upstream::{Desk, Registry, Resolver, follow_for_ever},
};

/// Commands of the admin API that may wait at once; more wait in their connections.
const COMMANDS_MAX: usize = 16;

/// How long the access log may take to write out its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long the answers of the admin API may take to leave at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A running rsp, as its control thread sees it.
pub struct Control {
    origin: Origin,
    config: Arc<Config>,
    /// What the workers serve from; its upstreams are the running ones.
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
    resolver: Resolver,
    /// What answers the resolver, until it runs.
    desk: Option<Desk>,
    started: Instant,
    last_reload: Option<status::Reload>,
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
        let (resolver, desk) = Resolver::new();
        resolver.use_servers(&loaded.config.resolver);
        let shared = Shared {
            registry: Arc::new(Registry::new(Arc::clone(&metrics), resolver.clone())),
            limiters: Arc::default(),
            metrics: Arc::clone(&metrics),
            auth: Arc::default(),
            connections: Arc::default(),
        };
        let plan = plan(&loaded, &shared, &logs).map_err(StartError::Config)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = loaded.config.workers.map_or(cores, usize::from);
        let workers = (0..count)
            .map(|number| worker::spawn(number, plan.clone(), shared.clone()).map_err(StartError::Config))
            .collect::<Result<Vec<_>, _>>()?;
        let bound = bind_all(loaded.config.listeners.iter(), count).map_err(StartError::Bind)?;
        let admin_address = admin_address(&loaded.config, &origin);
        let admin_bound = match bind(&admin_listener(&admin_address), 1) {
            Ok(admin) => admin,
            Err(e) => {
                discard(bound);
                return Err(StartError::Bind(e));
            }
        };
        memory::give_back();
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let admin =
            Admin { operations: Operations { commands: sender }, metrics, token: loaded.config.admin.token.clone() };
        Ok(Self {
            origin,
            config: loaded.config,
            snapshot: plan.snapshot,
            shared,
            logs,
            workers,
            bound,
            listening: Vec::new(),
            admin: Some((admin_bound, admin)),
            admin_address,
            commands,
            resolver,
            desk: Some(desk),
            started: Instant::now(),
            last_reload: None,
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
        if let Some(desk) = self.desk.take() {
            tokio::task::spawn_local(desk.serve());
            tokio::task::spawn_local(follow_for_ever(Arc::clone(&self.shared.registry)));
        }
        let serving = self.serve_admin();
        // Who reads that it has started may send a signal at once.
        std::mem::take(&mut self.bound).into_iter().for_each(|bound| self.listen(bound));
        // A shell that closed its end wants no greeting.
        let _ = std::io::stdout().write_all(self.origin.greeting().as_bytes());
        self.serve(&mut signals).await;
        if let Some((admin, _stop)) = serving {
            // Who asked for the end gets the answer.
            admin.drain.begin();
            let _ = tokio::time::timeout(LAST_ANSWERS, admin.drain.emptied()).await;
        }
        ENDED
    }

    /// Does what signals and the admin API ask for, until it is time to end.
    async fn serve(&mut self, signals: &mut Signals) {
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Reload => drop(self.reload().await),
                    Wish::Reopen => self.logs.reopen(),
                    Wish::Drain => return self.drain(signals).await,
                },
                Some(command) = self.commands.recv() => match command {
                    Command::Reload(answer) => drop(answer.send(self.reload().await)),
                    Command::Status(answer) => drop(answer.send(self.status())),
                    Command::Drain => return self.drain(signals).await,
                    Command::Stop => return,
                },
            }
        }
    }

    /// Serves the admin API on this thread, through the same codec as every site, until the sender is dropped.
    fn serve_admin(&mut self) -> Option<(Rc<Worker>, oneshot::Sender<()>)> {
        let (bound, admin) = self.admin.take()?;
        let share = bound.shares.into_iter().next()?;
        let snapshot = match Snapshot::serving(Handler::Admin(Box::new(admin)), &lasting(&self.shared, &self.logs)) {
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
        let accepting = accept(share, origin, Rc::clone(&worker), Arc::default(), stopped);
        tokio::task::spawn_local(async move {
            if let Err(e) = accepting.await {
                tracing::error!("the admin API ended: {e}");
            }
        });
        Some((worker, stop))
    }

    /// Lets every worker accept from an address, and says so.
    fn listen(&mut self, bound: Bound) {
        // The first line of this shape is what scripts wait for.
        let place = match &bound.address {
            Address::Tcp(address) => format!("port {}", address.port()),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        let address = bound.spec.address;
        for (worker, share) in self.workers.iter().zip(bound.shares) {
            worker.tell(Message::Listen(address.clone(), share));
        }
        self.listening.push(address);
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{} Started.  Listening on {place}.", timestamp()).and_then(|()| out.flush());
    }

    /// Swaps the running config for what the file says now; the error is the diagnostic, and nothing has changed.
    async fn reload(&mut self) -> Result<String, String> {
        let outcome = self.try_reload().await;
        memory::give_back();
        let counter =
            if outcome.is_ok() { &self.shared.metrics.reloads_ok } else { &self.shared.metrics.reloads_failed };
        counter.inc();
        let refused = outcome.as_ref().err().map(|why| why.lines().next().unwrap_or_default().to_owned());
        self.last_reload = Some(status::Reload { at: timestamp().trim_matches(['[', ']']).to_owned(), refused });
        match &outcome {
            Ok(warnings) if warnings.is_empty() => tracing::info!("reloaded"),
            Ok(warnings) => tracing::warn!("reloaded\n{warnings}"),
            Err(diagnostic) => tracing::error!("reload refused, nothing has changed\n{diagnostic}"),
        }
        outcome
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        let mut loaded = load::load(&self.origin)?;
        loaded.warnings.push_str(&self.unchangeable(&loaded.config));
        let new = loaded.config.listeners.iter().filter(|listener| !self.listening.contains(&listener.address));
        let bound = bind_all(new, self.workers.len()).map_err(|e| format!("{e}\n"))?;
        let old = match self.prepare(&loaded).await {
            Ok(snapshot) => std::mem::replace(&mut self.snapshot, snapshot),
            Err(e) => {
                discard(bound);
                // The refused config's upstreams took the places of those that go on running.
                self.shared.registry.settle(&self.snapshot.groups);
                return Err(e);
            }
        };
        self.resolver.use_servers(&loaded.config.resolver);
        for worker in &self.workers {
            worker.commit().await;
        }
        // The last owner takes its time to free a large one, and a worker has none.
        drop(old);
        self.shared.registry.settle(&self.snapshot.groups);
        self.shared.limiters.settle();
        bound.into_iter().for_each(|bound| self.listen(bound));
        let wanted: Vec<_> = loaded.config.listeners.iter().map(|listener| &listener.address).collect();
        self.listening.retain(|address| {
            let stays = wanted.contains(&address);
            if !stays {
                self.workers.iter().for_each(|worker| worker.tell(Message::Unlisten(address.clone())));
                remove_socket(address);
            }
            stays
        });
        self.config = loaded.config;
        Ok(loaded.warnings)
    }

    /// Warnings about what stays as it was, whatever the new config says.
    fn unchangeable(&self, new: &Config) -> String {
        let mut warnings = String::new();
        if new.workers != self.config.workers {
            warnings.push_str("warning: `workers` can't change on reload; it stays as it was\n");
        }
        let new_token = new.admin.token != self.config.admin.token;
        if new_token || admin_address(new, &self.origin) != self.admin_address {
            warnings.push_str("warning: `admin` can't change on reload; its address and token stay as they were\n");
        }
        let changed =
            |new: &&Listener| self.config.listeners.iter().any(|old| old.address == new.address && old != *new);
        for Listener { address, .. } in new.listeners.iter().filter(changed) {
            warnings +=
                &format!("warning: the options of `listen` {address} can't change on reload; they stay as they were\n");
        }
        warnings
    }

    /// Builds what `loaded` declares, and lets every worker get ready for it.
    async fn prepare(&self, loaded: &Loaded) -> Result<Arc<Snapshot>, String> {
        let plan = plan(loaded, &self.shared, &self.logs)?;
        for worker in &self.workers {
            worker.prepare(plan.clone()).await?;
        }
        Ok(plan.snapshot)
    }

    /// Ends what is idle, waits for what is busy, and gives up after `drain`, at a second signal or at `rsp stop`.
    async fn drain(&mut self, signals: &mut Signals) {
        tracing::info!("draining for {:?} at most", self.config.drain);
        let emptied: Vec<_> = self.workers.iter().map(Handle::drain).collect();
        let all = async {
            for worker in emptied {
                // A worker that is gone is empty.
                let _ = worker.await;
            }
        };
        let mut all = std::pin::pin!(all);
        let mut too_long = std::pin::pin!(tokio::time::sleep(self.config.drain));
        loop {
            tokio::select! {
                () = &mut all => return tracing::info!("drained"),
                () = &mut too_long => return tracing::warn!("the drain took too long; closing what is left"),
                wish = signals.next() => match wish {
                    Wish::Drain => return tracing::warn!("told twice; closing what is left"),
                    Wish::Reopen => self.logs.reopen(),
                    Wish::Reload => tracing::warn!("draining: there will be no reload"),
                },
                Some(command) = self.commands.recv() => match command {
                    Command::Stop => return tracing::warn!("told to stop; closing what is left"),
                    Command::Drain => {}
                    Command::Status(answer) => drop(answer.send(self.status())),
                    Command::Reload(answer) => drop(answer.send(Err("draining: there will be no reload\n".to_owned()))),
                },
            }
        }
    }

    fn status(&self) -> serde_json::Value {
        status::status(&status::Facts {
            config: &self.config,
            file: self.origin.file(),
            shared: &self.shared,
            workers: self.workers.len(),
            uptime: self.started.elapsed(),
            last_reload: self.last_reload.as_ref(),
        })
    }
}

impl Handle {
    fn tell(&self, message: Message) {
        // A worker that panicked has no inbox; the others go on.
        if let Err(e) = self.inbox.try_send(message) {
            tracing::error!("a worker takes no message: {e}");
        }
    }

    async fn prepare(&self, plan: Plan) -> Result<(), String> {
        let (answer, outcome) = oneshot::channel();
        self.tell(Message::Prepare(plan, answer));
        outcome.await.map_err(|_| "a worker has ended\n".to_owned())?
    }

    async fn commit(&self) {
        let (answer, committed) = oneshot::channel();
        self.tell(Message::Commit(answer));
        // A worker that has ended serves nothing.
        let _ = committed.await;
    }

    fn drain(&self) -> oneshot::Receiver<()> {
        let (answer, emptied) = oneshot::channel();
        self.tell(Message::Drain(answer));
        emptied
    }
}

fn plan(loaded: &Loaded, shared: &Shared, logs: &AccessLogs) -> Result<Plan, String> {
    let snapshot = Snapshot::build(Arc::clone(&loaded.config), &lasting(shared, logs)).map_err(|e| format!("{e}\n"))?;
    let sources = (loaded.config.functions > 0).then(|| Arc::clone(&loaded.sources));
    Ok(Plan { snapshot: Arc::new(snapshot), sources })
}

/// What outlives a snapshot.
fn lasting<'a>(shared: &'a Shared, logs: &'a AccessLogs) -> route::Shared<'a> {
    let Shared { registry, limiters, metrics, auth, .. } = shared;
    route::Shared { registry, metrics, limiters, logs, auth }
}

fn admin_address(config: &Config, origin: &Origin) -> Address {
    config.admin.address.clone().unwrap_or_else(|| Address::Unix(origin.admin_socket()))
}

fn admin_listener(address: &Address) -> Listener {
    Listener { address: address.clone(), mode: 0o600, backlog: 64 }
}
