//! Keys that tokens are checked with: a shared secret, a public key as PEM, a set of public keys (JWKS, RFC 7517).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// RFC 7518 §3.2: as long as the hash.
pub const SECRET_BYTES_MIN: usize = 32;
/// Bytes of a PEM file; the largest RSA key has some 1,500.
pub const KEY_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a JWKS file.
pub const JWKS_BYTES_MAX: u64 = 1 << 20;
/// Keys of a set: a token without `kid` is checked with each that fits, at some 20 to 50 µs a key.
pub const KEYS_MAX: usize = 64;
/// Bits of an RSA key: RFC 7518 §3.3, and what the library takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const PUBLIC_HALF: &str = "the public half: openssl pkey -in KEY -pubout";
const KINDS: &str = "RSA or EC P-256, as `-----BEGIN PUBLIC KEY-----`";

/// Keys, each for one algorithm; at least one.
#[derive(Debug, Clone)]
pub struct Keys(Box<[Key]>);

/// One key and what it is for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Why something is no key; without a byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongKey {
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub advice: &'static str,
}

fn wrong(message: impl Into<String>, advice: &'static str) -> WrongKey {
    WrongKey { message: message.into(), advice }
}

impl Keys {
    /// The algorithms that there are, as tokens name them.
    pub const ALGORITHMS: [&'static str; 3] = ["HS256", "RS256", "ES256"];

    /// A secret that both sides share, for HS256.
    ///
    /// # Errors
    /// It is shorter than [`SECRET_BYTES_MIN`].
    pub fn secret(secret: &str) -> Result<Self, WrongKey> {
        if secret.len() < SECRET_BYTES_MIN {
            let message = format!("{} of {SECRET_BYTES_MIN} bytes that a secret must have", secret.len());
            return Err(wrong(message, "for example what `openssl rand -hex 32` prints"));
        }
        let decoding = DecodingKey::from_secret(secret.as_bytes());
        Ok(Self(Box::new([Key { id: None, algorithm: Algorithm::HS256, decoding }])))
    }

    /// A public key: RSA for RS256, or EC P-256 for ES256.
    ///
    /// # Errors
    /// It is no PEM, more than one, private, of another kind, or too short.
    pub fn pem(pem: &[u8]) -> Result<Self, WrongKey> {
        let text = std::str::from_utf8(pem).map_err(|_| wrong("this is no PEM file", KINDS))?;
        let mut labels = text.split("-----BEGIN ").skip(1).filter_map(|rest| rest.split("-----").next());
        let label = labels.next().ok_or_else(|| wrong("no key is in it", KINDS))?;
        if labels.next().is_some() {
            return Err(wrong("more than one key is in it", "several keys are a `jwks`"));
        }
        let decoding = match label {
            "PUBLIC KEY" => DecodingKey::from_rsa_pem(pem).or_else(|_| DecodingKey::from_ec_pem(pem)),
            "RSA PUBLIC KEY" => DecodingKey::from_rsa_pem(pem),
            label if label.ends_with("PRIVATE KEY") => return Err(wrong("a private key is in it", PUBLIC_HALF)),
            "CERTIFICATE" => {
                return Err(wrong("a certificate is in it", "its key: openssl x509 -in FILE -pubkey -noout"));
            }
            _ => return Err(wrong("no public key is in it", KINDS)),
        };
        let decoding = decoding.map_err(|_| wrong("no key that can be used is in it", KINDS))?;
        // The same form as a key of a set, so that both are judged alike.
        let key =
            Jwk::from_decoding_key(&decoding, None).map_err(|_| wrong("no key that can be used is in it", KINDS))?;
        match key_of(&key)? {
            Some(key) => Ok(Self(Box::new([key]))),
            None => Err(wrong("a key of another kind is in it", KINDS)),
        }
    }

    /// A set of public keys; those that are not for signatures, or of other kinds than RSA and EC P-256, are left out.
    ///
    /// # Errors
    /// It is no set, has more than [`KEYS_MAX`] keys or none that is left, or one of them is malformed or too short.
    pub fn jwks(text: &[u8]) -> Result<Self, WrongKey> {
        const FORM: &str = "{ \"keys\": [ … ] }, as RFC 7517 §5 has it";
        let set: Value = serde_json::from_slice(text).map_err(|e| wrong(format!("this is no JSON: {e}"), FORM))?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or_else(|| wrong("this is no set of keys", FORM))?;
        if keys.len() > KEYS_MAX {
            return Err(wrong(format!("{} keys; {KEYS_MAX} at most", keys.len()), ""));
        }
        let mut known = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let numbered = |e: WrongKey| wrong(format!("key {}: {}", index + 1, e.message), e.advice);
            if is_of_another_kind(key) {
                continue;
            }
            let key: Jwk = serde_json::from_value(key.clone()).map_err(|e| numbered(wrong(e.to_string(), "")))?;
            if matches!(key.algorithm, AlgorithmParameters::Other(_)) {
                return Err(numbered(wrong("parts of the key are missing", "")));
            }
            known.extend(key_of(&key).map_err(numbered)?);
        }
        match known.is_empty() {
            true => Err(wrong("no key that can be used is in it", "RSA or EC P-256, for signatures")),
            false => Ok(Self(known.into())),
        }
    }

    /// The same with the keys for these algorithms only; None: none is left.
    pub fn only(self, algorithms: &[&str]) -> Option<Self> {
        let kept: Box<[_]> =
            self.0.into_iter().filter(|key| algorithms.iter().any(|name| *name == key.algorithm_name())).collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    /// Whether a key is for this algorithm.
    pub fn have(&self, algorithm: &str) -> bool {
        self.0.iter().any(|key| key.algorithm_name() == algorithm)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }
}

impl Key {
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::HS256 => "HS256",
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            // No key is made for another one.
            _ => "",
        }
    }

    /// Whether it may be the key of that `kid`: it is, or it has none.
    pub(super) fn may_be(&self, kid: &str) -> bool {
        self.id.as_deref().is_none_or(|id| id == kid)
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

/// Kinds that the library may not know, curves it rejects, and secrets: a file of public keys is no place for one.
fn is_of_another_kind(key: &Value) -> bool {
    let text = |name| key.get(name).and_then(Value::as_str);
    match text("kty") {
        Some("RSA") => false,
        Some("EC") => text("crv").is_some_and(|curve| curve != "P-256"),
        Some(_) => true,
        None => false,
    }
}

/// A public key, as far as it is one for signatures that we know.
fn key_of(jwk: &Jwk) -> Result<Option<Key>, WrongKey> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        _ => return Ok(None),
    };
    let common = &jwk.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify))
        && common.key_algorithm.is_none_or(|stated| stated == KeyAlgorithm::from(algorithm));
    if !is_for_signatures {
        return Ok(None);
    }
    let decoding = DecodingKey::from_jwk(jwk).map_err(|_| wrong("a part of the key is no base64url", ""))?;
    judge(&decoding)?;
    Ok(Some(Key { id: common.key_id.as_deref().map(Box::from), algorithm, decoding }))
}

/// Without it every token would be refused, and nobody would know why.
fn judge(key: &DecodingKey) -> Result<(), WrongKey> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let bits = bits(n);
            if !RSA_BITS.contains(&bits) {
                let message = format!("an RSA key of {bits} bits; {} to {}", RSA_BITS.start(), RSA_BITS.end());
                return Err(wrong(message, ""));
            }
            match bits_are_odd(n) && bits_are_odd(e) {
                true => Ok(()),
                false => Err(wrong("this is no RSA key", "")),
            }
        }
        DecodingKeyKind::SecretOrDer(point) if key.family() == AlgorithmFamily::Ec => {
            let on_the_curve = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
            on_the_curve.map(drop).map_err(|_| wrong("this is no point of the curve P-256", KINDS))
        }
        DecodingKeyKind::SecretOrDer(_) => Err(wrong("no public key", KINDS)),
    }
}

fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(first) => (number.len() - first) * 8 - number[first].leading_zeros() as usize,
        None => 0,
    }
}

fn bits_are_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last & 1 == 1)
}
