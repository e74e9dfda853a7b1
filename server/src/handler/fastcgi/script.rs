//! Which script a path means.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt, path::Path};

use rsp_core::config;

use crate::error::{Fault, Kind};

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A script.
    Script(Script),
    /// A folder with a script for it, asked for without the slash at its end.
    Folder,
}

/// A script and what follows it in the path, both decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// From the root, with a slash before it.
    pub name: Vec<u8>,
    /// Empty, or with a slash before it.
    pub info: Vec<u8>,
}

/// Finds the script of a decoded, normalised path: the one that it names, that of a folder, or that of the root.
///
/// # Errors
/// `NotFound` if there is no such script, as far as that can be seen from here; `Forbidden` if we may not look.
pub fn find(spec: &config::Fastcgi, path: &[u8]) -> Result<Found, Fault> {
    let seen = spec.scripts.as_ref().filter(|scripts| scripts.seen).map(|scripts| &*scripts.folder);
    let is_script = |name: &[u8]| seen.map_or(Ok(true), |root| is_file(root, name));
    let script = |name: Vec<u8>, info: &[u8]| Ok(Found::Script(Script { name, info: info.to_vec() }));
    if let Some(end) = split(path, spec.split.as_bytes()) {
        let (name, info) = path.split_at(end);
        return if is_script(name)? { script(name.to_vec(), info) } else { Err(no_script()) };
    }
    let index = spec.index.as_bytes();
    // Folders of another machine can't be told from whatever else the root's script answers.
    if seen.is_some() && path != b"/" {
        let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
        let name = [path, slash, index].concat();
        if is_script(&name)? {
            return if slash.is_empty() { script(name, b"") } else { Ok(Found::Folder) };
        }
    }
    let name = [b"/", index].concat();
    if is_script(&name)? { script(name, b"") } else { Err(no_script()) }
}

/// Where the first name of the path ends that is a script's.
fn split(path: &[u8], ending: &[u8]) -> Option<usize> {
    let mut end = 0;
    for name in path.split(|&byte| byte == b'/') {
        end += name.len();
        if name.len() > ending.len() && name.ends_with(ending) {
            return Some(end);
        }
        end += 1;
    }
    None
}

/// Whether the name is a regular file, where links lead too: an operator made them. A name below a file is none, which
/// is what `/picture.jpg/x.php` hopes for.
fn is_file(root: &Path, name: &[u8]) -> Result<bool, Fault> {
    let below = name.strip_prefix(b"/").unwrap_or(name);
    // The path is normalised; a name that leads up all the same is nobody's script.
    if below.split(|&byte| byte == b'/').any(|name| name == b"..") {
        return Ok(false);
    }
    match std::fs::metadata(root.join(OsStr::from_bytes(below))) {
        Ok(found) => Ok(found.is_file()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Err(Fault::new(Kind::Forbidden, "a script that may not be looked for"))
        }
        Err(_) => Ok(false),
    }
}

fn no_script() -> Fault {
    Fault::new(Kind::NotFound, "no such script")
}
