//! Stories of the page on which a person tries a program by hand.

use serde_json::json;
use testkit::{Chromium, Rsp};

use super::front;

/// What it hears it says again; `bytes` is some bytes, `bye` its end, `many` a hundred lines.
const SCRIPT: &str = r#"echo "hello from $PATH_INFO"
while read -r line; do
  case $line in
    bytes) printf '\000\001binary \377\n' ;;
    many) seq 100 ;;
    bye) exit ;;
    *) echo "you said <b>$line</b>" ;;
  esac
done"#;

fn with_console(more: &str) -> Rsp {
    front("", &format!("exec {{ \"sh\", \"-c\", [[{SCRIPT}]], console = true{more} }}")).start()
}

#[test]
fn a_browser_gets_the_page_and_others_what_they_would_get_without_it() {
    let rsp = with_console(", otherwise = reply(200, \"other\")");
    let ask = |method: &str, accept: &str| {
        rsp.client().request(&format!("{method} /any HTTP/1.1\r\nHost: test\r\nAccept: {accept}\r\n\r\n"))
    };
    let page = ask("GET", "text/html,*/*;q=0.8");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    let head = ask("HEAD", "text/html");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(page.body.len().to_string().as_str()));
    assert_eq!(ask("GET", "*/*").text(), "other");
    assert_eq!(ask("PUT", "text/html").text(), "other");
}

#[test]
fn the_console_talks_in_a_browser_and_keeps_what_was_sent() {
    let rsp = with_console("");
    let visit = Chromium::visit(&rsp.url("/some/path?query"), &steps(include_str!("console.js")));
    assert_eq!((visit.errors, visit.console), (vec![], vec![]));
    let value = visit.value;
    let host = rsp.address();
    assert_eq!(value["url"], format!("ws://{host}/some/path?query"));
    assert_eq!(value["hello"], "hello from /some/path");
    assert_eq!(value["echo"], json!(["you said <b>one</b>", "you said <b>two</b>"]));
    assert_eq!(value["foreign"], 0, "what is said is text");
    assert_eq!(value["history"], json!(["two", "one", "one", "two", "a draft"]));
    let dump = value["bytes"].as_str().unwrap();
    assert!(dump.starts_with("0000  00 01 62 69 6e 61 72 79 20 ff "), "{dump}");
    assert!(dump.contains("..binary .") && dump.ends_with("10 bytes"), "{dump}");
    assert_eq!(value["state"], json!(["connected", "not connected", "connected"]));
    let ends = value["notes"].as_array().unwrap();
    assert!(ends.iter().any(|note| note.as_str().unwrap().contains("1000 done")), "{ends:?}");
    assert_eq!(value["kept"], json!([true, true]), "it stays where the reader is, and goes along at the end");
    assert_eq!(value["cleared"], 0);
    assert_eq!(value["width"], 390, "nothing is wider than the screen");
}

#[test]
fn the_console_says_so_in_a_browser_when_nothing_can_be_connected() {
    let rsp = with_console(", processes_max = 1");
    let held = testkit::WebSocket::open(&rsp.address(), "/");
    let visit = Chromium::visit(
        &rsp.url("/"),
        r##"const note = (text) => page.locator(".note.bad", { hasText: text }).waitFor();
        await page.keyboard.press("Enter");
        await note("No connection");
        await page.fill("#url", "ftp://nowhere");
        await page.keyboard.press("Enter");
        await note("can't be connected to");
        return [await page.getAttribute("#url", "aria-invalid"), await page.textContent("#state")];"##,
    );
    drop(held);
    assert_eq!((visit.errors, visit.value), (vec![], json!(["true", "not connected"])));
}

/// Pictures go where cargo keeps what tests leave behind.
fn steps(script: &str) -> String {
    script.replace("$PICTURES", env!("CARGO_TARGET_TMPDIR"))
}
