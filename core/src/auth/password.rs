//! Hashes of passwords: which ones are taken, and whether a password is the one.

use std::fmt;

use argon2::{Argon2, Params, PasswordVerifier};

/// Costs of bcrypt; one more doubles the time, and 15 is seconds.
const COST: std::ops::RangeInclusive<u32> = 4..=14;
/// KiB of memory of argon2, for each password that is being checked.
const MEMORY_MAX: u32 = 256 << 10;
/// KiB times passes: about a second.
const WORK_MAX: u64 = 1 << 20;

/// A hash that is strong, well-formed and of bounded cost.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Box<str>,
    scheme: Scheme,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bcrypt,
    Argon2,
}

/// Why a hash is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashError {
    /// One that a thief of the file undoes in hours; the text names it.
    Weak(&'static str),
    /// One whose check would take too long, or too much memory; the text names the bound.
    Costly(&'static str),
    /// One that begins as bcrypt or argon2 do, and breaks off or goes on wrongly.
    Malformed,
    /// No hash that anybody knows: a password, maybe.
    Unknown,
}

impl PasswordHash {
    /// Reads bcrypt (`$2a$`, `$2b$`, `$2y$`) or argon2 (`$argon2id$`, `$argon2i$`, as PHC strings).
    ///
    /// # Errors
    /// It is of another kind, malformed, or would take too long.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let scheme = match text.get(1..).and_then(|rest| rest.split('$').next()).filter(|_| text.starts_with('$')) {
            Some("2a" | "2b" | "2y") => Scheme::Bcrypt,
            Some("argon2id" | "argon2i") => Scheme::Argon2,
            Some("2x") => return Err(HashError::Weak("bcrypt of a program with a known fault ($2x$)")),
            Some("argon2d") => return Err(HashError::Weak("argon2d, which is not made for passwords")),
            Some("apr1" | "1") => return Err(HashError::Weak("MD5")),
            Some("5") => return Err(HashError::Weak("SHA-256 crypt")),
            Some("6") => return Err(HashError::Weak("SHA-512 crypt")),
            _ if text.starts_with("{SHA}") || text.starts_with("{SSHA}") => return Err(HashError::Weak("SHA-1")),
            _ if text.starts_with("{PLAIN}") => return Err(HashError::Weak("no hash but the password itself")),
            _ if text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte)) => {
                return Err(HashError::Weak("DES crypt"));
            }
            _ => return Err(HashError::Unknown),
        };
        match scheme {
            Scheme::Bcrypt => check_bcrypt(text)?,
            Scheme::Argon2 => check_argon2(text)?,
        }
        Ok(Self { text: text.into(), scheme })
    }

    /// Whether this is the password. Takes 50 to 1000 ms of CPU, as long for a wrong one as for the right one, and up
    /// to 256 MiB of memory. Of a password longer than 72 bytes bcrypt looks at these only.
    pub fn verify(&self, password: &str) -> bool {
        match self.scheme {
            Scheme::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Scheme::Argon2 => Argon2::default().verify_password(password.as_bytes(), &*self.text).is_ok(),
        }
    }

    /// The hash as the operator wrote it. Tells it from every other; for no eye.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

fn check_bcrypt(text: &str) -> Result<(), HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed)?;
    match parts.get_cost() {
        cost if COST.contains(&cost) => Ok(()),
        15..=31 => Err(HashError::Costly("a cost of 14 at most")),
        _ => Err(HashError::Malformed),
    }
}

fn check_argon2(text: &str) -> Result<(), HashError> {
    let hash = argon2::PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
    let params = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() || hash.version.is_some_and(|version| ![16, 19].contains(&version)) {
        return Err(HashError::Malformed);
    }
    if params.m_cost() > MEMORY_MAX {
        return Err(HashError::Costly("256 MiB of memory at most (m=262144)"));
    }
    if u64::from(params.m_cost()) * u64::from(params.t_cost()) > WORK_MAX {
        return Err(HashError::Costly("memory times passes of 1 GiB at most (m × t up to 1048576)"));
    }
    Ok(())
}

/// What follows the name of the user: "`alice` has …".
impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weak(name) => write!(f, "a hash that is too weak: {name}"),
            Self::Costly(bound) => write!(f, "a hash that takes too long to check: {bound}"),
            Self::Malformed => f.write_str("a hash that is malformed"),
            Self::Unknown => f.write_str("no hash that is known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `htpasswd -bnBC 4 alice 'open sesame'`
    const BCRYPT: &str = "$2y$04$2m/cwqLoplQT1je8GxRh7u9zv8xPdijkvSlpzgoiaJK.kkdDFQ9iS";
    /// Of the reference implementation's tests.
    const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn bcrypt_and_argon2_know_their_password() {
        let known = |text: &str, password: &str| PasswordHash::parse(text).unwrap().verify(password);
        for text in [BCRYPT, &BCRYPT.replace("$2y$", "$2b$"), &BCRYPT.replace("$2y$", "$2a$")] {
            assert!(known(text, "open sesame"), "{text}");
            assert!(!known(text, "open sesam") && !known(text, "") && !known(text, "open sesame "), "{text}");
        }
        assert!(known(ARGON2, "password"));
        assert!(!known(ARGON2, "Password") && !known(ARGON2, ""));
    }

    #[test]
    fn weak_ones_are_named() {
        for (text, name) in [
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "MD5"),
            ("$1$abc$def", "MD5"),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
            ("$5$abc$def", "SHA-256 crypt"),
            ("$6$abc$def", "SHA-512 crypt"),
            ("rOJJqJIJQtSTk", "DES crypt"),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(HashError::Weak(name)), "{text}");
        }
        for text in ["", "secret", "$", "$$", "$2", "é"] {
            assert_eq!(PasswordHash::parse(text), Err(HashError::Unknown), "{text:?}");
        }
    }

    #[test]
    fn malformed_and_endless_ones_are_refused() {
        for text in [
            "$2y$",
            &BCRYPT[..59],
            &format!("{BCRYPT}x"),
            &BCRYPT.replace("$04$", "$03$"),
            &BCRYPT.replace("$04$", "$xx$"),
            "$argon2id$v=19$m=16,t=1,p=1",
            "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ",
            &ARGON2.replace("v=19", "v=18"),
            &ARGON2.replace("m=", "q="),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(HashError::Malformed), "{text}");
        }
        let costly = BCRYPT.replace("$04$", "$31$");
        assert!(matches!(PasswordHash::parse(&costly), Err(HashError::Costly(_))));
        for costly in ["m=262145,t=1", "m=262144,t=5", "m=64,t=4294967295"] {
            let text = ARGON2.replace("m=256,t=2", costly);
            assert!(matches!(PasswordHash::parse(&text), Err(HashError::Costly(_))), "{text}");
        }
    }

    #[test]
    fn nothing_shows_a_hash() {
        assert_eq!(format!("{:?}", PasswordHash::parse(BCRYPT).unwrap()), "PasswordHash { scheme: Bcrypt, .. }");
    }
}
