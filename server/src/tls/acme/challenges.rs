//! What proves to an authority that a name is ours, for as long as an order runs.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::PrivateKeyDer,
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};

/// Where HTTP-01 is asked for, RFC 8555 §8.3.
const PATH: &str = "/.well-known/acme-challenge/";

/// The protocol of TLS-ALPN-01, RFC 8737 §4.
pub const ALPN: &[u8] = b"acme-tls/1";

/// Letters of a token at most; authorities take 43.
const TOKEN_MAX: usize = 128;

/// The answers to the challenges of the order that runs: at most one a name of it.
#[derive(Default)]
pub struct Challenges {
    tokens: ArcSwap<HashMap<Box<str>, Arc<str>>>,
    handshakes: ArcSwap<HashMap<Box<str>, Arc<ServerConfig>>>,
}

impl Challenges {
    /// The key authorization to answer a GET of this path with; None: it is no challenge of ours.
    pub fn answer(&self, path: &[u8]) -> Option<Arc<str>> {
        let token = path.strip_prefix(PATH.as_bytes())?;
        self.tokens.load().get(str::from_utf8(token).ok()?).cloned()
    }

    /// What a handshake that offers [`ALPN`] alone for this name, lower-cased, is answered with; the connection ends with
    /// it. None: it is no challenge of ours.
    pub fn handshake(&self, name: &str) -> Option<Arc<ServerConfig>> {
        self.handshakes.load().get(name).cloned()
    }
}

/// What one order has put there; all of it is forgotten with this.
pub(super) struct Held(pub(super) Arc<Challenges>);

impl Held {
    /// HTTP-01. What is no token (RFC 8555 §8.1) is refused.
    pub fn token(&self, token: &str, authorization: &str) -> Result<(), String> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if token.is_empty() || token.len() > TOKEN_MAX || !token.bytes().all(is_letter) {
            return Err("the authority's challenge has no token".to_owned());
        }
        self.0.tokens.rcu(|tokens| {
            let mut tokens = HashMap::clone(tokens);
            tokens.insert(token.into(), authorization.into());
            tokens
        });
        Ok(())
    }

    /// TLS-ALPN-01: a certificate of our own that holds the digest, RFC 8737 §3.
    pub fn name(&self, name: &str, digest: &[u8]) -> Result<(), String> {
        let config = handshake(name, digest)?;
        self.0.handshakes.rcu(|names| {
            let mut names = HashMap::clone(names);
            names.insert(name.into(), Arc::clone(&config));
            names
        });
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.tokens.store(Arc::default());
        self.0.handshakes.store(Arc::default());
    }
}

fn handshake(name: &str, digest: &[u8]) -> Result<Arc<ServerConfig>, String> {
    if digest.len() != 32 {
        return Err("a digest of another length".to_owned());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = || -> Result<_, rcgen::Error> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = certificate().map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let key = provider.key_provider.load_private_key(key).map_err(|e| e.to_string())?;
    // Not checked as a pair: the library does not know the extension.
    let key = CertifiedKey::new(vec![certificate.der().clone()], key);
    let shown: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_order_put_there_is_forgotten_with_it() {
        let challenges = Arc::<Challenges>::default();
        let held = Held(Arc::clone(&challenges));
        held.token("abc", "abc.thumb").unwrap();
        held.name("a.test", &[7; 32]).unwrap();
        assert_eq!(challenges.answer(b"/.well-known/acme-challenge/abc").as_deref(), Some("abc.thumb"));
        assert!(challenges.answer(b"/.well-known/acme-challenge/abcd").is_none());
        assert!(challenges.answer(b"/abc").is_none());
        assert!(challenges.handshake("a.test").is_some() && challenges.handshake("b.test").is_none());
        drop(held);
        assert!(challenges.answer(b"/.well-known/acme-challenge/abc").is_none());
        assert!(challenges.handshake("a.test").is_none());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let held = Held(Arc::default());
        for token in ["", "../a", "a/b", "ä", &"a".repeat(129)] {
            assert!(held.token(token, "x").is_err(), "{token}");
        }
        assert!(held.name("a.test", &[0; 31]).is_err());
    }
}
