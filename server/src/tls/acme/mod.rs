//! Certificates from an ACME authority (RFC 8555): which are wanted, what is shown until they are there, and the thread
//! that gets and renews them.
//!
//! **Invariant:** no worker waits for an authority. What was shown stays until something better is there, and of one folder
//! one process asks at a time; a wait that an authority asked for outlives the process.

mod authority;
mod certificate;
mod challenges;
mod issued;
mod keeper;
mod order;
mod storage;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rsp_core::config::{self, Certificates, Config, Host, SiteTls};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use self::{
    certificate::Certificate,
    issued::Shown,
    storage::{Folder, Notes},
};
pub use self::{
    challenges::{ALPN, Challenges},
    issued::Issued,
};

/// Names of one order; what Let's Encrypt takes.
const NAMES_MAX: usize = 100;

/// Who reloads wants to know now whether it works; not more often than this.
const AGAIN: Duration = Duration::from_secs(10);

/// What `tls = "acme"` stands for, for the whole process; it outlives reloads.
pub struct Acme(Arc<Shared>);

/// What the thread and the others share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    issued: Arc<Issued>,
    challenges: Arc<Challenges>,
    /// Other orders are wanted.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Whom to ask; None: no site wants a certificate.
    source: Option<(Arc<config::Acme>, Folder)>,
    /// By the name of their files.
    orders: BTreeMap<String, Order>,
    /// Whose certificate is shown to who asks for no name.
    first: Option<Box<str>>,
    /// The thread runs.
    is_kept: bool,
    /// Whoever comes finds us, and no successor of ours: what is asked for challenges is asked here.
    is_reachable: bool,
}

/// A certificate that is wanted, and maybe there.
struct Order {
    /// Sorted; at most [`NAMES_MAX`].
    names: Arc<[Box<str>]>,
    certificate: Option<Arc<Certificate>>,
    notes: Notes,
    /// The authority is asked at this moment.
    is_running: bool,
}

/// A certificate that a site wants, for the status.
pub struct Status {
    /// Sorted.
    pub names: Arc<[Box<str>]>,
    /// The end of the one that is shown; None: there is none yet.
    pub until: Option<SystemTime>,
    /// When the authority is asked for the next one.
    pub next: SystemTime,
    /// It is asked at this moment.
    pub is_running: bool,
    /// Why the last attempt failed, and how many did in a row.
    pub trouble: Option<(String, u32)>,
}

impl Acme {
    /// Asks nobody for anything yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Arc::default()))
    }

    /// What sites with `tls = "acme"` show, by the name that is asked for.
    pub fn issued(&self) -> &Arc<Issued> {
        &self.0.issued
    }

    /// What authorities ask for.
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.0.challenges
    }

    /// Wants what the sites of `config` want and nothing else; shows what the cache has, orders what it has not.
    ///
    /// # Errors
    /// A line that says why there can be no certificates.
    pub fn settle(&self, config: &Config) -> Result<(), String> {
        let wanted = wanted(config);
        let (Some(acme), false) = (&config.acme, wanted.is_empty()) else {
            let mut state = self.0.lock();
            (state.source, state.first) = (None, None);
            state.orders.clear();
            self.0.issued.show(Shown::default());
            self.0.changed.notify_one();
            return Ok(());
        };
        let folder = Folder::open(acme)?;
        let mut state = self.0.lock();
        let is_same = state.source.as_ref().is_some_and(|(_, known)| known.path() == folder.path());
        let mut known = if is_same { std::mem::take(&mut state.orders) } else { BTreeMap::new() };
        state.first = wanted.first().and_then(|names| names.first().cloned());
        state.orders = wanted
            .into_iter()
            .map(|mut names| {
                names.sort_unstable();
                let id = storage::id(&names);
                let order = known.remove(&id).map(Order::once_more);
                (id.clone(), order.unwrap_or_else(|| Order::of(&folder, &id, names)))
            })
            .collect();
        state.source = Some((Arc::clone(acme), folder));
        self.0.show_all(&state);
        let is_new = !std::mem::replace(&mut state.is_kept, true);
        drop(state);
        self.0.changed.notify_one();
        if is_new {
            keeper::start(Arc::clone(&self.0)).map_err(|e| format!("no thread for `acme`: {e}"))?;
        }
        Ok(())
    }

    /// Asks from now on, as the workers accept, or no more, as somebody else does. What is there is shown all the same.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.0.lock().is_reachable = is_reachable;
        self.0.changed.notify_one();
    }

    /// Of every certificate that is wanted.
    pub fn status(&self) -> Vec<Status> {
        let state = self.0.lock();
        let status = |order: &Order| Status {
            names: Arc::clone(&order.names),
            until: order.certificate.as_ref().map(|certificate| UNIX_EPOCH + certificate.validity.until),
            next: UNIX_EPOCH + order.asked_at().max(now()),
            is_running: order.is_running,
            trouble: order.notes.trouble.as_ref().map(|failed| (failed.why.clone(), failed.times)),
        };
        state.orders.values().map(status).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what is there: for a name whose own order has nothing yet, what was shown before.
    fn show(&self, state: &State) {
        self.show_beside(state, BTreeMap::new());
    }

    /// The same, and for what was never shown what the folder has of other orders, as after a restart with another config.
    /// That reads all of it.
    fn show_all(&self, state: &State) {
        let wanted = state.orders.values().filter(|order| order.certificate.is_none()).flat_map(|order| &*order.names);
        let missing: Vec<_> = wanted.filter(|name| !self.issued.has(Some(name))).collect();
        let mut found = BTreeMap::new();
        if let (Some((_, folder)), false) = (&state.source, missing.is_empty()) {
            for certificate in folder.all().filter(|certificate| certificate.validity.holds(now())) {
                for name in missing.iter().filter(|name| certificate.names.contains(name)) {
                    found.insert((*name).clone(), Arc::clone(&certificate.key));
                }
            }
        }
        self.show_beside(state, found);
    }

    fn show_beside(&self, state: &State, mut found: BTreeMap<Box<str>, Arc<CertifiedKey>>) {
        let mut shown = Shown::default();
        for order in state.orders.values() {
            for name in &*order.names {
                let own = order.certificate.as_ref().map(|certificate| Arc::clone(&certificate.key));
                if let Some(key) = own.or_else(|| self.issued.of(name)).or_else(|| found.remove(name)) {
                    shown.by_name.insert(name.clone(), key);
                }
            }
        }
        shown.first = state.first.as_ref().and_then(|name| shown.by_name.get(name).cloned());
        self.issued.show(shown);
    }
}

impl Order {
    /// As the folder knows it.
    fn of(folder: &Folder, id: &str, names: Vec<Box<str>>) -> Self {
        let (certificate, notes) = read(folder, id, &names);
        Self { names: names.into(), certificate, notes, is_running: false }
    }

    /// One that failed is tried again soon, unless the authority asked for the wait.
    fn once_more(mut self) -> Self {
        if let Some(failed) = self.notes.trouble.as_mut().filter(|failed| !failed.is_told) {
            failed.next = failed.next.min(failed.at + AGAIN);
        }
        self
    }

    /// When there is something to do for it.
    fn due(&self) -> Duration {
        let look = self.notes.look_at.filter(|_| self.notes.trouble.is_none());
        self.asked_at().min(look.unwrap_or(Duration::MAX))
    }

    /// When the authority is asked for a certificate.
    fn asked_at(&self) -> Duration {
        match (&self.notes.trouble, &self.certificate) {
            (Some(failed), _) => failed.next,
            (None, Some(_)) => self.notes.renew_at,
            (None, None) => Duration::ZERO,
        }
    }
}

/// What the folder has of an order; notes about another certificate count only for what went wrong.
fn read(folder: &Folder, id: &str, names: &[Box<str>]) -> (Option<Arc<Certificate>>, Notes) {
    let certificate = folder.certificate(id).filter(|certificate| certificate.covers(names)).map(Arc::new);
    let notes = folder.notes(id);
    let notes = match &certificate {
        Some(certificate) if notes.until != certificate.validity.until => {
            Notes { trouble: notes.trouble, ..Notes::fresh(certificate.validity, seed()) }
        }
        _ => notes,
    };
    (certificate, notes)
}

/// The names of one order each: those of a site that can be asked for without DNS.
fn wanted(config: &Config) -> Vec<Vec<Box<str>>> {
    let is_ours = |site: &&config::Site| match &site.tls {
        Some(SiteTls::Terminate(terminate)) => terminate.certificates == Certificates::Acme,
        _ => false,
    };
    let names = |site: &config::Site| -> Vec<Box<str>> {
        let exact = site.hosts.iter().filter_map(|host| match host {
            Host::Exact(name) => Some(name.as_str().into()),
            Host::Suffix(_) | Host::Any => None,
        });
        exact.collect()
    };
    let sites = config.sites.iter().filter(is_ours).map(names);
    sites.flat_map(|names| names.chunks(NAMES_MAX).map(<[_]>::to_vec).collect::<Vec<_>>()).collect()
}

/// Since the Unix epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness there is no spread, and nothing else is lost.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
