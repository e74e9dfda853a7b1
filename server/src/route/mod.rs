//! The running config: which site and route a request belongs to.
//!
//! **Invariant:** a snapshot never changes; a reload builds another one.
//! **Invariant:** what outlives a request (a tunnel, a stream) holds a [`Route`], never a snapshot.

use std::{collections::HashMap, io, sync::Arc};

use http::Method;
use rsp_core::{
    config::{self, Address, Config, Limits},
    frame::http1::HeadLimits,
    route::{Hosts, Lookup, Params, Path, Pattern, Table},
};

use crate::{
    filter::{self, Filter},
    handler::Handler,
    limit::Limiters,
    observe::{AccessLog, AccessLogs, Metrics, Series},
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
}

impl Snapshot {
    /// Builds what `config` declares; fails when an access log can't be opened.
    pub fn build(config: Arc<Config>, shared: &Shared<'_>) -> io::Result<Self> {
        let mut groups: Vec<_> = config.upstreams.iter().map(|upstream| shared.registry.declare(upstream)).collect();
        let mut everywhere = Vec::new();
        let mut restricted: HashMap<Address, Vec<(config::Host, Arc<Site>)>> = HashMap::new();
        for spec in &config.sites {
            let site = Arc::new(Site::build(spec, &config, shared, &mut groups)?);
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
        });
        Ok(Self { head_limits: largest(&config), groups, nowhere, everywhere: unique(everywhere), by_listener, config })
    }

    /// Every path of every host goes to one handler: the admin API.
    pub fn serving(handler: Handler, shared: &Shared<'_>) -> io::Result<Self> {
        let config = Arc::new(Config::default());
        let info = Arc::new(SiteInfo {
            name: "admin".into(),
            limits: Arc::clone(&config.limits),
            access_log: AccessLog::off(),
            series: shared.metrics.series("admin", ""),
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
        let (groups, by_listener) = (Vec::new(), HashMap::new());
        Ok(Self { head_limits: largest(&config), groups, nowhere: info, everywhere, by_listener, config })
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

    /// The route that a preflight asks about, if a filter of it answers preflights; else they are requests like others.
    pub fn find_preflight(&self, listener: &Address, host: &str, wanted: &Method, path: &Path<'_>) -> Option<Found> {
        match self.site(listener, host)?.table.find(wanted, path) {
            Lookup::Found(found) if found.value.filters.iter().any(Filter::answers_preflights) => {
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

impl Site {
    /// Adds the upstreams of bare addresses to `groups`.
    fn build(
        spec: &config::Site,
        config: &Config,
        shared: &Shared<'_>,
        groups: &mut Vec<Arc<Group>>,
    ) -> io::Result<Self> {
        let name: Arc<str> = spec.hosts.first().map_or("*".to_owned(), ToString::to_string).into();
        let info = Arc::new(SiteInfo {
            limits: Arc::clone(&spec.limits),
            access_log: shared.logs.open(spec.access_log.as_ref().unwrap_or(&config.access_log))?,
            series: shared.metrics.series(&name, ""),
            name,
        });
        let routes = spec.routes.iter().map(|route| {
            let built = Arc::new(Route::build(route, &info, shared));
            groups.extend(built.handler.upstream().cloned());
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
    fn build(spec: &config::Route, site: &Arc<SiteInfo>, shared: &Shared<'_>) -> Self {
        let handler = Handler::declared(&spec.chain.handler, shared.registry);
        let lasting = filter::Shared { limiters: shared.limiters, metrics: shared.metrics };
        let filters = spec.chain.filters.iter().map(|filter| Filter::declared(filter, &site.name, &lasting));
        Self {
            site: Arc::clone(site),
            filters: filters.collect(),
            series: shared.metrics.series(&site.name, handler.upstream().map_or("", |upstream| &upstream.name)),
            handler,
            pattern: spec.pattern.clone(),
        }
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
