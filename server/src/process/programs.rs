//! A worker's end: it orders processes, and holds their pipes.

use std::{
    cell::RefCell,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    process::ExitStatus,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rsp_core::config;
use rustix::{
    fs::OFlags,
    io::fcntl_dupfd_cloexec,
    pipe::{PipeFlags, pipe_with},
};
use tokio::{net::unix::pipe, time::Instant};

use super::{
    Environment, Place, Places, Spawner,
    packet::{self, PACKET_MAX},
    roster::{Roster, Seat},
};
use crate::{
    error::{Fault, Kind},
    observe::Metrics,
};

/// How long a start may take: one that takes longer has found a stalled disk, or a stalled spawner.
const START_MAX: Duration = Duration::from_secs(10);

/// One thread's line to the spawner.
pub struct Programs {
    spawner: Arc<Spawner>,
    metrics: Arc<Metrics>,
    /// From the first process on.
    roster: RefCell<Option<Rc<Roster>>>,
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

/// A running process and its pipes, which may be taken out of it.
pub struct Process {
    /// None once it was closed.
    pub input: Option<pipe::Sender>,
    /// Its standard output.
    pub output: pipe::Receiver,
    /// Its standard error.
    pub errors: pipe::Receiver,
    /// Its life.
    pub running: Running,
}

/// A process that was ordered and may not run yet.
pub struct Starting {
    process: Process,
    program: Box<str>,
    ordered: Instant,
    metrics: Arc<Metrics>,
}

/// The life of a process. Dropped, it is let to end: the ladder begins, whose first step is that its input is closed, and
/// its place is free when its whole group is gone. Until then its output stays open, so that it may say goodbye, though
/// nobody reads it.
pub struct Running {
    seat: Rc<Seat>,
    roster: Rc<Roster>,
}

impl Programs {
    /// The line of this thread.
    pub fn new(spawner: Arc<Spawner>, metrics: Arc<Metrics>) -> Rc<Self> {
        Rc::new(Self { spawner, metrics, roster: RefCell::default() })
    }

    /// The processes of one `exec` or `cgi`.
    pub fn places(&self, name: &str) -> Arc<Places> {
        self.spawner.places(name)
    }

    /// Starts a process; resolves when its program runs. Dropped before, it leaves none behind.
    ///
    /// # Errors
    /// `UpstreamDead`: the program is not there any more, or can't be run, or there is no spawner; `HeadTooLarge`: the
    /// arguments and the environment are too long; `Full`: no descriptors, or it took too long. With the reason.
    pub async fn start(self: &Rc<Self>, order: Order<'_>, place: Place) -> Result<Process, Fault> {
        self.order(order, place).await?.started().await
    }

    /// Orders a process; resolves when the spawner was told. Errors as of [`start`](Self::start).
    pub async fn order(self: &Rc<Self>, order: Order<'_>, place: Place) -> Result<Starting, Fault> {
        let (program, ordered) = (order.program, Instant::now());
        let process = tokio::time::timeout_at(ordered + START_MAX, self.try_order(order, place)).await;
        match process.unwrap_or_else(|_| Err(too_late())) {
            Ok(process) => {
                let (program, metrics) = (program.to_string_lossy().into(), Arc::clone(&self.metrics));
                Ok(Starting { process, program, ordered, metrics })
            }
            Err(failed) => Err(fault(&program.to_string_lossy(), failed, &self.metrics)),
        }
    }

    async fn try_order(&self, order: Order<'_>, place: Place) -> Result<Process, (Kind, String)> {
        let Order { program, arguments, environment, folder, command, close } = order;
        let identity = match &command.user {
            None => None,
            Some(user) => self.spawner.identity(user).await.map_err(|why| (Kind::UpstreamDead, why))?,
        };
        let roster = self.roster().await.map_err(|e| (Kind::UpstreamDead, e.to_string()))?;
        let no_pipes = |e: io::Error| (Kind::Full, format!("no pipes: {e}"));
        let (input, its_input) = writing().map_err(no_pipes)?;
        let (output, its_output) = reading().map_err(no_pipes)?;
        let (errors, its_errors) = reading().map_err(no_pipes)?;
        let kept = [duplicate(&output).map_err(no_pipes)?, duplicate(&errors).map_err(no_pipes)?];
        // From here on its end is seen to, whoever waits for it.
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into();
        let running = Running { seat: roster.take_seat(name, place, kept), roster: Rc::clone(&roster) };
        let start = packet::Start {
            id: running.seat.id,
            close,
            limits: command.limits,
            identity,
            program: program.as_os_str().as_bytes(),
            folder: folder.as_os_str().as_bytes(),
            arguments: arguments.iter().map(|argument| argument.as_bytes()).collect(),
            environment: environment.as_bytes(),
        };
        let packet = packet::Order::Start(start).written();
        if packet.len() > PACKET_MAX {
            return Err((Kind::HeadTooLarge, format!("its arguments and environment take {} bytes", packet.len())));
        }
        roster.order(&running.seat, &packet, &[its_input, its_output, its_errors]).await?;
        Ok(Process { input: Some(input), output, errors, running })
    }

    /// The line of this thread, a new one if there is none any more.
    async fn roster(&self) -> io::Result<Rc<Roster>> {
        let there = self.roster.borrow().as_ref().filter(|roster| !roster.is_lost()).cloned();
        if let Some(roster) = there {
            return Ok(roster);
        }
        let spawner = Arc::clone(&self.spawner);
        let line = tokio::task::spawn_blocking(move || spawner.line()).await??;
        // Another order may have been as fast; its processes keep its line.
        let roster = Roster::over(line, &self.spawner, &self.metrics)?;
        self.roster.replace(Some(Rc::clone(&roster)));
        Ok(roster)
    }
}

impl Starting {
    /// Resolves when its program runs. Errors as of [`Programs::start`].
    pub async fn started(self) -> Result<Process, Fault> {
        let Self { process, program, ordered, metrics } = self;
        let started = tokio::time::timeout_at(ordered + START_MAX, process.running.seat.started()).await;
        match started.unwrap_or_else(|_| Err(too_late())) {
            Ok(()) => {
                metrics.processes.started.inc();
                Ok(process)
            }
            Err(failed) => Err(fault(&program, failed, &metrics)),
        }
    }
}

fn too_late() -> (Kind, String) {
    (Kind::Full, format!("no answer within {START_MAX:?}"))
}

fn fault(program: &str, (kind, why): (Kind, String), metrics: &Metrics) -> Fault {
    metrics.processes.failed.inc();
    Fault::new(kind, format!("can't run {program}: {why}"))
}

/// The write end of a pipe for us, and the read end, which blocks.
fn writing() -> io::Result<(pipe::Sender, OwnedFd)> {
    let (its, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((pipe::Sender::from_owned_fd_unchecked(ours)?, its))
}

fn reading() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, its) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((pipe::Receiver::from_owned_fd_unchecked(ours)?, its))
}

fn duplicate(pipe: &pipe::Receiver) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(pipe.as_fd(), 0)?)
}

impl Running {
    /// The number of the process, and of its group.
    pub fn id(&self) -> u32 {
        self.seat.pid().unsigned_abs()
    }

    /// Ready when the process itself has exited; others of its group may go on.
    ///
    /// # Errors
    /// The spawner has died; the process and its group were killed.
    pub fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.poll_exited(cx)
    }

    /// How it exited, if it did.
    pub fn status(&self) -> Option<ExitStatus> {
        self.seat.status()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.roster.leave(&self.seat);
    }
}
