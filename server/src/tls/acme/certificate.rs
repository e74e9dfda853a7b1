//! A certificate of the authority with its key, as one PEM text: the key first, then the chain.

use std::{sync::Arc, time::Duration};

use instant_acme::CertificateIdentifier;
use rsp_core::renewal::Validity;
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

/// One that can be shown.
pub struct Certificate {
    /// What handshakes take.
    pub key: Arc<CertifiedKey>,
    /// Lower-cased.
    pub names: Box<[Box<str>]>,
    /// From when until when.
    pub validity: Validity,
    /// What the authority knows it by (RFC 9773 §4.1); None: it can't be asked about it.
    pub identifier: Option<CertificateIdentifier<'static>>,
}

impl Certificate {
    /// What is in a PEM text.
    ///
    /// # Errors
    /// What is wrong with it, without a byte of the key.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|e| format!("the certificate is no PEM: {e}"))?;
        let first = chain.first().cloned().ok_or("there is no certificate in it")?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "there is no key in it")?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|e| format!("key and certificate are no pair: {e}"))?;
        let (_, parsed) = X509Certificate::from_der(&first).map_err(|_| "the certificate can't be read")?;
        let seconds = |time: i64| Duration::from_secs(u64::try_from(time).unwrap_or_default());
        let validity = Validity {
            from: seconds(parsed.validity().not_before.timestamp()),
            until: seconds(parsed.validity().not_after.timestamp()),
        };
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let alternatives = alternatives.into_iter().flat_map(|found| &found.value.general_names);
        let names = alternatives.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
            _ => None,
        });
        let identifier = identifier(&parsed);
        Ok(Self { key: Arc::new(key), names: names.collect(), validity, identifier })
    }

    /// Whether every one of these is a name of it.
    pub fn covers(&self, names: &[Box<str>]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }
}

/// What RFC 9773 §4.1 calls a certificate by: who signed it, and its number.
fn identifier(certificate: &X509Certificate<'_>) -> Option<CertificateIdentifier<'static>> {
    let authority = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
        _ => None,
    })?;
    let serial = certificate.tbs_certificate.raw_serial();
    Some(CertificateIdentifier::new(authority.0.into(), serial.into()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[test]
    fn a_key_and_its_chain_are_read() {
        let (key, cert) = signed(&["A.test", "b.test"]);
        let read = Certificate::read((key + &cert).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(read.names.join(" "), "a.test b.test");
        assert!(read.covers(&["b.test".into()]) && !read.covers(&["c.test".into()]));
    }

    #[test]
    fn what_is_no_pair_is_refused_without_a_byte_of_the_key() {
        let (key, cert) = signed(&["a.test"]);
        let (_, foreign) = signed(&["a.test"]);
        let why = |pem: &str| Certificate::read(pem.as_bytes()).err().unwrap_or_default();
        assert!(why(&(key.clone() + &foreign)).contains("no pair"), "{}", why(&(key.clone() + &foreign)));
        assert_eq!(why(&key), "there is no certificate in it");
        assert_eq!(why(&cert), "there is no key in it");
        assert_eq!(why("garbage"), "there is no certificate in it");
    }
}
