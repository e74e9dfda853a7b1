//! Requests are signed, RFC 8555 §6.2: ES256, a nonce of ours, the URL, and either a key or an account.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::Value;

/// What a good request says.
pub struct Signed {
    pub key: Key,
    /// The account's URL, if it names one.
    pub account: Option<String>,
    pub nonce: String,
    /// None: it only asks (POST-as-GET).
    pub payload: Option<Value>,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    x: String,
    y: String,
}

impl Key {
    /// RFC 7638.
    pub fn thumbprint(&self) -> String {
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    fn of(jwk: &Value) -> Result<Self, String> {
        if jwk["kty"] != "EC" || jwk["crv"] != "P-256" {
            return Err("the key is not of P-256".to_owned());
        }
        let part = |name: &str| jwk[name].as_str().map(str::to_owned).ok_or(format!("the key has no {name}"));
        Ok(Self { x: part("x")?, y: part("y")? })
    }

    fn point(&self) -> Result<Vec<u8>, String> {
        Ok([vec![4], bytes(&self.x)?, bytes(&self.y)?].concat())
    }
}

/// Checks a body that came to `url`; `account` tells the key of an account's URL.
pub fn open(body: &[u8], url: &str, account: impl FnOnce(&str) -> Option<Key>) -> Result<Signed, String> {
    let body: Value = serde_json::from_slice(body).map_err(|e| format!("no JSON: {e}"))?;
    let part = |name: &str| body[name].as_str().ok_or(format!("no {name}"));
    let (protected, payload, signature) = (part("protected")?, part("payload")?, part("signature")?);
    let header: Value = serde_json::from_slice(&bytes(protected)?).map_err(|e| format!("no JSON: {e}"))?;
    if header["alg"] != "ES256" {
        return Err(format!("alg is {}", header["alg"]));
    }
    if header["url"] != url {
        return Err(format!("url is {}, not {url}", header["url"]));
    }
    let nonce = header["nonce"].as_str().ok_or("no nonce")?.to_owned();
    let (key, account) = match (header["jwk"].is_object(), header["kid"].as_str()) {
        (true, None) => (Key::of(&header["jwk"])?, None),
        (false, Some(kid)) => (account(kid).ok_or(format!("no account {kid}"))?, Some(kid.to_owned())),
        _ => return Err("either jwk or kid".to_owned()),
    };
    let message = format!("{protected}.{payload}");
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point()?)
        .verify(message.as_bytes(), &bytes(signature)?)
        .map_err(|_| "the signature is wrong")?;
    let payload = bytes(payload)?;
    let payload = match payload.is_empty() {
        true => None,
        false => Some(serde_json::from_slice(&payload).map_err(|e| format!("no JSON: {e}"))?),
    };
    Ok(Signed { key, account, nonce, payload })
}

/// What base64url stands for.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|e| format!("no base64url: {e}"))
}
