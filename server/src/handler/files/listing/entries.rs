//! What is in a folder, as far as it would be served.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat},
    io::Errno,
};

use super::{super::kept::is_within, By, Order, Place};
use crate::stream::beneath;

/// Entries of a page; more help nobody.
pub const ENTRIES_MAX: usize = 10_000;

/// Names that are read, also those that are not shown.
const NAMES_MAX: usize = 100_000;

/// Something in a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, any bytes but a slash and NUL.
    pub name: Vec<u8>,
    /// A folder or a file.
    pub is_folder: bool,
    /// Bytes of a file.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: i64,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub struct Folder {
    /// As the file system has them, or sorted.
    pub entries: Vec<Entry>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// Reads what would be served: regular files and folders, links to them that stay below the root; nothing hidden.
pub fn read(place: &Place) -> Result<Folder, Errno> {
    let reading = Reading::open(place)?;
    let mut folder = Folder::default();
    for (count, found) in Dir::read_from(&reading.folder)?.enumerate() {
        let found = found?;
        let name = found.file_name().to_bytes();
        if folder.entries.len() == ENTRIES_MAX || count == NAMES_MAX {
            folder.is_cut = true;
            break;
        }
        let is_dotfile = name.starts_with(b".");
        if name == b"." || name == b".." || (is_dotfile && !place.files.dotfiles) {
            continue;
        }
        folder.entries.extend(reading.entry(name, found.file_type()));
    }
    Ok(folder)
}

struct Reading<'a> {
    place: &'a Place,
    root: OwnedFd,
    folder: OwnedFd,
    /// Where the folder is by its name, and really.
    places: Vec<PathBuf>,
}

impl<'a> Reading<'a> {
    fn open(place: &'a Place) -> Result<Self, Errno> {
        let root = openat(CWD, &place.files.root, beneath::FOLDER, Mode::empty())?;
        let path = if place.folder.is_empty() { &b"."[..] } else { &place.folder };
        let flags = beneath::READ | OFlags::DIRECTORY;
        let folder = beneath::open_in(rustix::fd::AsFd::as_fd(&root), &place.files.root, path, flags)?;
        let named = place.files.root.join(OsStr::from_bytes(&place.folder));
        let places = beneath::place(&folder).into_iter().chain([named]).collect();
        Ok(Self { place, root, folder, places })
    }

    /// None for what would not be served.
    fn entry(&self, name: &[u8], kind: FileType) -> Option<Entry> {
        let hidden = &self.place.files.hidden;
        if self.places.iter().any(|folder| hidden.contains(&folder.join(OsStr::from_bytes(name)))) {
            return None;
        }
        let stat = match kind {
            FileType::RegularFile | FileType::Directory | FileType::Unknown => {
                statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?
            }
            FileType::Symlink => self.target(name)?,
            _ => return None,
        };
        let stat = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => self.target(name)?,
            _ => stat,
        };
        let is_folder = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => true,
            FileType::RegularFile => false,
            _ => return None,
        };
        Some(Entry { name: name.to_vec(), is_folder, size: stat.st_size.unsigned_abs(), modified: stat.st_mtime })
    }

    /// Where a link leads, unless that is outside, nowhere or hidden.
    fn target(&self, name: &[u8]) -> Option<Stat> {
        let path = [&self.place.folder, name].concat();
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fd::AsFd::as_fd(&self.root);
        let opened = beneath::open_in(root, &self.place.files.root, &path, flags).ok()?;
        let is_hidden = beneath::place(&opened).is_some_and(|place| is_within(&self.place.files.hidden, &place));
        fstat(&opened).ok().filter(|_| !is_hidden)
    }
}

impl Folder {
    /// Folders first; equal sizes and times by name.
    pub fn sort(&mut self, order: Order) {
        self.entries.sort_by_cached_key(|entry| (entry.name.to_ascii_lowercase(), entry.name.clone()));
        let turn = |ordering: std::cmp::Ordering| if order.descending { ordering.reverse() } else { ordering };
        match order.by {
            By::Name if order.descending => self.entries.reverse(),
            By::Name => {}
            By::Size => self.entries.sort_by(|a, b| turn(a.size.cmp(&b.size))),
            By::Time => self.entries.sort_by(|a, b| turn(a.modified.cmp(&b.modified))),
        }
        self.entries.sort_by_key(|entry| !entry.is_folder);
    }
}
