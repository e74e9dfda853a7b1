//! Stories of what the config says about a folder.

use super::*;

#[test]
fn dotfiles_are_served_where_the_config_says_so() {
    let mut site = Site::new();
    site.files.dotfiles = true;
    assert_eq!((site.text("/.env"), site.text("/.well-known/.env")), ("SECRET".into(), "SECRET".into()));
    for path in ["/./index.html", "/..", "/../secret", "/docs/../../secret"] {
        assert_eq!(site.status(path), 404, "{path}");
    }
}

fn trying(candidates: &[&[&str]]) -> Site {
    let mut site = Site::new();
    let candidate = |parts: &&[&str]| rsp_core::config::Candidate(parts.iter().map(|part| Box::from(*part)).collect());
    site.files.candidates = candidates.iter().map(candidate).collect();
    site
}

#[test]
fn the_first_file_to_try_that_is_there_answers() {
    let site = trying(&[&["", ""], &["", ".html"], &["/index.html"]]);
    fs::write(site.files.root.join("about.html"), "about").unwrap();
    fs::create_dir(site.files.root.join("assets")).unwrap();
    for (path, wanted) in [
        ("/docs/a b.txt", "0123456789"),
        ("/about", "about"),
        ("/", "home"),
        ("/docs/", "docs"),
        ("/no/such/page", "home"),
        ("/assets", "home"),
        ("/assets/", "home"),
        ("/.env", "home"),
        ("/docs/none/../../up", "home"),
    ] {
        assert_eq!(site.text(path), wanted, "{path}");
    }
    assert_eq!(field(&site.get("/about").unwrap(), header::CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(field(&site.get("/docs").unwrap(), header::LOCATION), "/docs/");
    let site = trying(&[&["", ".html"]]);
    assert_eq!((site.text("/index"), site.status("/index.html"), site.status("/none")), ("home".into(), 404, 404));
}

#[test]
fn own_types_and_a_cache_control_are_sent() {
    let mut site = Site::new();
    site.files.mime.insert("txt".into(), HeaderValue::from_static("text/x-mine"));
    site.files.cache_control = Some(HeaderValue::from_static("max-age=60"));
    let whole = site.get("/docs/a b.txt").unwrap();
    assert_eq!(field(&whole, header::CONTENT_TYPE), "text/x-mine");
    let request = || Request::example(Method::GET, "/");
    for (request, status) in [
        (request(), 200),
        (request().with(header::RANGE, "bytes=0-0"), 206),
        (request().with(header::IF_NONE_MATCH, "*"), 304),
    ] {
        let response = serve(&site.files, &request, "/docs/a b.txt").unwrap();
        assert_eq!((response.status.as_u16(), field(&response, header::CACHE_CONTROL)), (status, "max-age=60"));
    }
    let failed = serve(&site.files, &request().with(header::IF_MATCH, "\"x\""), "/docs/a b.txt").unwrap();
    assert_eq!((failed.status.as_u16(), field(&failed, header::CACHE_CONTROL)), (412, ""));
}

#[test]
fn a_path_that_left_the_prefix_is_not_found() {
    let site = Site::new();
    let files = Files { prefix: "/static/".into(), ..site.files.clone() };
    for path in ["/", "/dynamic/docs/a b.txt", "/xxxxxx/index.html", "/statics", "/é", "/docs/é/index.html"] {
        let fault = serve(&files, &Request::example(Method::GET, "/"), path).map(|_| ()).unwrap_err();
        assert_eq!(fault.kind, Kind::NotFound, "{path}");
    }
}

#[test]
fn names_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let site = Site::new();
    fs::write(site.files.root.join(std::ffi::OsStr::from_bytes(b"\xff.txt")), "bytes").unwrap();
    assert_eq!(text(run(&site.files, &Request::example(Method::GET, "/%ff.txt")).unwrap()), "bytes");
}

#[test]
fn what_the_user_may_not_read_is_forbidden_and_not_absent() {
    let site = Site::new();
    let closed = |name: &str| {
        fs::set_permissions(site.files.root.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    };
    closed("index.html");
    closed("docs");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            // Root without its powers is a user like any other; on this thread only.
            let none = rustix::thread::CapabilitySet::empty();
            let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, sets).unwrap();
            ["/index.html", "/", "/docs/a b.txt", "/docs/", "/docs/none"].map(|path| site.status(path))
        });
        assert_eq!(asked.join().unwrap(), [403; 5]);
    });
    fs::set_permissions(site.files.root.join("docs"), fs::Permissions::from_mode(0o700)).unwrap();
}
