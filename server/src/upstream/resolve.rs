//! Names of endpoints become addresses, for as long as DNS says.
//!
//! One task, on the control thread, asks; who needs an answer sends it a question and waits. So sockets to name
//! servers belong to one runtime, and a name is looked up for all workers at once.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, rdata::SRV},
};
use rsp_core::config::EndpointAddress;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Questions that may wait; one more is an error at once. An endpoint asks once at a time, so this is many names.
const QUESTIONS_MAX: usize = 4096;

/// Look-ups under way at once.
const LOOKUPS_MAX: usize = 64;

/// For a whole answer, all name servers and attempts.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer is not asked for again before.
const VALID_MIN: Duration = Duration::from_secs(1);

/// An answer is asked for again after this, whatever it says.
const VALID_MAX: Duration = Duration::from_secs(300);

/// A target whose address could not be had is asked for again after this.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// For the name of a client, which somebody waits for who can do without.
const NAME_PATIENCE: Duration = Duration::from_secs(1);

/// Addresses of one name that are used.
pub const ADDRESSES_MAX: usize = 64;

/// Where to ask. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    questions: mpsc::Sender<Question>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Sorted, each address once, at least one.
    pub targets: Vec<Target>,
    /// How long it holds, 1 s to 5 min.
    pub valid: Duration,
}

/// One address of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Whether an SRV record of a lower priority than the best stated it.
    pub backup: bool,
    /// Where.
    pub address: SocketAddr,
    /// An SRV record's share; 1 for plain names.
    pub weight: u32,
}

/// The other end of all [`Resolver`]s.
pub struct Desk {
    questions: mpsc::Receiver<Question>,
}

enum Question {
    /// Ask these name servers from now on; none: those of the system.
    Servers(Vec<SocketAddr>),
    LookUp(EndpointAddress, oneshot::Sender<io::Result<Answer>>),
    Name(IpAddr, oneshot::Sender<String>),
}

impl Resolver {
    /// A resolver, and what has to run to answer it.
    pub fn new() -> (Self, Desk) {
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        (Self { questions: sender }, Desk { questions })
    }

    /// Reads the system's files anew, and asks these servers from now on; none: those of the system.
    pub fn use_servers(&self, servers: &[SocketAddr]) {
        if self.questions.try_send(Question::Servers(servers.to_vec())).is_err() {
            tracing::error!("the resolver is too busy for other name servers; the old ones stay");
        }
    }

    /// What an endpoint's name stands for now.
    pub async fn look_up(&self, address: &EndpointAddress) -> io::Result<Answer> {
        let (answer, answered) = oneshot::channel();
        let asked = self.questions.try_send(Question::LookUp(address.clone(), answer));
        asked.map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "too many names are being looked up"))?;
        answered.await.map_err(|_| io::Error::other("there is no resolver"))?
    }

    /// What an address is called (PTR), without the final dot; None: nothing that is known within a second.
    ///
    /// Whoever has the address chooses the name: it proves nothing.
    pub async fn name_of(&self, ip: IpAddr) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(Question::Name(ip, answer)).ok()?;
        tokio::time::timeout(NAME_PATIENCE, answered).await.ok()?.ok()
    }
}

impl Desk {
    /// Answers until the last [`Resolver`] is gone.
    pub async fn serve(mut self) {
        let places = Rc::new(Semaphore::new(LOOKUPS_MAX));
        let mut resolver = build(&[]);
        while let Some(question) = self.questions.recv().await {
            if let Question::Servers(servers) = &question {
                resolver = build(servers);
                continue;
            }
            let (resolver, places) = (resolver.clone(), Rc::clone(&places));
            tokio::task::spawn_local(async move {
                let _place = places.acquire().await;
                settle(question, resolver).await;
            });
        }
    }
}

/// Answers one question. Who asked may be gone; then nobody wants to know.
async fn settle(question: Question, resolver: Result<TokioResolver, ()>) {
    match question {
        Question::Servers(_) => {}
        Question::LookUp(address, answer) => {
            let Ok(resolver) = resolver else {
                let _ = answer.send(Err(io::Error::other("the system's resolver can't be set up")));
                return;
            };
            let found = tokio::time::timeout(PATIENCE, look_up(&resolver, &address)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer of a name server in time");
            let _ = answer.send(found.unwrap_or_else(|_| Err(late())));
        }
        Question::Name(ip, answer) => {
            let Ok(resolver) = resolver else { return };
            let found = tokio::time::timeout(NAME_PATIENCE, name_of(&resolver, ip)).await;
            if let Ok(Some(name)) = found {
                let _ = answer.send(name);
            }
        }
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, ()> {
    let mut builder = match (servers, TokioResolver::builder_tokio()) {
        ([], Ok(system)) => system,
        ([], Err(e)) => {
            tracing::warn!("the system's resolver: {e}; only its hosts file is used");
            with_servers(&[])
        }
        (servers, _) => with_servers(servers),
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.positive_max_ttl = Some(VALID_MAX);
    builder.build().map_err(|e| tracing::error!("no resolver: {e}"))
}

fn with_servers(servers: &[SocketAddr]) -> hickory_resolver::ResolverBuilder<TokioRuntimeProvider> {
    let server = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        server
    };
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

async fn look_up(resolver: &TokioResolver, address: &EndpointAddress) -> io::Result<Answer> {
    let (mut targets, until) = match address {
        EndpointAddress::Host(host, port) => {
            let target = |address| Target { backup: false, address, weight: 1 };
            let (addresses, until) = addresses(resolver, host, *port).await?;
            (addresses.into_iter().map(target).collect(), until)
        }
        EndpointAddress::Service(name) => service(resolver, name).await?,
        EndpointAddress::Found(..) | EndpointAddress::Unix(_) => return Err(io::Error::other("no name to look up")),
    };
    targets.sort_unstable();
    targets.dedup_by_key(|target: &mut Target| target.address);
    targets.truncate(ADDRESSES_MAX);
    if targets.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    let valid = until.saturating_duration_since(Instant::now()).clamp(VALID_MIN, VALID_MAX);
    Ok(Answer { targets, valid })
}

async fn addresses(resolver: &TokioResolver, host: &str, port: u16) -> io::Result<(Vec<SocketAddr>, Instant)> {
    let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
    Ok((found.iter().map(|ip| SocketAddr::new(ip, port)).collect(), found.valid_until()))
}

/// The targets of an SRV record (RFC 2782): those of the best priority, and all others as backups.
async fn service(resolver: &TokioResolver, name: &str) -> io::Result<(Vec<Target>, Instant)> {
    let found = resolver.srv_lookup(name).await.map_err(io::Error::other)?;
    let mut until = found.valid_until();
    let mut targets = Vec::new();
    let records = found.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(service) => Some(service),
        _ => None,
    });
    let records: Vec<&SRV> = records.take(ADDRESSES_MAX).collect();
    let best = records.iter().map(|record| record.priority).min().unwrap_or_default();
    let mut last = None;
    for SRV { priority, weight, port, target, .. } in records {
        // "." says that the service is decidedly not available.
        if target.is_root() {
            continue;
        }
        match addresses(resolver, &target.to_utf8(), *port).await {
            Ok((addresses, valid_until)) => {
                until = until.min(valid_until);
                let target = |address| Target { backup: *priority > best, address, weight: u32::from(*weight).max(1) };
                targets.extend(addresses.into_iter().map(target));
            }
            Err(e) => {
                // It may have one again long before the record is too old.
                until = until.min(Instant::now() + AFTER_FAILURE);
                last = Some(e);
            }
        }
    }
    // One target without an address is no reason to forget the others.
    match last {
        Some(e) if targets.is_empty() => Err(e),
        _ => Ok((targets, until)),
    }
}

async fn name_of(resolver: &TokioResolver, ip: IpAddr) -> Option<String> {
    let found = resolver.reverse_lookup(ip).await.ok()?;
    let mut names = found.answers().iter().filter_map(|record| match &record.data {
        RData::PTR(name) => Some(name.to_ascii()),
        _ => None,
    });
    names.next().map(|name| name.trim_end_matches('.').to_owned()).filter(|name| !name.is_empty())
}
