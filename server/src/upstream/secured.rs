//! TLS to an endpoint: as whom it must show itself, and the handshake.

use std::{net::IpAddr, sync::Arc};

use rsp_core::config::{EndpointAddress, UpstreamTls};
use rustls::pki_types::ServerName;

use crate::tls::Trust;

/// How TLS is begun, or why it can't be.
pub type Trusted = Result<Arc<Trust>, Arc<str>>;

/// How TLS to one endpoint is begun.
pub struct Secured {
    trust: Trusted,
    /// Whom its certificate must name; an address is not asked for by SNI (RFC 6066 §3).
    name: Result<ServerName<'static>, Arc<str>>,
}

impl Secured {
    /// For an endpoint of an upstream with these options.
    pub(super) fn new(address: &EndpointAddress, spec: &UpstreamTls, trust: &Trusted) -> Self {
        let name = spec.server_name.as_deref().map_or_else(|| host(address), Into::into);
        let parsed = ServerName::try_from(name.trim_end_matches('.')).map(|name| name.to_owned());
        let name = parsed.map_err(|_| Arc::from(format!("\"{name}\" can't be the name in a certificate")));
        Self { trust: trust.clone(), name }
    }
}

/// Whether connections of the one are as good as those of the other.
impl PartialEq for Secured {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && alike(Some(&self.trust), Some(&other.trust))
    }
}

/// Whether the same is believed and shown.
pub(super) fn alike(one: Option<&Trusted>, other: Option<&Trusted>) -> bool {
    match (one, other) {
        (Some(Ok(one)), Some(Ok(other))) => Arc::ptr_eq(one, other),
        (Some(Err(one)), Some(Err(other))) => one == other,
        (None, None) => true,
        _ => false,
    }
}

/// The host of an address; of a service, the domain whose record it is (RFC 6125 §6.4).
fn host(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Host(host, _) => host.parse::<IpAddr>().map_or_else(|_| host.clone(), |ip| ip.to_string()),
        EndpointAddress::Service(name) => {
            let labels: Vec<_> = name.split('.').skip_while(|label| label.starts_with('_')).collect();
            labels.join(".")
        }
        EndpointAddress::Found(name, _) => host(name),
        EndpointAddress::Unix(_) => "localhost".to_owned(),
    }
}
