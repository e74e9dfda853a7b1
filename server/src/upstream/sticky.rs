//! Cookies that keep a client on its endpoint, and the secret they are made with.
//!
//! A cookie's value is the HMAC-SHA256 of the cookie's and the endpoint's names, 128 bits of it: nobody who lacks the
//! secret can make one for an endpoint that was not given to them, and none tells a name or an address. It is the same
//! for every client of the endpoint, so that a request costs a look-up and no cryptography. It proves nothing about the
//! client.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::OnceLock,
};

use aws_lc_rs::{
    hmac::{HMAC_SHA256, Key, sign},
    rand,
};
use http::{HeaderMap, HeaderValue};
use rsp_core::{config, head};
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};

use crate::message::RequestId;

/// Bytes of the secret; as many as the hash has.
const SECRET: usize = 32;

/// Half of the hash, in hexadecimal digits.
type Code = [u8; 32];

/// The cookie of one upstream.
pub struct Sticky {
    /// Its name.
    pub name: String,
    /// In the order of the endpoints.
    codes: Box<[Code]>,
    /// Sorted, with the place of the endpoint.
    by_code: Box<[(Code, usize)]>,
}

impl Sticky {
    /// The codes of an upstream's endpoints.
    pub(super) fn new(name: &str, upstream: &config::Upstream, key: &Key) -> Self {
        let codes: Box<[Code]> = upstream.endpoints.iter().map(|endpoint| code(key, name, &endpoint.name)).collect();
        let mut by_code: Box<[_]> = codes.iter().enumerate().map(|(index, code)| (*code, index)).collect();
        by_code.sort_unstable();
        Self { name: name.to_owned(), codes, by_code }
    }

    /// The endpoint that the client's cookie names; a forged one, or one of an endpoint that is gone, names none.
    pub fn endpoint(&self, headers: &HeaderMap) -> Option<usize> {
        let given = head::cookie(headers, &self.name)?;
        let found = self.by_code.binary_search_by(|(code, _)| code.as_slice().cmp(given)).ok()?;
        self.by_code.get(found).map(|(_, index)| *index)
    }

    /// The `Set-Cookie` that binds a client to an endpoint until its browser ends.
    pub fn set_cookie(&self, index: usize, secure: bool) -> Option<HeaderValue> {
        let code = str::from_utf8(self.codes.get(index)?).ok()?;
        let secure = if secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{}={code}; Path=/; HttpOnly; SameSite=Lax{secure}", self.name)).ok()
    }
}

/// Neither name has a NUL in it.
fn code(key: &Key, cookie: &str, endpoint: &str) -> Code {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let tag = sign(key, format!("sticky\0{cookie}\0{endpoint}").as_bytes());
    let mut code = [0; 32];
    for (two, byte) in code.chunks_exact_mut(2).zip(tag.as_ref()) {
        two[0] = DIGITS[usize::from(byte >> 4)];
        two[1] = DIGITS[usize::from(byte & 15)];
    }
    code
}

/// The secret of this rsp: a file that only its user can read, made when it is first needed, so that cookies outlive
/// reloads, restarts and upgrades.
pub struct Secret {
    path: PathBuf,
    key: OnceLock<Key>,
}

impl Secret {
    /// The secret in that file, not read yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path, key: OnceLock::new() }
    }

    /// Reads it, or makes it where there is none.
    ///
    /// # Errors
    /// The file can be neither read nor made, or is no secret of ours.
    pub fn load(&self) -> Result<(), String> {
        if self.key.get().is_some() {
            return Ok(());
        }
        let bytes = self.read().map_err(|e| format!("`sticky` needs the secret in {}: {e}", self.path.display()))?;
        self.key.get_or_init(|| Key::new(HMAC_SHA256, &bytes));
        Ok(())
    }

    /// Gives the file, if it was loaded, to whom rsp runs as from now on: an upgrade reads it again.
    pub fn give(&self, user: u32, group: u32) -> io::Result<()> {
        if self.key.get().is_none() {
            return Ok(());
        }
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        // What a link leads to belongs to somebody else.
        Ok(chownat(CWD, &self.path, user, group, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// What was loaded.
    pub(super) fn key(&self) -> Option<&Key> {
        self.key.get()
    }

    fn read(&self) -> io::Result<[u8; SECRET]> {
        match File::open(&self.path) {
            Ok(file) => whole(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.make(),
            Err(e) => Err(e),
        }
    }

    /// Written under another name first: whoever else starts meanwhile finds a whole secret or none.
    fn make(&self) -> io::Result<[u8; SECRET]> {
        let mut bytes = [0; SECRET];
        rand::fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
        let mut new = self.path.clone().into_os_string();
        new.push(format!(".{}", RequestId::next()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let linked = written.and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::hard_link(&new, &self.path)
        });
        // Its other name stays.
        let _ = fs::remove_file(&new);
        match linked {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => whole(File::open(&self.path)?),
            Err(e) => Err(e),
        }
    }
}

fn whole(file: File) -> io::Result<[u8; SECRET]> {
    let mut bytes = Vec::with_capacity(SECRET + 1);
    file.take(SECRET as u64 + 1).read_to_end(&mut bytes)?;
    bytes.try_into().map_err(|_| io::Error::other(format!("it has not {SECRET} bytes")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.lua.secret");
        let first = Secret::at(path.clone());
        first.load().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let second = Secret::at(path.clone());
        second.load().unwrap();
        let made = |secret: &Secret| code(secret.key().unwrap(), "app", "10.0.0.1:80");
        assert_eq!(made(&first), made(&second));
        let other = Secret::at(folder.path().join("other"));
        other.load().unwrap();
        assert_ne!(made(&first), made(&other));
        fs::write(&path, "short").unwrap();
        let wrong = Secret::at(path).load().unwrap_err();
        assert!(wrong.ends_with("it has not 32 bytes"), "{wrong}");
    }

    #[test]
    fn many_that_start_at_once_agree_on_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let read = || {
            let secret = Secret::at(path.clone());
            secret.read().unwrap()
        };
        let all: Vec<_> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert!(all.iter().all(|bytes| *bytes == read()));
    }
}
