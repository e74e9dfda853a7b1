//! Which program of a folder a path means: `dir` of `exec`, and `cgi`.
//!
//! **Invariant:** what is found is a regular file below the folder, whatever links and escapes there are.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, fstat};

use crate::{
    error::{Fault, Kind},
    stream::beneath,
};

/// Only to see what it is: a FIFO would wait for its other end, and a device might do something.
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

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
    let none = |why: &'static str| Fault::new(Kind::NotFound, why);
    let prefix = prefix.as_bytes();
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    let below = path.strip_prefix(prefix).ok_or_else(|| none("the path is not below the folder's"))?;
    let below = below.strip_prefix(b"/").ok_or_else(|| none("the path names no program"))?;
    let mut end = 0;
    loop {
        let segment = below[end..].split(|&byte| byte == b'/').next().unwrap_or_default();
        if matches!(segment, b"" | b"." | b"..") || segment.contains(&0) {
            return Err(none("the path names no program"));
        }
        end += segment.len();
        let opened = beneath::open(folder, &below[..end], LOOK).map_err(|_| none("there is no such program"))?;
        let stat = fstat(&opened).map_err(|_| none("there is no such program"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let found = beneath::place(&opened).ok_or_else(|| none("where the program is can't be said"))?;
                let (name, info) = path.split_at(path.len() - below.len() + end);
                return Ok(Script { path: found, name: name.to_owned(), info: info.to_owned() });
            }
            FileType::Directory if below.get(end) == Some(&b'/') => end += 1,
            _ => return Err(none("the path names no program")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn folders_continue_and_the_first_file_is_the_program() {
        let outer = tempfile::tempdir().unwrap();
        let outer = outer.path().canonicalize().unwrap();
        let folder = outer.join("programs");
        fs::create_dir_all(folder.join("sub/deep")).unwrap();
        for file in ["a.sh", "sub/b.sh", "sub/deep/c d"] {
            fs::write(folder.join(file), "").unwrap();
        }
        fs::write(outer.join("secret"), "").unwrap();
        symlink("sub/b.sh", folder.join("in")).unwrap();
        symlink("../secret", folder.join("out")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
        for (prefix, path, file, name, info) in [
            ("/", "/a.sh", "a.sh", "/a.sh", ""),
            ("/", "/a.sh/", "a.sh", "/a.sh", "/"),
            ("/run/", "/run/a.sh/x//y", "a.sh", "/run/a.sh", "/x//y"),
            ("/run/", "/run/sub/b.sh/../x", "sub/b.sh", "/run/sub/b.sh", "/../x"),
            ("/run", "/run/sub/deep/c d/a\nb", "sub/deep/c d", "/run/sub/deep/c d", "/a\nb"),
            ("/", "/in/x", "sub/b.sh", "/in", "/x"),
        ] {
            let expected = Script { path: folder.join(file), name: name.into(), info: info.into() };
            assert_eq!(find(&folder, prefix, path.as_bytes()).unwrap(), expected);
        }
        for path in [
            "",
            "/",
            "/sub",
            "/sub/",
            "/sub/deep/",
            "/none",
            "/out",
            "/up/secret",
            "/../secret",
            "/sub/../a.sh",
            "/./a.sh",
            "//a.sh",
            "/fifo",
            "/a.sh\0",
            "a.sh",
        ] {
            assert_eq!(find(&folder, "/", path.as_bytes()).map_err(|fault| fault.kind), Err(Kind::NotFound), "{path}");
        }
        assert!(find(&folder, "/run/", b"/runa.sh").is_err());
    }
}
