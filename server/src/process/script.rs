//! Which program of a folder a path means: `dir` of `exec`, and `cgi`.
//!
//! **Invariant:** what is found is a regular file below the folder, whatever links and escapes there are.

use std::path::{Path, PathBuf};

use crate::error::{Fault, Kind};

/// A program and how the path is divided, as received but decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Absolute, without links.
    pub path: PathBuf,
    /// What of the URL's path names it, from the first slash on.
    pub name: Vec<u8>,
    /// What follows; empty, or with a slash before it.
    pub info: Vec<u8>,
}

/// Walks a decoded path below `prefix` down a folder: folders continue, the first regular file is the program.
///
/// # Errors
/// `NotFound`: it ends on a folder, or at nothing, or outside.
pub fn find(folder: &Path, prefix: &str, path: &[u8]) -> Result<Script, Fault> {
    let _ = (folder, prefix, path);
    Err(Fault::new(Kind::NotFound, "no such program"))
}
