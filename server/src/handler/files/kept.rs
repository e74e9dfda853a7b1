//! Small files that were asked for last, kept open: finding by one stat that the path still names the same file costs
//! less than to open, stat and close it again.
//!
//! **Invariant:** a kept file is used only if the path names the same inode in the same state; what is read is read now.

use std::{cell::RefCell, fs::File, hash::BuildHasher, path::Path, rc::Rc};

use foldhash::fast::FixedState;
use rustix::{
    fs::{FileType, Stat, fstat},
    io::Errno,
};

use super::beneath;

/// Files that a worker keeps open. One that was deleted keeps its disk space until another takes its place, so they
/// are few and small: 32 MiB a worker at most.
const KEPT: usize = 32;
const SIZE_MAX: i64 = 1 << 20;

thread_local! {
    static FILES: RefCell<[Option<Kept>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
}

struct Kept {
    root: Box<Path>,
    below: Box<str>,
    file: Rc<File>,
    stat: Stat,
}

/// Opens `below` for reading, beneath `root`, or finds it open.
pub fn open(root: &Path, below: &str) -> Result<(Rc<File>, Stat), Errno> {
    FILES.with_borrow_mut(|files| {
        let place = &mut files[place_of(below)];
        if let Some(kept) = place.as_ref().filter(|kept| *kept.below == *below && *kept.root == *root)
            && beneath::stat(root, below).is_ok_and(|now| is_same(&kept.stat, &now))
        {
            return Ok((Rc::clone(&kept.file), kept.stat));
        }
        *place = None;
        let file = beneath::open(root, below, beneath::READ)?;
        let stat = fstat(&file)?;
        let file = Rc::new(File::from(file));
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size <= SIZE_MAX {
            *place = Some(Kept { root: root.into(), below: below.into(), file: Rc::clone(&file), stat });
        }
        Ok((file, stat))
    })
}

fn place_of(below: &str) -> usize {
    // What is asked for only decides which file another one replaces, so a fixed hash gives nobody anything.
    FixedState::default().hash_one(below) as usize % KEPT
}

/// The change time covers contents, permissions and links.
fn is_same(known: &Stat, now: &Stat) -> bool {
    let state = |stat: &Stat| {
        (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
    };
    state(known) == state(now)
}
