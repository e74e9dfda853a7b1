//! The running config: which site and route a request belongs to.
//!
//! **Invariant:** a snapshot never changes; a reload builds another one.
//! **Invariant:** what outlives a request (a tunnel, a stream) holds a [`Route`], never a snapshot.

mod passage;
mod secure;

use std::{collections::HashMap, io, sync::Arc};

use http::Method;
use rsp_core::{
    config::{self, Address, Config, ErrorPages, Limits},
    frame::http1::HeadLimits,
    route::{Hosts, Lookup, Params, Path, Pattern, Table},
};

use self::secure::Security;
pub use self::{
    passage::Passage,
    secure::{Opening, Redirect, Secured, SiteSecurity},
};
use crate::{
    filter::{self, Filter},
    handler::Handler,
    limit::Limiters,
    observe::{AccessLog, AccessLogs, Metrics, Series},
    tls::Identities,
    upstream::{Group, Registry},
};

/// Everything that one load of the config set up.
pub struct Snapshot {
    /// What it was built from.
    pub config: Arc<Config>,
    /// Bounds for reading a head, before its site is known: the largest of all sites.
    pub head_limits: HeadLimits,
    /// Every upstream that it names.
    pub groups: Vec<Arc<Group>>,
    /// Counts and logs what belongs to no site.
    pub nowhere: Arc<SiteInfo>,
    /// Sites that are restricted to no listener.
    everywhere: Hosts<Arc<Site>>,
    /// For listeners to which sites are restricted: theirs and those of everywhere, so that the nearest host wins.
    by_listener: HashMap<Address, Hosts<Arc<Site>>>,
    security: Security,
    /// Where the connections of listeners go that are tunnels.
    tunnels: HashMap<Address, Arc<Passage>>,
}

/// One site.
struct Site {
    info: Arc<SiteInfo>,
    table: Table<Arc<Route>>,
}

/// What a request needs to know of its site.
pub struct SiteInfo {
    /// The first host, for log and metrics.
    pub name: Arc<str>,
    /// Its bounds.
    pub limits: Arc<Limits>,
    /// Where its requests are logged.
    pub access_log: AccessLog,
    /// Requests that no route answered.
    pub series: Arc<Series>,
    /// Its error pages.
    pub errors: Option<Arc<ErrorPages>>,
    /// Whether one of them is a function, for which a copy of the request is kept.
    pub errors_ask: bool,
    /// Parameters of queries that are in no log and on no error page, as tokens may be in them; None: none.
    pub secrets: Option<Box<[Box<str>]>>,
    /// What it has to do with TLS; None: nothing.
    pub security: Option<Box<SiteSecurity>>,
}

/// One route, ready to run.
pub struct Route {
    /// The site.
    pub site: Arc<SiteInfo>,
    /// In order on the way in, in reverse on the way out.
    pub filters: Box<[Filter]>,
    /// What answers.
    pub handler: Handler,
    /// The pattern as written.
    pub pattern: Pattern,
    /// Counts its requests with those of the same site and upstream.
    pub series: Arc<Series>,
}

/// What a look-up found.
pub enum Found {
    /// A route and what its pattern took from the path.
    Route(Arc<Route>, Params),
    /// The same path with a final slash is a folder of files.
    AddSlash(Arc<SiteInfo>),
    /// The path is known, with these methods.
    MethodNotAllowed(Arc<SiteInfo>, Vec<Method>),
    /// An upstream might read the path as another route.
    Ambiguous(Arc<SiteInfo>),
    /// The site has no such path.
    NoRoute(Arc<SiteInfo>),
    /// No site has such a host.
    NoSite,
}

/// What snapshots share, and what outlives them.
pub struct Shared<'a> {
    /// Upstreams by name.
    pub registry: &'a Registry,
    /// Series by name.
    pub metrics: &'a Metrics,
    /// Limits by name.
    pub limiters: &'a Limiters,
    /// Access logs by target.
    pub logs: &'a AccessLogs,
    /// Who was let pass by `auth`.
    pub auth: &'a Arc<filter::auth::Known>,
    /// What TLS connections are opened with, by what the config says of it.
    pub identities: &'a Identities,
}

impl Snapshot {
    /// Builds what `config` declares; fails when an access log can't be opened.
    pub fn build(config: Arc<Config>, shared: &Shared<'_>) -> io::Result<Self> {
        let mut groups = Groups::default();
        config.upstreams.iter().for_each(|upstream| drop(groups.of(upstream, shared.registry)));
        let mut everywhere = Vec::new();
        let mut restricted: HashMap<Address, Vec<(config::Host, Arc<Site>)>> = HashMap::new();
        let mut sites = Vec::with_capacity(config.sites.len());
        for spec in &config.sites {
            let site = Arc::new(Site::build(spec, &config, shared, &mut groups)?);
            sites.push(Arc::clone(&site));
            let hosts = spec.hosts.iter().map(|host| (host.clone(), Arc::clone(&site)));
            match &spec.listeners {
                None => everywhere.extend(hosts),
                Some(listeners) => {
                    for &listener in listeners {
                        let address = config.listeners[listener].address.clone();
                        restricted.entry(address).or_default().extend(hosts.clone());
                    }
                }
            }
        }
        let with_everywhere = |own: Vec<_>| unique(own.into_iter().chain(everywhere.iter().cloned()).collect());
        let by_listener = restricted.into_iter().map(|(address, own)| (address, with_everywhere(own))).collect();
        let nowhere = Arc::new(SiteInfo {
            name: "".into(),
            limits: Arc::clone(&config.limits),
            access_log: shared.logs.open(&config.access_log)?,
            series: shared.metrics.series("", ""),
            errors_ask: config.errors.as_ref().is_some_and(|errors| errors.has_functions()),
            errors: config.errors.clone(),
            // A request with a token may name a wrong host.
            secrets: secrets(config.sites.iter().flat_map(|site| &site.routes)),
            security: None,
        });
        let tunnels = passage::of_listeners(&config, &mut groups, shared);
        let groups = groups.0.into_values().collect();
        let security = Security::of(&config, config.sites.iter().zip(&sites));
        let (head_limits, everywhere) = (largest(&config), unique(everywhere));
        Ok(Self { tunnels, security, head_limits, groups, nowhere, everywhere, by_listener, config })
    }

    /// Every path of every host goes to one handler: the admin API.
    pub fn serving(handler: Handler, shared: &Shared<'_>) -> io::Result<Self> {
        let config = Arc::new(Config::default());
        let info = Arc::new(SiteInfo {
            name: "admin".into(),
            limits: Arc::clone(&config.limits),
            access_log: AccessLog::off(),
            series: shared.metrics.series("admin", ""),
            errors: None,
            errors_ask: false,
            secrets: None,
            security: None,
        });
        let pattern = Pattern::parse("/*").map_err(|e| io::Error::other(e.to_string()))?;
        let route = Route {
            site: Arc::clone(&info),
            filters: Box::default(),
            handler,
            series: Arc::clone(&info.series),
            pattern: pattern.clone(),
        };
        let table = Table::build(vec![(None, pattern, Arc::new(route))]);
        let table = table.map_err(|_| io::Error::other("one route conflicts with itself"))?;
        let everywhere = unique(vec![(config::Host::Any, Arc::new(Site { info: Arc::clone(&info), table }))]);
        let (head_limits, groups, by_listener) = (largest(&config), Vec::new(), HashMap::new());
        let (tunnels, security) = (HashMap::new(), Security::default());
        Ok(Self { tunnels, security, head_limits, groups, nowhere: info, everywhere, by_listener, config })
    }

    /// The route for a request. Asynchronous, for tables that are looked up elsewhere.
    pub async fn find(&self, listener: &Address, host: &str, method: &Method, path: &Path<'_>) -> Found {
        let Some(site) = self.site(listener, host) else { return Found::NoSite };
        let info = || Arc::clone(&site.info);
        match site.table.find(method, path) {
            Lookup::Found(found) => Found::Route(Arc::clone(found.value), found.params),
            Lookup::MethodNotAllowed(methods) => Found::MethodNotAllowed(info(), methods),
            Lookup::Ambiguous => Found::Ambiguous(info()),
            Lookup::NotFound if site.has_folder(method, path) => Found::AddSlash(info()),
            Lookup::NotFound => Found::NoRoute(info()),
        }
    }

    /// The route that a preflight asks about, if its handler or a filter of it answers preflights; else they are requests like others.
    pub fn find_preflight(&self, listener: &Address, host: &str, wanted: &Method, path: &Path<'_>) -> Option<Found> {
        match self.site(listener, host)?.table.find(wanted, path) {
            Lookup::Found(found) if found.value.answers_preflights() => {
                Some(Found::Route(Arc::clone(found.value), found.params))
            }
            _ => None,
        }
    }

    fn site(&self, listener: &Address, host: &str) -> Option<&Arc<Site>> {
        let own = if self.by_listener.is_empty() { None } else { self.by_listener.get(listener) };
        own.unwrap_or(&self.everywhere).find(host)
    }
}

impl Route {
    fn answers_preflights(&self) -> bool {
        self.handler.answers_preflights() || self.filters.iter().any(Filter::answers_preflights)
    }
}

impl Site {
    /// Adds the upstreams of bare addresses to `groups`.
    fn build(spec: &config::Site, config: &Config, shared: &Shared<'_>, groups: &mut Groups) -> io::Result<Self> {
        let name: Arc<str> = spec.hosts.first().map_or("*".to_owned(), ToString::to_string).into();
        let info = Arc::new(SiteInfo {
            limits: Arc::clone(&spec.limits),
            access_log: shared.logs.open(spec.access_log.as_ref().unwrap_or(&config.access_log))?,
            series: shared.metrics.series(&name, ""),
            errors_ask: spec.errors.as_ref().is_some_and(|errors| errors.has_functions()),
            errors: spec.errors.clone(),
            secrets: secrets(&spec.routes),
            security: SiteSecurity::build(spec, &name, config, (shared, groups))?,
            name,
        });
        let mut counted = Counted(vec![("".into(), Arc::clone(&info.series))]);
        let routes = spec.routes.iter().map(|route| {
            let built = Arc::new(Route::build(route, &info, (&mut counted, groups), shared));
            (route.method.clone(), route.pattern.clone(), built)
        });
        // Conflicts were found when the config was checked.
        let table = Table::build(routes.collect()).map_err(|_| io::Error::other("two routes can't be told apart"))?;
        Ok(Self { info, table })
    }

    /// Whether `path` with a final slash is answered by `files`: `/static` where there is `/static/*`.
    fn has_folder(&self, method: &Method, path: &Path<'_>) -> bool {
        let mut with_slash = path.raw().to_vec();
        with_slash.push(b'/');
        let Ok(path) = Path::new(&with_slash) else { return false };
        matches!(self.table.find(method, &path), Lookup::Found(found)
            if matches!(found.value.handler, Handler::Files(_)) && found.pattern.ends_in_wildcard())
    }
}

impl Route {
    fn build(
        spec: &config::Route,
        site: &Arc<SiteInfo>,
        (counted, groups): (&mut Counted, &mut Groups),
        shared: &Shared<'_>,
    ) -> Self {
        let handler = Handler::declared(&spec.chain.handler, |upstream| groups.of(upstream, shared.registry));
        let lasting = filter::Shared {
            registry: shared.registry,
            limiters: shared.limiters,
            metrics: shared.metrics,
            auth: shared.auth,
        };
        let filters = spec.chain.filters.iter().map(|filter| Filter::declared(filter, &site.name, &lasting));
        let filters: Box<[_]> = filters.collect();
        filters.iter().filter_map(Filter::upstream).for_each(|group| groups.keep(group));
        Self {
            site: Arc::clone(site),
            filters,
            series: counted.series(&site.name, handler.upstream(), shared.metrics),
            handler,
            pattern: spec.pattern.clone(),
        }
    }
}

/// The parameters in which these routes look for tokens.
fn secrets<'a>(routes: impl IntoIterator<Item = &'a config::Route>) -> Option<Box<[Box<str>]>> {
    let filters = routes.into_iter().flat_map(|route| &route.chain.filters);
    let tokens = filters.filter_map(|filter| match filter {
        config::Filter::Auth(auth) => match &**auth {
            config::Auth::Jwt(tokens) => Some(tokens.place.query.clone()),
            _ => None,
        },
        _ => None,
    });
    let names: std::collections::BTreeSet<_> = tokens.collect();
    (!names.is_empty()).then(|| names.into_iter().collect())
}

/// The running group of each upstream, by the address of its declaration, which the config keeps: the routes of a large
/// config share a few, and looking each up by name takes longer than all the rest.
#[derive(Default)]
struct Groups(HashMap<usize, Arc<Group>, foldhash::fast::RandomState>);

impl Groups {
    fn of(&mut self, upstream: &Arc<config::Upstream>, registry: &Registry) -> Arc<Group> {
        let group = self.0.entry(Arc::as_ptr(upstream) as usize).or_insert_with(|| registry.declare(upstream));
        Arc::clone(group)
    }

    /// One that was looked up already.
    fn keep(&mut self, group: &Arc<Group>) {
        self.0.entry(Arc::as_ptr(&group.spec) as usize).or_insert_with(|| Arc::clone(group));
    }
}

/// The series of one site, by the name of the upstream.
struct Counted(Vec<(Arc<str>, Arc<Series>)>);

impl Counted {
    fn series(&mut self, site: &str, upstream: Option<&Arc<Group>>, metrics: &Metrics) -> Arc<Series> {
        let name = upstream.map_or("", |upstream| &*upstream.name);
        if let Some((_, known)) = self.0.iter().find(|(known, _)| **known == *name) {
            return Arc::clone(known);
        }
        let series = metrics.series(site, name);
        self.0.push((name.into(), Arc::clone(&series)));
        series
    }
}

/// Duplicates were found when the config was checked; the first one stands.
fn unique(hosts: Vec<(config::Host, Arc<Site>)>) -> Hosts<Arc<Site>> {
    let mut seen = std::collections::HashSet::new();
    Hosts::build(hosts.into_iter().filter(|(host, _)| seen.insert(host.clone()))).unwrap_or_default()
}

fn largest(config: &Config) -> HeadLimits {
    let all = || std::iter::once(&config.limits).chain(config.sites.iter().map(|site| &site.limits));
    HeadLimits {
        head: all().map(|limits| limits.head).max().unwrap_or_default(),
        headers: all().map(|limits| limits.headers).max().unwrap_or_default(),
        uri: all().map(|limits| limits.uri).max().unwrap_or_default(),
    }
}
