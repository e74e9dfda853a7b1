//! Programs that outlive their clients: one process for all of them, or for a channel.
//!
//! **Invariant:** a resident program has one process at most, and the next one starts when the whole group of the last one
//! is gone.
//! **Invariant:** what one client said reaches a process in order, behind its `open`; nobody waits for a client that does
//! not read, and no client's turn comes twice before another's.

mod complaint;
mod feed;
mod hall;
mod objects;
mod output;
mod running;
mod seat;
mod shared;

use std::{
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rsp_core::config::{self, Config};
use tokio::sync::{mpsc, watch};

pub use self::seat::Member;
use self::{
    feed::Feed,
    hall::Hall,
    running::{Company, Resident},
    seat::Seat,
    shared::Clients,
};
use crate::{
    broker::Broker,
    error::{Fault, Kind},
    message::Request,
    observe::Metrics,
    process::{Programs, Spawner},
};

/// Programs that wait to begin: those of the largest config, and of a reload on top.
const BEGINS_MAX: usize = 65_536;

/// The resident programs of rsp; they run on a thread of their own.
pub struct Residents {
    spawner: Arc<Spawner>,
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    table: Mutex<Table>,
    clients: AtomicU64,
}

#[derive(Default)]
struct Table {
    /// Those of the config, by name.
    programs: HashMap<Arc<str>, Entry>,
    /// To their thread, once there is one.
    thread: Option<mpsc::Sender<Begin>>,
}

/// One program of the config.
struct Entry {
    spec: Arc<config::Exec>,
    /// Where its clients wait.
    hall: Arc<Hall>,
    /// What is wanted of it, once it runs.
    running: Option<watch::Sender<Option<Arc<config::Exec>>>>,
}

/// A program for the thread.
struct Begin {
    name: Arc<str>,
    company: Company,
    wanted: watch::Receiver<Option<Arc<config::Exec>>>,
}

impl Residents {
    /// None runs yet.
    pub fn new(spawner: Arc<Spawner>, broker: Arc<Broker>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { spawner, broker, metrics, table: Mutex::default(), clients: AtomicU64::new(1) })
    }

    /// Starts those of a config that run from the start, and ends those that it has no more. Those that it has still go on,
    /// in another process if it says so.
    pub fn settle(&self, config: &Config) {
        let mut table = self.table();
        let mut before = std::mem::take(&mut table.programs);
        for spec in &config.programs {
            let known = before.remove(&spec.name);
            // Clients of the one are none of the other.
            let known = known.filter(|known| channel_of(&known.spec) == channel_of(spec));
            let mut entry = match known {
                Some(known) => Entry { spec: Arc::clone(spec), ..known },
                None => Entry { spec: Arc::clone(spec), hall: Arc::default(), running: None },
            };
            match &entry.running {
                Some(running) => drop(running.send_replace(Some(Arc::clone(spec)))),
                None if spec.channel.is_some() => {
                    if let Err(e) = self.begin(&mut table.thread, &mut entry) {
                        tracing::error!("{}: {e}", spec.program);
                    }
                }
                None => {}
            }
            table.programs.insert(Arc::clone(&spec.name), entry);
        }
        before.into_values().for_each(Entry::end);
    }

    /// A client's place at a program; the first one starts it.
    ///
    /// # Errors
    /// `Full`: the config has no such program any more, or it has no thread.
    pub fn join(&self, spec: &config::Exec, request: &Request) -> Result<Member, Fault> {
        let id = self.clients.fetch_add(1, Ordering::Relaxed);
        let open = objects::open(id, request);
        let mut table = self.table();
        let Table { programs, thread } = &mut *table;
        let Some(entry) = programs.get_mut(&spec.name) else {
            return Err(Fault::new(Kind::Full, format!("{} is not run any more", spec.program)));
        };
        if entry.running.is_none() {
            let begun = self.begin(thread, entry);
            begun.map_err(|e| Fault::new(Kind::Full, format!("no thread for {}: {e}", spec.program)))?;
        }
        // Under the lock: whoever ends this program finds the client.
        Ok(Seat::take(id, open, &entry.hall))
    }

    /// Ends them all.
    pub fn end(&self) {
        std::mem::take(&mut self.table().programs).into_values().for_each(Entry::end);
    }

    /// Ends those that run from the start: another rsp runs them from now on, and two of them would do everything twice.
    pub fn hand_over(&self) {
        let table = self.table();
        let channels = table.programs.values().filter(|entry| entry.spec.channel.is_some());
        channels.filter_map(|entry| entry.running.as_ref()).for_each(|running| drop(running.send_replace(None)));
    }

    fn begin(&self, thread: &mut Option<mpsc::Sender<Begin>>, entry: &mut Entry) -> std::io::Result<()> {
        let thread = match thread {
            Some(thread) => thread,
            None => thread.insert(self.thread()?),
        };
        let (running, wanted) = watch::channel(Some(Arc::clone(&entry.spec)));
        let Entry { spec, hall, .. } = &*entry;
        let company = match &spec.channel {
            Some(channel) => Company::Channel(Box::new(Feed::new(&spec.name, channel, &self.broker, &self.metrics))),
            None => Company::Clients(Clients::new(&spec.name, hall)),
        };
        let begin = Begin { name: Arc::clone(&spec.name), company, wanted };
        thread.try_send(begin).map_err(|e| std::io::Error::other(e.to_string()))?;
        entry.running = Some(running);
        Ok(())
    }

    fn thread(&self) -> std::io::Result<mpsc::Sender<Begin>> {
        let (sender, mut begins) = mpsc::channel::<Begin>(BEGINS_MAX);
        let (spawner, metrics) = (Arc::clone(&self.spawner), Arc::clone(&self.metrics));
        std::thread::Builder::new().name("rsp-programs".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::LocalRuntime::new() {
                Ok(runtime) => runtime,
                Err(e) => return tracing::error!("no runtime for programs: {e}"),
            };
            runtime.block_on(async move {
                let programs = Programs::new(spawner, metrics);
                while let Some(Begin { name, company, wanted }) = begins.recv().await {
                    let resident = Resident { name, wanted, company, programs: Rc::clone(&programs) };
                    tokio::task::spawn_local(resident.run());
                }
            });
        })?;
        Ok(sender)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn end(self) {
        if let Some(running) = self.running {
            running.send_replace(None);
        }
    }
}

fn channel_of(spec: &config::Exec) -> Option<String> {
    spec.channel.as_ref().map(|channel| channel.name.to_string())
}
