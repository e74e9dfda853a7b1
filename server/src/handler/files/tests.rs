//! Stories of serving a folder.

mod options;
mod representations;

use std::{
    collections::HashMap, fs, fs::File, future::poll_fn, os::unix::fs::PermissionsExt, os::unix::fs::symlink,
    os::unix::net::UnixListener,
};

use proptest::prelude::*;

use rustix::io::Errno;

use super::{find::fault, *};
use crate::message::Body;

/// `files` on a route for everything, with every default.
pub(super) fn spec(root: std::path::PathBuf) -> Files {
    Files {
        root,
        index: "index.html".into(),
        prefix: "/".into(),
        hidden: Arc::default(),
        listing: false,
        dotfiles: false,
        precompressed: true,
        cache_control: None,
        candidates: Box::default(),
        mime: HashMap::new(),
    }
}

/// A folder to serve, beside a secret.
struct Site {
    outer: tempfile::TempDir,
    files: Files,
}

impl Site {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("public");
        fs::create_dir_all(root.join("docs/empty")).unwrap();
        fs::write(outer.path().join("secret"), "SECRET").unwrap();
        fs::write(root.join("index.html"), "home").unwrap();
        fs::write(root.join("docs/index.html"), "docs").unwrap();
        fs::write(root.join("docs/a b.txt"), "0123456789").unwrap();
        fs::write(root.join(".env"), "SECRET").unwrap();
        fs::write(root.join("empty.txt"), "").unwrap();
        fs::create_dir(root.join(".well-known")).unwrap();
        fs::write(root.join(".well-known/security.txt"), "contact").unwrap();
        fs::write(root.join(".well-known/.env"), "SECRET").unwrap();
        symlink("docs", root.join("link")).unwrap();
        symlink(root.join("index.html"), root.join("absolute")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/", root.join("slash")).unwrap();
        let files = spec(root);
        Self { outer, files }
    }

    fn get(&self, path: &str) -> Result<Response, Fault> {
        serve(&self.files, &Request::example(Method::GET, "/"), path)
    }

    fn status(&self, path: &str) -> u16 {
        self.get(path).map_or_else(|fault| fault.kind.status(), |response| response.status).as_u16()
    }

    fn text(&self, path: &str) -> String {
        text(self.get(path).unwrap())
    }
}

/// As a worker does it, but for lists.
fn serve(files: &Files, request: &Request, path: &str) -> Result<Response, Fault> {
    now(super::serve(&Arc::new(files.clone()), request, path.as_bytes()))
}

fn run(files: &Files, request: &Request) -> Result<Response, Fault> {
    now(super::run(&Arc::new(files.clone()), request))
}

fn now(served: Result<Served, Fault>) -> Result<Response, Fault> {
    match served? {
        Served::Now(response) => Ok(response),
        Served::Listing(_) => panic!("a list"),
    }
}

fn text(response: Response) -> String {
    String::from_utf8(bytes(response)).unwrap()
}

fn bytes(mut response: Response) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut all = Vec::new();
        while poll_fn(|cx| response.body.poll_chunk(cx)).await.unwrap() {
            let n = response.body.chunk().len();
            all.extend_from_slice(response.body.chunk());
            response.body.consume(n);
        }
        all
    })
}

fn field(response: &Response, name: header::HeaderName) -> &str {
    response.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_file_comes_with_its_type_and_validators() {
    let site = Site::new();
    let response = site.get("/docs/a b.txt").unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(field(&response, header::CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(field(&response, header::ACCEPT_RANGES), "bytes");
    let etag = field(&response, header::ETAG);
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 8, "{etag}");
    assert!(httpdate::parse_http_date(field(&response, header::LAST_MODIFIED)).is_ok());
    assert_eq!(response.body.framing(), rsp_core::frame::http1::Framing::Length(10));
    assert_eq!(text(response), "0123456789");
    assert_eq!(site.text("/empty.txt"), "");
}

#[test]
fn a_folder_is_its_index_and_wants_a_slash() {
    let site = Site::new();
    assert_eq!(
        (site.text("/"), site.text("/docs/"), site.text("/link/")),
        ("home".into(), "docs".into(), "docs".into())
    );
    assert_eq!(field(&site.get("/").unwrap(), header::CONTENT_TYPE), "text/html; charset=utf-8");
    let moved = site.get("/docs?a=b%20c").map(|_| ()).unwrap_err();
    assert_eq!(moved.kind, Kind::NotFound, "the query is no part of the path");
    let moved = run(&site.files, &Request::example(Method::GET, "/docs?a=b%20c")).unwrap();
    assert_eq!((moved.status.as_u16(), field(&moved, header::LOCATION)), (301, "/docs/?a=b%20c"));
    assert_eq!(site.status("/docs/empty/"), 403);
    assert_eq!(site.status("/docs/none/"), 404);
    assert_eq!(site.status("/index.html/"), 404);
    assert_eq!(site.status("/index.html/more"), 404);
}

#[test]
fn a_redirect_stays_on_this_host() {
    let site = Site::new();
    fs::create_dir_all(site.files.root.join("evil.com")).unwrap();
    let backslash = String::from("\\evil.com");
    fs::create_dir_all(site.files.root.join(backslash)).unwrap();
    let files = Files { prefix: "//".into(), ..site.files.clone() };
    let moved = serve(&files, &Request::example(Method::GET, "//evil.com"), "//evil.com").unwrap();
    assert_eq!(field(&moved, header::LOCATION), "/evil.com/");
    let moved = site.get("/\\evil.com").unwrap();
    assert_eq!(field(&moved, header::LOCATION), "/%5Cevil.com/");
    fs::create_dir(site.files.root.join("a\r\nb: c é")).unwrap();
    let moved = site.get("/a\r\nb: c é").unwrap();
    assert_eq!(field(&moved, header::LOCATION), "/a%0D%0Ab:%20c%20%C3%A9/");
}

#[test]
fn the_path_is_decoded_and_stays_below_the_root() {
    let site = Site::new();
    let get = |target| run(&site.files, &Request::example(Method::GET, target)).map(text);
    assert_eq!(get("/docs/a%20b.txt?x=y").unwrap(), "0123456789");
    assert_eq!(get("/docs/../docs/%61%20b.txt").unwrap(), "0123456789");
    for (target, kind) in [
        ("/docs/%2e%2e/%2e%2e/secret", Kind::Malformed),
        ("/..%2fsecret", Kind::Malformed),
        ("/%00", Kind::Malformed),
        ("/up%2fsecret", Kind::NotFound),
        ("/%2eenv", Kind::NotFound),
        ("/%ff", Kind::NotFound),
        ("/..%5csecret", Kind::NotFound),
    ] {
        assert_eq!(get(target).unwrap_err().kind, kind, "{target}");
    }
}

#[test]
fn the_prefix_of_the_route_is_not_looked_up() {
    let site = Site::new();
    let files = Files { prefix: "/static/".into(), ..site.files.clone() };
    let get = |path| serve(&files, &Request::example(Method::GET, "/"), path).unwrap();
    assert_eq!(text(get("/static/docs/a b.txt")), "0123456789");
    assert_eq!(text(get("/static/")), "home");
    assert_eq!(field(&get("/static"), header::LOCATION), "/static/");
    assert_eq!(field(&get("/static/docs"), header::LOCATION), "/static/docs/");
}

#[test]
fn head_says_the_length_without_a_body() {
    let site = Site::new();
    let request = Request::example(Method::HEAD, "/").with(header::RANGE, "bytes=0-1");
    let response = serve(&site.files, &request, "/docs/a b.txt").unwrap();
    assert_eq!((response.status.as_u16(), response.stated_length), (200, Some(10)));
    assert!(matches!(response.body, Body::Empty));
}

#[test]
fn other_methods_are_told_which_work() {
    let site = Site::new();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = serve(&site.files, &Request::example(method, "/"), "/").unwrap();
        assert_eq!((response.status.as_u16(), field(&response, header::ALLOW)), (405, "GET, HEAD"));
    }
}

#[test]
fn a_known_file_is_not_sent_again() {
    let site = Site::new();
    let first = site.get("/").unwrap();
    for (name, validator) in [(header::IF_NONE_MATCH, header::ETAG), (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED)]
    {
        let request = Request::example(Method::GET, "/").with(name, field(&first, validator));
        let second = serve(&site.files, &request, "/").unwrap();
        assert_eq!(second.status, 304);
        assert_eq!(field(&second, header::ETAG), field(&first, header::ETAG));
        assert!(matches!(second.body, Body::Empty));
    }
    fs::write(site.files.root.join("index.html"), "changed").unwrap();
    let request = Request::example(Method::GET, "/").with(header::IF_NONE_MATCH, field(&first, header::ETAG));
    assert_eq!(text(serve(&site.files, &request, "/").unwrap()), "changed");
    let request = Request::example(Method::GET, "/").with(header::IF_MATCH, field(&first, header::ETAG));
    assert_eq!(serve(&site.files, &request, "/").unwrap().status, 412);
}

#[test]
fn a_range_is_that_part_of_the_file() {
    let site = Site::new();
    let get = |range| {
        let request = Request::example(Method::GET, "/").with(header::RANGE, range);
        serve(&site.files, &request, "/docs/a b.txt").unwrap()
    };
    let part = get("bytes=2-4");
    assert_eq!((part.status.as_u16(), field(&part, header::CONTENT_RANGE)), (206, "bytes 2-4/10"));
    assert_eq!(text(part), "234");
    assert_eq!(text(get("bytes=-3")), "789");
    let none = get("bytes=10-");
    assert_eq!((none.status.as_u16(), field(&none, header::CONTENT_RANGE)), (416, "bytes */10"));
}

#[test]
fn a_file_from_the_future_has_no_last_modified() {
    let site = Site::new();
    let file = File::options().write(true).open(site.files.root.join("index.html")).unwrap();
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(86_400)).unwrap();
    let response = site.get("/").unwrap();
    assert!(!response.headers.contains_key(header::LAST_MODIFIED) && response.headers.contains_key(header::ETAG));
}

#[test]
fn names_with_a_dot_in_front_are_not_there() {
    let site = Site::new();
    for path in ["/.env", "/.well-known/.env", "/docs/.well-known/x", "/./index.html", "/.", "/docs/.."] {
        assert_eq!(site.status(path), 404, "{path}");
    }
    assert_eq!(site.text("/.well-known/security.txt"), "contact");
}

#[test]
fn links_work_inside_and_lead_nowhere_outside() {
    let site = Site::new();
    assert_eq!(site.text("/link/a b.txt"), "0123456789");
    assert_eq!(site.text("/absolute"), "home");
    for path in ["/out", "/up/secret", "/slash/etc/passwd", "/up", "/slash", "/up/", "/slash/"] {
        assert_eq!(site.status(path), 404, "{path}");
    }
}

#[test]
fn what_is_no_regular_file_is_not_there_and_nothing_waits() {
    let site = Site::new();
    let root = &site.files.root;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), fifo, rustix::fs::Mode::from_raw_mode(0o666), 0).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    fs::create_dir_all(root.join("folder/index.html")).unwrap();
    for (path, wanted) in [("/fifo", 404), ("/socket", 404), ("/folder/", 403)] {
        assert_eq!(site.status(path), wanted, "{path}");
    }
}

#[test]
fn a_hidden_path_is_never_served() {
    let mut site = Site::new();
    site.files.hidden = Arc::new(["docs/a b.txt", "docs/index.html"].map(|name| site.files.root.join(name)).into());
    symlink("docs/index.html", site.files.root.join("linked.html")).unwrap();
    assert_eq!((site.status("/linked.html"), site.status("/link/a b.txt")), (404, 404), "links don't show it");
    assert_eq!(site.status("/docs/a b.txt"), 404);
    assert_eq!(site.status("/docs/"), 403);
    assert_eq!(site.status("/index.html"), 200);
}

#[test]
fn nothing_below_a_hidden_folder_is_served_or_listed() {
    let mut site = Site::new();
    let root = site.files.root.clone();
    site.files.hidden = Arc::new([root.join("docs")].into());
    site.files.listing = true;
    symlink("docs", root.join("elsewhere")).unwrap();
    for path in ["/docs/index.html", "/docs/", "/docs", "/elsewhere/index.html", "/elsewhere/", "/link/a b.txt"] {
        assert_eq!(site.status(path), 404, "{path}");
    }
    assert_eq!(site.status("/index.html"), 200);
}

#[test]
fn what_may_not_be_read_is_forbidden() {
    let site = Site::new();
    let path = site.files.root.join("index.html");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so the table is asked.
    if File::open(&path).is_err() {
        assert_eq!(site.status("/index.html"), 403);
    }
    assert_eq!(fault(Errno::ACCESS).kind, Kind::Forbidden);
    assert_eq!(fault(Errno::MFILE).kind, Kind::Full);
    assert_eq!(fault(Errno::IO).kind, Kind::File);
}

#[test]
fn a_root_that_is_gone_is_not_found() {
    let site = Site::new();
    let files = Files { root: site.outer.path().join("none"), ..site.files.clone() };
    let gone = serve(&files, &Request::example(Method::GET, "/"), "/").map(|_| ()).unwrap_err();
    assert_eq!(gone.kind, Kind::NotFound);
}

fn part() -> impl Strategy<Value = String> {
    let names = [
        "",
        ".",
        "..",
        "...",
        "up",
        "slash",
        "out",
        "link",
        "docs",
        "secret",
        ".env",
        "index.html",
        "a b.txt",
        "%2e%2e",
        "..\\",
        "\0",
        "etc",
        "passwd",
        "public",
        "absolute",
        "proc",
        "self",
        "\u{2025}",
    ];
    prop_oneof![8 => proptest::sample::select(names.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_path_leads_out_of_the_root(parts in proptest::collection::vec(part(), 0..8), slash in any::<bool>()) {
        thread_local! {
            static SITE: Site = Site::new();
        }
        let path = format!("/{}{}", parts.join("/"), if slash { "/" } else { "" });
        SITE.with(|site| {
            let request = Request::example(Method::GET, "/");
            match serve(&site.files, &request, &path) {
                Ok(response) if response.status == 200 => {
                    let served = text(response);
                    prop_assert!(["home", "docs", "0123456789"].contains(&&*served), "{path:?} served {served:?}");
                }
                Ok(response) => prop_assert_eq!(response.status, 301),
                Err(fault) => prop_assert!(matches!(fault.kind, Kind::NotFound | Kind::Forbidden), "{path:?}: {fault}"),
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_file_that_is_kept_open_is_never_served_stale() {
    let site = Site::new();
    let page = site.files.root.join("index.html");
    assert_eq!(site.text("/index.html"), "home");
    fs::write(&page, "rewritten").unwrap();
    assert_eq!(site.text("/index.html"), "rewritten");
    fs::write(page.with_extension("new"), "replaced").unwrap();
    fs::rename(page.with_extension("new"), &page).unwrap();
    assert_eq!(site.text("/index.html"), "replaced");
    fs::remove_file(&page).unwrap();
    assert_eq!(site.status("/index.html"), 404);
    symlink("../secret", &page).unwrap();
    assert_eq!(site.status("/index.html"), 404);
}

#[test]
fn a_file_that_is_kept_open_is_the_one_below_its_own_root() {
    let (one, two) = (Site::new(), Site::new());
    fs::write(two.files.root.join("index.html"), "the other").unwrap();
    for _ in 0..2 {
        assert_eq!((one.text("/index.html"), two.text("/index.html")), ("home".into(), "the other".into()));
    }
}
