//! What TLS is to a site: what its connections are opened with, and what it wants of requests that come without.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use http::HeaderValue;
use rsp_core::config::{self, Address, Config, Host, TlsVersion};
use rustls::ServerConfig;

use super::{Groups, Passage, Shared, Site, Snapshot};
use crate::tls::Identity;

/// What a site's config says of TLS.
pub struct SiteSecurity {
    /// What becomes of its connections.
    door: Door,
    /// What a handshake was for, so that a request can be told from one for another site: its name, and whom its clients'
    /// certificates are from.
    pub key: Arc<str>,
    /// Where plain requests are sent to; None: they are answered.
    pub redirect: Option<Redirect>,
    /// `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
}

/// Where a site is found by `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// Of the listener; 443 wherever the site is there, too.
    pub port: u16,
}

enum Door {
    /// There is no TLS at it.
    None,
    Terminate(Arc<Identity>),
    Pass(Arc<Passage>),
}

/// What becomes of a TLS connection, by the name its client asks for.
pub enum Secured {
    /// It is opened here.
    Terminate(Opening),
    /// It goes on unopened.
    Pass(Arc<Passage>),
    /// No site with TLS has this name.
    Unknown,
}

/// What a connection is opened with.
pub struct Opening {
    /// None: there is nothing to show yet.
    pub config: Option<Arc<ServerConfig>>,
    /// The site's [`key`](SiteSecurity::key).
    pub site: Arc<str>,
}

/// The sites for clients that ask for no name, a TLS listener each; and whether anything must be asked of requests.
#[derive(Default)]
pub(super) struct Security {
    defaults: HashMap<Address, (Option<Arc<Site>>, TlsVersion)>,
    /// Whether any site has to do with TLS.
    pub any: bool,
    /// Whether any site asks for certificates of clients.
    pub verifies: bool,
}

impl Snapshot {
    /// What becomes of a TLS connection to `listener` whose client asks for `name`. Asynchronous, for tables that are looked
    /// up elsewhere.
    ///
    /// Without a name it is the site of any host, or the listener's first one with TLS.
    pub async fn secured(&self, listener: &Address, name: Option<&str>) -> Secured {
        let Some((default, min)) = self.security.defaults.get(listener) else { return Secured::Unknown };
        let site = match name {
            Some(name) => self.site(listener, name),
            None => default.as_ref(),
        };
        let Some(security) = site.and_then(|site| site.info.security.as_ref()) else { return Secured::Unknown };
        match &security.door {
            Door::None => Secured::Unknown,
            Door::Terminate(identity) => Secured::Terminate(Opening {
                config: identity.server_config(*min, name),
                site: Arc::clone(&security.key),
            }),
            Door::Pass(passage) => Secured::Pass(Arc::clone(passage)),
        }
    }

    /// Whether any site of this config has to do with TLS.
    pub fn is_secure(&self) -> bool {
        self.security.any
    }

    /// Whether any site asks for certificates of clients.
    pub fn verifies_clients(&self) -> bool {
        self.security.verifies
    }
}

impl SiteSecurity {
    pub(super) fn build(
        spec: &config::Site,
        name: &Arc<str>,
        config: &Config,
        (shared, groups): (&Shared<'_>, &mut Groups),
    ) -> io::Result<Option<Box<Self>>> {
        if spec.tls.is_none() && !spec.redirect_http && spec.hsts.is_none() {
            return Ok(None);
        }
        let mut key = Arc::clone(name);
        let door = match &spec.tls {
            None => Door::None,
            Some(config::SiteTls::Terminate(terms)) => {
                if let Some(authorities) = &terms.client_ca {
                    key = format!("{name}\n{}", authorities.display()).into();
                }
                Door::Terminate(shared.identities.of(terms).map_err(io::Error::other)?)
            }
            Some(config::SiteTls::Passthrough(tunnel)) => {
                let group = groups.of(&tunnel.upstream, shared.registry);
                let limits = Arc::clone(&spec.limits);
                Door::Pass(Arc::new(Passage { spec: Arc::clone(tunnel), group, site: Arc::clone(name), limits }))
            }
        };
        let redirect = if spec.redirect_http { Some(redirect(spec, config)) } else { None };
        let hsts = spec.hsts.map(hsts);
        Ok(Some(Box::new(Self { door, key, redirect, hsts })))
    }

    /// Whether a client shows a certificate to whoever opens its connections.
    pub fn verifies_clients(&self) -> bool {
        matches!(&self.door, Door::Terminate(identity) if identity.terms.client_ca.is_some())
    }

    /// Whether its connections are opened here.
    pub fn terminates(&self) -> bool {
        matches!(self.door, Door::Terminate(_))
    }

    fn has_tls(&self) -> bool {
        !matches!(self.door, Door::None)
    }
}

impl Security {
    /// Of these sites, in the order of the file.
    pub(super) fn of<'a>(
        config: &Config,
        sites: impl Iterator<Item = (&'a config::Site, &'a Arc<Site>)> + Clone,
    ) -> Self {
        let own = |site: &'a Arc<Site>| site.info.security.as_deref();
        let with_tls = sites.clone().filter(|(_, site)| own(site).is_some_and(SiteSecurity::has_tls));
        let default = |index: usize| {
            let here = with_tls.clone().filter(move |(spec, _)| listens(spec, index));
            let any = here.clone().find(|(spec, _)| spec.hosts.contains(&Host::Any));
            any.or_else(|| here.clone().next()).map(|(_, site)| Arc::clone(site))
        };
        let defaults = config.listeners.iter().enumerate().filter_map(|(index, listener)| {
            let min = listener.tls?.min;
            Some((listener.address.clone(), (default(index), min)))
        });
        Self {
            defaults: defaults.collect(),
            any: sites.clone().any(|(_, site)| own(site).is_some()),
            verifies: sites.clone().any(|(_, site)| own(site).is_some_and(SiteSecurity::verifies_clients)),
        }
    }
}

fn listens(site: &config::Site, listener: usize) -> bool {
    site.listeners.as_ref().is_none_or(|own| own.contains(&listener))
}

fn redirect(site: &config::Site, config: &Config) -> Redirect {
    let secure = config.listeners.iter().enumerate().filter(|(index, one)| one.tls.is_some() && listens(site, *index));
    let mut ports = secure.filter_map(|(_, listener)| match listener.address {
        Address::Tcp(address) => Some(address.port()),
        Address::Unix(_) => None,
    });
    let first = ports.clone().next().unwrap_or(443);
    Redirect { port: if ports.any(|port| port == 443) { 443 } else { first } }
}

fn hsts(time: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={}", time.as_secs())).unwrap_or(HeaderValue::from_static("max-age=0"))
}
