//! `--watch`: notices when a file of the config has changed, appeared or gone.
//!
//! The kernel only says that something happened in a folder; what counts is whether a file of the config is another
//! one than before. So a log in the same folder costs a look, and an editor may write, rename or link as it likes.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::mpsc;

/// The files must be left alone for so long, so that a half-written one is not read.
const QUIET: Duration = Duration::from_millis(200);

/// A file that never rests is read all the same after so many times [`QUIET`].
const ROUNDS_MAX: u32 = 10;

/// Links that lead to links; behind more of them nothing is watched.
const LINKS_MAX: u32 = 8;

/// Watches the files of a config.
pub struct Watch {
    watcher: RecommendedWatcher,
    /// One is enough: what happened is found by looking.
    events: mpsc::Receiver<()>,
    /// An event has been taken and not acted on yet.
    disturbed: bool,
    files: Vec<PathBuf>,
    patterns: Vec<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// What the running config was read from, or the one that was refused.
    seen: Stamps,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// Another one is another content: device, inode, size, modified and changed in nanoseconds.
type Stamp = (u64, u64, u64, i128, i128);

impl Watch {
    /// Begins with the config itself; call it before that is read.
    ///
    /// # Errors
    /// A sentence: the kernel has no watcher for us.
    pub fn new(config: &Path) -> Result<Self, String> {
        let (sender, events) = mpsc::channel(1);
        let told = move |event: notify::Result<Event>| match event {
            Ok(event) if !matters(event.kind) => {}
            event => {
                if let Err(e) = event {
                    tracing::warn!("watching the config: {e}");
                }
                // A full channel says the same already.
                let _ = sender.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(told).map_err(|e| format!("can't watch the config: {e}\n"))?;
        let mut watch = Self {
            watcher,
            events,
            disturbed: false,
            files: vec![config.to_owned()],
            patterns: Vec::new(),
            folders: BTreeSet::new(),
            seen: Stamps::new(),
        };
        watch.watch_folders();
        watch.seen = watch.stamps();
        Ok(watch)
    }

    /// Looks before the config is read again, so that only what changes from now on is another change.
    pub fn look(&mut self) {
        self.seen = self.stamps();
    }

    /// Goes on with the files of the config that was just read. One that was refused has told of `files` only, and
    /// what was watched before stays so.
    pub fn follow(&mut self, files: &[PathBuf], patterns: Option<&[PathBuf]>) {
        if let Some(patterns) = patterns {
            self.files.clear();
            self.patterns = patterns.to_vec();
        }
        self.files.extend_from_slice(files);
        self.files.sort();
        self.files.dedup();
        self.watch_folders();
        // What changed while it was read is a change still: older stamps stay.
        let mut now = self.stamps();
        for (path, stamp) in &mut now {
            if let Some(before) = self.seen.get(path) {
                *stamp = *before;
            }
        }
        self.seen = now;
    }

    /// Waits for a change that lasts; for ever without a watch. Dropped in between, it loses nothing.
    pub async fn changed(current: &mut Option<Self>) {
        match current {
            Some(watch) => watch.next_change().await,
            None => pending().await,
        }
    }

    async fn next_change(&mut self) {
        loop {
            if !self.disturbed {
                if self.events.recv().await.is_none() {
                    return pending().await;
                }
                self.disturbed = true;
            }
            let mut found = self.stamps();
            for _ in 0..ROUNDS_MAX {
                tokio::time::sleep(QUIET).await;
                let now = self.stamps();
                if now == found {
                    break;
                }
                found = now;
            }
            self.disturbed = false;
            if found != self.seen {
                self.seen = found;
                return;
            }
        }
    }

    /// Folders, not files: an editor that renames over a file takes the watch of the old one along.
    fn watch_folders(&mut self) {
        let mut wanted = BTreeSet::new();
        for file in &self.files {
            // Where a link stands, and where it leads.
            wanted.extend(
                [Some(file.clone()), file.canonicalize().ok()].into_iter().flatten().map(|file| folder_of(&file)),
            );
        }
        wanted.extend(self.patterns.iter().flat_map(|pattern| folders_of(pattern)));
        let named: Vec<_> = self.files.iter().cloned().chain(wanted.iter().cloned()).collect();
        named.iter().for_each(|path| where_links_stand(path, LINKS_MAX, &mut wanted));
        for gone in self.folders.difference(&wanted) {
            // A folder that is gone is not watched any more, which is as good.
            let _ = self.watcher.unwatch(gone);
        }
        for folder in &wanted {
            // Each time: a folder that was replaced is another one under the same name.
            if let Err(e) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!("can't watch {}: {e}; a change in it needs `rsp reload`", folder.display());
            }
        }
        self.folders = wanted;
    }

    fn stamps(&self) -> Stamps {
        let matched = self.patterns.iter().filter_map(|pattern| glob::glob(pattern.to_str()?).ok()).flatten().flatten();
        let all = self.files.iter().cloned().chain(matched).chain(self.folders.iter().flat_map(|one| scripts_in(one)));
        all.map(|path| (stamp(&path), path)).map(|(stamp, path)| (path, stamp)).collect()
    }
}

/// Whether something may have changed; we look at files ourselves.
fn matters(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = path.metadata().ok()?;
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let modified = nanoseconds(found.mtime(), found.mtime_nsec());
    let changed = nanoseconds(found.ctime(), found.ctime_nsec());
    Some((found.dev(), found.ino(), found.size(), modified, changed))
}

/// The nearest folder that is there: in it one sees the missing ones appear.
fn folder_of(file: &Path) -> PathBuf {
    let folders =
        file.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    folders.into_iter().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Adds the folders in which a link on the way to `path` may be turned.
fn where_links_stand(path: &Path, links_max: u32, folders: &mut BTreeSet<PathBuf>) {
    for part in path.ancestors() {
        let Ok(target) = part.read_link() else { continue };
        let folder = folder_of(part);
        folders.insert(folder.clone());
        if links_max > 0 {
            where_links_stand(&folder.join(target), links_max - 1, folders);
        }
    }
}

/// The folders where a new match may appear: of the pattern's fixed beginning, and of every folder that matches now.
fn folders_of(pattern: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for part in pattern.ancestors().skip(1) {
        let Some(text) = part.to_str() else { continue };
        match is_pattern(text) {
            true => folders.extend(glob::glob(text).into_iter().flatten().flatten().filter(|path| path.is_dir())),
            false => {
                folders.push(folder_of(&part.join("*")));
                break;
            }
        }
    }
    folders
}

fn is_pattern(text: &str) -> bool {
    // What a folder is called does not make it a pattern: that is escaped, as `[*]`.
    text.contains(['*', '?', '['])
}

/// What a config may be about to name: a file that it asked for in vain is not among those it has read.
fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "lua" || ending == "luau")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_watched_from_its_fixed_beginning_on() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir_all(path("sites/a")).unwrap();
        assert_eq!(folders_of(&path("sites/*.lua")), [path("sites")]);
        assert_eq!(folders_of(&path("sites/*/x.lua")), [path("sites/a"), path("sites")]);
        assert_eq!(folders_of(&path("later/*.lua")), [root.path()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_while_the_config_was_read_is_not_lost() {
        let root = tempfile::tempdir().unwrap();
        let config = root.path().join("site.lua");
        std::fs::write(&config, "one").unwrap();
        let mut watch = Some(Watch::new(&config).unwrap());
        std::fs::write(&config, "another").unwrap();
        watch.as_mut().unwrap().follow(std::slice::from_ref(&config), Some(&[]));
        // Dropped after it took the event.
        let _ = tokio::time::timeout(QUIET / 2, Watch::changed(&mut watch)).await;
        tokio::time::timeout(Duration::from_secs(3600), Watch::changed(&mut watch)).await.unwrap();
        assert!(tokio::time::timeout(QUIET * 4, Watch::changed(&mut watch)).await.is_err(), "said once");
    }
}
