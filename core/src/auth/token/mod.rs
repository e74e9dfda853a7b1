//! Signed tokens (JWT, RFC 7519): whether one is right, and whom it names.
//!
//! **Invariant:** a key checks one algorithm only, the one it was made for; what a token says of its algorithm chooses
//! among keys and never how a key is used (RFC 8725 §3.1).
//! **Invariant:** of a token nothing but its header is read before its signature is known to be right.

mod keys;
mod place;
mod query;
#[cfg(test)]
pub(crate) mod tests;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::crypto;
use serde_json::{Map, Value};

pub use keys::{JWKS_BYTES_MAX, KEY_BYTES_MAX, KEYS_MAX, Keys, SECRET_BYTES_MIN, WrongKey};
pub use place::{Place, mask, remove};

/// Bytes of a token; those of browsers and services have one or two thousand.
pub const TOKEN_MAX: usize = 8 << 10;
/// Bytes of the claim `sub`; OpenID Connect has 255 at most.
const SUB_MAX: usize = 1 << 10;
/// Bytes of the claim `info`, as JSON text; it is kept as long as the connection that it came on.
const INFO_MAX: usize = 4 << 10;
/// Seconds by which clocks may differ.
const LEEWAY: f64 = 5.0;

/// Which signatures count, where, and what a token must say besides.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Who may have signed; never empty.
    pub keys: Keys,
    /// The claim `iss`, if it matters.
    pub issuer: Option<String>,
    /// What the claim `aud` must be or have in it, if it matters.
    pub audience: Option<String>,
    /// Where a request has its token.
    pub place: Place,
}

/// What a right token says of whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The claim `sub`, 1 KiB at most; empty without one.
    pub sub: String,
    /// The claim `info` as JSON text, 4 KiB at most.
    pub info: Option<String>,
}

/// Why a token lets nobody pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is none.
    Missing,
    /// More than one `Authorization` field, of which an upstream might believe another.
    Twice,
    /// More than [`TOKEN_MAX`] bytes.
    TooLong,
    /// No signed token in the compact form of RFC 7515 §7.1, or claims that are no JSON object.
    Malformed,
    /// Extensions that must be understood (RFC 7515 §4.1.11) and are not.
    Critical,
    /// Its algorithm is none of the keys'.
    Algorithm,
    /// No key has its `kid`.
    Key,
    /// The signature is not of any key.
    Signature,
    /// No `exp`: it would be right for ever.
    Endless,
    /// Past its `exp`.
    Expired,
    /// Before its `nbf`.
    Early,
    /// Another `iss`, or none.
    Issuer,
    /// Another `aud`, or none.
    Audience,
    /// `exp` or `nbf` is no number, or `sub` no string of 1 KiB at most.
    Claim,
    /// `info` is longer than 4 KiB.
    Info,
}

impl Refused {
    /// For whoever has to act on it, without quotes or backslashes (RFC 6750 §3: `error_description`), and without a byte
    /// of the token.
    pub fn says(self) -> &'static str {
        match self {
            Self::Missing => "no token",
            Self::Twice => "more than one Authorization field",
            Self::TooLong => "the token is longer than 8 KiB",
            Self::Malformed => "this is no signed token",
            Self::Critical => "the token has extensions that are not understood",
            Self::Algorithm => "the token is signed with an algorithm that is not accepted",
            Self::Key => "no key has the kid of the token",
            Self::Signature => "wrong signature",
            Self::Endless => "the token has no exp",
            Self::Expired => "the token has expired",
            Self::Early => "the token is not valid yet",
            Self::Issuer => "wrong issuer",
            Self::Audience => "wrong audience",
            Self::Claim => "a claim of the token has the wrong type or is too long",
            Self::Info => "the claim info is longer than 4 KiB",
        }
    }
}

impl Tokens {
    /// Whether a token is right at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn verify(&self, token: &[u8], now: u64) -> Result<Claims, Refused> {
        if token.len() > TOKEN_MAX {
            return Err(Refused::TooLong);
        }
        let token = std::str::from_utf8(token).map_err(|_| Refused::Malformed)?;
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refused::Malformed)?;
        if claims.contains('.') {
            return Err(Refused::Malformed);
        }
        self.verify_signature(&object(header)?, message, signature)?;
        self.read(&object(claims)?, now as f64)
    }

    fn verify_signature(&self, header: &Map<String, Value>, message: &str, signature: &str) -> Result<(), Refused> {
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Refused::Malformed)?;
        if header.contains_key("crit") {
            return Err(Refused::Critical);
        }
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or(Refused::Malformed)?),
        };
        let fitting = self.keys.iter().filter(|key| key.algorithm_name() == algorithm);
        let mut refused = Refused::Algorithm;
        for key in fitting {
            if kid.is_some_and(|kid| !key.may_be(kid)) {
                refused = if refused == Refused::Algorithm { Refused::Key } else { refused };
                continue;
            }
            // What can't be decoded is no signature either.
            if crypto::verify(signature, message.as_bytes(), key.decoding(), key.algorithm()).unwrap_or(false) {
                return Ok(());
            }
            refused = Refused::Signature;
        }
        Err(refused)
    }

    /// The claims of a token whose signature is right.
    fn read(&self, claims: &Map<String, Value>, now: f64) -> Result<Claims, Refused> {
        let expires = date(claims, "exp")?.ok_or(Refused::Endless)?;
        if now >= expires + LEEWAY {
            return Err(Refused::Expired);
        }
        if date(claims, "nbf")?.is_some_and(|begins| now + LEEWAY < begins) {
            return Err(Refused::Early);
        }
        if self.issuer.as_deref().is_some_and(|wanted| claim(claims, "iss").and_then(Value::as_str) != Some(wanted)) {
            return Err(Refused::Issuer);
        }
        if self.audience.as_deref().is_some_and(|wanted| !is_for(claim(claims, "aud"), wanted)) {
            return Err(Refused::Audience);
        }
        let sub = match claim(claims, "sub") {
            None => String::new(),
            Some(Value::String(sub)) if sub.len() <= SUB_MAX => sub.clone(),
            Some(_) => return Err(Refused::Claim),
        };
        let info = claim(claims, "info").map(Value::to_string);
        if info.as_ref().is_some_and(|info| info.len() > INFO_MAX) {
            return Err(Refused::Info);
        }
        Ok(Claims { sub, info })
    }
}

/// A part of a token. Of two members with one name the last one stands (RFC 7515 §4).
fn object(part: &str) -> Result<Map<String, Value>, Refused> {
    let text = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed)?;
    match serde_json::from_slice(&text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(Refused::Malformed),
    }
}

/// A claim; one that is null is none.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).filter(|value| !value.is_null())
}

/// RFC 7519 §2, `NumericDate`: seconds, perhaps with a fraction.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refused> {
    claim(claims, name).map(|value| value.as_f64().ok_or(Refused::Claim)).transpose()
}

/// RFC 7519 §4.1.3: a string, or a list of them.
fn is_for(audience: Option<&Value>, wanted: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(wanted)),
        _ => false,
    }
}
