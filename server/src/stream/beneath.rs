//! Opens what a path below a root names, and nothing outside of it, whatever links and renames there are.
//!
//! **Invariant:** every file is opened relative to the root's descriptor by a call that can't leave it; no check of a
//! name is ever trusted by a later open of the name.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::OsStr,
    fs,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat, statat},
    io::Errno,
};

use crate::observe::now_seconds;

/// Roots that a worker keeps open; a busy site needs one.
const ROOTS_MAX: usize = 64;

/// Symbolic links on one path, as the kernel has it.
const LINKS_MAX: usize = 40;

/// Attempts while somebody renames folders on the path.
const ATTEMPTS: usize = 16;

/// For reading; without waiting for the other end of a FIFO and without becoming a terminal's process.
pub const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Only to see that it is a folder.
pub const FOLDER: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

thread_local! {
    static ROOTS: RefCell<Roots> = RefCell::default();
}

/// The worker's open roots. A root is looked up again every second, so that a folder that took its place is seen.
#[derive(Default)]
struct Roots(HashMap<Box<[u8]>, Root, foldhash::fast::RandomState>);

struct Root {
    folder: OwnedFd,
    opened: i64,
}

/// Opens `path`, relative and without `..`, below `root`. A path that leaves it is `XDEV`.
pub fn open(root: &Path, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    ROOTS.with_borrow_mut(|roots| open_in(roots.get(root, now_seconds())?, root, path, flags))
}

/// The same with the root's own descriptor, for a thread that keeps no roots.
pub fn open_in(folder: BorrowedFd<'_>, root: &Path, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = Path::new(OsStr::from_bytes(path));
    match open_below(folder, path, flags, Links::Followed) {
        // The kernel takes every absolute link for a way out, also one that leads back in.
        Err(Errno::XDEV) => {
            let inside = resolved(root, path).ok_or(Errno::XDEV)?;
            open_below(folder, &inside, flags, Links::Refused)
        }
        opened => opened,
    }
}

/// What `path` names, wherever its links lead: only good for finding that it is a file that was opened before.
pub fn stat(root: &Path, path: &[u8]) -> Result<Stat, Errno> {
    ROOTS.with_borrow_mut(|roots| statat(roots.get(root, now_seconds())?, path, AtFlags::empty()))
}

/// Where an open file really is; None without a `/proc`.
pub fn place(file: impl AsFd) -> Option<PathBuf> {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let place = readlinkat(CWD, link, Vec::new()).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(place.as_bytes())))
}

/// What is done about symbolic links on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
}

impl Roots {
    fn get(&mut self, root: &Path, now: i64) -> Result<BorrowedFd<'_>, Errno> {
        let key = root.as_os_str().as_bytes();
        let fresh = self.0.get(key).is_some_and(|root| root.opened == now);
        if !fresh {
            self.0.remove(key);
            let folder = openat(CWD, root, FOLDER, Mode::empty())?;
            if self.0.len() >= ROOTS_MAX {
                self.0.retain(|_, root| root.opened == now);
            }
            if self.0.len() >= ROOTS_MAX {
                self.0.clear();
            }
            self.0.insert(key.into(), Root { folder, opened: now });
        }
        self.0.get(key).map(|root| root.folder.as_fd()).ok_or(Errno::NOENT)
    }
}

fn open_below(root: BorrowedFd<'_>, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    if kernel_resolves() { resolve(root, path, flags, links) } else { walk(root, path, flags, links) }
}

/// Whether there is openat2 (Linux 5.6); some sandboxes forbid it with `PERM`.
fn kernel_resolves() -> bool {
    static KERNEL: OnceLock<bool> = OnceLock::new();
    *KERNEL.get_or_init(|| {
        let tried = openat2(CWD, ".", FOLDER, Mode::empty(), ResolveFlags::BENEATH);
        !matches!(tried, Err(Errno::NOSYS | Errno::PERM))
    })
}

fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refused {
        how |= ResolveFlags::NO_SYMLINKS;
    }
    for _ in 0..ATTEMPTS {
        match openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

/// The same without the kernel's help: one component after the other, each opened without following it.
fn walk(root: BorrowedFd<'_>, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut left = Vec::new();
    push_names(&mut left, path.as_os_str().as_bytes());
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut followed = 0;
    while let Some(name) = left.pop() {
        match &name[..] {
            b"" | b"." => continue,
            b".." => {
                folders.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            _ => {}
        }
        let folder = folders.last().map_or(root, AsFd::as_fd);
        let here = openat(folder, &name[..], OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&here)?.st_mode) {
            FileType::Directory => folders.push(here),
            FileType::Symlink => {
                followed += 1;
                if followed > LINKS_MAX || links == Links::Refused {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(&here, "", Vec::new())?;
                if target.as_bytes().first() == Some(&b'/') {
                    return Err(Errno::XDEV);
                }
                push_names(&mut left, target.as_bytes());
            }
            _ if !left.is_empty() => return Err(Errno::NOTDIR),
            _ => return openat(folder, &name[..], flags | OFlags::NOFOLLOW, Mode::empty()),
        }
    }
    openat(folders.last().map_or(root, AsFd::as_fd), ".", flags, Mode::empty())
}

fn push_names(left: &mut Vec<Box<[u8]>>, path: &[u8]) {
    left.extend(path.split(|&byte| byte == b'/').rev().map(Box::from));
}

/// Where the path leads below the root once all links are followed; None: outside, or nowhere.
fn resolved(root: &Path, path: &Path) -> Option<PathBuf> {
    let root = fs::canonicalize(root).ok()?;
    let target = fs::canonicalize(root.join(path)).ok()?;
    target.strip_prefix(&root).ok().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::unix::fs::symlink};

    use super::*;

    /// A root with links of all kinds, beside a secret.
    fn tree() -> tempfile::TempDir {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        symlink("a/b", root.join("in")).unwrap();
        symlink("../../a/b/file", root.join("a/b/up")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("above")).unwrap();
        symlink(outer.path().join("secret"), root.join("absolute-out")).unwrap();
        symlink(root.join("a/b/file"), root.join("absolute-in")).unwrap();
        symlink("/proc/self/cwd", root.join("magic")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        outer
    }

    type Way = fn(BorrowedFd<'_>, &Path, OFlags, Links) -> Result<OwnedFd, Errno>;

    fn read(opened: Result<OwnedFd, Errno>) -> Result<String, Errno> {
        let mut text = String::new();
        File::from(opened?).read_to_string(&mut text).map_err(|e| Errno::from_io_error(&e).unwrap())?;
        Ok(text)
    }

    #[test]
    fn both_ways_to_resolve_a_path_agree() {
        let outer = tree();
        let root = File::open(outer.path().join("root")).unwrap();
        let ways: [Way; 2] = [resolve, walk];
        for way in ways {
            let read = |path: &str| read(way(root.as_fd(), Path::new(path), READ, Links::Followed));
            for inside in ["a/b/file", "in/file", "in/up", "a/b/up"] {
                assert_eq!(read(inside), Ok("inside".into()), "{inside}");
            }
            for outside in ["out", "above/secret", "absolute-out", "absolute-in", "magic/Cargo.toml", "../secret"] {
                assert_eq!(read(outside), Err(Errno::XDEV), "{outside}");
            }
            assert_eq!(read("loop"), Err(Errno::LOOP));
            assert_eq!(read("a/none"), Err(Errno::NOENT));
            assert_eq!(read("a/b/file/more"), Err(Errno::NOTDIR));
            assert_eq!(read("a/b/file/"), Err(Errno::NOTDIR));
            assert_eq!(read("a/b"), Err(Errno::ISDIR));
            assert!(way(root.as_fd(), Path::new("in"), FOLDER, Links::Followed).is_ok());
            assert!(way(root.as_fd(), Path::new("in/file"), READ, Links::Refused).is_err());
        }
    }

    #[test]
    fn an_absolute_link_that_leads_back_in_works() {
        let outer = tree();
        let root = outer.path().join("root");
        assert_eq!(read(open(&root, b"absolute-in", READ)), Ok("inside".into()));
        assert_eq!(read(open(&root, b"absolute-out", READ)), Err(Errno::XDEV));
    }

    #[test]
    fn a_root_that_was_replaced_is_seen_with_the_next_second() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("current");
        for release in ["1", "2"] {
            fs::create_dir(outer.path().join(release)).unwrap();
            fs::write(outer.path().join(release).join("version"), release).unwrap();
        }
        symlink("1", &root).unwrap();
        let mut roots = Roots::default();
        let mut version = |now| {
            let folder = roots.get(&root, now).unwrap();
            read(openat(folder, "version", READ, Mode::empty())).unwrap()
        };
        assert_eq!(version(1), "1");
        fs::remove_file(&root).unwrap();
        symlink("2", &root).unwrap();
        assert_eq!(version(1), "1");
        assert_eq!(version(2), "2");
    }

    #[test]
    fn open_roots_are_bounded() {
        let outer = tempfile::tempdir().unwrap();
        let mut roots = Roots::default();
        for n in 0..200 {
            let root = outer.path().join(n.to_string());
            fs::create_dir(&root).unwrap();
            roots.get(&root, 1).unwrap();
            assert!(roots.0.len() <= ROOTS_MAX);
        }
        assert_eq!(roots.get(&outer.path().join("none"), 1).err(), Some(Errno::NOENT));
    }
}
