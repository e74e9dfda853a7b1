//! The folder of one authority inside of the `cache`: account, certificates with their keys, and what is known of orders.
//!
//! **Invariant:** every file is whole and 0600, in a folder of 0700; a key and its chain are one file, so that they are a
//! pair whenever rsp ends. Who writes holds the lock.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rsp_core::{
    config::Acme,
    renewal::{Failure, Validity},
};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::certificate::Certificate;

/// Bytes of a file that is read at most.
const FILE_MAX: u64 = 1 << 20;

/// Files of other orders that are looked through for a name.
const SCANNED_MAX: usize = 10_000;

/// The folder.
#[derive(Clone)]
pub(super) struct Folder(PathBuf);

/// What is remembered of one order, so that a restart neither asks again nor forgets to wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// The end of the certificate that the next two are about.
    pub until: Duration,
    /// When it was got; 0 if that is not known.
    pub got: Duration,
    /// When it is renewed.
    pub renew_at: Duration,
    /// When the authority is asked whether that should be sooner; None: it can't be asked.
    pub look_at: Option<Duration>,
    /// What went wrong since.
    pub trouble: Option<Failed>,
}

/// Attempts that failed, the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// In a row.
    pub times: u32,
    /// When.
    pub at: Duration,
    /// No attempt before.
    pub next: Duration,
    /// The authority asked for the wait.
    pub is_told: bool,
    /// In words.
    pub why: String,
    /// Whose word it failed on.
    pub failure: Failure,
}

/// Held while the authority is asked for anything; another process that shares the folder waits.
pub(super) struct Lock {
    _file: File,
}

impl Folder {
    /// Makes it where there is none. Authorities have folders of their own, so that a trial at another one costs nothing.
    pub fn open(acme: &Acme) -> Result<Self, String> {
        let host = acme.directory.split("://").nth(1).unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
        let path = acme.cache.join(format!("{}-{}", plain(host), short_hash(&[&acme.directory])));
        let private = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock")).map(drop)
        };
        private().map_err(|e| format!("the cache of `acme`, {}, can't be written: {e}", path.display()))?;
        Ok(Self(path))
    }

    /// None: another process has it.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.0.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The account as it was saved.
    pub fn account(&self) -> Option<Value> {
        serde_json::from_slice(&self.read("account.json").ok()?).ok()
    }

    pub fn save_account(&self, account: &Value) -> io::Result<()> {
        self.write("account.json", account.to_string().as_bytes())
    }

    /// The authority does not know it any more.
    pub fn forget_account(&self) {
        let _ = fs::remove_file(self.0.join("account.json"));
    }

    /// Of an order: None where there is none yet; one that can't be read is said and none.
    pub fn certificate(&self, id: &str) -> Option<Certificate> {
        let file = format!("{id}.pem");
        match self.read(&file) {
            Ok(pem) => Certificate::read(&pem)
                .map_err(|why| tracing::warn!("{}: {why}; it is ordered again", self.0.join(&file).display()))
                .ok(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                tracing::warn!("{}: {e}; it is ordered again", self.0.join(&file).display());
                None
            }
        }
    }

    pub fn save_certificate(&self, id: &str, pem: &[u8]) -> io::Result<()> {
        self.write(&format!("{id}.pem"), pem)
    }

    /// Certificates of whatever order.
    pub fn all(&self) -> impl Iterator<Item = Certificate> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten().take(SCANNED_MAX);
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| self.certificate(name.strip_suffix(".pem")?))
    }

    /// What is remembered of an order; nothing, if the file is none of ours.
    pub fn notes(&self, id: &str) -> Notes {
        let read = self.read(&format!("{id}.json")).ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).map_or_else(Notes::default, |json| Notes::of(&json))
    }

    pub fn save_notes(&self, id: &str, notes: &Notes) -> io::Result<()> {
        self.write(&format!("{id}.json"), notes.json().to_string().as_bytes())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.0.join(name))?.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// All of it or nothing, whenever the machine stops.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, beside) = (self.0.join(name), self.0.join(format!(".{name}.new")));
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(&self.0)?.sync_all()
    }

    /// For messages.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Notes {
    /// For a certificate that nothing is known of yet.
    pub fn fresh(validity: Validity, seed: u64) -> Self {
        let renew_at = validity.renew_at(seed);
        Self { until: validity.until, got: Duration::ZERO, renew_at, look_at: None, trouble: None }
    }

    /// The same for one that has just been got.
    pub fn new(validity: Validity, now: Duration, seed: u64) -> Self {
        let notes = Self::fresh(validity, seed);
        Self { got: now, renew_at: notes.renew_at.max(validity.stays_until(now)), ..notes }
    }

    fn of(json: &Value) -> Self {
        let time = |json: &Value, key: &str| json[key].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok());
        let failed = &json["failed"];
        let trouble = failed.as_object().map(|_| Failed {
            times: failed["times"].as_u64().and_then(|times| u32::try_from(times).ok()).unwrap_or(1).max(1),
            at: time(failed, "at").unwrap_or_default(),
            next: time(failed, "next").unwrap_or_default(),
            is_told: failed["told"] == true,
            why: failed["why"].as_str().unwrap_or_default().to_owned(),
            failure: if failed["unreachable"] == true { Failure::Unreachable } else { Failure::Refused },
        });
        Self {
            until: time(json, "until").unwrap_or_default(),
            got: time(json, "got").unwrap_or_default(),
            renew_at: time(json, "renew_at").unwrap_or_default(),
            look_at: time(json, "look_at"),
            trouble,
        }
    }

    fn json(&self) -> Value {
        let failed = self.trouble.as_ref().map(|failed| {
            json!({
                "times": failed.times,
                "at": failed.at.as_secs_f64(),
                "next": failed.next.as_secs_f64(),
                "told": failed.is_told,
                "why": failed.why,
                "unreachable": failed.failure == Failure::Unreachable,
            })
        });
        json!({
            "until": self.until.as_secs_f64(),
            "got": self.got.as_secs_f64(),
            "renew_at": self.renew_at.as_secs_f64(),
            "look_at": self.look_at.map(|at| at.as_secs_f64()),
            "failed": failed,
        })
    }
}

/// The name of an order's files: its first name, for people, and a hash of all, sorted.
pub(super) fn id(names: &[Box<str>]) -> String {
    let first = names.first().map_or("", |name| &**name);
    format!("{}-{}", plain(first), short_hash(names))
}

fn short_hash(words: &[impl AsRef<str>]) -> String {
    let all: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    let hash = digest(&SHA256, all.join("\n").as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Nothing but letters, digits, hyphens and dots inside, short enough for a file's name.
fn plain(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    let plain: String = name.chars().take(100).map(letter).collect();
    plain.trim_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let trouble = Failed {
            times: 3,
            at: Duration::from_secs(5),
            next: Duration::from_millis(65_500),
            is_told: true,
            why: "no \"such\" name".to_owned(),
            failure: Failure::Unreachable,
        };
        let notes = Notes {
            until: Duration::from_secs(9),
            got: Duration::from_secs(8),
            renew_at: Duration::from_secs(7),
            look_at: Some(Duration::from_secs(6)),
            trouble: Some(trouble),
        };
        assert_eq!(Notes::of(&notes.json()), notes);
        assert_eq!(Notes::of(&json!({ "until": -1, "failed": 7 })), Notes::default());
        assert_eq!(Notes::of(&Value::Null), Notes::default());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert!(id(&["../../etc/passwd".into()]).starts_with("_.._etc_passwd-"));
        assert_ne!(id(&["a.test".into()]), id(&["a.test".into(), "b.test".into()]));
        assert!(id(&["a".repeat(300).into()]).len() < 130);
    }
}
