//! Stories of `--watch`: an edit takes hold by itself, and a broken one is said and changes nothing.

use std::fs;

use testkit::{Client, Rsp, eventually};

use super::{HELLO, SOON, get, wait_for_message};

const WITH_SITES: &str =
    r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = reply(200, "hello\n") } include "sites/*.lua""#;

fn answers(rsp: &Rsp, host: &str, wanted: &str) -> bool {
    super::get_from(rsp, host, "/").text() == wanted
}

fn site(host: &str, text: &str) -> String {
    format!("site \"{host}\" (reply(200, \"{text}\"))")
}

#[test]
fn an_edit_takes_hold_and_a_broken_one_does_not() {
    for arguments in [&["--watch", "site.lua"][..], &["run", "--watch", "site.lua"]] {
        let mut rsp = Rsp::command(arguments).file("site.lua", HELLO).start();
        let port = rsp.wait_for_line(SOON, |line| line.contains("Started"));
        let port = port.rsplit_once("port ").and_then(|(_, rest)| rest.strip_suffix('.')).unwrap().to_owned();
        let ask = || Client::connect(&format!("127.0.0.1:{port}")).get("/").text();
        assert_eq!(ask(), "hello\n");
        let config = rsp.folder().join("site.lua");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("hello", "edited")).unwrap();
        eventually(SOON, || ask() == "edited\n");
        fs::write(&config, "listen {").unwrap();
        wait_for_message(&rsp, "reload refused");
        assert_eq!(ask(), "edited\n");
        // As an editor does that keeps no half-written file.
        fs::write(rsp.folder().join("site.lua~new"), text.replace("hello", "renamed")).unwrap();
        fs::rename(rsp.folder().join("site.lua~new"), &config).unwrap();
        eventually(SOON, || ask() == "renamed\n");
        assert!(rsp.is_running());
    }
}

#[test]
fn what_an_include_finds_or_will_find_is_watched() {
    let rsp = Rsp::config(WITH_SITES).watched();
    let rsp = rsp.file("sites/a.lua", site("a.example", "one")).start();
    assert!(answers(&rsp, "a.example", "one"));
    let path = |name: &str| rsp.folder().join(name);
    fs::write(path("sites/a.lua"), site("a.example", "two")).unwrap();
    eventually(SOON, || answers(&rsp, "a.example", "two"));
    fs::write(path("sites/b.lua"), site("b.example", "new")).unwrap();
    eventually(SOON, || answers(&rsp, "b.example", "new"));
    fs::remove_file(path("sites/a.lua")).unwrap();
    eventually(SOON, || answers(&rsp, "a.example", "hello\n"));
    // The folder itself is another one.
    fs::create_dir(path("next")).unwrap();
    fs::write(path("next/c.lua"), site("c.example", "moved")).unwrap();
    fs::rename(path("sites"), path("last")).unwrap();
    fs::rename(path("next"), path("sites")).unwrap();
    eventually(SOON, || answers(&rsp, "c.example", "moved"));
    fs::write(path("sites/c.lua"), site("c.example", "and edited")).unwrap();
    eventually(SOON, || answers(&rsp, "c.example", "and edited"));
}

#[test]
fn a_link_that_is_turned_and_a_file_that_was_missing_are_changes() {
    let text = |n: u32| format!("listen \"127.0.0.1:$PORT\" site \"*\" (reply(200, \"{n}\"))");
    let rsp = Rsp::config(&text(1)).watched().start();
    let path = |name: &str| rsp.folder().join(name);
    let filled = fs::read_to_string(path("site.lua")).unwrap();
    fs::create_dir(path("releases")).unwrap();
    fs::write(path("releases/2"), filled.replace("\"1\"", "\"2\"")).unwrap();
    std::os::unix::fs::symlink("releases/2", path("next")).unwrap();
    fs::rename(path("next"), path("site.lua")).unwrap();
    eventually(SOON, || get(&rsp, "/").text() == "2");
    fs::write(path("releases/2"), filled.replace("\"1\"", "require \"./text\"")).unwrap();
    wait_for_message(&rsp, "reload refused");
    fs::write(path("text.lua"), "return \"3\"").unwrap();
    eventually(SOON, || get(&rsp, "/").text() == "3");
}

#[test]
fn a_link_to_a_folder_that_is_turned_is_a_change() {
    let mut rsp = Rsp::config(HELLO).watched();
    for n in ["1", "2", "3"] {
        rsp = rsp.file(&format!("shared/{n}/a.lua"), site("a.example", n));
        rsp = rsp.file(&format!("shared/{n}/more/b.lua"), site("b.example", n));
    }
    let rsp = rsp.start();
    let path = |name: &str| rsp.folder().join(name);
    let turn = |link: &str, to: &str| {
        std::os::unix::fs::symlink(to, path("shared/new")).unwrap();
        fs::rename(path("shared/new"), path("shared").join(link)).unwrap();
    };
    turn("newest", "1");
    turn("current", "newest");
    let config = fs::read_to_string(path("site.lua")).unwrap();
    let config = config + "\ninclude \"shared/current/a.lua\" include \"shared/current/more/*.lua\"";
    fs::write(path("site.lua"), config).unwrap();
    eventually(SOON, || answers(&rsp, "a.example", "1"));
    turn("newest", "2");
    eventually(SOON, || answers(&rsp, "a.example", "2") && answers(&rsp, "b.example", "2"));
    turn("current", "3");
    eventually(SOON, || answers(&rsp, "a.example", "3") && answers(&rsp, "b.example", "3"));
}

#[test]
fn files_that_the_config_names_are_watched_even_after_a_refusal() {
    let text = r#"listen "127.0.0.1:$PORT" errors { [404] = "./404.html" }
        site "*" { ["/in"] = { auth { basic = "./users" }, reply(200, "in") } }"#;
    let user = |name: &str| format!("{name}:$2y$04$2m/cwqLoplQT1je8GxRh7u9zv8xPdijkvSlpzgoiaJK.kkdDFQ9iS\n");
    let rsp = Rsp::config(text).watched().file("404.html", "first").file("users", user("alice")).start();
    let path = |name: &str| rsp.folder().join(name);
    assert_eq!(get(&rsp, "/gone").text(), "first");
    fs::write(path("404.html"), "second").unwrap();
    eventually(SOON, || get(&rsp, "/gone").text() == "second");
    fs::write(path("users"), "alice").unwrap();
    wait_for_message(&rsp, "reload refused");
    fs::write(path("404.html"), "third").unwrap();
    fs::write(path("users"), user("alice")).unwrap();
    eventually(SOON, || get(&rsp, "/gone").text() == "third");
    // A file that the refused config asked for in vain.
    let config = fs::read_to_string(path("site.lua")).unwrap();
    fs::write(path("site.lua"), config.replace("./404.html", "./pages/404.html")).unwrap();
    wait_for_message(&rsp, "pages/404.html");
    fs::create_dir(path("next")).unwrap();
    fs::write(path("next/404.html"), "fourth").unwrap();
    fs::rename(path("next"), path("pages")).unwrap();
    eventually(SOON, || get(&rsp, "/gone").text() == "fourth");
}

#[test]
fn a_one_line_command_has_nothing_to_watch() {
    for arguments in [&["proxy", "--watch", "127.0.0.1:1"][..], &["files", "--watch", "."], &["demo", "--watch"]] {
        let output = Rsp::command(arguments).run();
        assert_eq!(output.code, Some(1), "{arguments:?}");
        assert!(output.stderr.contains("--watch"), "{}", output.stderr);
    }
}
