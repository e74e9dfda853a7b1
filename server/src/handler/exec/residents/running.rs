//! The life of a resident program: its process is started, kept, and started again whenever it ends.

use std::{convert::Infallible, future::poll_fn, io, path::Path, pin::pin, rc::Rc, sync::Arc, time::Duration};

use rsp_core::config::{self, Program};
use tokio::{
    net::unix::pipe,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{feed::Feed, output::Output, shared::Clients};
use crate::{
    error::{Fault, Kind},
    process::{Environment, Order, Places, Process, Programs, Running, log_errors},
};

/// From the end of a process to the start of the next one.
const PAUSE: Duration = Duration::from_millis(100);

/// The same when it ends again and again.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A process that lived for so long did not fail at once.
const LIFE: Duration = Duration::from_secs(10);

/// For what a process said before it exited.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What the steps of a process's end take without `close`, and some time to spare.
const LADDER: Duration = Duration::from_secs(2);

/// Steps of the end that `close` is added to.
const STEPS: u32 = 3;

/// Between two looks whether the whole group of the process before is gone.
const GONE: Duration = Duration::from_millis(20);

/// A program that outlives its clients.
pub struct Resident {
    /// What its state lives under.
    pub name: Arc<str>,
    /// How it is to be run now; None: not any more.
    pub wanted: watch::Receiver<Option<Arc<config::Exec>>>,
    /// With whom it talks.
    pub company: Company,
    /// Where processes are ordered.
    pub programs: Rc<Programs>,
}

/// With whom a resident program talks.
pub enum Company {
    /// All clients.
    Clients(Clients),
    /// A channel.
    Channel(Box<Feed>),
}

impl Resident {
    /// Keeps a process running until none is wanted.
    pub async fn run(self) {
        let Self { name, mut wanted, company, programs } = self;
        let places = programs.places(&format!("{name} (resident)"));
        tokio::select! {
            () = keep(&mut wanted, &company, &programs, &places) => {}
            never = company.attend() => match never {},
        }
        company.end();
    }
}

async fn keep(
    wanted: &mut watch::Receiver<Option<Arc<config::Exec>>>,
    company: &Company,
    programs: &Rc<Programs>,
    places: &Arc<Places>,
) {
    let mut pause = PAUSE;
    loop {
        let Some(spec) = wanted.borrow_and_update().clone() else { return };
        let mut began = None;
        let why = tokio::select! {
            () = changed(wanted, &spec, company) => None,
            why = live(&spec, company, programs, places, &mut began) => Some(why),
        };
        if began.is_some_and(|began: Instant| began.elapsed() >= LIFE) {
            pause = PAUSE;
        }
        match why {
            None => tracing::info!("{} ends, as the config says", spec.program),
            Some(why) => {
                tracing::warn!("{} {why}; it is started again in {pause:?}", spec.program);
                tokio::select! {
                    () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                    () = changed(wanted, &spec, company) => pause = PAUSE,
                }
            }
        }
    }
}

/// Resolves when another process is wanted, or none.
async fn changed(wanted: &mut watch::Receiver<Option<Arc<config::Exec>>>, spec: &config::Exec, company: &Company) {
    // Whoever wants something is gone only after it wanted nothing any more.
    while wanted.changed().await.is_ok() {
        let Some(new) = wanted.borrow_and_update().clone() else { break };
        company.settle(&new);
        if !is_same(&new, spec) {
            break;
        }
    }
}

/// Whether a process goes on under other options.
fn is_same(new: &config::Exec, old: &config::Exec) -> bool {
    let talk = |exec: &config::Exec| (exec.talk.framing, exec.talk.line_max);
    (&new.program, &new.command, new.close, talk(new)) == (&old.program, &old.command, old.close, talk(old))
}

/// The life of one process; returns why it ended, for a person.
async fn live(
    spec: &config::Exec,
    company: &Company,
    programs: &Rc<Programs>,
    places: &Arc<Places>,
    began: &mut Option<Instant>,
) -> String {
    let Process { input, output, errors, mut running } = match start(spec, programs, places).await {
        Ok(process) => process,
        Err(fault) => return format!("was not started ({fault})"),
    };
    *began = Some(Instant::now());
    tracing::info!("{} runs as process {}", spec.program, running.id());
    let _listener = log_errors(errors, spec.program.to_string(), running.id(), LADDER + STEPS * spec.close);
    let mut talking = pin!(company.talk(spec, input, Output::new(output, &spec.talk)));
    let said = tokio::select! {
        said = &mut talking => Some(said),
        _ = exit(&mut running) => None,
    };
    let said = match said {
        Some(said) => {
            // One that has said its last word is about to exit.
            let _ = timeout(LAST_WORDS, exit(&mut running)).await;
            said
        }
        // What it said at last may be in its pipe still.
        None => timeout(LAST_WORDS, &mut talking).await.ok().flatten(),
    };
    said.unwrap_or_else(|| match running.status() {
        Some(status) => format!("has ended ({status})"),
        None => "has ended".to_owned(),
    })
}

async fn exit(running: &mut Running) -> io::Result<()> {
    poll_fn(|cx| running.poll_exited(cx)).await
}

async fn start(spec: &config::Exec, programs: &Rc<Programs>, places: &Arc<Places>) -> Result<Process, Fault> {
    // Two of them would meet each other's files and ports.
    let place = loop {
        match places.take(1) {
            Some(place) => break place,
            None => sleep(GONE).await,
        }
    };
    let Program::One(program, arguments) = &spec.program else {
        return Err(Fault::new(Kind::NotFound, "no program"));
    };
    let order = Order {
        program,
        arguments,
        environment: Environment::without_request(&spec.command),
        folder: spec.command.cwd.as_deref().unwrap_or(Path::new("/")),
        command: &spec.command,
        close: spec.close,
    };
    programs.start(order, place).await
}

impl Company {
    async fn talk(&self, spec: &config::Exec, input: Option<pipe::Sender>, output: Output) -> Option<String> {
        let framing = spec.talk.framing;
        match self {
            Self::Clients(clients) => {
                clients.begin_anew();
                tokio::select! {
                    why = clients.listen(output) => why,
                    never = clients.speak(input, framing) => match never {},
                }
            }
            Self::Channel(feed) => tokio::select! {
                why = feed.listen(output, framing) => why,
                never = feed.speak(input, framing) => match never {},
            },
        }
    }

    async fn attend(&self) -> Infallible {
        match self {
            Self::Clients(clients) => clients.attend().await,
            Self::Channel(feed) => feed.attend().await,
        }
    }

    fn settle(&self, spec: &config::Exec) {
        if let (Self::Channel(feed), Some(channel)) = (self, &spec.channel) {
            feed.settle(channel);
        }
    }

    fn end(&self) {
        if let Self::Clients(clients) = self {
            clients.send_away();
        }
    }
}
