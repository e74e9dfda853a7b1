//! Files that were asked for last, kept open: finding by one stat that the path still names the same file costs less
//! than to open, stat and close it again. Small ones are kept in memory, too.
//!
//! **Invariant:** a kept file is used only if the path names the same inode in the same state as when it was opened.
//! **Invariant:** what was read stays only if the file had been left alone for a while before: a clock that is too
//! coarse to tell two changes apart can't hide the second one.

use std::{
    cell::{Cell, OnceCell, RefCell},
    fs::File,
    hash::{Hash, Hasher},
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use quick_cache::{Equivalent, UnitWeighter, unsync::Cache};
use rsp_core::config::Hidden;
use rustix::{
    fs::{FileType, Stat, fstat},
    io::Errno,
    process::{Resource, getrlimit},
};

use super::{conditions::Validators, variants::Seen};
use crate::{
    message::{Body, FileBody},
    observe::now_seconds,
    stream::beneath,
};

/// Descriptors that a worker keeps: the files of a busy site, and with the contents below 8 MiB of memory.
const KEPT_MAX: usize = 512;

/// All workers together keep no more than this share of what the process may open; clients and upstreams need the rest.
const SHARE: u64 = 8;

/// Bytes of a file that are kept in memory; a larger one gains nothing that matters.
const CONTENTS_MAX: i64 = 16 << 10;

/// Seconds that a file must have been left alone for its contents to be kept; file systems count in two at worst.
const SETTLED: i64 = 3;

/// Seconds without a request after which a file is closed.
const IDLE: i64 = 60;

/// Between two looks for files that are idle or deleted: a deleted one keeps its disk space until it is closed.
const SWEEP: Duration = Duration::from_secs(10);

thread_local! {
    static FILES: RefCell<Cache<Key, Rc<Kept>, UnitWeighter, State>> = RefCell::new(new_cache(capacity()));
}

type State = foldhash::fast::RandomState;

/// An open file, or whatever else its path named.
pub struct Kept {
    file: Rc<File>,
    stat: Stat,
    kind: FileType,
    validators: Validators,
    /// Under these it was allowed to be served; another config may hide it.
    hidden: Arc<Hidden>,
    contents: OnceCell<Bytes>,
    used: Cell<i64>,
    /// Which variants there were.
    pub variants: Cell<Seen>,
}

struct Key {
    root: Box<Path>,
    below: Box<[u8]>,
}

struct Wanted<'a> {
    root: &'a Path,
    below: &'a [u8],
}

impl Kept {
    /// What it is.
    pub fn kind(&self) -> FileType {
        self.kind
    }

    /// As it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.stat.st_size.unsigned_abs()
    }

    /// What identifies its state.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// The open file.
    pub fn file(&self) -> Rc<File> {
        Rc::clone(&self.file)
    }

    /// A range of it, at least one byte.
    pub fn body(&self, offset: u64, length: u64) -> Body {
        match self.contents() {
            Some(all) => Body::Full(all.slice(offset as usize..(offset + length) as usize)),
            None => Body::File(Box::new(FileBody::new(self.file(), offset, length))),
        }
    }

    /// All of it, if it is small, was asked for before and is not being changed.
    fn contents(&self) -> Option<&Bytes> {
        if let Some(known) = self.contents.get() {
            return Some(known);
        }
        let now = now_seconds();
        let settled = self.stat.st_ctime.saturating_add(SETTLED) < now;
        if self.used.get() == 0 || !settled || !(1..=CONTENTS_MAX).contains(&self.stat.st_size) {
            return None;
        }
        let mut all = vec![0; self.stat.st_size as usize];
        self.file.read_exact_at(&mut all, 0).ok()?;
        Some(self.contents.get_or_init(|| all.into()))
    }
}

/// Opens `below` for reading, beneath `root`, or finds it open. What is hidden is `NOENT`.
pub fn open(root: &Path, below: &[u8], hidden: &Arc<Hidden>) -> Result<Rc<Kept>, Errno> {
    FILES.with_borrow_mut(|files| {
        let wanted = Wanted { root, below };
        if let Some(kept) = files.get(&wanted) {
            if Arc::ptr_eq(&kept.hidden, hidden)
                && beneath::stat(root, below).is_ok_and(|now| is_same(&kept.stat, &now))
            {
                kept.used.set(now_seconds());
                return Ok(Rc::clone(kept));
            }
            files.remove(&wanted);
        }
        let opened = match open_now(root, below, hidden) {
            // What is kept is the first to go where descriptors run out.
            Err(Errno::MFILE | Errno::NFILE) => {
                files.clear();
                open_now(root, below, hidden)
            }
            opened => opened,
        };
        let kept = Rc::new(opened?);
        if kept.kind == FileType::RegularFile {
            files.insert(Key { root: root.into(), below: below.into() }, Rc::clone(&kept));
        }
        Ok(kept)
    })
}

/// Closes what nobody asks for any more and what was deleted.
pub async fn sweep_for_ever() {
    loop {
        tokio::time::sleep(SWEEP).await;
        sweep(now_seconds());
    }
}

fn sweep(now: i64) {
    FILES.with_borrow_mut(|files| {
        files.retain(|_, kept| {
            let is_linked = || fstat(&kept.file).is_ok_and(|stat| stat.st_nlink > 0);
            let used = kept.used.get();
            // One that was only asked for once has no time yet.
            kept.used.set(if used == 0 { now } else { used });
            kept.used.get().saturating_add(IDLE) > now && is_linked()
        });
    });
}

fn open_now(root: &Path, below: &[u8], hidden: &Arc<Hidden>) -> Result<Kept, Errno> {
    let file = beneath::open(root, below, beneath::READ)?;
    let stat = fstat(&file)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let is_file = kind == FileType::RegularFile;
    if is_hidden(hidden, root, below, &file) || (is_file && is_hidden_elsewhere(hidden, &stat)) {
        return Err(Errno::NOENT);
    }
    Ok(Kept {
        file: Rc::new(File::from(file)),
        validators: Validators::of(&stat),
        stat,
        kind,
        hidden: Arc::clone(hidden),
        contents: OnceCell::new(),
        used: Cell::new(0),
        variants: Cell::default(),
    })
}

/// By its name, and by where it really is: a link or another spelling of a folder hides nothing.
pub fn is_hidden(hidden: &Hidden, root: &Path, below: &[u8], file: &rustix::fd::OwnedFd) -> bool {
    let named = || root.join(std::ffi::OsStr::from_bytes(below));
    !hidden.is_empty()
        && (is_within(hidden, &named()) || beneath::place(file).is_some_and(|place| is_within(hidden, &place)))
}

/// A folder hides what is in it.
pub fn is_within(hidden: &Hidden, path: &Path) -> bool {
    path.ancestors().any(|above| hidden.contains(above))
}

/// By another name of the same file: few files have more than one.
fn is_hidden_elsewhere(hidden: &Hidden, file: &Stat) -> bool {
    let is_it = |known: Stat| (known.st_dev, known.st_ino) == (file.st_dev, file.st_ino);
    file.st_nlink > 1 && hidden.iter().any(|path| rustix::fs::stat(path).is_ok_and(is_it))
}

/// The change time covers contents, permissions and links.
fn is_same(known: &Stat, now: &Stat) -> bool {
    let state = |stat: &Stat| {
        (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
    };
    state(known) == state(now)
}

fn capacity() -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    share(getrlimit(Resource::Nofile).current, threads)
}

fn share(descriptors: Option<u64>, threads: u64) -> usize {
    let share = descriptors.map_or(KEPT_MAX as u64, |most| most / SHARE / threads.max(1));
    share.clamp(1, KEPT_MAX as u64) as usize
}

fn new_cache(capacity: usize) -> Cache<Key, Rc<Kept>, UnitWeighter, State> {
    Cache::with(capacity, capacity as u64, UnitWeighter, State::default(), Default::default())
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Wanted { root: &self.root, below: &self.below }.hash(state);
    }
}

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.below);
        state.write(self.root.as_os_str().as_bytes());
    }
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.below == *key.below && self.root.as_os_str() == key.root.as_os_str()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.below == other.below && self.root.as_os_str() == other.root.as_os_str()
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests;
