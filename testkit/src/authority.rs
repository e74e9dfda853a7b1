//! A certificate authority of the tests' own, and what it signs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

/// An authority that nobody but the tests believes.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// PEM texts of a certificate and its key.
pub struct Signed {
    /// The certificate, without the authority's.
    pub cert: String,
    /// Its key.
    pub key: String,
}

/// The kind of a certificate's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// P-256.
    Ecdsa,
    /// 2048 bits.
    Rsa,
}

impl Authority {
    /// A new one.
    #[allow(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's certificate for these names or addresses.
    pub fn sign(&self, names: &[&str]) -> Signed {
        self.sign_with(names, KeyKind::Ecdsa, |_| {})
    }

    /// The same with a key of this kind, and with what `change` makes of it.
    pub fn sign_with(&self, names: &[&str], kind: KeyKind, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = match kind {
            KeyKind::Ecdsa => KeyPair::generate(),
            KeyKind::Rsa => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256),
        };
        let key = key.unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// What a request asks for, as it stands there.
    pub(crate) fn sign_request(&self, request: &CertificateSigningRequestParams) -> Certificate {
        request.signed_by(&self.issuer).unwrap()
    }

    /// A client's certificate whose subject is `CN=name`.
    pub fn sign_client(&self, name: &str) -> Signed {
        self.sign_with(&[], KeyKind::Ecdsa, |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// Writes its own certificate into a folder, as `ca.pem`.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.pem");
        fs::write(&path, self.pem()).unwrap();
        path
    }
}

impl Signed {
    /// Writes `NAME.pem` and `NAME.key` into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        fs::write(&cert, &self.cert).unwrap();
        fs::write(&key, &self.key).unwrap();
        (cert, key)
    }
}
