//! Upstreams: declared by name, made in place, or a bare address.

use std::{collections::HashMap, sync::Arc};

use super::{Checker, balance::queue};
use crate::config::{
    address::{self, AddressError},
    checked::{Balance, Endpoint, EndpointAddress, Outlier, ProxyProtocol, Retry, Upstream},
    diagnostic::Diagnostic,
    nearest::nearest,
    options,
    raw::{Item, Made, Span, Value},
    reader::found,
    settings::Settings,
};

/// The nearest name is looked for among so many, to bound the work of a file that is wrong everywhere.
const NEAREST_AMONG: usize = 1000;

/// Every upstream known to one check.
#[derive(Default)]
pub(super) struct Upstreams {
    /// Those that have statements, in order.
    declared: Vec<Arc<Upstream>>,
    /// By name; None is one that is wrong, and said to be.
    named: HashMap<String, (Option<Arc<Upstream>>, Span)>,
    /// By the address of what the constructor returned, which lives as long as the file.
    made: HashMap<usize, Option<Arc<Upstream>>>,
    /// Those without a name of their own, by their list of addresses.
    unnamed: HashMap<String, Vec<Arc<Upstream>>>,
    /// Bare addresses, as the file writes them.
    bare: HashMap<String, Arc<Upstream>>,
}

impl Upstreams {
    /// Those that have statements, each name once.
    pub(super) fn declared(&self) -> Vec<Arc<Upstream>> {
        self.declared.clone()
    }

    /// Gives an upstream without a name the list of its addresses as name; equal ones are one, others get a number.
    fn intern(&mut self, mut upstream: Upstream) -> Arc<Upstream> {
        let addresses: Vec<_> = upstream.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
        let list = addresses.join(",");
        let alike = self.unnamed.entry(list.clone()).or_default();
        let mut number = 1;
        loop {
            upstream.name = if number == 1 { list.clone() } else { format!("{list}#{number}") };
            match alike.get(number - 1) {
                Some(other) if **other == upstream => return other.clone(),
                Some(_) => number += 1,
                None => break,
            }
        }
        let upstream = Arc::new(upstream);
        alike.push(upstream.clone());
        upstream
    }
}

impl Checker<'_> {
    /// Checks an `upstream`, once however often it is used.
    pub(super) fn declare(&mut self, made: &Arc<Made>) -> Option<Arc<Upstream>> {
        let key = Arc::as_ptr(made) as usize;
        if let Some(known) = self.upstreams.made.get(&key) {
            return known.clone();
        }
        let name = self.upstream_name(made);
        if let (Some(name), Some(running)) = (name, self.running) {
            return running(name).or_else(|| {
                self.unknown_upstream(name, made.span);
                None
            });
        }
        let checked = self.upstream(made);
        let Some(name) = name else {
            let upstream = checked.map(|upstream| self.upstreams.intern(upstream));
            let known =
                |upstream: &Arc<Upstream>| self.upstreams.declared.iter().any(|other| Arc::ptr_eq(other, upstream));
            if let Some(new) = upstream.as_ref().filter(|upstream| !known(upstream)).cloned() {
                self.upstreams.declared.push(new);
            }
            self.upstreams.made.insert(key, upstream.clone());
            return upstream;
        };
        let upstream = checked.map(|upstream| Arc::new(Upstream { name: name.to_owned(), ..upstream }));
        self.upstreams.made.insert(key, upstream.clone());
        if let Some((_, first)) = self.upstreams.named.get(name) {
            let error = Diagnostic::error(made.span, format!("two upstreams are called \"{name}\""), "another name");
            self.reader.report(error.note(*first, "first here"));
            return upstream;
        }
        self.upstreams.declared.extend(upstream.clone());
        self.upstreams.named.insert(name.to_owned(), (upstream.clone(), made.span));
        upstream
    }

    fn upstream_name<'m>(&mut self, made: &'m Made) -> Option<&'m str> {
        let item = made.name.items.first()?;
        match &item.value {
            Value::Text(name) if (1..=255).contains(&name.len()) && !name.contains(char::is_control) => Some(name),
            Value::Text(_) => {
                self.reader.error(item.span, "an upstream's name has 1 to 255 bytes, no control characters", "");
                None
            }
            other => {
                let message = format!("an upstream's name must be a string, not {}", found(other));
                self.reader.error(item.span, message, "upstream \"app\" { … }");
                None
            }
        }
    }

    /// Everything but the name.
    fn upstream(&mut self, made: &Made) -> Option<Upstream> {
        if !made.complete {
            let name = made.name.items.first().map(|item| &item.value);
            let name = if let Some(Value::Text(name)) = name { name } else { "app" };
            let message = format!("upstream \"{name}\" is never given its endpoints");
            self.reader.error(made.span, message, format!("upstream \"{name}\" {{ \"127.0.0.1:3000\" }}"));
            return None;
        }
        let arguments = self.reader.arguments(&options::UPSTREAM, made);
        let items = &made.arguments.items;
        let mut endpoints: Vec<_> = items.iter().filter_map(|item| self.endpoint(item)).collect();
        if endpoints.is_empty() || endpoints.len() < items.len() {
            return None;
        }
        self.distinct(&endpoints, items);
        let settings = &arguments.settings;
        if settings.text("balance") == Some("hash") || settings.text("sticky").is_some() {
            self.distinct_names(&endpoints, items);
        }
        let max = settings.integer("max_connections").and_then(|count| u32::try_from(count).ok());
        for endpoint in &mut endpoints {
            endpoint.max_connections = endpoint.max_connections.or(max);
        }
        if settings.table("tls").is_some() {
            endpoints.iter_mut().for_each(|endpoint| endpoint.tls = true);
        }
        self.options(endpoints, settings, made.span)
    }

    fn options(&mut self, endpoints: Vec<Endpoint>, settings: &Settings<'_>, span: Span) -> Option<Upstream> {
        let none = Settings::defaults(options::OUTLIER);
        let outlier = settings.table("outlier").unwrap_or(&none);
        let outlier = Outlier {
            failures: outlier.integer("failures").and_then(|count| u32::try_from(count).ok())?,
            eject: outlier.duration("eject")?,
            eject_max: outlier.duration("eject_max")?,
            max_ejected: outlier.share("max_ejected")?,
            slow: outlier.duration("slow"),
        };
        if outlier.eject > outlier.eject_max {
            let span = settings.span("outlier", span);
            self.reader.error(span, "`eject` is longer than `eject_max`", "eject_max is the longest time out");
        }
        // Each of them says what is wrong, whatever is wrong with the others.
        let (key, sticky, probe) = (self.hash_key(settings), self.sticky(settings), self.probe(settings));
        let none = Settings::defaults(options::RETRY);
        let tls = self.upstream_tls(settings, &endpoints, span);
        Some(Upstream {
            name: String::new(),
            endpoints,
            balance: match settings.text("balance")? {
                "least_connections" => Balance::LeastConnections,
                "power_of_two" => Balance::PowerOfTwo,
                "random" => Balance::Random,
                "hash" => Balance::Hash,
                _ => Balance::RoundRobin,
            },
            key: key?,
            sticky: sticky?,
            slow_start: settings.duration("slow_start")?,
            queue: queue(settings)?,
            probe: probe?,
            outlier,
            connect_timeout: settings.duration("connect_timeout")?,
            keepalive: settings.integer("keepalive").and_then(|count| usize::try_from(count).ok())?,
            keepalive_timeout: settings.duration("keepalive_timeout")?,
            retry: retry(settings.table("retry").unwrap_or(&none), None)?,
            proxy_protocol: match settings.text("proxy_protocol") {
                Some("v1") => Some(ProxyProtocol::V1),
                Some(_) => Some(ProxyProtocol::V2),
                None => None,
            },
            http2: settings.bool("http2"),
            tls,
        })
    }

    fn endpoint(&mut self, item: &Item) -> Option<Endpoint> {
        match &item.value {
            Value::Text(text) => self.plain_endpoint(text, item.span),
            Value::Table(table) => {
                let [first] = table.items.as_slice() else {
                    let message = format!("an endpoint has one address, not {}", table.items.len());
                    self.reader.error(item.span, message, "{ \"127.0.0.1:3000\", weight = 2 }");
                    return None;
                };
                let Value::Text(text) = &first.value else {
                    self.wrong_endpoint(&first.value, first.span);
                    return None;
                };
                let endpoint = self.plain_endpoint(text, first.span);
                let settings = self.reader.settings("endpoint", options::ENDPOINT, &table.entries);
                if settings.text("name") == Some("") {
                    let span = settings.span("name", item.span);
                    self.reader.error(span, "`name` of `endpoint` is empty", "a name for logs and metrics");
                }
                let endpoint = endpoint?;
                Some(Endpoint {
                    address: endpoint.address,
                    tls: endpoint.tls,
                    weight: settings.integer("weight").and_then(|weight| u32::try_from(weight).ok())?,
                    backup: settings.bool("backup"),
                    max_connections: settings.integer("max_connections").and_then(|count| u32::try_from(count).ok()),
                    name: settings.text("name").map_or(endpoint.name, str::to_owned),
                })
            }
            other => {
                self.wrong_endpoint(other, item.span);
                None
            }
        }
    }

    fn plain_endpoint(&mut self, text: &str, span: Span) -> Option<Endpoint> {
        match address::endpoint(text, &self.reader.folder(span)) {
            Ok((address, tls)) => {
                let name = text.to_owned();
                Some(Endpoint { address, weight: 1, backup: false, max_connections: None, tls, name })
            }
            Err(AddressError::Write(label)) => {
                self.reader.error(span, format!("\"{}\" is no address of an endpoint", text.escape_debug()), label);
                None
            }
        }
    }

    fn wrong_endpoint(&mut self, value: &Value, span: Span) {
        let message = format!("an endpoint must be an address, not {}", found(value));
        self.reader.error(span, message, "for example \"127.0.0.1:3000\" or { \"127.0.0.1:3000\", weight = 2 }");
    }

    /// States live by address, so that an upstream can't have one twice.
    fn distinct(&mut self, endpoints: &[Endpoint], items: &[Item]) {
        let mut seen: HashMap<&EndpointAddress, Span> = HashMap::new();
        for (endpoint, item) in endpoints.iter().zip(items) {
            if let Some(first) = seen.insert(&endpoint.address, item.span) {
                let message = format!("{} is in this upstream twice", endpoint.address);
                let error = Diagnostic::error(item.span, message, "give it a weight instead");
                self.reader.report(error.note(first, "first here"));
            }
        }
    }

    /// A ring and a cookie know endpoints by their names.
    fn distinct_names(&mut self, endpoints: &[Endpoint], items: &[Item]) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for (endpoint, item) in endpoints.iter().zip(items) {
            if let Some(first) = seen.insert(&endpoint.name, item.span) {
                let message = format!("two endpoints are called \"{}\"", endpoint.name.escape_debug());
                let error = Diagnostic::error(item.span, message, "`hash` and `sticky` know endpoints by their names");
                self.reader.report(error.note(first, "first here"));
            }
        }
    }

    /// What `proxy` or another `owner` is pointed at: an upstream, the name of one, or an address.
    pub(super) fn target(&mut self, owner: &str, value: &Value, span: Span) -> Option<Arc<Upstream>> {
        match value {
            Value::Made(made) if made.what == "upstream" => self.declare(made),
            Value::Text(text) => self.target_text(text, span),
            Value::Made(made) if options::find(made.what).is_some_and(|constructor| !constructor.landed) => {
                self.reader.error(span, format!("`{}` is not in this version", made.what), "");
                None
            }
            other => {
                let message =
                    format!("the target of `{owner}` must be an upstream or an address, not {}", found(other));
                self.reader.error(span, message, format!("for example {owner} \"127.0.0.1:3000\""));
                None
            }
        }
    }

    fn target_text(&mut self, text: &str, span: Span) -> Option<Arc<Upstream>> {
        if let Some((upstream, _)) = self.upstreams.named.get(text) {
            return upstream.clone();
        }
        if let Some(upstream) = self.running.and_then(|running| running(text)) {
            return Some(upstream);
        }
        if let Some(upstream) = self.upstreams.bare.get(text) {
            return Some(upstream.clone());
        }
        if !text.contains([':', '/', '.', '[']) {
            self.unknown_upstream(text, span);
            return None;
        }
        let upstream = self.bare_upstream(text, span)?;
        self.upstreams.bare.insert(text.to_owned(), upstream.clone());
        Some(upstream)
    }

    /// An upstream of one address, with every default; not among the declared ones.
    pub(super) fn bare_upstream(&mut self, text: &str, span: Span) -> Option<Arc<Upstream>> {
        let endpoint = self.plain_endpoint(text, span)?;
        let upstream = self.options(vec![endpoint], &Settings::defaults(options::UPSTREAM.options), span)?;
        Some(self.upstreams.intern(upstream))
    }

    fn unknown_upstream(&mut self, name: &str, span: Span) {
        let names = self.upstreams.declared.iter().map(|upstream| upstream.name.as_str()).take(NEAREST_AMONG);
        let label = match nearest(name, names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("declare it: upstream \"{name}\" {{ … }}; an address has a port: \"{name}:80\""),
        };
        self.reader.error(span, format!("no upstream is called \"{name}\""), label);
    }
}

/// Second attempts; what isn't said is as in `base`, or else the default.
pub(super) fn retry(settings: &Settings<'_>, base: Option<Retry>) -> Option<Retry> {
    let mut retry = match base {
        Some(base) => base,
        None => Retry { tries: 1, budget: 0.0 },
    };
    if base.is_none() || settings.given("tries").is_some() {
        retry.tries = settings.integer("tries").and_then(|tries| u32::try_from(tries).ok())?;
    }
    if base.is_none() || settings.given("budget").is_some() {
        retry.budget = settings.share("budget")?;
    }
    Some(retry)
}
