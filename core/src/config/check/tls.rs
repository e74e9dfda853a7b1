//! TLS of listeners and sites: what is shown to clients, what is asked of them, and the tunnels beside it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::Checker;
use crate::config::{
    checked::{CertificateFiles, Certificates, ListenTls, SiteTls, Terminate, TlsVersion, Tunnel},
    diagnostic::Diagnostic,
    nearest::nearest,
    options,
    raw::{Key, Made, Span, Table, Value},
    reader::{found, strings},
    settings::{Arguments, Setting, Settings},
    units,
};

/// What `hsts = true` says: a year, as the lists of browsers ask for.
const HSTS: Duration = Duration::from_secs(365 * 86_400);

/// The longest that `hsts` says, as any duration.
const HSTS_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// Certificates of one site: one a kind of key, or a few names.
const CERTIFICATES_MAX: usize = 8;

const CERTIFICATE: &str = "{ cert = \"site.pem\", key = \"site.key\" }";

/// What a site's connections may be encrypted with, by the names of the standards.
const CIPHERS: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// One table of a certificate, and where it stands.
type One<'v> = (Settings<'v>, Span);

impl Checker<'_> {
    /// `tls` of a listener.
    pub(super) fn listen_tls(&mut self, settings: &Settings<'_>) -> Option<ListenTls> {
        let (value, span) = settings.raw("tls")?;
        match value {
            Value::Bool(is_tls) => is_tls.then(ListenTls::default),
            Value::Table(table) => {
                if let Some(item) = table.items.first() {
                    self.reader.error(item.span, "`tls` of `listen` takes options by name", "{ min = \"1.3\" }");
                }
                if let Some(entry) = table.entries.iter().find(|entry| entry.key == Key::Text("cert".into())) {
                    let label = format!("site \"example.com\" {{ tls = {CERTIFICATE}, … }}");
                    self.reader.error(entry.span, "a certificate belongs to a site, not to a listener", label);
                    return None;
                }
                let own = self.reader.settings("tls", options::LISTEN_TLS, &table.entries);
                Some(ListenTls { min: version(&own).unwrap_or_default() })
            }
            other => {
                let message = format!("`tls` of `listen` must be true or a table, not {}", found(other));
                self.reader.error(span, message, "true, or { min = \"1.3\" }");
                None
            }
        }
    }

    /// `tls` of a site; None: nothing, or something wrong.
    pub(super) fn site_tls(&mut self, settings: &Settings<'_>) -> Option<SiteTls> {
        let (value, span) = settings.raw("tls")?;
        match value {
            Value::Text(text) if text == "acme" => Some(SiteTls::Terminate(Arc::new(Terminate {
                certificates: Certificates::Acme,
                client_ca: None,
                min: None,
                ciphers: Vec::new(),
            }))),
            Value::Made(made) if made.what == "passthrough" => self.passthrough(made),
            Value::Table(table) => self.terminate(table, span),
            other => {
                let found =
                    if let Value::Text(text) = other { format!("\"{}\"", text.escape_debug()) } else { found(other) };
                let message = format!("`tls` of `site` must be a certificate, not {found}");
                self.reader.error(span, message, format!("{CERTIFICATE}, \"acme\" or passthrough(app)"));
                None
            }
        }
    }

    fn passthrough(&mut self, made: &Made) -> Option<SiteTls> {
        let arguments = self.reader.arguments(&options::PASSTHROUGH, made);
        let tunnel = self.tunnel("passthrough", &arguments)?;
        if tunnel.upstream.endpoints.iter().any(|endpoint| endpoint.tls) {
            let message = "what is passed through is TLS already, and this upstream has `tls` of its own";
            self.reader.error(made.span, message, "an upstream without `tls` and `https://`");
        }
        Some(SiteTls::Passthrough(tunnel))
    }

    /// `tcp` of a listener.
    pub(super) fn listen_tcp(&mut self, settings: &Settings<'_>) -> Option<Arc<Tunnel>> {
        let (value, span) = settings.raw("tcp")?;
        for other in ["tls", "http2"] {
            let is_on = match settings.given(other) {
                Some((_, Setting::Raw(value), _)) => **value != Value::Bool(false),
                Some((_, Setting::Bool(is_on), _)) => *is_on,
                _ => false,
            };
            if is_on {
                let message = format!("`listen` has both `tcp` and `{other}`");
                let error = Diagnostic::error(settings.span(other, span), message, "a tunnel opens nothing");
                self.reader.report(error.note(span, "the tunnel"));
            }
        }
        match value {
            Value::Made(made) if made.what == "tunnel" => {
                let arguments = self.reader.arguments(&options::TUNNEL, made);
                self.tunnel("tunnel", &arguments)
            }
            other => {
                let message = format!("`tcp` of `listen` must be a `tunnel`, not {}", found(other));
                self.reader.error(span, message, "for example tunnel \"127.0.0.1:5432\"");
                None
            }
        }
    }

    fn tunnel(&mut self, owner: &str, arguments: &Arguments<'_>) -> Option<Arc<Tunnel>> {
        let Some((Some(Setting::Raw(value)), place)) = arguments.positional.first() else { return None };
        let upstream = self.target(owner, value, *place)?;
        Some(Arc::new(Tunnel { upstream, idle_timeout: arguments.settings.duration("idle_timeout") }))
    }

    /// One certificate, or a list of those; what all of them share may stand in any, or beside them.
    fn terminate(&mut self, table: &Table, span: Span) -> Option<SiteTls> {
        let mut all: Vec<One<'_>> = Vec::new();
        let beside = self.reader.settings("tls", options::SITE_TLS, &table.entries);
        for item in &table.items {
            let Value::Table(one) = &item.value else {
                let message = format!("a certificate must be a table, not {}", found(&item.value));
                self.reader.error(item.span, message, CERTIFICATE);
                return None;
            };
            all.push((self.reader.settings("tls", options::SITE_TLS, &one.entries), item.span));
        }
        let is_list = !all.is_empty();
        if let Some(item) = table.items.get(CERTIFICATES_MAX) {
            let message = format!("a site has {CERTIFICATES_MAX} certificates at most");
            self.reader.error(item.span, message, "one for each kind of key");
        }
        if let Some((name, _, span)) = beside.given.iter().find(|(name, ..)| is_list && is_file(name)) {
            let message = format!("`{name}` stands beside a list of certificates");
            self.reader.error(*span, message, "each certificate is a table of its own");
        }
        all.push((beside, span));
        let certificates = if is_list { &all[..all.len() - 1] } else { &all[..] };
        let files: Vec<_> = certificates.iter().filter_map(|(one, span)| self.site_certificate(one, *span)).collect();
        let client_ca = self.agreed(&all, "client_ca", |one| path(one, "client_ca"));
        if let Some((path, span)) = &client_ca {
            self.authorities(path, *span);
        }
        let min = self.agreed(&all, "min", version).map(|(min, _)| min);
        let ciphers = self.agreed(&all, "ciphers", |one| one.raw("ciphers").map(|(value, _)| value));
        let ciphers = ciphers.map(|(value, span)| self.ciphers(value, span, min)).unwrap_or_default();
        if files.len() < certificates.len() {
            return None;
        }
        let certificates = Certificates::Files(files);
        let client_ca = client_ca.map(|(path, _)| path);
        Some(SiteTls::Terminate(Arc::new(Terminate { certificates, client_ca, min, ciphers })))
    }

    /// What all certificates of a site share, with its place: clients are asked before one of them is chosen.
    fn agreed<'v, T: PartialEq>(
        &mut self,
        all: &[One<'v>],
        name: &str,
        read: impl Fn(&Settings<'v>) -> Option<T>,
    ) -> Option<(T, Span)> {
        let mut given = all.iter().filter_map(|(one, span)| Some((read(one)?, one.span(name, *span))));
        let first = given.next()?;
        for (other, span) in given {
            if other != first.0 {
                let message = format!("the certificates of one site have different `{name}`");
                let error = Diagnostic::error(span, message, "the same in all, or say it once");
                self.reader.report(error.note(first.1, "another one here"));
            }
        }
        Some(first)
    }

    fn ciphers(&mut self, value: &Value, span: Span, min: Option<TlsVersion>) -> Vec<String> {
        let Some(names) = strings(value, span).filter(|names| !names.is_empty()) else {
            let found = match value {
                Value::Table(table) if table.items.is_empty() => "an empty table".to_owned(),
                Value::Table(_) => "a list with something else in it".to_owned(),
                other => found(other),
            };
            let message = format!("`ciphers` of `tls` must be a list of strings, not {found}");
            self.reader.error(span, message, format!("for example {{ \"{}\" }}", CIPHERS[1]));
            return Vec::new();
        };
        let mut chosen: Vec<String> = Vec::new();
        for (name, span) in &names {
            if !CIPHERS.contains(name) {
                let label = match nearest(name, CIPHERS) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("one of {}", CIPHERS.map(|name| format!("\"{name}\"")).join(", ")),
                };
                self.reader.error(*span, format!("there is no cipher suite \"{}\"", name.escape_debug()), label);
            } else if chosen.iter().any(|other| other == name) {
                self.reader.error(*span, format!("\"{name}\" is in `ciphers` twice"), "remove one");
            }
            chosen.push((*name).to_owned());
        }
        let is_new = |name: &String| !name.contains("_WITH_");
        if min == Some(TlsVersion::V13) && !chosen.iter().any(is_new) {
            let label = format!("for example \"{}\"", CIPHERS[1]);
            self.reader.error(span, "none of these `ciphers` is of TLS 1.3, which `min` asks for", label);
        }
        chosen
    }

    fn site_certificate(&mut self, one: &Settings<'_>, span: Span) -> Option<CertificateFiles> {
        if one.given("cert").is_none() && one.given("key").is_none() {
            // A certificate that is no path has been told of.
            self.reader.error(span, "`tls` of `site` needs a certificate", CERTIFICATE);
            return None;
        }
        self.certificate_files(one, span)
    }

    /// A certificate and its key, which may be one file. Both are hidden from `files`.
    pub(super) fn certificate_files(&mut self, settings: &Settings<'_>, span: Span) -> Option<CertificateFiles> {
        let key = path(settings, "key");
        let Some(cert) = path(settings, "cert") else {
            if key.is_some() && settings.given("cert").is_none() {
                let span = settings.span("key", span);
                self.reader.error(span, "a `key` needs its `cert`", CERTIFICATE);
            }
            return None;
        };
        let has_ocsp = settings.options.iter().any(|option| option.name == "ocsp");
        let ocsp = if has_ocsp { path(settings, "ocsp") } else { None };
        let files = CertificateFiles { key: key.unwrap_or_else(|| cert.clone()), cert, ocsp };
        self.private.extend([files.cert.clone(), files.key.clone()]);
        let check = self.context.certificate;
        let known = self.certificates.entry(files.clone()).or_insert_with(|| check(&files));
        if let Err(reason) = known.clone() {
            let is_missing = reason.starts_with("can't read");
            let label = if is_missing { "a path is relative to the folder of the file that says it" } else { "" };
            self.reader.error(settings.span("cert", span), reason, label);
        }
        Some(files)
    }

    /// A file of authorities that can be read.
    pub(super) fn authorities(&mut self, path: &std::path::Path, span: Span) {
        let check = self.context.authorities;
        let known = self.authorities.entry(path.to_owned()).or_insert_with(|| check(path));
        if let Err(reason) = known.clone() {
            self.reader.error(span, reason, "a PEM file of certificates");
        }
    }

    /// `hsts` of a site.
    pub(super) fn hsts(&mut self, settings: &Settings<'_>) -> Option<Duration> {
        const LABEL: &str = "true is a year; for example \"30d\"";
        let (value, span) = settings.raw("hsts")?;
        let duration = match value {
            Value::Bool(is_on) => return is_on.then_some(HSTS),
            Value::Text(text) => units::duration(text),
            _ => None,
        };
        match duration {
            Some(duration) if duration <= HSTS_MAX && duration.subsec_nanos() == 0 => Some(duration),
            Some(duration) => {
                let label = if duration > HSTS_MAX { "3650d at most" } else { "whole seconds" };
                self.reader.error(span, "`hsts` of `site` is out of range", label);
                None
            }
            None => {
                let found =
                    if let Value::Text(text) = value { format!("\"{}\"", text.escape_debug()) } else { found(value) };
                self.reader.error(span, format!("`hsts` of `site` must be true or a duration, not {found}"), LABEL);
                None
            }
        }
    }
}

fn is_file(name: &str) -> bool {
    ["cert", "key", "ocsp"].contains(&name)
}

fn version(settings: &Settings<'_>) -> Option<TlsVersion> {
    match settings.given("min") {
        Some((_, Setting::Word("1.3"), _)) => Some(TlsVersion::V13),
        Some((_, Setting::Word(_), _)) => Some(TlsVersion::V12),
        _ => None,
    }
}

/// The path that an option gives.
pub(super) fn path(settings: &Settings<'_>, name: &str) -> Option<PathBuf> {
    match settings.given(name) {
        Some((_, Setting::Path(path), _)) => Some(path.clone()),
        _ => None,
    }
}
