//! TLS towards upstreams: whom we believe, what we show, and which protocols we offer.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rsp_core::config::{CertificateFiles, UpstreamTls};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// A PEM file; the largest bundles of authorities have a quarter of a MiB.
const FILE_MAX: u64 = 4 << 20;

/// Servers whose sessions are kept for resumption, for each distinct `tls` of an upstream; the oldest one goes.
const SESSIONS_MAX: usize = 256;

/// How the connections to an upstream's endpoints are secured.
pub struct Trust {
    /// Offers no protocol by ALPN: what follows is HTTP/1.1, or whatever both ends know.
    pub plain: Arc<ClientConfig>,
    /// Offers HTTP/2 before HTTP/1.1.
    pub http2: Arc<ClientConfig>,
    read: Files,
}

/// What was read for one; while files say the same, it is the same.
#[derive(PartialEq, Eq)]
struct Files {
    ca: Option<Vec<u8>>,
    certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// Those that are in use; equal ones are one, and share their sessions.
#[derive(Default)]
pub struct Trusts {
    known: Mutex<HashMap<UpstreamTls, Weak<Trust>>>,
    /// The system's, once they were needed.
    system: Mutex<Option<Arc<RootCertStore>>>,
}

impl Trusts {
    /// What `spec` says, with what its files hold now.
    ///
    /// # Errors
    /// The file that can't be used, and why.
    pub fn of(&self, spec: &UpstreamTls) -> Result<Arc<Trust>, String> {
        let files = Files::read(spec)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trust) = known.get(spec).and_then(Weak::upgrade).filter(|trust| trust.read == files) {
            return Ok(trust);
        }
        known.retain(|_, trust| trust.strong_count() > 0);
        let trust = Arc::new(self.build(spec, files)?);
        known.insert(spec.clone(), Arc::downgrade(&trust));
        Ok(trust)
    }

    fn build(&self, spec: &UpstreamTls, read: Files) -> Result<Trust, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        let verifier: Arc<dyn ServerCertVerifier> = if spec.verify {
            let roots = match (&spec.ca, &read.ca) {
                (Some(path), Some(pem)) => Arc::new(roots(path, pem)?),
                _ => self.system()?,
            };
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            verifier.map_err(|e| e.to_string())?
        } else {
            Arc::new(Anybody(provider))
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut plain = match (&spec.certificate, &read.certificate) {
            (Some(files), Some((cert, key))) => {
                let (chain, key) = pair(files, cert, key)?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|e| format!("{}: {}", files.key.display(), words(&e)))?
            }
            _ => builder.with_no_client_auth(),
        };
        plain.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        let mut http2 = plain.clone();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Trust { plain: Arc::new(plain), http2: Arc::new(http2), read })
    }

    /// The authorities of this machine, read once.
    fn system(&self) -> Result<Arc<RootCertStore>, String> {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = &*system {
            return Ok(Arc::clone(roots));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Machines have authorities that no library takes; what is signed by those is not trusted.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
            return Err(format!("this machine has no certificates of authorities{why}; `ca` names a file of them"));
        }
        let roots = Arc::new(roots);
        *system = Some(Arc::clone(&roots));
        Ok(roots)
    }
}

impl Files {
    fn read(spec: &UpstreamTls) -> Result<Self, String> {
        let pair = |files: &CertificateFiles| Ok::<_, String>((read(&files.cert)?, read(&files.key)?));
        Ok(Self {
            ca: spec.ca.as_deref().filter(|_| spec.verify).map(read).transpose()?,
            certificate: spec.certificate.as_ref().map(pair).transpose()?,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut text));
    match read {
        Ok(_) if text.len() as u64 > FILE_MAX => Err(format!("{name}: larger than {} MiB", FILE_MAX >> 20)),
        Ok(_) => Ok(text),
        Err(e) => Err(format!("{name}: {e}")),
    }
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| format!("{}: {e}", path.display()))?;
        let added = roots.add(certificate);
        added.map_err(|e| format!("{}: no certificate of an authority: {}", path.display(), words(&e)))?;
    }
    match roots.is_empty() {
        true => Err(format!("{}: no certificate in it", path.display())),
        false => Ok(roots),
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn pair(files: &CertificateFiles, cert: &[u8], key: &[u8]) -> Result<Pair, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|e| format!("{}: {e}", files.cert.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in it", files.cert.display()));
    }
    match PrivateKeyDer::from_pem_slice(key) {
        Ok(key) => Ok((chain, key)),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => Err(format!("{}: no key in it", files.key.display())),
        Err(e) => Err(format!("{}: {e}", files.key.display())),
    }
}

/// What is wrong with the certificate that `who` showed, in words; None: the error is about something else.
pub fn untrusted(e: &io::Error, who: &str) -> Option<String> {
    let e = e.get_ref()?.downcast_ref::<rustls::Error>()?;
    match e {
        rustls::Error::InvalidCertificate(_) => Some(format!("certificate of {who} is not trusted: {}", words(e))),
        rustls::Error::NoCertificatesPresented => Some(format!("{who} shows no certificate")),
        other => Some(format!("TLS with {who}: {}", words(other))),
    }
}

/// The error for an operator; the library's own words where those are clear.
fn words(e: &rustls::Error) -> String {
    use CertificateError as Wrong;
    let rustls::Error::InvalidCertificate(wrong) = e else { return e.to_string() };
    match wrong {
        Wrong::UnknownIssuer => "unknown issuer".to_owned(),
        Wrong::BadSignature => "unknown issuer: the authority of that name has another key".to_owned(),
        Wrong::Expired | Wrong::ExpiredContext { .. } => "it has expired".to_owned(),
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        Wrong::NotValidForName => "it is for another name".to_owned(),
        Wrong::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let presented: Vec<_> = presented.iter().take(4).map(|name| bare(name)).collect();
            format!("it is for another name than {expected}: {}", presented.join(", "))
        }
        Wrong::Revoked => "it was revoked".to_owned(),
        Wrong::BadEncoding => "it can't be read".to_owned(),
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => "it is not for servers".to_owned(),
        Wrong::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is signed by itself, as an authority is".to_owned()
        }
        other => other.to_string(),
    }
}

/// A name as the library shows it, `DnsName("app")`, without its kind.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// `verify = false`: believes whoever has the key of the certificate that it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}
