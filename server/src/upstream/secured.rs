//! TLS to an endpoint: as whom it must show itself, and the handshake.

use std::{future::poll_fn, io, net::IpAddr, sync::Arc};

use rsp_core::config::{EndpointAddress, UpstreamTls};
use rustls::pki_types::ServerName;

use crate::{
    stream::{Secure, Security, Socket},
    tls::{Trust, untrusted},
};

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

impl Secured {
    /// Speaks TLS from now on, with an endpoint that is whom it must be.
    ///
    /// # Errors
    /// Who is not trusted and why, or what stood in the way.
    pub(super) async fn handshake(
        &self,
        socket: Socket,
        address: &EndpointAddress,
        http2: bool,
    ) -> io::Result<(Socket, Security)> {
        let wrong = |why: &Arc<str>| io::Error::other(why.to_string());
        let trust = self.trust.as_ref().map_err(wrong)?;
        let name = self.name.as_ref().map_err(wrong)?;
        let config = if http2 { &trust.http2 } else { &trust.plain };
        let mut secure = Secure::connect(socket, Arc::clone(config), name.clone())?;
        let agreed = poll_fn(|cx| secure.poll_handshake(cx)).await;
        let asked = match address {
            EndpointAddress::Found(name, _) => name,
            other => other,
        };
        agreed.map_err(|e| match untrusted(&e, &asked.to_string()) {
            Some(why) => io::Error::new(io::ErrorKind::InvalidData, why),
            None => e,
        })?;
        let security = secure.security();
        Ok((Socket::Tls(Box::new(secure)), security))
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
