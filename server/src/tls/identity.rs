//! What rsp shows to the clients of a site, and asks of them: certificates, versions, cipher suites, authorities.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rsp_core::config::{Certificates, Terminate, TlsVersion};
use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::{CryptoProvider, aws_lc_rs::Ticketer},
    pki_types::ServerName,
    server::{
        ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
        WebPkiClientVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::{acme::Issued, files, stamps::Stamps};

/// Tickets a handshake ends with. Whoever resumes with one gets the next; each more would be sealed for nothing, mostly.
const TICKETS: usize = 1;

/// What one or more sites are opened with. It is swapped as a whole when its files change; open connections keep what they
/// began with.
pub struct Identity {
    /// What the config says.
    pub terms: Arc<Terminate>,
    shown: ArcSwapOption<Shown>,
    /// What it was read from.
    pub(super) seen: Mutex<Seen>,
    tools: Tools,
}

/// What was read, and what stood there when files were last looked at.
#[derive(Default)]
pub(super) struct Seen {
    /// Of what was read, or tried in vain.
    pub read: Stamps,
    /// At the last look.
    pub last: Stamps,
}

/// The same for a listener that takes every version of the site's, and for one that takes the newest only.
struct Shown {
    every: Arc<ServerConfig>,
    /// None: all cipher suites that the config names are of the older version.
    newest: Option<Arc<ServerConfig>>,
}

/// What all identities share.
#[derive(Clone)]
pub(super) struct Tools {
    pub provider: Arc<CryptoProvider>,
    /// Certificates of an authority.
    pub issued: Arc<Issued>,
    /// Keys of session tickets. A session is bound to the name that its client asked for.
    pub ticketer: Arc<dyn ProducesTickets>,
}

impl Identity {
    /// Reads its files.
    ///
    /// # Errors
    /// A sentence that names the file and the reason.
    pub(super) fn new(terms: &Arc<Terminate>, tools: &Tools) -> Result<Self, String> {
        let provider = chosen(&tools.provider, &terms.ciphers);
        let identity = Self {
            terms: Arc::clone(terms),
            shown: ArcSwapOption::empty(),
            seen: Mutex::default(),
            tools: Tools { provider, ..tools.clone() },
        };
        identity.read()?;
        Ok(identity)
    }

    /// What a handshake for this name at a listener with this lowest version begins with; None: there is no certificate yet,
    /// or no cipher suite of that version.
    pub fn server_config(&self, min: TlsVersion, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        if self.terms.certificates == Certificates::Acme && !self.tools.issued.has(name) {
            return None;
        }
        let shown = self.shown.load();
        let shown = shown.as_ref()?;
        if min == TlsVersion::V13 { shown.newest.clone() } else { Some(Arc::clone(&shown.every)) }
    }

    /// Shows what this picks from the next handshake on.
    ///
    /// # Errors
    /// A sentence: the authorities of clients can't be read, or no cipher suite is left.
    fn show(&self, resolver: Arc<dyn ResolvesServerCert>) -> Result<(), String> {
        // What a client proved to other authorities is proved no more.
        let ticketer = match self.terms.client_ca {
            Some(_) => Ticketer::new().map_err(|e| e.to_string())?,
            None => Arc::clone(&self.tools.ticketer),
        };
        let verifier = match &self.terms.client_ca {
            Some(path) => {
                let roots = files::authorities(path)?;
                let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.tools.provider));
                Some(builder.build().map_err(|e| format!("{}: {e}", path.display()))?)
            }
            None => None,
        };
        let config = |versions: &[&'static rustls::SupportedProtocolVersion]| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(&self.tools.provider));
            let builder = builder.with_protocol_versions(versions).map_err(|e| e.to_string())?;
            let builder = match &verifier {
                Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_cert_resolver(Arc::clone(&resolver));
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            config.ticketer = Arc::clone(&ticketer);
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = TICKETS;
            config.ignore_client_order = !self.terms.ciphers.is_empty();
            Ok::<_, String>(Arc::new(config))
        };
        let newest = config(&[&TLS13]);
        let (every, newest) = match self.terms.min.unwrap_or_default() {
            TlsVersion::V13 => newest.map(|newest| (Arc::clone(&newest), Some(newest)))?,
            TlsVersion::V12 => (config(&[&TLS13, &TLS12])?, newest.ok()),
        };
        self.shown.store(Some(Arc::new(Shown { every, newest })));
        Ok(())
    }

    /// What it is called in messages.
    pub(super) fn first_file(&self) -> String {
        match &self.terms.certificates {
            Certificates::Files(all) => all.first().map(|one| one.cert.display().to_string()).unwrap_or_default(),
            Certificates::Acme => "an issued certificate".to_owned(),
        }
    }

    /// Reads the files as they are; what is shown stays as it was if anything is wrong with them.
    pub(super) fn read(&self) -> Result<(), String> {
        let now = Stamps::of(&self.terms);
        let read = self.certified().and_then(|certified| match certified {
            Some(certified) => self.show(Arc::new(ByClient(certified))),
            None => self.show(Arc::clone(&self.tools.issued) as _),
        });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen { read: now.clone(), last: now };
        read
    }

    /// None: certificates are issued.
    fn certified(&self) -> Result<Option<Vec<Arc<CertifiedKey>>>, String> {
        let Certificates::Files(all) = &self.terms.certificates else { return Ok(None) };
        let certified = all.iter().map(|one| {
            let certified = files::certified(one, &self.tools.provider)?;
            if let Some(doubt) = files::doubts(one, &certified, std::time::SystemTime::now()) {
                tracing::warn!("{doubt}");
            }
            Ok(Arc::new(certified))
        });
        certified.collect::<Result<_, String>>().map(Some)
    }
}

/// The provider with the cipher suites of these names only, in their order; with all if there are none.
fn chosen(provider: &Arc<CryptoProvider>, names: &[String]) -> Arc<CryptoProvider> {
    if names.is_empty() {
        return Arc::clone(provider);
    }
    let suite = |name: &String| provider.cipher_suites.iter().copied().find(|suite| is_named(suite, name));
    let cipher_suites = names.iter().filter_map(suite).collect();
    Arc::new(CryptoProvider { cipher_suites, ..(**provider).clone() })
}

/// The library says `TLS13_` where the standards say `TLS_`.
fn is_named(suite: &rustls::SupportedCipherSuite, name: &str) -> bool {
    let own = format!("{:?}", suite.suite());
    own == name || own.strip_prefix("TLS13_").is_some_and(|rest| name.strip_prefix("TLS_") == Some(rest))
}

/// Of the certificates that the client can check, the first for the name that it asks for, else the first of them; the first
/// of all if it can check none: its alert says what is wrong.
#[derive(Debug)]
struct ByClient(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByClient {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        let fitting = || self.0.iter().filter(fits);
        let first = fitting().next().or(self.0.first())?;
        let name = hello.server_name().filter(|_| self.0.len() > 1).and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| fitting().find(|one| is_for(one, &name)));
        named.or(Some(first)).cloned()
    }
}

/// Whether a client that asks for this name would take the certificate for its own.
fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}
