//! Upstreams as the workers see them, and the registry that keeps them alive across reloads.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use rsp_core::{
    balance::{self, EndpointState, Outcome, RetryBudget},
    config,
};
use tokio::time::Instant;

use super::{
    Resolver,
    connect::Resolved,
    exchange::since_start,
    follow::Live,
    secured::{Secured, Trusted, alike},
    sticky::{Secret, Sticky},
};
use crate::{
    message::Names,
    observe::{EndpointCounts, Metrics, UpstreamCounts},
    tls::Trusts,
};

/// Upstreams that functions made of a bare address; one more empties the table, and its pools end with their idle time.
const MADE_MAX: usize = 10_000;

/// One upstream: its endpoints, their states and its retry budget.
pub struct Group {
    /// The name in logs and metrics.
    pub name: Arc<str>,
    /// The checked declaration.
    pub spec: Arc<config::Upstream>,
    /// Chooses an endpoint.
    pub balance: balance::Group,
    /// In the order of the declaration.
    pub endpoints: Box<[Arc<Endpoint>]>,
    /// Bounds second attempts.
    pub budget: RetryBudget,
    /// Counters of the group.
    pub counts: Arc<UpstreamCounts>,
    /// Keeps clients on their endpoints.
    pub sticky: Option<Sticky>,
    queues: bool,
    /// How its endpoints' TLS is begun; None: none has it.
    trust: Option<Trusted>,
    /// What its names stand for now; None: it has no names.
    live: Option<Live>,
    /// The declaration in whose place this one comes when its config runs.
    before: Weak<Group>,
    /// What came in the place of this one.
    after: OnceLock<Arc<Group>>,
}

/// One endpoint of a group.
pub struct Endpoint {
    /// Unique in this process; idle connections are kept under it.
    pub id: u64,
    /// In logs and metrics.
    pub names: Arc<Names>,
    /// Where it is.
    pub address: config::EndpointAddress,
    /// `host:port` as a `Host` field has it.
    pub authority: http::HeaderValue,
    /// How its TLS is begun; None: it has none.
    pub tls: Option<Box<Secured>>,
    /// Who looks its name up.
    pub resolver: Resolver,
    /// What its name resolved to last.
    pub resolved: Resolved,
    /// In-flight count, failures, ejection.
    pub state: Arc<EndpointState>,
    /// Its counters.
    pub counts: Arc<EndpointCounts>,
}

/// Every upstream of this process, by name.
pub struct Registry {
    metrics: Arc<Metrics>,
    /// What cookies are made with; loaded before the first upstream with one is declared.
    pub secret: Secret,
    resolver: Resolver,
    trusts: Trusts,
    declared: Mutex<HashMap<String, Arc<Group>>>,
    made: Mutex<HashMap<String, Arc<Group>>>,
}

impl Group {
    /// The group of the addresses that its names stand for now; None: it is that itself, or nothing is known yet.
    pub fn live(&self) -> Option<Arc<Group>> {
        self.live.as_ref().and_then(Live::group)
    }

    pub(super) fn names(&self) -> Option<&Live> {
        self.live.as_ref()
    }

    /// What a reload or DNS made of this group meanwhile, for a request that still waits.
    pub(super) fn current(&self) -> Option<Arc<Group>> {
        let next = |group: &Group| group.after.get().cloned().or_else(|| group.live());
        std::iter::successors(next(self), |group| next(group)).last()
    }

    /// Sends those that wait for this group to another one, which has the same line.
    pub(super) fn give_way(&self, after: &Arc<Group>) {
        self.after.get_or_init(|| Arc::clone(after));
        after.balance.lasting().room.stir();
    }
}

impl Registry {
    /// No upstream yet.
    pub fn new(metrics: Arc<Metrics>, resolver: Resolver, secret: Secret) -> Self {
        let (declared, made) = (Mutex::default(), Mutex::default());
        Self { metrics, secret, resolver, trusts: Trusts::default(), declared, made }
    }

    /// The running group of a checked upstream. An unchanged one is the same group; a changed one keeps the
    /// states of the endpoints it still has.
    pub fn declare(&self, spec: &Arc<config::Upstream>) -> Arc<Group> {
        let trust = self.trust(spec);
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.renew(declared.get(&spec.name), spec, trust);
        declared.insert(spec.name.clone(), Arc::clone(&group));
        group
    }

    /// The group of an upstream that a function made; one to the same target is the same group.
    pub fn make(&self, spec: &Arc<config::Upstream>) -> Arc<Group> {
        if let Some(group) = self.declared.lock().unwrap_or_else(PoisonError::into_inner).get(&spec.name)
            && *group.spec == **spec
        {
            return Arc::clone(group);
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = made.get(&spec.name).filter(|group| *group.spec == **spec) {
            return Arc::clone(group);
        }
        if made.len() >= MADE_MAX && !made.contains_key(&spec.name) {
            made.clear();
        }
        let group = self.renew(made.get(&spec.name), spec, self.trust(spec));
        made.insert(spec.name.clone(), Arc::clone(&group));
        group
    }

    /// These are the upstreams of the config that runs from now on, or goes on after another one was refused.
    pub fn settle(&self, running: &[Arc<Group>]) {
        let by_name = running.iter().map(|group| (group.spec.name.clone(), Arc::clone(group)));
        *self.declared.lock().unwrap_or_else(PoisonError::into_inner) = by_name.collect();
        for group in running {
            let Some(before) = group.before.upgrade() else { continue };
            before.live().iter().chain([&before]).for_each(|before| before.give_way(group));
        }
    }

    /// All declared groups, for status and metrics.
    pub fn declared(&self) -> Vec<Arc<Group>> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups: Vec<_> = declared.values().cloned().collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups
    }

    /// An answer of this endpoint, which had begun well, broke off.
    pub fn blame(&self, names: &Names) {
        for groups in [&self.declared, &self.made] {
            let group = groups.lock().unwrap_or_else(PoisonError::into_inner).get(&*names.upstream).cloned();
            let Some(group) = group.map(|group| group.live().unwrap_or(group)) else { continue };
            if let Some(index) = group.endpoints.iter().position(|endpoint| *endpoint.names == *names) {
                return group.note(index, Outcome::BadAnswer, Instant::now());
            }
        }
    }

    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// How the endpoints' TLS is begun, with what its files hold now; None: none has it.
    fn trust(&self, spec: &config::Upstream) -> Option<Trusted> {
        let any = spec.endpoints.iter().any(|endpoint| endpoint.tls);
        any.then(|| self.trusts.of(&spec.tls).map_err(Arc::from))
    }

    /// A group of this declaration; what `old` knows of endpoints that stay, it keeps.
    pub(super) fn renew(
        &self,
        old: Option<&Arc<Group>>,
        spec: &Arc<config::Upstream>,
        trust: Option<Trusted>,
    ) -> Arc<Group> {
        if let Some(old) = old.filter(|old| *old.spec == **spec && alike(old.trust.as_ref(), trust.as_ref())) {
            return Arc::clone(old);
        }
        let kept = |endpoint| self.kept(old, (spec, trust.as_ref()), endpoint);
        let endpoints: Box<[_]> = spec.endpoints.iter().map(kept).collect();
        let states = endpoints.iter().map(|endpoint| Arc::clone(&endpoint.state)).collect();
        let lasting = old.map(|old| Arc::clone(old.balance.lasting())).unwrap_or_default();
        Arc::new(Group {
            name: spec.name.as_str().into(),
            spec: Arc::clone(spec),
            balance: balance::Group::new(spec, states, lasting),
            endpoints,
            budget: RetryBudget::new(spec.retry.budget),
            counts: self.metrics.upstream(&spec.name),
            sticky: spec.sticky.as_ref().zip(self.secret.key()).map(|(name, key)| Sticky::new(name, spec, key)),
            queues: spec.queue.size > 0,
            live: Live::of(self, old, spec, trust.as_ref()),
            trust,
            before: old.map(Arc::downgrade).unwrap_or_default(),
            after: OnceLock::new(),
        })
    }

    fn kept(
        &self,
        old: Option<&Arc<Group>>,
        (group, trust): (&config::Upstream, Option<&Trusted>),
        spec: &config::Endpoint,
    ) -> Arc<Endpoint> {
        let tls = trust.filter(|_| spec.tls).map(|trust| Box::new(Secured::new(&spec.address, &group.tls, trust)));
        let mut known = old.into_iter().flat_map(|old| old.endpoints.iter());
        let known = known.find(|known| known.address == spec.address && *known.names.endpoint == *spec.name);
        // Idle connections are kept by the endpoint's id, in sets whose bounds never change.
        let bounds = |group: &config::Upstream| (group.keepalive, group.keepalive_timeout, group.http2);
        if let (Some(known), Some(old)) = (known, old)
            && bounds(&old.spec) == bounds(group)
            && known.tls == tls
        {
            return Arc::clone(known);
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let state = known.map(|known| Arc::clone(&known.state)).unwrap_or_default();
        if known.is_none() && old.is_some_and(|old| old.live.is_none()) {
            state.arrived(since_start(Instant::now()));
        }
        Arc::new(Endpoint {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            names: Arc::new(Names { upstream: group.name.as_str().into(), endpoint: spec.name.as_str().into() }),
            address: spec.address.clone(),
            authority: authority(&spec.address, if spec.tls { 443 } else { 80 }),
            tls,
            resolver: self.resolver.clone(),
            resolved: Resolved::default(),
            state,
            counts: self.metrics.endpoint(&group.name, &spec.name),
        })
    }
}

impl Group {
    /// Why no endpoint can be reached by TLS: a file that is wrong.
    pub fn distrust(&self) -> Option<&str> {
        self.trust.as_ref()?.as_ref().err().map(|why| &**why)
    }

    /// Whether any certificate of its endpoints is good enough.
    pub fn trust_is_blind(&self) -> bool {
        self.trust.is_some() && !self.spec.tls.verify
    }

    /// How its endpoints' TLS is begun.
    pub(super) fn trust(&self) -> Option<&Trusted> {
        self.trust.as_ref()
    }

    /// Whether requests may wait for an endpoint.
    pub fn queues(&self) -> bool {
        self.queues
    }

    /// Tells the balance, those who wait, the counters and, where an endpoint is out now, the operator.
    pub(super) fn note(&self, index: usize, outcome: Outcome, at: Instant) {
        let endpoint = &self.endpoints[index];
        match outcome {
            Outcome::ConnectFailed => _ = endpoint.counts.connect_failures.inc(),
            Outcome::Ok | Outcome::BadAnswer if self.queues => self.balance.lasting().room.reached(),
            Outcome::Ok | Outcome::BadAnswer => {}
        }
        // A head alone ends no row of failures.
        if outcome == Outcome::Ok {
            return;
        }
        if let Some(ejection) = self.balance.report(index, outcome, since_start(at)) {
            endpoint.counts.ejected(ejection.for_);
            let name = &endpoint.names.endpoint;
            tracing::warn!("{name} of {} failed too often: ejected for {:?}", self.name, ejection.for_);
        }
    }
}

/// `usual`: the port that goes without saying.
fn authority(address: &config::EndpointAddress, usual: u16) -> http::HeaderValue {
    let text = match address {
        config::EndpointAddress::Host(host, port) if host.contains(':') && *port == usual => format!("[{host}]"),
        config::EndpointAddress::Host(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        config::EndpointAddress::Host(host, port) if *port == usual => host.clone(),
        config::EndpointAddress::Host(host, port) => format!("{host}:{port}"),
        config::EndpointAddress::Service(name) => name.clone(),
        config::EndpointAddress::Found(name, _) => return authority(name, usual),
        config::EndpointAddress::Unix(_) => "localhost".to_owned(),
    };
    http::HeaderValue::try_from(text).unwrap_or(http::HeaderValue::from_static("localhost"))
}
