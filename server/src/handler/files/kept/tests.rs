//! Stories of files that are kept open.

use std::{fs, thread};

use super::*;

fn folder(files: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..files {
        fs::write(folder.path().join(n.to_string()), n.to_string()).unwrap();
    }
    folder
}

fn get(folder: &tempfile::TempDir, name: &str) -> Result<Rc<Kept>, Errno> {
    open(folder.path(), name.as_bytes(), &Arc::default())
}

fn kept() -> usize {
    FILES.with_borrow(Cache::len)
}

/// Files below the folder that this process has open.
fn open_below(folder: &tempfile::TempDir) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.filter(|place| place.starts_with(folder.path()) && place != folder.path()).count()
}

#[test]
fn no_more_descriptors_are_kept_than_the_bound_says() {
    let folder = folder(2 * KEPT_MAX);
    for n in 0..2 * KEPT_MAX {
        get(&folder, &n.to_string()).unwrap();
        assert!(kept() <= KEPT_MAX);
    }
    assert!(kept() > KEPT_MAX / 2, "{} are kept", kept());
    assert_eq!(open_below(&folder), kept());
}

#[test]
fn what_is_asked_for_often_outlives_what_is_asked_for_once() {
    let folder = folder(2 * KEPT_MAX);
    let hidden = Arc::default();
    let popular = || open(folder.path(), b"0", &hidden).unwrap();
    let first = popular();
    for n in 1..2 * KEPT_MAX {
        open(folder.path(), n.to_string().as_bytes(), &hidden).unwrap();
        assert!(Rc::ptr_eq(&first, &popular()), "after {n} others");
    }
}

#[test]
fn a_process_that_may_open_little_keeps_little() {
    assert_eq!(share(None, 64), KEPT_MAX);
    assert_eq!(share(Some(1 << 20), 4), KEPT_MAX);
    assert_eq!(share(Some(1024), 4), 32);
    assert_eq!(share(Some(16), 64), 1);
}

#[test]
fn what_is_not_there_and_what_is_no_file_is_not_kept() {
    let folder = folder(1);
    for name in ["none", "also/none", "."] {
        let _ = get(&folder, name);
    }
    assert_eq!(kept(), 0);
}

#[test]
fn deleted_and_idle_files_are_closed() {
    let folder = folder(3);
    for name in ["0", "1", "2"] {
        get(&folder, name).unwrap();
    }
    fs::remove_file(folder.path().join("0")).unwrap();
    let now = now_seconds();
    sweep(now);
    assert_eq!((kept(), open_below(&folder)), (2, 2), "the deleted one is gone");
    let hidden = Arc::default();
    open(folder.path(), b"2", &hidden).unwrap();
    open(folder.path(), b"2", &hidden).unwrap().used.set(now + 30);
    sweep(now + IDLE);
    assert_eq!(kept(), 1, "the idle one is gone");
    sweep(now + 30 + IDLE);
    assert_eq!((kept(), open_below(&folder)), (0, 0));
}

#[test]
fn contents_stay_in_memory_only_when_the_file_was_left_alone() {
    let folder = folder(1);
    let hidden = Arc::default();
    let open = || open(folder.path(), b"0", &hidden).unwrap();
    assert!(open().contents().is_none() && open().contents().is_none(), "it has just been written");
    let mut settled = Kept { stat: open().stat, ..open_now(folder.path(), b"0", &hidden).unwrap() };
    settled.stat.st_ctime -= SETTLED + 1;
    assert!(settled.contents().is_none(), "it was asked for once");
    settled.used.set(1);
    assert_eq!(&settled.contents().unwrap()[..], b"0");
    assert!(matches!(settled.body(0, 1), Body::Full(bytes) if &bytes[..] == b"0"));
}

#[test]
fn a_large_file_is_kept_open_but_not_in_memory() {
    let folder = folder(0);
    fs::write(folder.path().join("large"), vec![0; CONTENTS_MAX as usize + 1]).unwrap();
    let hidden = Arc::default();
    let mut large = open_now(folder.path(), b"large", &hidden).unwrap();
    large.stat.st_ctime -= SETTLED + 1;
    large.used.set(1);
    assert!(large.contents().is_none());
}

#[test]
fn another_config_asks_anew_what_is_hidden() {
    let folder = folder(1);
    let (open_to_all, hides) = (Arc::default(), Arc::new(Hidden::from([folder.path().join("0")])));
    assert!(open(folder.path(), b"0", &open_to_all).is_ok());
    assert_eq!(open(folder.path(), b"0", &hides).err(), Some(Errno::NOENT));
    assert!(open(folder.path(), b"0", &open_to_all).is_ok());
}

#[test]
fn the_hidden_file_is_found_behind_another_spelling_of_the_folder() {
    let folder = folder(1);
    std::os::unix::fs::symlink(".", folder.path().join("again")).unwrap();
    let hides = Arc::new(Hidden::from([folder.path().canonicalize().unwrap().join("0")]));
    for (root, below) in [("", "0"), ("again", "0"), ("", "again/0"), ("again/again", "again/0")] {
        let opened = open(&folder.path().join(root), below.as_bytes(), &hides);
        assert_eq!(opened.err(), Some(Errno::NOENT), "{root} {below}");
    }
}

#[test]
fn another_name_of_a_hidden_file_is_hidden() {
    let folder = folder(2);
    fs::hard_link(folder.path().join("0"), folder.path().join("copy")).unwrap();
    fs::hard_link(folder.path().join("1"), folder.path().join("other")).unwrap();
    let hides = Arc::new(Hidden::from([folder.path().join("0")]));
    assert_eq!(open(folder.path(), b"copy", &hides).err(), Some(Errno::NOENT));
    assert!(open(folder.path(), b"other", &hides).is_ok());
}

#[test]
fn a_worker_that_ends_while_files_are_open_closes_them() {
    let folder = folder(1);
    thread::scope(|scope| scope.spawn(|| get(&folder, "0").map(|_| ()).unwrap()).join().unwrap());
    assert_eq!(open_below(&folder), 0);
}
