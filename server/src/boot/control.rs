//! The control thread: starts the workers, then listens to signals and to the admin API.

use std::{
    fmt,
    io::Write,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rsp_core::config::{Address, Config, Listener, secret_path};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    BAD_CONFIG, CANNOT_LISTEN, ENDED, Loaded, broker,
    ending::Upgrading,
    load::Origin,
    memory,
    signals::{Signals, Wish},
    status,
    succession::{Predecessor, Succession},
    supervisor,
    upgrade::Startup,
    watch::Watch,
    worker::{self, Handle, Message, Plan, Shared},
};
use crate::{
    dispatch::{self, Current, Worker},
    handler::{
        Handler,
        admin::{Admin, Command, Operations},
        exec::Residents,
    },
    listen::{
        BindError, Bound, HandedOver, Heirloom, Inherited, accept, bind, bind_all, discard, give_socket, remove_socket,
    },
    observe::{AccessLogs, Metrics, timestamp},
    process::Spawner,
    protocol,
    route::{self, Snapshot},
    session,
    tls::{Acme, Identities},
    upstream::{Desk, Probes, Registry, Resolver, Secret, follow_for_ever},
};

/// Commands of the admin API that may wait at once; more are refused.
const COMMANDS_MAX: usize = 16;

/// How long the access log may take to write out its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long the processes of programs may take to end: the ladder, and a moment.
const LAST_PROCESSES: Duration = Duration::from_secs(3);

/// How long the answers of the admin API may take to leave at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A running rsp, as its control thread sees it.
pub struct Control {
    pub(super) origin: Origin,
    /// What an upgrade starts.
    pub(super) startup: Startup,
    pub(super) config: Arc<Config>,
    /// The same, as the admin API sees it.
    pub(super) operators_config: Arc<ArcSwap<Config>>,
    /// What the workers serve from; its upstreams are the running ones.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) shared: Shared,
    pub(super) logs: AccessLogs,
    pub(super) workers: Vec<Handle>,
    /// Bound, and not yet accepted from.
    bound: Vec<Bound>,
    /// What the workers accept from; the sockets are held for a successor.
    pub(super) listening: Vec<Heirloom>,
    /// Sockets that no `listen` names.
    pub(super) inherited: Inherited,
    admin: Option<(Bound, Admin)>,
    pub(super) admin_listening: Option<Heirloom>,
    pub(super) admin_address: Address,
    pub(super) serving_admin: Option<ServingAdmin>,
    pub(super) commands: mpsc::Receiver<Command>,
    predecessor: Option<Predecessor>,
    /// Counts the processes of a row of upgrades; the first one is 1.
    pub(super) generation: u64,
    pub(super) upgrade: Option<Upgrading>,
    /// A successor serves; this process only ends.
    pub(super) succeeded: bool,
    /// Feeds the service manager's watchdog.
    pub(super) watchdog: Option<JoinHandle<()>>,
    pub(super) watch: Option<Watch>,
    pub(super) probes: Probes,
    pub(super) resolver: Resolver,
    /// What answers the resolver, until it runs.
    desk: Option<Desk>,
    started: Instant,
    pub(super) last_reload: Option<status::Reload>,
}

/// The admin API while it is served.
pub(super) struct ServingAdmin {
    worker: Rc<Worker>,
    /// None once a successor accepts.
    accepting: Option<(oneshot::Sender<HandedOver>, JoinHandle<()>)>,
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
            Self::Config(why) => f.write_str(why.trim_end()),
            Self::Bind(e) => e.fmt(f),
        }
    }
}

impl Control {
    /// Builds everything, then binds, then becomes who `user` names.
    pub fn start(
        origin: Origin,
        startup: Startup,
        loaded: Loaded,
        succession: &mut Succession,
        watch: Option<Watch>,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::new();
        let logs = AccessLogs::new(Arc::clone(&metrics));
        let (resolver, desk) = Resolver::new();
        resolver.use_servers(&loaded.config.resolver);
        let serving = serving(&loaded, &origin, &startup, &resolver, &metrics).map_err(StartError::Config)?;
        let (limiters, auth, connections) = Default::default();
        let identities = Identities::new(serving.acme.issued()).map_err(StartError::Config)?;
        let shared = Shared { serving, limiters, auth, connections, identities };
        let plan = plan(&loaded, &shared, &logs).map_err(StartError::Config)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = loaded.config.workers.map_or(cores, usize::from);
        let workers = (0..count)
            .map(|number| worker::spawn(number, plan.clone(), shared.clone()).map_err(StartError::Config))
            .collect::<Result<Vec<_>, _>>()?;
        let admin_address = admin_address(&loaded.config, &origin);
        let (bound, admin_bound) =
            open(&loaded, &admin_address, count, &shared.serving.registry.secret, &mut succession.inherited)?;
        memory::give_back();
        // As whom `user` names, and before pages are chosen, which whatever is started inherits.
        shared.serving.settle(&loaded.config).map_err(StartError::Config)?;
        memory::choose_pages();
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let operators_config = Arc::new(ArcSwap::new(Arc::clone(&loaded.config)));
        let admin = Admin {
            operations: Operations { commands: sender },
            metrics,
            config: Arc::clone(&operators_config),
            broker: Arc::clone(&shared.serving.broker),
            token: loaded.config.admin.token.clone(),
        };
        Ok(Self {
            origin,
            startup,
            config: loaded.config,
            operators_config,
            snapshot: plan.snapshot,
            shared,
            logs,
            workers,
            bound,
            listening: Vec::new(),
            inherited: std::mem::take(&mut succession.inherited),
            admin: Some((admin_bound, admin)),
            admin_listening: None,
            admin_address,
            serving_admin: None,
            commands,
            generation: succession.predecessor.as_ref().map_or(1, |predecessor| predecessor.generation + 1),
            predecessor: succession.predecessor.take(),
            upgrade: None,
            succeeded: false,
            watchdog: None,
            watch,
            probes: Probes::default(),
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
        let all = self.listening.iter().chain(&self.admin_listening);
        all.filter(|one| one.ours).for_each(|one| remove_socket(&one.address));
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
            tokio::task::spawn_local(follow_for_ever(Arc::clone(&self.shared.serving.registry)));
            tokio::task::spawn_local(Arc::clone(&self.shared.identities).follow_for_ever());
            let broker = Arc::clone(&self.shared.serving.broker);
            broker::keep(&broker);
            tokio::task::spawn_local(async move { broker.sweep_for_ever().await });
        }
        let predecessor = self.predecessor.take();
        if let Some(predecessor) = &predecessor
            && !predecessor.prepared(self.taken().iter())
        {
            tracing::warn!("the running rsp goes on without us");
            discard(std::mem::take(&mut self.bound));
            discard(self.admin.take().into_iter().map(|(bound, _)| bound).collect());
            return BAD_CONFIG;
        }
        self.probes.settle(&self.snapshot.groups);
        self.serving_admin = self.serve_admin();
        // Who reads that it has started may send a signal at once.
        std::mem::take(&mut self.bound).into_iter().for_each(|bound| self.listen(bound));
        self.say_what_nobody_wants();
        if predecessor.is_none() {
            // A shell that closed its end wants no greeting.
            let _ = std::io::stdout().write_all(self.origin.greeting().as_bytes());
        }
        for worker in &self.workers {
            // Its answer comes after it has begun to accept.
            worker.is_alive().await;
        }
        supervisor::ready(&self.summary(), predecessor.is_some());
        self.watchdog = Some(tokio::task::spawn_local(supervisor::keep_alive(self.workers.clone())));
        if predecessor.is_none_or(Predecessor::ready) {
            self.serve(&mut signals).await;
        } else {
            self.drain(&mut signals).await;
        }
        self.shared.serving.residents.end();
        self.shared.serving.spawner.end(LAST_PROCESSES).await;
        self.shared.serving.broker.end().await;
        if let Some(ServingAdmin { worker, .. }) = self.serving_admin.take() {
            // Who asked for the end gets the answer.
            worker.hub.drain(Duration::ZERO);
            worker.drain.begin();
            let _ = tokio::time::timeout(LAST_ANSWERS, worker.drain.emptied()).await;
        }
        ENDED
    }

    /// Does what signals and the admin API ask for, until it is time to end.
    async fn serve(&mut self, signals: &mut Signals) {
        self.shared.serving.acme.set_reachable(true);
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Reload => drop(self.reload().await),
                    Wish::Reopen => self.logs.reopen(),
                    Wish::Upgrade => self.begin_upgrade(None),
                    Wish::Drain => return self.drain(signals).await,
                },
                Some(command) = self.commands.recv() => match command {
                    Command::Reload(answer) => drop(answer.send(self.reload().await)),
                    Command::Upgrade(answer) => self.begin_upgrade(Some(answer)),
                    Command::Status(answer) => drop(answer.send(self.status())),
                    Command::Drain => return self.drain(signals).await,
                    Command::Stop => return self.stop(),
                },
                outcome = Upgrading::outcome(&mut self.upgrade) => if self.end_upgrade(outcome).await {
                    return self.drain(signals).await;
                },
                () = Watch::changed(&mut self.watch), if self.upgrade.is_none() => {
                    tracing::info!("the config has changed");
                    drop(self.reload().await);
                }
            }
        }
    }

    /// Serves the admin API on this thread, through the same codec as every site, until the sender is dropped.
    fn serve_admin(&mut self) -> Option<ServingAdmin> {
        let (Bound { address, shares, sockets, ours, .. }, admin) = self.admin.take()?;
        self.admin_listening = Some(Heirloom { address: self.admin_address.clone(), sockets, ours });
        let snapshot = match Snapshot::serving(Handler::Admin(Box::new(admin)), &lasting(&self.shared, &self.logs)) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(e) => {
                tracing::error!("no admin API: {e}");
                return None;
            }
        };
        let current = Current { snapshot, engine: None };
        let worker = Worker::new(current, &self.shared.serving);
        tokio::task::spawn_local(Rc::clone(&worker.hub).run_for_ever());
        let counts = self.shared.serving.metrics.listener("admin");
        let origin = Rc::new(protocol::Origin::new(&Listener::plain(address), counts));
        let (stop, stopped) = oneshot::channel();
        let accepting = accept(shares.into_iter().next()?, origin, Rc::clone(&worker), Arc::default(), stopped);
        let accepting = tokio::task::spawn_local(async move {
            if let Err(e) = accepting.await {
                tracing::error!("the admin API ended: {e}");
            }
        });
        Some(ServingAdmin { worker, accepting: Some((stop, accepting)) })
    }

    /// Lets every worker accept from an address, and says so.
    pub(super) fn listen(&mut self, bound: Bound) {
        // The first line of this shape is what scripts wait for.
        let place = match &bound.address {
            Address::Tcp(address) => format!("port {}", address.port()),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        for (worker, share) in self.workers.iter().cycle().zip(bound.shares) {
            worker.tell(Message::Listen(bound.spec.clone(), share));
        }
        self.listening.push(Heirloom { address: bound.spec.address, sockets: bound.sockets, ours: bound.ours });
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{} Started.  Listening on {place}.", timestamp()).and_then(|()| out.flush());
    }

    /// The addresses that were open before this process began, as often as there are.
    fn taken(&self) -> Vec<Address> {
        let all = self.bound.iter().chain(self.admin.iter().map(|(bound, _)| bound));
        all.filter(|bound| bound.inherited).map(|bound| bound.spec.address.clone()).collect()
    }

    /// What is inherited and not in the config: a predecessor's is closed, once it has emptied it; the service
    /// manager's stays for a later reload.
    fn say_what_nobody_wants(&mut self) {
        for address in self.inherited.close_ours() {
            tracing::info!("{address} is listened on no more");
        }
        for Heirloom { address, .. } in self.inherited.waiting() {
            tracing::warn!("no `listen` names the inherited socket {address}: whoever connects to it waits in vain");
        }
    }

    pub(super) fn status(&self) -> serde_json::Value {
        status::status(&status::Facts {
            config: &self.config,
            file: self.origin.file(),
            shared: &self.shared,
            workers: self.workers.len(),
            generation: self.generation,
            uptime: self.started.elapsed(),
            last_reload: self.last_reload.as_ref(),
        })
    }

    /// One line for the service manager.
    pub(super) fn summary(&self) -> String {
        let (sites, addresses) = (self.config.sites.len(), self.listening.len());
        format!("serving; sites: {sites}, addresses: {addresses}, generation: {}", self.generation)
    }
}

impl ServingAdmin {
    /// Leaves what comes from now on to a successor; whoever has asked already gets the answer from us.
    pub async fn hand_over(&mut self) {
        let Some((stop, accepting)) = self.accepting.take() else { return };
        // A listener that has failed has nothing to hand over.
        let _ = stop.send(HandedOver);
        let _ = accepting.await;
        self.worker.hub.drain(Duration::ZERO);
        self.worker.drain.begin();
    }
}

/// What all workers serve requests with.
fn serving(
    loaded: &Loaded,
    origin: &Origin,
    startup: &Startup,
    resolver: &Resolver,
    metrics: &Arc<Metrics>,
) -> Result<dispatch::Shared, String> {
    let broker = Arc::new(broker::broker(&loaded.config, metrics)?);
    let spawner = Spawner::new(startup.inherited);
    let registry = Registry::new(Arc::clone(metrics), resolver.clone(), secret(&loaded.config, origin));
    Ok(dispatch::Shared {
        residents: Residents::new(Arc::clone(&spawner), Arc::clone(&broker), Arc::clone(metrics)),
        broker,
        registry: Arc::new(registry),
        spawner,
        sessions: session::Shared::default(),
        acme: Acme::new(),
        metrics: Arc::clone(metrics),
    })
}

/// Binds every address, the admin API's last, and gives up root if the config says so.
fn open(
    loaded: &Loaded,
    admin_address: &Address,
    workers: usize,
    secret: &Secret,
    inherited: &mut Inherited,
) -> Result<(Vec<Bound>, Bound), StartError> {
    let mut all = bind_all(loaded.config.listeners.iter(), workers, inherited).map_err(StartError::Bind)?;
    let admin = match bind(&admin_listener(admin_address), 1, inherited) {
        Ok(admin) => admin,
        Err(e) => {
            discard(all);
            return Err(StartError::Bind(e));
        }
    };
    all.push(admin);
    if let Some(identity) = &loaded.identity {
        let own = all.iter().filter(|bound| bound.ours).map(|bound| &bound.address);
        let assumed = identity.assume(|user, group| {
            own.clone().try_for_each(|address| give_socket(address, user, group))?;
            secret.give(user, group)
        });
        if let Err(e) = assumed {
            discard(all);
            return Err(StartError::Config(format!("error: can't become {}: {e}", identity.name())));
        }
    }
    match all.pop() {
        Some(admin) => Ok((all, admin)),
        None => Err(StartError::Config("error: no admin socket".to_owned())),
    }
}

/// What a worker needs for a config.
pub(super) fn plan(loaded: &Loaded, shared: &Shared, logs: &AccessLogs) -> Result<Plan, String> {
    if loaded.config.upstreams.iter().any(|upstream| upstream.sticky.is_some()) {
        shared.serving.registry.secret.load().map_err(|e| format!("{e}\n"))?;
    }
    let snapshot = Snapshot::build(Arc::clone(&loaded.config), &lasting(shared, logs)).map_err(|e| format!("{e}\n"))?;
    for group in &snapshot.groups {
        if let Some(why) = group.distrust() {
            return Err(format!("error: `tls` of upstream \"{}\": {why}\n", group.name));
        }
        if group.trust_is_blind() {
            tracing::warn!("`verify = false` of upstream \"{}\": whoever answers there is believed", group.name);
        }
    }
    let sources = (loaded.config.functions > 0).then(|| Arc::clone(&loaded.sources));
    Ok(Plan { snapshot: Arc::new(snapshot), sources })
}

/// What outlives a snapshot.
fn lasting<'a>(shared: &'a Shared, logs: &'a AccessLogs) -> route::Shared<'a> {
    let Shared { serving, limiters, auth, identities, .. } = shared;
    route::Shared { registry: &serving.registry, metrics: &serving.metrics, limiters, logs, auth, identities }
}

pub(super) fn admin_address(config: &Config, origin: &Origin) -> Address {
    config.admin.address.clone().unwrap_or_else(|| Address::Unix(origin.admin_socket()))
}

fn admin_listener(address: &Address) -> Listener {
    Listener { mode: 0o600, backlog: 64, ..Listener::plain(address.clone()) }
}

/// What sticky cookies are made with; it stays where it was for as long as the process runs.
fn secret(config: &Config, origin: &Origin) -> Secret {
    Secret::at(secret_path(&match &config.admin.address {
        Some(Address::Unix(path)) => path.clone(),
        Some(Address::Tcp(_)) | None => origin.admin_socket(),
    }))
}
