//! Checked TLS: of listeners, sites and upstreams, and the authority that gives certificates.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::Upstream;

/// A version of TLS; older ones are not spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    V12,
    /// RFC 8446.
    V13,
}

/// `listen { tls = … }`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenTls {
    /// The lowest version; a site may ask for more.
    pub min: TlsVersion,
}

/// A site's `tls`.
#[derive(Debug, Clone, PartialEq)]
pub enum SiteTls {
    /// Opened here.
    Terminate(Arc<Terminate>),
    /// Goes to the upstream unopened.
    Passthrough(Arc<Tunnel>),
}

/// How the connections of a site are opened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Terminate {
    /// What is shown to clients.
    pub certificates: Certificates,
    /// A file of the authorities one of which must have signed a client's certificate; None: none is asked for.
    pub client_ca: Option<PathBuf>,
    /// The lowest version; None: the listener's.
    pub min: Option<TlsVersion>,
    /// Names of cipher suites as the standards have them (`TLS_AES_128_GCM_SHA256`), the first one preferred; empty: all.
    pub ciphers: Vec<String>,
}

/// Where a site's certificates are from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Certificates {
    /// Of different kinds of keys, in the order of preference; at least one.
    Files(Vec<CertificateFiles>),
    /// From [`Acme`].
    Acme,
}

/// PEM files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The chain, the site's own certificate first; the key may stand in it, too.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// A DER file of an OCSP response to staple.
    pub ocsp: Option<PathBuf>,
}

/// Bytes both ways, unread: `tunnel { UPSTREAM }` of a listener, or a site that is passed through.
#[derive(Debug, Clone, PartialEq)]
pub struct Tunnel {
    /// To where.
    pub upstream: Arc<Upstream>,
    /// Silence after which it is cut; None: never.
    pub idle_timeout: Option<Duration>,
}

/// An upstream's `tls`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// A file of the authorities that are believed; None: the system's.
    pub ca: Option<PathBuf>,
    /// The name to ask for and to verify; None: the endpoint's host.
    pub server_name: Option<String>,
    /// Our own certificate.
    pub certificate: Option<CertificateFiles>,
    /// Whether the endpoint's certificate must be right.
    pub verify: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, certificate: None, verify: true }
    }
}

/// `acme { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Whom the authority may write to.
    pub email: Option<String>,
    /// The authority's URL.
    pub directory: String,
    /// A file of the authority that signed the directory's own certificate; None: the system's.
    pub ca: Option<PathBuf>,
    /// The folder for account, keys and certificates.
    pub cache: PathBuf,
    /// How control of a name is proved.
    pub challenge: Challenge,
}

/// How control of a name is proved to an authority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Challenge {
    /// By an answer on port 80, RFC 8555 §8.3.
    #[default]
    Http01,
    /// By a handshake on port 443, RFC 8737.
    TlsAlpn01,
}
