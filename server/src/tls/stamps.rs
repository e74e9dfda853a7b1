//! Whether files are other ones than before.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rsp_core::config::{Certificates, Terminate};

/// What stood under the names of an identity's files; another one is another content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Stamps(Box<[Option<Stamp>]>);

/// Device, inode, size, modified and changed in nanoseconds.
type Stamp = (u64, u64, u64, i128, i128);

impl Stamps {
    /// Asks the file system once a file.
    pub fn of(terms: &Terminate) -> Self {
        Self(files_of(terms).map(|path| stamp(path)).collect())
    }

    /// How often the file system is asked for them.
    pub fn count(terms: &Terminate) -> usize {
        files_of(terms).count()
    }
}

/// A key that stands in its certificate's file is the same file twice, one after the other.
fn files_of(terms: &Terminate) -> impl Iterator<Item = &PathBuf> {
    let certificates = match &terms.certificates {
        Certificates::Files(all) => &all[..],
        Certificates::Acme => &[],
    };
    let files = certificates.iter().flat_map(|one| {
        let key = (one.key != one.cert).then_some(&one.key);
        std::iter::once(&one.cert).chain(key).chain(&one.ocsp)
    });
    files.chain(&terms.client_ca)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = path.metadata().ok()?;
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let modified = nanoseconds(found.mtime(), found.mtime_nsec());
    let changed = nanoseconds(found.ctime(), found.ctime_nsec());
    Some((found.dev(), found.ino(), found.size(), modified, changed))
}
