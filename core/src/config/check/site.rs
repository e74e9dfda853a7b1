//! Sites: hosts, options, and which of them answers where.

use std::{collections::HashMap, sync::Arc};

use super::{Checker, statement::limits};
use crate::{
    config::{
        address,
        checked::{AccessLog, ErrorPages, Host, Limits, Listener, Site},
        diagnostic::Diagnostic,
        nearest::nearest,
        options,
        raw::{Entry, File, Key, Made, Span, Value},
        reader::{found, strings},
        settings::Settings,
    },
    route::normalise_host,
};

/// Which hosts have a site, and on which listeners.
type Taken = HashMap<Host, Vec<(Option<Vec<usize>>, Span)>, foldhash::fast::RandomState>;

/// What all sites of a file share.
pub(super) struct Around<'a> {
    pub(super) listeners: &'a [(Listener, Span)],
    pub(super) limits: &'a Arc<Limits>,
    pub(super) access_log: &'a AccessLog,
    pub(super) errors: &'a Option<Arc<ErrorPages>>,
    /// Whether there is an `acme`, right or wrong.
    pub(super) has_acme: bool,
}

impl Checker<'_> {
    pub(super) fn sites(&mut self, file: &File, around: &Around<'_>) -> Vec<Site> {
        let mut taken = Taken::default();
        let mut sites = Vec::new();
        for made in file.statements.iter().filter(|made| made.what == "site") {
            sites.extend(self.site(made, around, &mut taken));
        }
        let is_http =
            around.listeners.is_empty() || around.listeners.iter().any(|(listener, _)| listener.tcp.is_none());
        if is_http && sites.is_empty() && !file.statements.iter().any(|made| made.what == "site") {
            let place = file.statements.first().map_or(Span::default(), |made| made.span);
            let label = "for example: site \"*\" (proxy \"127.0.0.1:3000\")";
            self.reader.report(Diagnostic::warning(place, "no `site`: every request gets 404", label));
        }
        sites
    }

    fn site(&mut self, made: &Made, around: &Around<'_>, taken: &mut Taken) -> Option<Site> {
        let hosts = self.hosts(made);
        if !made.complete {
            let host = made.name.items.first().map(|item| &item.value);
            let host = if let Some(Value::Text(host)) = host { host } else { "example.com" };
            let message = format!("site \"{host}\" is never given its routes");
            let label = format!("site \"{host}\" {{ [\"/*\"] = proxy \"127.0.0.1:3000\" }}");
            self.reader.error(made.span, message, label);
            return None;
        }
        let settings = self.site_settings(made);
        let listeners = self.site_listeners(&settings, around.listeners);
        for (host, span) in &hosts {
            self.take(host, *span, &listeners, taken);
        }
        let limits = match settings.table("limits") {
            None => around.limits.clone(),
            Some(own) => {
                self.limits_too_early(own);
                Arc::new(limits(own, around.limits))
            }
        };
        let access_log = settings.table("log").map(|own| self.access_log(own, around.access_log));
        let errors = match settings.raw("errors") {
            None => around.errors.clone(),
            Some((value, span)) => self.error_pages_of_site(value, span, around.errors),
        };
        let tls = self.site_tls(&settings);
        let hsts = self.hsts(&settings);
        let redirect_http = settings.bool("redirect_http");
        let is_passed = matches!(settings.raw("tls"), Some((Value::Made(made), _)) if made.what == "passthrough");
        let routes = self.routes(made, is_passed);
        let names = hosts.iter().map(|(host, _)| host.clone()).collect();
        let site = Site { hosts: names, listeners, limits, access_log, errors, tls, redirect_http, hsts, routes };
        self.secured_site(&site, &settings, &hosts, around, made.span);
        Some(site)
    }

    /// The options, wherever they stand: beside the hosts or among the routes.
    fn site_settings<'m>(&mut self, made: &'m Made) -> Settings<'m> {
        let beside = made.name.entries.iter();
        let among = made.arguments.entries.iter().filter(|entry| route_key(entry).is_none());
        let settings = self.reader.settings("site", options::SITE.options, beside.chain(among));
        for (index, (name, _, span)) in settings.given.iter().enumerate() {
            if let Some((_, _, first)) = settings.given[..index].iter().find(|(other, ..)| other == name) {
                let error = Diagnostic::error(*span, format!("`{name}` of `site` is given twice"), "give it once");
                self.reader.report(error.note(*first, "first here"));
            }
        }
        settings
    }

    fn hosts(&mut self, made: &Made) -> Vec<(Host, Span)> {
        if made.name.items.is_empty() {
            self.reader.error(made.span, "a site needs a host", "site \"example.com\" { … }; any host is \"*\"");
        }
        let mut hosts = Vec::new();
        for item in &made.name.items {
            let Value::Text(text) = &item.value else {
                let message = format!("a host must be a string, not {}", found(&item.value));
                self.reader.error(item.span, message, "for example \"example.com\"");
                continue;
            };
            match host(text) {
                Ok(host) => hosts.push((host, item.span)),
                Err(label) => {
                    self.reader.error(item.span, format!("\"{}\" is no host", text.escape_debug()), label);
                }
            }
        }
        hosts
    }

    fn site_listeners(&mut self, settings: &Settings<'_>, all: &[(Listener, Span)]) -> Option<Vec<usize>> {
        let (value, span) = settings.raw("listen")?;
        let Some(texts) = strings(value, span) else {
            let message = format!("`listen` of `site` must be an address or a list of them, not {}", found(value));
            self.reader.error(span, message, "for example \":80\" or { \":80\", \":8080\" }");
            return Some(Vec::new());
        };
        if texts.is_empty() {
            self.reader.error(span, "`listen` of `site` is empty: nothing would reach it", "for example \":80\"");
        }
        let mut chosen = Vec::new();
        for (text, span) in texts {
            match address::listen_address(text, &self.reader.folder(span)) {
                Ok(address) => match all.iter().position(|(listener, _)| listener.address == address) {
                    Some(index) if all[index].0.tcp.is_some() => {
                        let message = format!("`listen` {address} is a tunnel: no site answers there");
                        let error = Diagnostic::error(span, message, "another listener");
                        self.reader.report(error.note(all[index].1, "the tunnel"));
                    }
                    Some(index) => chosen.push(index),
                    None => self.unknown_listener(text, span, all),
                },
                Err(_) => self.unknown_listener(text, span, all),
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        Some(chosen)
    }

    fn unknown_listener(&mut self, text: &str, span: Span, all: &[(Listener, Span)]) {
        let names: Vec<String> = all.iter().map(|(listener, _)| listener.address.to_string()).collect();
        let label = match nearest(text, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if names.is_empty() => "add the statement `listen`".to_owned(),
            None => format!("one of those that `listen` says: {}", names.join(", ")),
        };
        self.reader.error(span, format!("no `listen` says \"{}\"", text.escape_debug()), label);
    }

    /// Notes that a host has its site; two sites may share one on different listeners only.
    fn take(&mut self, host: &Host, span: Span, listeners: &Option<Vec<usize>>, taken: &mut Taken) {
        let meets = |other: &Option<Vec<usize>>| match (listeners, other) {
            (Some(a), Some(b)) => a.iter().any(|index| b.contains(index)),
            _ => true,
        };
        let others = taken.entry(host.clone()).or_default();
        if let Some((_, first)) = others.iter().find(|(other, _)| meets(other)) {
            let message = format!("\"{host}\" has a site already on the same listeners");
            let error = Diagnostic::error(span, message, "one site, or a `listen` of its own for each");
            return self.reader.report(error.note(*first, "first here"));
        }
        others.push((listeners.clone(), span));
    }
}

/// The key of a route; None for an option.
pub(super) fn route_key(entry: &Entry) -> Option<&str> {
    match &entry.key {
        Key::Text(key) if key.contains('/') => Some(key),
        _ => None,
    }
}

/// Errors: what would be right.
fn host(text: &str) -> Result<Host, String> {
    if text == "*" {
        return Ok(Host::Any);
    }
    if text.contains('/') {
        return Err("a host alone, without scheme and path: \"example.com\"".to_owned());
    }
    let (name, suffix) = match text.strip_prefix("*.") {
        Some(suffix) => (suffix, true),
        None => (text, false),
    };
    if name.contains('*') {
        return Err("a `*` stands for whole labels at the front: \"*.example.com\"".to_owned());
    }
    if has_port(name) {
        return Err("without a port; `listen = \":80\"` restricts a site to a listener".to_owned());
    }
    match normalise_host(name) {
        Ok(name) if suffix => Ok(Host::Suffix(name.into_owned())),
        Ok(name) => Ok(Host::Exact(name.into_owned())),
        Err(error) => Err(error.to_string()),
    }
}

fn has_port(name: &str) -> bool {
    match name.rsplit_once(':') {
        Some((host, port)) => {
            (!host.contains(':') || host.ends_with(']')) && port.bytes().all(|byte| byte.is_ascii_digit())
        }
        None => false,
    }
}
