//! The authority that gives certificates, and those that upstreams are verified by.

use std::{net::IpAddr, sync::Arc};

use super::{Checker, PathKind, tls::path};
use crate::config::{
    address::is_host_name,
    checked::{Acme, Challenge, Endpoint, EndpointAddress, UpstreamTls},
    raw::Span,
    settings::Settings,
};

/// Let's Encrypt, which everybody believes.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Let's Encrypt's other one, whose certificates nobody believes, and which allows many more.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// Bytes of a URL; what is longer is none.
const URL_MAX: usize = 2048;

impl Checker<'_> {
    /// The statement `acme`.
    pub(super) fn acme(&mut self, settings: &Settings<'_>, span: Span) -> Option<Arc<Acme>> {
        let directory = self.directory(settings, span);
        let email = settings.text("email");
        if let Some(email) = email.filter(|email| !is_email(email)) {
            let message = format!("`email` of `acme` is no address: \"{}\"", email.escape_debug());
            self.reader.error(settings.span("email", span), message, "for example \"me@example.com\"");
        }
        let ca = path(settings, "ca");
        if let Some(ca) = &ca {
            self.authorities(ca, settings.span("ca", span));
        }
        let Some(cache) = path(settings, "cache") else {
            if settings.given("cache").is_none() {
                self.reader.error(
                    span,
                    "`acme` needs its `cache`",
                    "a folder for keys and certificates: cache = \"./acme\"",
                );
            }
            return None;
        };
        self.cache_folder(&cache, settings.span("cache", span));
        self.private.push(cache.clone());
        Some(Arc::new(Acme {
            email: email.map(str::to_owned),
            directory: directory?,
            ca,
            cache,
            challenge: match settings.text("challenge") {
                Some("tls-alpn-01") => Challenge::TlsAlpn01,
                _ => Challenge::Http01,
            },
        }))
    }

    fn directory(&mut self, settings: &Settings<'_>, span: Span) -> Option<String> {
        let text = match settings.text("directory")? {
            "production" => PRODUCTION,
            "staging" => STAGING,
            text => text,
        };
        if is_directory(text) {
            return Some(text.to_owned());
        }
        let span = settings.span("directory", span);
        let (message, label) = match text.starts_with("http://") {
            true => ("what an authority says is believed, so its `directory` is reached by `https://`", "https://…"),
            false => ("`directory` of `acme` is no URL", "\"production\", \"staging\" or \"https://…\""),
        };
        self.reader.error(span, format!("{message}: \"{}\"", text.escape_debug()), label);
        None
    }

    fn cache_folder(&mut self, cache: &std::path::Path, span: Span) {
        let shown = cache.display();
        let parent = || cache.parent().map(|parent| (self.context.probe)(parent));
        let (message, label) = match (self.context.probe)(cache) {
            PathKind::Folder => return,
            // It is made at the start.
            PathKind::Missing if parent() == Some(PathKind::Folder) => return,
            PathKind::Missing => (format!("there is no folder to make {shown} in"), "create the one above first"),
            PathKind::File => (format!("`cache` of `acme` needs a folder, and this is none: {shown}"), "another path"),
            PathKind::Denied => {
                (format!("the folder {shown} can't be read"), "it belongs to the user that rsp runs as")
            }
        };
        self.reader.error(span, message, label);
    }

    /// `tls` of an upstream with these endpoints.
    pub(super) fn upstream_tls(
        &mut self,
        settings: &Settings<'_>,
        endpoints: &[Endpoint],
        span: Span,
    ) -> Arc<UpstreamTls> {
        let Some(own) = settings.table("tls") else {
            if let Some(unnamed) = endpoints.iter().find(|endpoint| endpoint.tls && is_nameless(endpoint)) {
                self.nameless(unnamed, span);
            }
            return Arc::default();
        };
        let span = settings.span("tls", span);
        let (ca, verify) = (path(own, "ca"), own.bool("verify"));
        let server_name = own.text("server_name");
        match &ca {
            Some(_) if !verify => {
                let span = own.span("ca", span);
                self.reader.error(span, "`ca` has no effect with `verify = false`", "one of them");
            }
            Some(ca) => self.authorities(ca, own.span("ca", span)),
            None => {}
        }
        if let Some(name) = server_name.filter(|name| !is_server_name(name)) {
            let message = format!("`server_name` of `tls` is no name: \"{}\"", name.escape_debug());
            self.reader.error(
                own.span("server_name", span),
                message,
                "a host, without scheme and port: \"app.internal\"",
            );
        }
        if let Some(unnamed) = endpoints.iter().find(|endpoint| is_nameless(endpoint)).filter(|_| server_name.is_none())
        {
            self.nameless(unnamed, span);
        }
        let certificate = self.certificate_files(own, span);
        Arc::new(UpstreamTls { ca, server_name: server_name.map(str::to_owned), certificate, verify })
    }

    fn nameless(&mut self, endpoint: &Endpoint, span: Span) {
        let message = format!("{} has no name that its certificate could be for", endpoint.address);
        self.reader.error(span, message, "add: tls = { server_name = \"app.internal\" }");
    }
}

fn is_nameless(endpoint: &Endpoint) -> bool {
    matches!(endpoint.address, EndpointAddress::Unix(_))
}

fn is_server_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || (is_host_name(name) && !name.ends_with('.'))
}

/// A URL of `https`: rsp speaks nothing else with authorities (RFC 8555 §6.1).
fn is_directory(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let ip = host.parse::<IpAddr>().ok();
    let legal = url.len() <= URL_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
    legal && (ip.is_some() || is_host_name(host)) && scheme == "https"
}

/// As much as an authority would refuse at once.
fn is_email(text: &str) -> bool {
    let is_plain = text.len() <= 254 && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != ',');
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && is_host_name(host));
    is_plain && parts.is_some() && !text.starts_with("mailto:")
}
