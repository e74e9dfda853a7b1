//! Stories of parts and of precompressed variants of a file.

use super::*;

#[test]
fn several_ranges_come_as_parts_of_one_body() {
    let site = Site::new();
    let get = |range: &str| {
        let request = Request::example(Method::GET, "/").with(header::RANGE, range);
        serve(&site.files, &request, "/docs/a b.txt").unwrap()
    };
    let parts = get("bytes=0-1, 4-5 ,-1,20-");
    assert_eq!((parts.status.as_u16(), field(&parts, header::CONTENT_RANGE)), (206, ""));
    let kind = field(&parts, header::CONTENT_TYPE).to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {range}/10\r\n\r\n{bytes}"
        )
    };
    let wanted = part("0-1", "01") + &part("4-5", "45") + &part("9-9", "9") + &format!("\r\n--{boundary}--\r\n");
    let length = rsp_core::frame::http1::Framing::Length(wanted.len() as u64);
    assert_eq!(parts.body.framing(), length);
    assert_eq!(text(parts), wanted);
    assert_ne!(field(&get("bytes=0-1,4-5"), header::CONTENT_TYPE), kind, "nobody can know the next boundary");
    let joined = get("bytes=0-1,2-3");
    assert_eq!(
        (field(&joined, header::CONTENT_RANGE).to_owned(), text(joined)),
        ("bytes 0-3/10".to_owned(), "0123".to_owned())
    );
}

#[test]
fn ranges_that_ask_for_too_much_get_the_whole_and_ranges_of_nothing_416() {
    let site = Site::new();
    let get = |range: &str| {
        let request = Request::example(Method::GET, "/").with(header::RANGE, range);
        serve(&site.files, &request, "/docs/a b.txt").unwrap()
    };
    let many: Vec<_> = (0..17).map(|n| format!("{n}-{n}")).collect();
    for range in ["bytes=0-,0-,0-", &format!("bytes={}", many.join(","))] {
        let whole = get(range);
        assert_eq!((whole.status.as_u16(), text(whole)), (200, "0123456789".into()), "{range}");
    }
    assert_eq!(get("bytes=10-,20-30").status, 416);
    let if_range =
        Request::example(Method::GET, "/").with(header::RANGE, "bytes=0-0,2-2").with(header::IF_RANGE, "\"x\"");
    assert_eq!(serve(&site.files, &if_range, "/docs/a b.txt").unwrap().status, 200);
}

#[test]
fn a_file_that_became_shorter_is_a_cut_in_every_kind_of_answer() {
    for range in ["", "bytes=1000-", "bytes=0-1,90000-99999"] {
        let site = Site::new();
        let path = site.files.root.join("large");
        fs::write(&path, vec![b'x'; 100_000]).unwrap();
        let mut request = Request::example(Method::GET, "/");
        if !range.is_empty() {
            request = request.with(header::RANGE, range);
        }
        let mut response = serve(&site.files, &request, "/large").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(50).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fault = runtime.block_on(response.body.gather(1 << 20)).unwrap_err();
        assert_eq!(fault.kind, Kind::File, "{range}");
    }
}

/// Writes variants that are as old as the file.
fn compress(site: &Site, name: &str, endings: &[&str]) {
    let path = site.files.root.join(name);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    for ending in endings {
        let variant = site.files.root.join(format!("{name}.{ending}"));
        fs::write(&variant, ending).unwrap();
        File::options().write(true).open(variant).unwrap().set_modified(modified).unwrap();
    }
}

fn accepting(codings: &str) -> Request {
    Request::example(Method::GET, "/").with(header::ACCEPT_ENCODING, codings)
}

#[test]
fn a_precompressed_variant_stands_in_for_its_file() {
    let site = Site::new();
    compress(&site, "index.html", &["br", "zst", "gz"]);
    let get = |codings| serve(&site.files, &accepting(codings), "/").unwrap();
    let mut tags = std::collections::HashSet::new();
    for (codings, coding, wanted) in [
        ("gzip, br, zstd", "br", "br"),
        ("gzip, zstd", "zstd", "zst"),
        ("gzip", "gzip", "gz"),
        ("deflate", "", "home"),
        ("br;q=0.1, gzip;q=0.2", "gzip", "gz"),
    ] {
        let response = get(codings);
        assert_eq!(field(&response, header::CONTENT_ENCODING), coding, "{codings}");
        assert_eq!(field(&response, header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(field(&response, header::VARY), "accept-encoding");
        tags.insert(field(&response, header::ETAG).to_owned());
        assert_eq!(text(response), wanted, "{codings}");
    }
    assert_eq!(tags.len(), 4, "each has a tag of its own");
    assert_eq!(field(&site.get("/").unwrap(), header::VARY), "accept-encoding", "whoever asks");
    assert_eq!(field(&site.get("/docs/").unwrap(), header::VARY), "", "there are none");
    let files = Files { precompressed: false, ..site.files.clone() };
    let plain = serve(&files, &accepting("br"), "/").unwrap();
    assert_eq!((field(&plain, header::VARY).to_owned(), text(plain)), (String::new(), "home".to_owned()));
}

#[test]
fn conditions_and_ranges_are_about_the_variant() {
    let site = Site::new();
    compress(&site, "index.html", &["gz"]);
    let first = serve(&site.files, &accepting("gzip"), "/").unwrap();
    let again = accepting("gzip").with(header::IF_NONE_MATCH, field(&first, header::ETAG));
    let again = serve(&site.files, &again, "/").unwrap();
    assert_eq!((again.status.as_u16(), field(&again, header::VARY)), (304, "accept-encoding"));
    let plain = Request::example(Method::GET, "/").with(header::IF_NONE_MATCH, field(&first, header::ETAG));
    assert_eq!(serve(&site.files, &plain, "/").unwrap().status, 200, "the plain file is another");
    let part = serve(&site.files, &accepting("gzip").with(header::RANGE, "bytes=1-1"), "/").unwrap();
    assert_eq!((field(&part, header::CONTENT_RANGE), field(&part, header::CONTENT_ENCODING)), ("bytes 1-1/2", "gzip"));
    assert_eq!(text(part), "z");
    let several = serve(&site.files, &accepting("gzip").with(header::RANGE, "bytes=0-0,0-0"), "/").unwrap();
    assert_eq!((several.status.as_u16(), text(several)), (206, "g".into()));
    fs::write(site.files.root.join("index.html.gz"), "0123456789").unwrap();
    let several = serve(&site.files, &accepting("gzip").with(header::RANGE, "bytes=0-0,5-5"), "/").unwrap();
    assert_eq!((several.status.as_u16(), text(several)), (200, "0123456789".into()), "parts can't say their coding");
}

#[test]
fn a_variant_that_is_older_or_no_file_or_outside_is_none() {
    let site = Site::new();
    let root = &site.files.root;
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    fs::write(root.join("index.html.br"), "old").unwrap();
    File::options().write(true).open(root.join("index.html.br")).unwrap().set_modified(old).unwrap();
    fs::create_dir(root.join("index.html.zst")).unwrap();
    let response = serve(&site.files, &accepting("br, zstd"), "/").unwrap();
    assert_eq!((field(&response, header::VARY).to_owned(), text(response)), (String::new(), "home".to_owned()));
    symlink("../../secret", root.join("docs/index.html.gz")).unwrap();
    let response = serve(&site.files, &accepting("gzip"), "/docs/").unwrap();
    assert_eq!(
        (field(&response, header::CONTENT_ENCODING).to_owned(), text(response)),
        (String::new(), "docs".to_owned())
    );
    fs::write(root.join("docs/a b.txt.gz"), "itself").unwrap();
    let itself = serve(&site.files, &accepting("gzip"), "/docs/a b.txt.gz").unwrap();
    assert_eq!(field(&itself, header::CONTENT_TYPE), "application/gzip");
    assert_eq!(field(&itself, header::CONTENT_ENCODING), "");
}

#[test]
fn a_variant_that_comes_later_is_seen_within_two_seconds() {
    let site = Site::new();
    assert_eq!(text(serve(&site.files, &accepting("br"), "/").unwrap()), "home");
    compress(&site, "index.html", &["br"]);
    let then = std::time::Instant::now();
    while text(serve(&site.files, &accepting("br"), "/").unwrap()) != "br" {
        assert!(then.elapsed() < std::time::Duration::from_secs(5));
        std::thread::yield_now();
    }
    fs::remove_file(site.files.root.join("index.html.br")).unwrap();
    assert_eq!(text(serve(&site.files, &accepting("br"), "/").unwrap()), "home", "one that is gone is not sent");
}
