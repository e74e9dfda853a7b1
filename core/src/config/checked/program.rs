//! `exec { … }`, `cgi { … }` and `bridge { … }` as they were checked.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::{Channel, Config, Handler, Upstream, User};

/// `exec { … }`
#[derive(Debug, Clone)]
pub struct Exec {
    /// Site and route where it stands, and which one of that route it is; its state lives under it. One that was built on a
    /// request is called by its command.
    pub name: Arc<str>,
    /// What runs.
    pub program: Program,
    /// How.
    pub command: Command,
    /// Whether one process serves all clients.
    pub shared: bool,
    /// The channel that it prints to and reads from; the URL is the channel's.
    pub channel: Option<Arc<Channel>>,
    /// Processes at once.
    pub processes_max: usize,
    /// Whether the lines of its standard error go to the client, as objects.
    pub stderr_to_client: bool,
    /// Added to each step of its end.
    pub close: Duration,
    /// What is said to clients, and how.
    pub talk: Talk,
    /// Whether browsers get a page to try it.
    pub console: bool,
    /// Whether the client's name is looked up.
    pub reverse_lookup: bool,
    /// What answers other requests; None: 404.
    pub otherwise: Option<Box<Handler>>,
}

/// What an `exec` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments; the path is absolute.
    One(PathBuf, Vec<String>),
    /// The one that the path names in this folder.
    Of {
        /// Absolute.
        folder: PathBuf,
        /// The literal prefix of the route; the path below it names the program.
        prefix: String,
    },
}

/// How processes are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// More variables, over those of the request.
    pub env: Vec<(String, String)>,
    /// Variables of our own that are passed on.
    pub passenv: Vec<String>,
    /// The working folder; for `cgi` None, which is the script's.
    pub cwd: Option<PathBuf>,
    /// Whom they run as; None: as we do.
    pub user: Option<User>,
    /// What the kernel lets them use.
    pub limits: ProcessLimits,
}

/// What the kernel lets one process use; None: as much as us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessLimits {
    /// Seconds of a processor.
    pub cpu: Option<u64>,
    /// Bytes of address space.
    pub memory: Option<u64>,
    /// Open files.
    pub files: Option<u64>,
}

/// How clients talk with whatever speaks in messages over a stream of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// What separates messages.
    pub framing: Framing,
    /// Bytes of a message for the client.
    pub line_max: usize,
    /// Bytes of a client's message.
    pub message_max: usize,
    /// Between two pings; None: none.
    pub ping: Option<Duration>,
    /// Whose pages may come.
    pub pages: Pages,
}

/// What separates messages in a stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// A line feed, perhaps with a carriage return before it.
    #[default]
    Lines,
    /// Nothing.
    Raw,
    /// The length of each before it, four bytes, the highest first.
    Length,
}

/// Whose pages may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// Those of which origins.
    pub of: PagesOf,
    /// Whether who sends no `Origin` is refused.
    pub origin_required: bool,
    /// Whether of those only the URL's own may come.
    pub same_origin: bool,
}

/// Origins of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PagesOf {
    /// That of the URL itself.
    Same,
    /// Any.
    Any,
    /// Those that match one of these.
    Listed(Vec<PageOrigin>),
}

/// An origin, or several that have a host in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageOrigin {
    /// As `cors` takes it.
    Cors(super::Origin),
    /// A host, whatever the rest.
    Host {
        /// Lower-cased, without `://`; None: `http` and `https`.
        scheme: Option<String>,
        /// Lower-cased.
        host: String,
        /// None: any.
        port: Option<u16>,
    },
}

/// `cgi { FOLDER }`
#[derive(Debug, Clone)]
pub struct Cgi {
    /// As [`Exec::name`]; inside of an `exec` it is the same, so that their processes are counted together.
    pub name: Arc<str>,
    /// Absolute.
    pub folder: PathBuf,
    /// The literal prefix of the route; the path below it names the program.
    pub prefix: String,
    /// How they run.
    pub command: Command,
    /// How long it may neither take of the request nor answer, and between two reads of its answer's body.
    pub timeout: Duration,
    /// Processes at once.
    pub processes_max: usize,
    /// Whether the client's name is looked up.
    pub reverse_lookup: bool,
    /// What answers where there is no such program; None: 404.
    pub otherwise: Option<Box<Handler>>,
}

/// `bridge { TARGET }`
#[derive(Debug, Clone)]
pub struct Bridge {
    /// Where its connections go.
    pub upstream: Arc<Upstream>,
    /// What is said to clients, and how.
    pub talk: Talk,
    /// What answers other requests; None: 404.
    pub otherwise: Option<Box<Handler>>,
}

impl Config {
    /// Whether a route may start a process. Functions may, too, and nobody knows before.
    pub fn runs_programs(&self) -> bool {
        let routes = self.sites.iter().flat_map(|site| &site.routes);
        routes.map(|route| &route.chain.handler).any(runs_programs)
    }

    /// Whether a program of a route runs as whoever rsp runs as.
    pub fn runs_programs_as_itself(&self) -> bool {
        let routes = self.sites.iter().flat_map(|site| &site.routes);
        routes.map(|route| &route.chain.handler).any(runs_as_itself)
    }
}

fn runs_as_itself(handler: &Handler) -> bool {
    let (command, otherwise) = match handler {
        Handler::Exec(exec) => (Some(&exec.command), &exec.otherwise),
        Handler::Cgi(cgi) => (Some(&cgi.command), &cgi.otherwise),
        Handler::Bridge(bridge) => (None, &bridge.otherwise),
        _ => return false,
    };
    command.is_some_and(|command| command.user.is_none()) || otherwise.as_deref().is_some_and(runs_as_itself)
}

fn runs_programs(handler: &Handler) -> bool {
    match handler {
        Handler::Exec(_) | Handler::Cgi(_) => true,
        Handler::Bridge(bridge) => bridge.otherwise.as_deref().is_some_and(runs_programs),
        _ => false,
    }
}

/// As a shell's user would write it.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(path, arguments) => {
                path.display().fmt(f)?;
                arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
            }
            Self::Of { folder, .. } => write!(f, "dir {}", folder.display()),
        }
    }
}
