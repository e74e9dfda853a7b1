//! Stories of files as clients meet them: parts, variants, lists, and what never gets out.

use std::{fs, os::unix::fs::symlink};

use testkit::{Chromium, Rsp};

use super::*;

fn ask(rsp: &Rsp, target: &str, fields: &str) -> Response {
    rsp.client().request(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
}

#[test]
fn several_ranges_of_a_large_file_arrive_as_parts() {
    let mut content = vec![0; 1_000_000];
    testkit::Pattern::new().fill(&mut content);
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = files "public" }"#;
    let rsp = Rsp::config(text).file("public/large.bin", &content).start();
    let mut client = rsp.client();
    for _ in 0..2 {
        let range = "Range: bytes=900000-, 0-299999,300000-399999, 2000000-\r\n";
        let answer = client.request(&format!("GET /large.bin HTTP/1.1\r\nHost: x\r\n{range}\r\n"));
        assert_eq!(answer.status, 206);
        let kind = answer.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let head = |range: &str| {
            let fields = format!("Content-Type: application/octet-stream\r\nContent-Range: bytes {range}/1000000");
            format!("\r\n--{boundary}\r\n{fields}\r\n\r\n").into_bytes()
        };
        let parts = [head("900000-999999"), content[900_000..].to_vec(), head("0-399999"), content[..400_000].to_vec()];
        let end = format!("\r\n--{boundary}--\r\n").into_bytes();
        assert_eq!(answer.body, [&parts.concat()[..], &end].concat());
    }
    let head = client.request("HEAD /large.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0,2-2\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000000")));
}

#[test]
fn a_browser_gets_the_precompressed_file_and_knows_what_it_is() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = files { "public", cache_control = "max-age=60" } }"#;
    let rsp = Rsp::config(text).file("public/a.js", "plain").file("public/a.js.br", "brotli").start();
    let coded = ask(&rsp, "/a.js", "Accept-Encoding: gzip, br\r\n");
    let fields = ["content-encoding", "content-type", "vary", "cache-control"].map(|name| coded.header(name).unwrap());
    assert_eq!(fields, ["br", "text/javascript; charset=utf-8", "accept-encoding", "max-age=60"]);
    assert_eq!(coded.text(), "brotli");
    let plain = ask(&rsp, "/a.js", "Accept-Encoding: br;q=0\r\n");
    assert_eq!((&*plain.text(), plain.header("vary")), ("plain", Some("accept-encoding")));
    assert_ne!(plain.header("etag"), coded.header("etag"));
}

#[test]
fn the_config_and_what_it_includes_are_never_served() {
    let text = r#"listen "127.0.0.1:$PORT" include "sites/*.lua"
        site "*" { ["/*"] = files { ".", listing = true, dotfiles = true },
            ["/made/*"] = function() return files "." end }"#;
    let rsp = Rsp::config(text).file("a.txt", "A").file("sites/one.lua", "site \"one\" (reply(200))").start();
    symlink("site.lua", rsp.folder().join("b.txt")).unwrap();
    symlink("sites", rsp.folder().join("other")).unwrap();
    for folder in ["/", "/made/"] {
        assert_eq!(get(&rsp, &format!("{folder}a.txt")).text(), "A");
        for name in ["site.lua", "sites/one.lua", "b.txt", "other/one.lua", "site.lua.sock", "./site.lua", "site%2elua"]
        {
            let answer = get(&rsp, &format!("{folder}{name}"));
            assert!(matches!(answer.status, 400 | 404), "{folder}{name}: {}", answer.status);
        }
    }
    for (folder, shown) in [("/", "a.txt"), ("/sites/", "This folder is empty."), ("/other/", "")] {
        let page = get(&rsp, folder).text();
        assert!(page.contains(shown) && !page.contains("lua"), "{page}");
    }
}

#[test]
fn a_function_may_send_a_request_to_another_file_but_not_out_of_the_prefix() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/static/*"] = {
        function(request) request.path = request.args.to or request.path end, files "public" } }"#;
    let rsp = Rsp::config(text).file("public/a.txt", "A").file("public/index.html", "index").start();
    for (target, status) in [
        ("/static/x?to=/static/a.txt", 200),
        ("/static/a.txt?to=/a.txt", 404),
        ("/static/a.txt?to=/xxxxxxxa.txt", 404),
        ("/static/a.txt?to=/", 404),
        ("/static/a.txt?to=/%C3%A9%C3%A9%C3%A9%C3%A9/a.txt", 404),
    ] {
        assert_eq!(get(&rsp, target).status, status, "{target}");
    }
}

#[test]
fn an_app_of_one_page_answers_every_path_that_is_no_file() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" {
        ["/*"] = files { "public", try = { "{path}", "{path}.html", "/index.html" } } }"#;
    let rsp = Rsp::config(text).file("public/index.html", "app").file("public/about.html", "about").start();
    for (path, wanted) in [("/", "app"), ("/about", "about"), ("/about.html", "about"), ("/deep/er/path", "app")] {
        let answer = get(&rsp, path);
        assert_eq!((answer.status, &*answer.text()), (200, wanted), "{path}");
    }
}

#[test]
fn a_large_file_that_is_deleted_gives_its_space_back() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = files "public" }"#;
    let rsp = Rsp::config(text).file("public/large.bin", vec![0; 2 << 20]).start();
    assert_eq!(get(&rsp, "/large.bin").body.len(), 2 << 20);
    let place = rsp.folder().join("public/large.bin");
    fs::remove_file(&place).unwrap();
    assert_eq!(get(&rsp, "/large.bin").status, 404);
    let folder = format!("/proc/{}/fd", rsp.pid());
    let is_open = || {
        let mut links = fs::read_dir(&folder).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.any(|link| link.to_string_lossy().contains("large.bin"))
    };
    eventually(SOON, || !is_open());
}

#[test]
fn the_list_of_a_folder_can_be_read_in_a_browser_in_light_dark_and_on_a_phone() {
    let text = r#"listen "127.0.0.1:$PORT" site "*" { ["/static/*"] = files { "public", listing = true } }"#;
    let rsp = Rsp::config(text)
        .file("public/docs/notes for the meeting.txt", "0123456789")
        .file(
            "public/docs/a picture with a long name that does not fit on one line of a phone.jpeg",
            vec![0; 1_300_000],
        )
        .file("public/docs/<b>odd & #1?.txt", "odd")
        .file("public/docs/archive/old/x", "x")
        .file("public/docs/summer/x", "x")
        .start();
    let steps = include_str!("files.js").replace("$PICTURES", env!("CARGO_TARGET_TMPDIR"));
    let visit = Chromium::visit(&rsp.url("/static/docs/"), &steps);
    // The console tells of the icon that browsers ask for and that isn't there.
    assert_eq!(visit.errors, Vec::<String>::new());
    assert_eq!((&visit.value["names"][0], &visit.value["names"][1]), (&"archive/".into(), &"summer/".into()));
    assert_eq!(visit.value["odd"], "odd");
    assert_eq!(visit.value["largest"], "a picture with a long name that does not fit on one line of a phone.jpeg");
    assert_eq!(visit.value["keyboard"], "/static/docs/archive/", "the second link in the table, by Tab and Enter");
    assert_eq!(visit.value["width"], 390, "nothing is wider than the screen");
}
