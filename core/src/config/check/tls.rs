//! TLS of listeners, sites and upstreams, the tunnels beside it, and the authority that gives certificates.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::Checker;
use crate::config::{
    checked::{
        Acme, CertificateFiles, Certificates, Challenge, ListenTls, SiteTls, Terminate, TlsVersion, Tunnel, UpstreamTls,
    },
    options,
    raw::{Made, Span, Table, Value},
    reader::{found, strings},
    settings::{Arguments, Setting, Settings},
};

/// What `hsts = true` says: a year, as the lists of browsers ask for.
const HSTS: Duration = Duration::from_secs(365 * 86_400);

/// Where accounts are made unless the config says otherwise.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

impl Checker<'_> {
    /// `tls` of a listener.
    pub(super) fn listen_tls(&mut self, settings: &Settings<'_>) -> Option<ListenTls> {
        let (value, span) = settings.raw("tls")?;
        match value {
            Value::Bool(is_tls) => is_tls.then(ListenTls::default),
            Value::Table(table) => {
                self.named_only("tls", table, span);
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
                let message = format!("`tls` of `site` must be a certificate, not {}", found(other));
                let label = "{ cert = \"site.pem\", key = \"site.key\" }, \"acme\" or passthrough(app)";
                self.reader.error(span, message, label);
                None
            }
        }
    }

    fn passthrough(&mut self, made: &Made) -> Option<SiteTls> {
        let arguments = self.reader.arguments(&options::PASSTHROUGH, made);
        self.tunnel("passthrough", &arguments).map(SiteTls::Passthrough)
    }

    /// `tcp` of a listener.
    pub(super) fn listen_tcp(&mut self, settings: &Settings<'_>) -> Option<Arc<Tunnel>> {
        let (value, span) = settings.raw("tcp")?;
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

    /// One certificate, or a list of those.
    fn terminate(&mut self, table: &Table, span: Span) -> Option<SiteTls> {
        let mut all = Vec::new();
        if table.items.is_empty() {
            all.push((self.reader.settings("tls", options::SITE_TLS, &table.entries), span));
        } else {
            for item in &table.items {
                let Value::Table(one) = &item.value else {
                    let message = format!("a certificate must be a table, not {}", found(&item.value));
                    self.reader.error(item.span, message, "{ cert = \"site.pem\", key = \"site.key\" }");
                    continue;
                };
                all.push((self.reader.settings("tls", options::SITE_TLS, &one.entries), item.span));
            }
            all.push((self.reader.settings("tls", options::SITE_TLS, &table.entries), span));
        }
        let files: Vec<_> = all.iter().filter_map(|(settings, span)| self.certificate_files(settings, *span)).collect();
        let client_ca = all.iter().find_map(|(settings, _)| path(settings, "client_ca"));
        let min = all.iter().filter_map(|(settings, _)| version(settings)).max();
        let ciphers = all.iter().find_map(|(settings, _)| settings.raw("ciphers"));
        let ciphers = ciphers.and_then(|(value, span)| strings(value, span)).unwrap_or_default();
        let ciphers = ciphers.into_iter().map(|(name, _)| name.to_owned()).collect();
        if files.is_empty() {
            self.reader.error(
                span,
                "`tls` of `site` needs a certificate",
                "{ cert = \"site.pem\", key = \"site.key\" }",
            );
            return None;
        }
        let certificates = Certificates::Files(files);
        Some(SiteTls::Terminate(Arc::new(Terminate { certificates, client_ca, min, ciphers })))
    }

    /// A certificate and its key, which may be one file.
    pub(super) fn certificate_files(&mut self, settings: &Settings<'_>, span: Span) -> Option<CertificateFiles> {
        let key = path(settings, "key");
        let Some(cert) = path(settings, "cert") else {
            if key.is_some() {
                self.reader.error(span, "a `key` needs its `cert`", "{ cert = \"site.pem\", key = \"site.key\" }");
            }
            return None;
        };
        let ocsp =
            if settings.options.iter().any(|option| option.name == "ocsp") { path(settings, "ocsp") } else { None };
        Some(CertificateFiles { key: key.unwrap_or_else(|| cert.clone()), cert, ocsp })
    }

    /// `tls` of an upstream.
    pub(super) fn upstream_tls(&mut self, settings: &Settings<'_>, span: Span) -> Arc<UpstreamTls> {
        let Some(own) = settings.table("tls") else { return Arc::default() };
        Arc::new(UpstreamTls {
            ca: path(own, "ca"),
            server_name: own.text("server_name").map(str::to_owned),
            certificate: self.certificate_files(own, span),
            verify: own.bool("verify"),
        })
    }

    /// `hsts` of a site.
    pub(super) fn hsts(&mut self, settings: &Settings<'_>) -> Option<Duration> {
        let (value, span) = settings.raw("hsts")?;
        match value {
            Value::Bool(is_on) => is_on.then_some(HSTS),
            Value::Text(text) if crate::config::units::duration(text).is_some() => crate::config::units::duration(text),
            other => {
                let message = format!("`hsts` of `site` must be true or a duration, not {}", found(other));
                self.reader.error(span, message, "true is a year; for example \"30d\"");
                None
            }
        }
    }

    /// The statement `acme`.
    pub(super) fn acme(&mut self, settings: &Settings<'_>, span: Span) -> Option<Arc<Acme>> {
        let Some(cache) = path(settings, "cache") else {
            self.reader.error(span, "`acme` needs its `cache`", "a folder for keys and certificates");
            return None;
        };
        Some(Arc::new(Acme {
            email: settings.text("email").map(str::to_owned),
            directory: settings.text("directory").unwrap_or(DIRECTORY).to_owned(),
            ca: path(settings, "ca"),
            cache,
            challenge: match settings.text("challenge") {
                Some("tls-alpn-01") => Challenge::TlsAlpn01,
                _ => Challenge::Http01,
            },
        }))
    }

    fn named_only(&mut self, owner: &str, table: &Table, span: Span) {
        if !table.items.is_empty() {
            self.reader.error(span, format!("`{owner}` takes options only, by name"), "for example { min = \"1.3\" }");
        }
    }
}

fn version(settings: &Settings<'_>) -> Option<TlsVersion> {
    match settings.text("min")? {
        "1.3" => Some(TlsVersion::V13),
        _ => Some(TlsVersion::V12),
    }
}

fn path(settings: &Settings<'_>, name: &str) -> Option<PathBuf> {
    match settings.given(name) {
        Some((_, Setting::Path(path), _)) => Some(path.clone()),
        _ => None,
    }
}
