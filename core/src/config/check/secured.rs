//! Which TLS goes with which listener: what would be asked for and never be there, or be there and never be reached.

use super::{Checker, site::Around};
use crate::config::{
    checked::{Certificates, Challenge, Host, Listener, Site, SiteTls, TlsVersion},
    diagnostic::Diagnostic,
    raw::{File, Key, Made, Span, Value},
    settings::Settings,
};

/// What sites ask of the rest of the file.
#[derive(Default)]
pub(super) struct Asked {
    /// By the index of a listener, whether a site with `tls` answers there.
    secured: Vec<bool>,
    /// Whether a site wants a certificate of the authority.
    acme: bool,
}

impl Checker<'_> {
    /// What a site needs of listeners, and what its kind of `tls` can't have.
    pub(super) fn secured_site(
        &mut self,
        site: &Site,
        settings: &Settings<'_>,
        hosts: &[(Host, Span)],
        around: &Around<'_>,
        span: Span,
    ) {
        let on = |index: usize, listener: &Listener| {
            listener.tcp.is_none() && site.listeners.as_ref().is_none_or(|own| own.contains(&index))
        };
        let answers = || around.listeners.iter().enumerate().filter(move |(index, (listener, _))| on(*index, listener));
        let plain = answers().any(|(_, (listener, _))| listener.tls.is_none());
        let tls = answers().any(|(_, (listener, _))| listener.tls.is_some());
        let Some((_, _, asked)) = settings.given("tls") else {
            return self.unsecured_site(settings, tls && !plain, span);
        };
        self.asked.secured.resize(around.listeners.len(), false);
        for (index, _) in answers() {
            self.asked.secured[index] = true;
        }
        if !tls {
            let label = if site.listeners.is_some() {
                "none of those that the site names has `tls`"
            } else {
                "add: listen { \":443\", tls = true }"
            };
            self.reader.error(*asked, "`tls` of `site` needs a listener with TLS", label);
        }
        if let Some((_, _, span)) = settings.given("redirect_http").filter(|_| site.redirect_http && !plain) {
            let message = "`redirect_http` has no effect: the site is on no listener without TLS";
            self.reader.report(Diagnostic::warning(*span, message, "add: listen \":80\""));
        }
        match &site.tls {
            Some(SiteTls::Passthrough(_)) => self.passed_site(site, settings, plain, span),
            Some(SiteTls::Terminate(own)) if own.certificates == Certificates::Acme => {
                self.asked.acme = true;
                self.asked_for(hosts, around.has_acme, *asked);
            }
            Some(SiteTls::Terminate(own)) => {
                let newest = |listener: &Listener| listener.tls.is_some_and(|tls| tls.min == TlsVersion::V13);
                let found = answers().find(|(_, (listener, _))| newest(listener));
                if let (Some((_, (listener, _))), true) =
                    (found, own.ciphers.iter().all(|name| name.contains("_WITH_")))
                    && !own.ciphers.is_empty()
                {
                    let (message, place) = ("none of the `ciphers` of this site is of TLS 1.3", &listener.address);
                    self.reader.error(*asked, message, format!("`min` of `listen` {place} asks for it"));
                }
            }
            _ => {}
        }
    }

    fn unsecured_site(&mut self, settings: &Settings<'_>, is_unreachable: bool, span: Span) {
        for name in ["redirect_http", "hsts"] {
            let is_on = settings.given(name).is_some() && (name == "hsts" || settings.bool(name));
            if is_on {
                let message = format!("`{name}` of `site` needs the site's `tls`");
                let label = "for example tls = { cert = \"site.pem\", key = \"site.key\" }";
                self.reader.error(settings.span(name, span), message, label);
            }
        }
        if is_unreachable {
            let message = "this site is never reached: its listeners have TLS, and it has no `tls`";
            self.reader.report(Diagnostic::warning(span, message, "give it a certificate, or add: listen \":80\""));
        }
    }

    fn passed_site(&mut self, site: &Site, settings: &Settings<'_>, plain: bool, span: Span) {
        if let Some((_, _, span)) = settings.given("hsts") {
            let message = "`hsts` can't be said by a site that is passed through";
            self.reader.error(*span, message, "who opens the connection says it");
        }
        if !plain && !site.routes.is_empty() {
            let message = "the routes of this site are never reached: what comes by TLS is passed through";
            self.reader.report(Diagnostic::warning(span, message, "add: listen \":80\", or remove them"));
        }
    }

    /// What an authority gives no certificate for.
    fn asked_for(&mut self, hosts: &[(Host, Span)], has_acme: bool, asked: Span) {
        if !has_acme {
            let label = "for example acme { email = \"me@example.com\", cache = \"./acme\" }";
            self.reader.error(asked, "`tls = \"acme\"` needs the statement `acme`", label);
        }
        for (host, span) in hosts {
            let (message, label) = match host {
                Host::Any => {
                    ("an authority gives certificates for names only, not for \"*\"".to_owned(), "list the hosts")
                }
                Host::Suffix(_) => (
                    format!("no challenge of `acme` proves \"{host}\""),
                    "list the hosts, or give a certificate in files",
                ),
                Host::Exact(name) if is_address(name) => {
                    (format!("\"{name}\" is an address, and no authority of `acme` is asked for one"), "a name")
                }
                Host::Exact(_) => continue,
            };
            self.reader.error(*span, message, label);
        }
    }

    /// Once all sites are known: listeners that nobody answers on, and an authority that nobody asks.
    pub(super) fn secured_listeners(&mut self, file: &File, around: &Around<'_>, acme: Option<(Challenge, Span)>) {
        for (index, (listener, span)) in around.listeners.iter().enumerate() {
            let is_used = self.asked.secured.get(index).is_some_and(|used| *used);
            if listener.tls.is_some()
                && listener.tcp.is_none()
                && !is_used
                && file.statements.iter().any(|made| made.what == "site")
            {
                let message =
                    format!("nobody can be answered on `listen` {}: no site with `tls` is on it", listener.address);
                self.reader.error(
                    *span,
                    message,
                    "for example site \"example.com\" { tls = { cert = …, key = … }, … }",
                );
            }
        }
        let Some((challenge, span)) = acme else { return };
        let is_plain = |listener: &Listener| listener.tls.is_none() && listener.tcp.is_none();
        if !self.asked.acme {
            let warning = Diagnostic::warning(span, "no site wants a certificate of `acme`", "tls = \"acme\"");
            self.reader.report(warning);
        } else if challenge == Challenge::Http01 && !around.listeners.iter().any(|(listener, _)| is_plain(listener)) {
            let message = "\"http-01\" is asked by plain HTTP, and no listener is without TLS";
            let label = "add: listen \":80\"; or challenge = \"tls-alpn-01\"";
            self.reader.report(Diagnostic::warning(span, message, label));
        }
    }

    /// The paths of keys in the sites, which `files` in any of them must not serve: so they are gathered before.
    pub(super) fn private_of_sites(&mut self, file: &File) {
        let sites = file.statements.iter().filter(|made| made.what == "site");
        let entries =
            sites.flat_map(|made: &std::sync::Arc<Made>| made.name.entries.iter().chain(&made.arguments.entries));
        for entry in entries.filter(|entry| is_key(&entry.key, "tls")) {
            let Value::Table(table) = &entry.value else { continue };
            let listed = table.items.iter().filter_map(|item| match &item.value {
                Value::Table(one) => Some(one),
                _ => None,
            });
            for entry in listed.chain([table]).flat_map(|one| &one.entries) {
                if let (Value::Text(text), true) =
                    (&entry.value, ["cert", "key"].iter().any(|key| is_key(&entry.key, key)))
                {
                    let path = self.reader.path(text, entry.span);
                    self.private.push(path);
                }
            }
        }
    }
}

fn is_key(key: &Key, name: &str) -> bool {
    matches!(key, Key::Text(text) if text == name)
}

fn is_address(name: &str) -> bool {
    name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}
