//! What a path below the root stands for: a file, a folder's index, one of the files to try.

use std::{borrow::Cow, rc::Rc};

use rsp_core::config::{Candidate, Files};
use rustix::{fs::FileType, io::Errno};

use super::kept::{self, Kept};
use crate::{
    error::{Fault, Kind},
    stream::beneath,
};

/// What a path came to.
pub enum Found<'a> {
    /// A regular file and its name below the root.
    File(Rc<Kept>, Cow<'a, [u8]>),
    /// A folder whose name lacks its slash.
    FolderWithoutSlash,
    /// A folder without an index, with its slash.
    FolderWithoutIndex(Cow<'a, [u8]>),
}

/// Looks for what `below` names, or for the first of the files to try.
pub fn find<'a>(files: &Files, below: &'a [u8]) -> Result<Found<'a>, Fault> {
    if files.candidates.is_empty() { named(files, Cow::Borrowed(below)) } else { tried(files, below) }
}

/// Whether every name on the path may be seen. Names that begin with a dot may not, but for the one that stands for
/// what everybody may see (RFC 8615).
fn is_served(files: &Files, below: &[u8]) -> bool {
    let names = below.strip_suffix(b"/").unwrap_or(below);
    below.is_empty()
        || names.split(|&byte| byte == b'/').enumerate().all(|(depth, name)| match name {
            b"" | b"." | b".." => false,
            [b'.', rest @ ..] => (files.dotfiles || is_well_known(depth, rest)) && !name.contains(&0),
            _ => !name.contains(&0),
        })
}

fn is_well_known(depth: usize, name: &[u8]) -> bool {
    depth == 0 && name == b"well-known"
}

fn named<'a>(files: &Files, below: Cow<'a, [u8]>) -> Result<Found<'a>, Fault> {
    if !is_served(files, &below) {
        return Err(not_found());
    }
    if below.is_empty() || below.ends_with(b"/") {
        return index(files, below);
    }
    let kept = open(files, &below)?;
    match kept.kind() {
        FileType::RegularFile => Ok(Found::File(kept, below)),
        FileType::Directory => Ok(Found::FolderWithoutSlash),
        _ => Err(not_found()),
    }
}

fn index<'a>(files: &Files, folder: Cow<'a, [u8]>) -> Result<Found<'a>, Fault> {
    let name = [&folder, files.index.as_bytes()].concat();
    match open(files, &name) {
        Ok(kept) if kept.kind() == FileType::RegularFile => return Ok(Found::File(kept, Cow::Owned(name))),
        Err(fault) if fault.kind != Kind::NotFound => return Err(fault),
        _ => {}
    }
    let path = if folder.is_empty() { &b"."[..] } else { &folder };
    let opened = beneath::open(&files.root, path, beneath::FOLDER).map_err(fault)?;
    if kept::is_hidden(&files.hidden, &files.root, path, &opened) {
        return Err(not_found());
    }
    Ok(Found::FolderWithoutIndex(folder))
}

/// The first candidate that is there. A folder is there if it has an index, or is listed.
fn tried<'a>(files: &Files, below: &'a [u8]) -> Result<Found<'a>, Fault> {
    for candidate in &files.candidates {
        let name = filled_in(candidate, below);
        let found = match named(files, Cow::Borrowed(&name)) {
            Ok(Found::File(kept, file)) => Found::File(kept, Cow::Owned(file.into_owned())),
            Ok(Found::FolderWithoutSlash) if name == below => {
                let with_slash = [below, b"/"].concat();
                match named(files, Cow::Owned(with_slash))? {
                    Found::FolderWithoutIndex(_) if !files.listing => continue,
                    _ => Found::FolderWithoutSlash,
                }
            }
            Ok(Found::FolderWithoutIndex(_)) if files.listing && name == below => {
                Found::FolderWithoutIndex(Cow::Borrowed(below))
            }
            Ok(_) => continue,
            Err(fault) if fault.kind == Kind::NotFound => continue,
            Err(fault) => return Err(fault),
        };
        return Ok(found);
    }
    Err(not_found())
}

/// A name relative to the root. Slashes that would meet are one: the path has one in front and may have one behind.
fn filled_in(candidate: &Candidate, below: &[u8]) -> Vec<u8> {
    let mut name = vec![b'/'];
    let mut push = |part: &[u8]| {
        let meets = name.last() == Some(&b'/') && part.first() == Some(&b'/');
        name.extend_from_slice(&part[usize::from(meets)..]);
    };
    for (place, literal) in candidate.0.iter().enumerate() {
        if place > 0 {
            push(b"/");
            push(below);
        }
        push(literal.as_bytes());
    }
    name.remove(0);
    name
}

fn open(files: &Files, below: &[u8]) -> Result<Rc<Kept>, Fault> {
    kept::open(&files.root, below, &files.hidden).map_err(fault)
}

pub fn not_found() -> Fault {
    Fault::new(Kind::NotFound, "no such file")
}

/// What an error of the file system means to a client.
pub fn fault(error: Errno) -> Fault {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::XDEV | Errno::NXIO | Errno::NODEV => {
            not_found()
        }
        Errno::ACCESS | Errno::PERM => Fault::new(Kind::Forbidden, "a file that may not be read"),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            Fault::new(Kind::Full, format!("no file can be opened now: {error}"))
        }
        _ => Fault::new(Kind::File, format!("a file can't be opened: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_has_no_slash_twice() {
        let candidate = |parts: &[&str]| Candidate(parts.iter().map(|part| Box::from(*part)).collect());
        for (parts, below, wanted) in [
            (&["", ""][..], "a/b", "a/b"),
            (&["", ""], "", ""),
            (&["", ".html"], "a", "a.html"),
            (&["", ".html"], "a/", "a/.html"),
            (&["", "/index.html"], "a/", "a/index.html"),
            (&["/x/", "/y"], "a", "x/a/y"),
            (&["/x", ""], "a", "x/a"),
            (&["/index.html"], "a", "index.html"),
        ] {
            assert_eq!(filled_in(&candidate(parts), below.as_bytes()), wanted.as_bytes(), "{parts:?}");
        }
    }
}
