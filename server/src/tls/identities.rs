//! All identities of the process: found again by what the config says of them, and read anew when their files change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use rsp_core::config::Terminate;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};

use super::{
    acme::Issued,
    identity::{Identity, Tools},
    stamps::Stamps,
};

/// How often files are looked at. A change counts when the next look finds it the same, so that a certificate and a key
/// that are written one after the other are read together.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files that one look asks for; with more of them, looks take turns. A hundred thousand take half a minute, and two
/// hundredths of a core.
const LOOK_MAX: usize = 4096;

/// What sites are opened with.
pub struct Identities {
    tools: Tools,
    /// Sites of which the config says the same share one.
    known: Mutex<HashMap<Arc<Terminate>, Weak<Identity>, foldhash::fast::RandomState>>,
}

impl Identities {
    /// None yet; `issued` are the certificates of an authority.
    ///
    /// # Errors
    /// A sentence: there are no random numbers.
    pub fn new(issued: &Arc<Issued>) -> Result<Arc<Self>, String> {
        let ticketer = Ticketer::new().map_err(|e| format!("no keys for session tickets: {e}"))?;
        let tools = Tools { provider: Arc::new(default_provider()), issued: Arc::clone(issued), ticketer };
        Ok(Arc::new(Self { tools, known: Mutex::default() }))
    }

    /// The identity of a site; a known one whose files have changed is read anew, and stays as it was if they are broken.
    ///
    /// # Errors
    /// A sentence that names the file and the reason.
    pub fn of(&self, terms: &Arc<Terminate>) -> Result<Arc<Identity>, String> {
        if let Some(known) = self.find(terms) {
            let has_changed = lock(&known.seen).read != Stamps::of(terms);
            if has_changed {
                known.read()?;
            }
            return Ok(known);
        }
        let identity = Arc::new(Identity::new(terms, &self.tools)?);
        lock(&self.known).insert(Arc::clone(terms), Arc::downgrade(&identity));
        Ok(identity)
    }

    /// Forgets what no config uses any more; call it after a reload.
    pub fn settle(&self) {
        lock(&self.known).retain(|_, identity| identity.strong_count() > 0);
    }

    /// Looks after the files of all for ever.
    pub async fn follow_for_ever(self: Arc<Self>) {
        let mut rest = Vec::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if rest.is_empty() {
                rest = lock(&self.known).values().cloned().collect();
            }
            if rest.is_empty() {
                continue;
            }
            let turn = turn(&mut rest);
            // Not here: a file system may take its time.
            let looked =
                tokio::task::spawn_blocking(move || turn.iter().filter_map(Weak::upgrade).for_each(|one| look(&one)));
            let _ = looked.await;
        }
    }

    fn find(&self, terms: &Arc<Terminate>) -> Option<Arc<Identity>> {
        lock(&self.known).get(terms).and_then(Weak::upgrade)
    }
}

/// As many as may be looked at at once.
fn turn(rest: &mut Vec<Weak<Identity>>) -> Vec<Weak<Identity>> {
    let mut files = 0;
    let fits = rest.iter().rev().take_while(|one| {
        files += one.upgrade().map_or(0, |one| Stamps::count(&one.terms));
        files <= LOOK_MAX
    });
    let count = fits.count().max(1);
    rest.split_off(rest.len() - count)
}

/// Reads an identity anew if its files have changed and been left alone since the last look.
fn look(identity: &Identity) {
    let now = Stamps::of(&identity.terms);
    let mut seen = lock(&identity.seen);
    if now == seen.read {
        seen.last = now;
        return;
    }
    let rests = now == seen.last;
    seen.last = now;
    drop(seen);
    if rests {
        match identity.read() {
            Ok(()) => tracing::info!("read anew: {}", identity.first_file()),
            Err(e) => tracing::warn!("{e}; what was read before stays"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rsp_core::config::{CertificateFiles, Certificates};
    use testkit::Authority;

    use super::*;

    #[test]
    fn looks_at_many_files_take_turns_and_leave_none_out() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = Authority::new().sign(&["a.test"]).write(folder.path(), "a");
        let identities = Identities::new(&Arc::default()).unwrap();
        let one = CertificateFiles { cert, key, ocsp: None };
        let identity = |count: usize| {
            let certificates = Certificates::Files(vec![one.clone(); count]);
            let terms = Terminate { certificates, client_ca: None, min: None, ciphers: Vec::new() };
            identities.of(&Arc::new(terms)).unwrap()
        };
        let all: Vec<_> = [1, 2003, 40, 2, 3].map(identity).into();
        let mut rest: Vec<_> = all.iter().map(Arc::downgrade).collect();
        let mut turns = Vec::new();
        while !rest.is_empty() {
            turns.push(turn(&mut rest).len());
        }
        assert_eq!(turns, [4, 1], "the long one is in the first with all that fit");
        assert!(Arc::ptr_eq(&identity(2), &all[3]), "what the config says again is the same");
        drop(all);
        identities.settle();
        assert!(lock(&identities.known).is_empty());
    }
}
