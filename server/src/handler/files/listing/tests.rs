//! Stories of lists of folders.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    time::{Duration, UNIX_EPOCH},
};

use super::*;
use crate::handler::files::{Served, run, tests::spec};

struct Site {
    outer: tempfile::TempDir,
    files: Files,
}

impl Site {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("public");
        fs::create_dir_all(root.join("docs/deep")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        let files = Files { prefix: "/static/".into(), listing: true, ..spec(root) };
        Self { outer, files }
    }

    fn write(&self, name: impl AsRef<OsStr>, size: usize, second: u64) {
        let path = self.files.root.join("docs").join(name.as_ref());
        fs::write(&path, vec![b'x'; size]).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(second);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn ask(&self, request: &Request) -> Result<Response, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        match run(&Arc::new(self.files.clone()), request)? {
            Served::Listing(listing) => runtime.block_on(listing),
            Served::Now(response) => Ok(response),
        }
    }

    fn page(&self, target: &'static str) -> String {
        text(self.ask(&Request::example(Method::GET, target)).unwrap())
    }

    /// The names in the JSON list.
    fn names(&self, target: &'static str) -> Vec<String> {
        let request = Request::example(Method::GET, target).with(header::ACCEPT, "application/json");
        let list: serde_json::Value = serde_json::from_str(&text(self.ask(&request).unwrap())).unwrap();
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn text(mut response: Response) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    String::from_utf8(runtime.block_on(response.body.gather(PAGE_MAX * 2)).unwrap().to_vec()).unwrap()
}

#[test]
fn a_folder_is_a_page_with_links_sizes_and_times() {
    let site = Site::new();
    site.write("notes.txt", 1_300_000, 1_700_000_000);
    let response = site.ask(&Request::example(Method::GET, "/static/docs/")).unwrap();
    let fields = [header::CONTENT_TYPE, header::VARY, header::X_CONTENT_TYPE_OPTIONS, header::CONTENT_SECURITY_POLICY];
    let fields = fields.map(|name| response.headers[name].to_str().unwrap().to_owned());
    assert_eq!(fields, ["text/html; charset=utf-8", "accept", "nosniff", page::POLICY]);
    let page = text(response);
    for part in [
        "<title>/static/docs/</title>",
        "<h1><a href=\"../\">/static/</a><span>docs/</span></h1>",
        "<a href=\"../\">..</a>",
        "<a href=\"./deep/\">deep/</a>",
        "<a href=\"./notes.txt\">notes.txt</a></td><td title=\"1,300,000 bytes\">1.2 MiB</td>",
        "<time datetime=\"2023-11-14T22:13:20Z\">2023-11-14 22:13</time>",
        "1 folder, 1 file. <span>Times are UTC.</span>",
        "aria-sort=\"ascending\"><a href=\"?sort=name&amp;order=desc\">Name ↑</a>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let top = site.page("/static/");
    assert!(top.contains("<h1><span>/static/</span></h1>") && !top.contains(">..<"), "{top}");
    assert!(site.page("/static/docs/deep/").contains("This folder is empty."));
    let deep = site.page("/static/docs/deep/");
    let crumbs = "<a href=\"../../\">/static/</a><a href=\"../\">docs/</a><span>deep/</span>";
    assert!(deep.contains(crumbs), "{deep}");
}

#[test]
fn entries_are_sorted_as_asked_with_folders_first() {
    let site = Site::new();
    for (name, size, second) in [("b", 1, 300), ("A", 20, 100), ("c", 300, 200)] {
        site.write(name, size, second);
    }
    for (target, wanted) in [
        ("/static/docs/", ["deep", "A", "b", "c"]),
        ("/static/docs/?sort=name&order=desc", ["deep", "c", "b", "A"]),
        ("/static/docs/?sort=size", ["deep", "b", "A", "c"]),
        ("/static/docs/?order=desc&sort=size", ["deep", "c", "A", "b"]),
        ("/static/docs/?sort=time&order=asc", ["deep", "A", "c", "b"]),
        ("/static/docs/?sort=time&order=desc", ["deep", "b", "c", "A"]),
        ("/static/docs/?sort=colour&order=&x=y", ["deep", "A", "b", "c"]),
    ] {
        assert_eq!(site.names(target), wanted, "{target}");
    }
    let page = site.page("/static/docs/?sort=size&order=desc");
    assert!(page.contains("<a href=\"./deep/?sort=size&amp;order=desc\">"), "the order is kept on the way down");
    assert!(page.contains("aria-sort=\"descending\"><a href=\"?sort=size&amp;order=asc\">Size ↓</a>"), "{page}");
}

#[test]
fn a_program_gets_json() {
    let site = Site::new();
    site.write("a.txt", 3, 1_700_000_000);
    let ask = |accept| site.ask(&Request::example(Method::GET, "/static/docs/").with(header::ACCEPT, accept)).unwrap();
    let json = ask("application/json");
    assert_eq!(
        (&json.headers[header::CONTENT_TYPE], &json.headers[header::VARY]),
        (&"application/json".parse().unwrap(), &"accept".parse().unwrap())
    );
    let list: serde_json::Value = serde_json::from_str(&text(json)).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["type"]), (&"deep".into(), &"folder".into()));
    let wanted = serde_json::json!({"name": "a.txt", "type": "file", "size": 3, "modified": "2023-11-14T22:13:20Z"});
    assert_eq!(list[1], wanted);
    for page in ["*/*", "text/html,application/json;q=0.9", "application/json;q=0", "text/html, application/json"] {
        assert_eq!(ask(page).headers[header::CONTENT_TYPE], "text/html; charset=utf-8", "{page}");
    }
    assert_eq!(
        text(
            site.ask(&Request::example(Method::GET, "/static/docs/deep/").with(header::ACCEPT, "application/json"))
                .unwrap()
        ),
        "[\n]\n"
    );
}

#[test]
fn odd_names_stay_names() {
    let site = Site::new();
    for name in
        [&b"<script>"[..], b"a#b", b"a?b", b"a%41", b"a\nb", b"\xff", b"javascript:alert(1)", b"\"onx='", b"a\\b"]
    {
        site.write(OsStr::from_bytes(name), 1, 1);
    }
    let page = site.page("/static/docs/");
    for link in [
        "href=\"./%3Cscript%3E\">&lt;script&gt;<",
        "href=\"./a%23b\">a#b<",
        "href=\"./a%3Fb\">a?b<",
        "href=\"./a%2541\">a%41<",
        "href=\"./a%0Ab\">a\u{240a}b<",
        "href=\"./%FF\">\u{fffd}<",
        "href=\"./javascript:alert(1)\">",
        "href=\"./%22onx=%27\">&quot;onx=&#39;<",
        "href=\"./a%5Cb\">a\\b<",
    ] {
        assert!(page.contains(link), "{link}\n{page}");
    }
    assert_eq!(page.matches("<script").count(), 0);
}

#[test]
fn what_is_not_served_is_not_listed() {
    let mut site = Site::new();
    let docs = site.files.root.join("docs");
    for name in ["shown", ".env", "site.lua"] {
        site.write(name, 1, 1);
    }
    let _socket = UnixListener::bind(docs.join("socket")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, docs.join("fifo"), fifo, 0o666.into(), 0).unwrap();
    symlink("shown", docs.join("link-inside")).unwrap();
    symlink("deep", docs.join("link-folder")).unwrap();
    symlink(docs.join("shown"), docs.join("link-absolute")).unwrap();
    symlink("nowhere", docs.join("link-broken")).unwrap();
    symlink("../../secret", docs.join("link-outside")).unwrap();
    symlink("../..", docs.join("link-up")).unwrap();
    symlink("site.lua", docs.join("link-hidden")).unwrap();
    symlink("loop", docs.join("loop")).unwrap();
    site.files.hidden = Arc::new([docs.canonicalize().unwrap().join("site.lua")].into());
    assert_eq!(site.names("/static/docs/"), ["deep", "link-folder", "link-absolute", "link-inside", "shown"]);
    site.files.dotfiles = true;
    assert!(site.names("/static/docs/").contains(&".env".to_owned()));
    let through = site.outer.path().join("through");
    symlink("public", &through).unwrap();
    site.files.root = through;
    assert!(!site.names("/static/docs/").contains(&"site.lua".to_owned()), "the root is a link");
}

#[test]
fn an_index_or_another_option_wins_over_the_list() {
    let mut site = Site::new();
    site.write("index.html", 3, 1);
    assert_eq!(site.page("/static/docs/"), "xxx");
    site.files.listing = false;
    let refused = site.ask(&Request::example(Method::GET, "/static/docs/deep/")).map(|_| ()).unwrap_err();
    assert_eq!(refused.kind, Kind::Forbidden);
    site.files.listing = true;
    let absent = site.ask(&Request::example(Method::GET, "/static/docs/none/")).map(|_| ()).unwrap_err();
    assert_eq!(absent.kind, Kind::NotFound);
}

#[test]
fn head_says_how_long_the_page_would_be() {
    let site = Site::new();
    let head = site.ask(&Request::example(Method::HEAD, "/static/docs/")).unwrap();
    assert!(matches!(head.body, Body::Empty));
    assert_eq!(head.stated_length, Some(site.page("/static/docs/").len() as u64));
}

#[test]
fn a_huge_folder_is_cut_and_says_so() {
    let site = Site::new();
    let huge = site.files.root.join("huge");
    fs::create_dir(&huge).unwrap();
    for n in 0..entries::ENTRIES_MAX + 5 {
        fs::File::create(huge.join(n.to_string())).unwrap();
    }
    let request = || Request::example(Method::GET, "/static/huge/");
    let response = site.ask(&request()).unwrap();
    assert_eq!(response.headers["x-listing"], "incomplete");
    assert!(text(response).contains("There is more here: only 10,000 entries are listed."));
    let json = site.ask(&request().with(header::ACCEPT, "application/json")).unwrap();
    assert_eq!(json.headers["x-listing"], "incomplete");
    assert_eq!(site.names("/static/huge/").len(), entries::ENTRIES_MAX);
}

#[test]
fn long_names_can_not_make_a_page_that_is_too_large() {
    let entry =
        |n: u32| Entry { name: format!("{n:05}{}", "&".repeat(250)).into(), is_folder: false, size: 1, modified: 1 };
    let folder = || Folder { entries: (0..10_000).map(entry).collect(), is_cut: false };
    let place = Place { files: Arc::new(Site::new().files), path: b"/static/".into(), folder: Vec::new() };
    let (page, is_cut) = page::render(&place, folder(), Order::default());
    assert!(is_cut && page.len() < PAGE_MAX + (16 << 10));
    assert!(String::from_utf8(page).unwrap().contains("There is more here"));
}

#[test]
fn pages_on_their_way_have_a_bound_and_give_their_share_back() {
    let site = Site::new();
    let before = PAGES.available_permits();
    let response = site.ask(&Request::example(Method::GET, "/static/docs/")).unwrap();
    assert!(PAGES.available_permits() < before);
    drop(response);
    assert_eq!(PAGES.available_permits(), before);
    let all = Arc::clone(&PAGES).try_acquire_many_owned(before as u32).unwrap();
    let refused = site.ask(&Request::example(Method::GET, "/static/docs/")).map(|_| ()).unwrap_err();
    assert_eq!(refused.kind, Kind::Full);
    drop(all);
}
