//! The house rules that a file can be judged by. Each rule is a function from text to faults, tested on a string
//! that breaks it, and then applied to every file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "tidy/source.rs"]
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use source::{code_of, functions, module_of, paths, without_tests};

/// The rooms in the order data flows; a room imports only rooms to its right. Some have no tenant yet.
const ROOMS: &[&str] = &[
    "main", "demo", "boot", "listen", "protocol", "dispatch", "route", "filter", "handler", "session", "script",
    "cache", "upstream", "process", "tls", "broker", "message", "stream", "observe", "error", "limit", "shutdown",
];
/// Modules that are part of `main`: arguments in, exit code out.
const PARTS_OF_MAIN: &[&str] = &["arguments", "remote"];
/// These stand at the bottom and do not know each other, except that all may name an `error`.
const BOTTOM: &[&str] = &["observe", "error", "limit", "shutdown"];
/// Rooms whose members are variants of a closed enum and do not know each other.
const ROOMS_OF_VARIANTS: &[&str] = &["filter", "handler"];
/// Names that name nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "misc", "helper", "helpers", "manager"];
/// Words that make `core` impure. Addresses (`std::net::IpAddr`) are data and allowed.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "Instant",
    "SystemTime",
    "getrandom",
];
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const ARCHITECTURE_LINES_MAX: usize = 400;

/// Exceptions, `(file, rule)`: each with its reason beside it. Empty is right.
const ALLOWED: &[(&str, &str)] = &[];

#[test]
fn rooms_import_only_rooms_to_their_right() {
    assert_tidy("room order", server_rooms(), |file| room_faults(&file.path, &file.text));
}

#[test]
fn variants_do_not_import_each_other() {
    let files = server_rooms();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|file| owned(&module_of(in_src(&file.path)))).collect();
    assert_tidy("variants", files, |file| variant_faults(&file.path, &file.text, &modules));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    assert_tidy("first line", rust_files(), |file| first_line_faults(&file.text));
}

#[test]
fn functions_and_files_stay_short() {
    assert_tidy("length", rust_files(), |file| length_faults(&file.path, &file.text));
}

#[test]
fn names_name_something() {
    assert_tidy("names", rust_files(), |file| name_faults(&file.path, &file.text));
}

#[test]
fn core_is_pure() {
    let source = |file: &File| file.path.starts_with("core/src/") && !is_test_file(&file.path);
    let core = rust_files().into_iter().filter(source).collect();
    assert_tidy("purity", core, |file| purity_faults(&file.text));
}

#[test]
fn the_architecture_fits_into_one_reading() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    assert_eq!(too_long("ARCHITECTURE.md", &text, ARCHITECTURE_LINES_MAX), None);
}

#[test]
fn no_file_holds_two_versions_of_itself() {
    assert_tidy("conflict markers", text_files(), |file| marker_faults(&file.text));
}

#[test]
fn every_config_key_is_in_the_reference() {
    let reference = fs::read_to_string(root().join("doc/reference.md")).expect("doc/reference.md is there");
    let tables = rust_files().into_iter().filter(|file| file.path.starts_with("core/src/config/options/")).collect();
    assert_tidy("reference", tables, |file| missing_keys(&file.text, &reference));
}

/// In a copy, as some need files first that a script of theirs makes.
#[test]
fn every_example_loads() {
    let copy = tempfile::tempdir().expect("a folder");
    let copied = std::process::Command::new("cp").arg("-R").arg(root().join("example")).arg(copy.path()).status();
    assert!(copied.expect("run cp").success());
    let examples = files_below(&copy.path().join("example"), "lua");
    assert!(!examples.is_empty(), "example/ holds configs to learn from");
    let made = std::process::Command::new("sh").arg(copy.path().join("example/tls/certificates.sh")).output();
    let made = made.expect("run sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for example in examples {
        let checked = std::process::Command::new(env!("CARGO_BIN_EXE_rsp")).arg("check").arg(&example).output();
        let checked = checked.expect("run rsp check");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "rsp check {} failed:\n{said}", example.display());
    }
}

fn room_faults(path: &str, text: &str) -> Vec<String> {
    let here = module_of(in_src(path));
    let room = *here.first().unwrap_or(&"main");
    let Some(place) = place_of(room) else {
        return vec![format!("`{room}` is no room: the rooms are {}", ROOMS.join(" → "))];
    };
    let code = without_tests(&code_of(text));
    let foreign = paths(&code, &here).into_iter().filter_map(|(line, path)| Some((line, path.first()?.clone())));
    let wrong = foreign.filter(|(_, target)| match place_of(target) {
        Some(other) if other == place => false,
        Some(_) if BOTTOM.contains(&room) => target != "error",
        Some(other) => other < place,
        None => false,
    });
    wrong.map(|(line, target)| format!("line {line}: `{room}` imports `{target}`, which is not to its right")).collect()
}

fn place_of(room: &str) -> Option<usize> {
    let room = if PARTS_OF_MAIN.contains(&room) { "main" } else { room };
    ROOMS.iter().position(|name| *name == room)
}

fn variant_faults(path: &str, text: &str, modules: &BTreeSet<Vec<String>>) -> Vec<String> {
    let here = module_of(in_src(path));
    let [room, variant, ..] = here.as_slice() else { return Vec::new() };
    if !ROOMS_OF_VARIANTS.contains(room) {
        return Vec::new();
    }
    let code = without_tests(&code_of(text));
    let sibling = |path: &[String]| {
        path.len() >= 2 && path[0] == *room && path[1] != *variant && modules.contains(&path[..2].to_vec())
    };
    let wrong = paths(&code, &here).into_iter().filter(|(_, path)| sibling(path));
    wrong.map(|(line, path)| format!("line {line}: `{variant}` imports its sibling `{}`", path[1])).collect()
}

fn first_line_faults(text: &str) -> Vec<String> {
    let first = text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//! ").is_some_and(|sentence| sentence.split(' ').count() >= 3);
    if says { Vec::new() } else { vec!["the first line is no `//! ` sentence saying what the file is for".to_owned()] }
}

fn length_faults(path: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let long = functions(&code).into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    let mut faults: Vec<String> = long
        .map(|one| format!("line {}: `{}` has {} lines, {FUNCTION_LINES_MAX} at most", one.line, one.name, one.lines))
        .collect();
    if !is_test_file(path) {
        // A blanked test is blank lines where there was text.
        let tested = without_tests(&code);
        let tests = code.lines().zip(tested.lines()).filter(|(with, without)| with != without).count();
        faults.extend(too_long("without its tests it", text, FILE_LINES_MAX + tests));
    }
    faults
}

fn name_faults(path: &str, text: &str) -> Vec<String> {
    let parts = path.trim_end_matches(".rs").split('/');
    let mut faults: Vec<String> = parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| format!("`{part}` in the path names nothing"))
        .collect();
    for line in code_of(text).lines() {
        let name = line.split("mod ").nth(1).map(|rest| rest.trim_end_matches([' ', ';', '{']));
        if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name)) {
            faults.push(format!("`mod {name}` names nothing"));
        }
    }
    faults
}

fn purity_faults(text: &str) -> Vec<String> {
    let code = without_tests(&code_of(text));
    let mut faults = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for word in IMPURE.iter().filter(|word| has_word(line, word)) {
            faults.push(format!("line {}: `{word}`; core is pure: take it as an argument", index + 1));
        }
    }
    let grouped = paths(&code.replace("std::", "crate::std::"), &[]);
    for (line, path) in grouped {
        let path = path.join("::");
        if let Some(word) = IMPURE.iter().find(|word| path == **word || path.starts_with(&format!("{word}::"))) {
            faults.push(format!("line {line}: `{word}`; core is pure: take it as an argument"));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// Keys that the table of options defines (`opt("key", …`, `later("key", …`) and the reference doesn't mention.
fn missing_keys(table: &str, reference: &str) -> Vec<String> {
    let compact: String = table.split_whitespace().collect();
    let calls = ["opt(\"", "later(\""].iter().flat_map(|call| compact.split(call).skip(1));
    let keys: BTreeSet<&str> = calls.filter_map(|rest| rest.split('"').next()).collect();
    // Capitals are what the reference calls a positional argument, which has no key.
    let named = keys.into_iter().filter(|key| key.chars().any(char::is_lowercase));
    let missing = named.filter(|key| !reference.contains(&format!("`{key}`")));
    missing.map(|key| format!("the key `{key}` is not in doc/reference.md: run `make reference`")).collect()
}

/// What a merge leaves behind where it could not decide.
fn marker_faults(text: &str) -> Vec<String> {
    let is_marker = |line: &str| ["<".repeat(7), ">".repeat(7)].iter().any(|marker| line.starts_with(marker));
    text.lines().filter(|line| is_marker(line)).map(str::to_owned).collect()
}

fn too_long(what: &str, text: &str, lines_max: usize) -> Option<String> {
    let lines = text.lines().count();
    (lines > lines_max).then(|| format!("{what} has {lines} lines, {lines_max} at most"))
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    line.match_indices(word).any(|(at, _)| {
        let bytes = line.as_bytes();
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        !part(before) && !part(bytes.get(at + word.len()))
    })
}

struct File {
    /// From the repository's root, with slashes.
    path: String,
    text: String,
}

#[track_caller]
fn assert_tidy(rule: &str, files: Vec<File>, faults: impl Fn(&File) -> Vec<String>) {
    assert!(!files.is_empty(), "no file to judge by {rule}");
    let judged = files.iter().filter(|file| !ALLOWED.contains(&(file.path.as_str(), rule)));
    let found: Vec<String> =
        judged.flat_map(|file| faults(file).into_iter().map(|fault| format!("{}: {fault}", file.path))).collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

fn server_rooms() -> Vec<File> {
    let source = |file: &File| file.path.starts_with("server/src/") && !is_test_file(&file.path);
    rust_files().into_iter().filter(source).collect()
}

fn rust_files() -> Vec<File> {
    let mut files = Vec::new();
    for folder in ["core", "server", "testkit", "fuzz", "bench"] {
        for path in files_below(&root().join(folder), "rs") {
            let text = fs::read_to_string(&path).expect("a readable file");
            let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
    files
}

/// What people write, but for Rust's lock files.
fn text_files() -> Vec<File> {
    let endings = ["rs", "md", "py", "lua", "js", "c", "h", "html", "toml", "luau", "expected"];
    let mut paths: Vec<_> = endings.iter().flat_map(|ending| files_below(&root(), ending)).collect();
    paths.push(root().join("Makefile"));
    let read = |path: PathBuf| Some(File { text: fs::read_to_string(&path).ok()?, path: path.display().to_string() });
    paths.into_iter().filter_map(read).collect()
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let skipped = matches!(entry.file_name().to_str(), Some("target" | "node_modules" | ".git" | "corpus"));
        if path.is_dir() && !skipped {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn in_src(path: &str) -> &str {
    path.strip_prefix("server/src/").unwrap_or(path)
}

fn owned(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The rules on strings that break them.
mod rules {
    use super::*;

    #[test]
    fn an_import_to_the_left_is_found_however_it_is_written() {
        let path = "server/src/upstream/pool.rs";
        let wrong = [
            "use crate::handler::Proxy;",
            "use crate::{error::Fault, route::Table};",
            "fn f() { crate::dispatch::serve() }",
            "use super::super::protocol::h1;",
            "use crate::{\n    stream::{self, Wire},\n    listen,\n};",
        ];
        for text in wrong {
            assert_eq!(room_faults(path, text).len(), 1, "{text}");
        }
    }

    #[test]
    fn an_import_to_the_right_of_itself_or_in_words_is_none() {
        let path = "server/src/handler/proxy/mod.rs";
        let right = "use crate::{stream::Wire, upstream::{Pool, pick}};\nuse super::Answer;\nuse crate::handler::Answer;\n\
                     // crate::listen\nconst A: &str = \"crate::boot\";\npub(in crate::handler) fn f() {}\n\
                     #[cfg(test)]\nmod tests { use crate::boot::start; }\n";
        assert_eq!(room_faults(path, right), Vec::<String>::new());
    }

    #[test]
    fn what_a_merge_left_behind_is_found() {
        let text = format!("a\n{} HEAD\nb\n=======\nc\n{} other\n", "<".repeat(7), ">".repeat(7));
        assert_eq!(marker_faults(&text).len(), 2);
        assert_eq!(marker_faults("=======\n  <<<<<<< quoted\n").len(), 0);
    }

    #[test]
    fn the_bottom_rooms_know_only_errors() {
        assert_eq!(room_faults("server/src/observe/log.rs", "use crate::error::Fault;").len(), 0);
        assert_eq!(room_faults("server/src/observe/log.rs", "use crate::shutdown::Token;").len(), 1);
        assert_eq!(room_faults("server/src/error/mod.rs", "use crate::limit::Head;").len(), 1);
        assert_eq!(room_faults("server/src/stream/mod.rs", "use crate::limit::Head;").len(), 0);
    }

    #[test]
    fn a_room_nobody_knows_is_found_and_main_may_see_all() {
        assert_eq!(room_faults("server/src/attic/mod.rs", "").len(), 1);
        assert_eq!(room_faults("server/src/main.rs", "use crate::boot;").len(), 0);
        assert_eq!(room_faults("server/src/remote.rs", "use crate::{arguments, boot};").len(), 0);
        assert_eq!(room_faults("server/src/boot/mod.rs", "use crate::arguments;").len(), 1);
    }

    #[test]
    fn a_variant_that_imports_its_sibling_is_found() {
        let modules = ["handler", "handler/proxy", "handler/files", "handler/files/range"];
        let modules: BTreeSet<Vec<String>> = modules.iter().map(|path| owned(&module_of(path))).collect();
        let faults = |text| variant_faults("server/src/handler/proxy/retry.rs", text, &modules);
        assert_eq!(faults("use crate::handler::files::Range;").len(), 1);
        assert_eq!(faults("use super::super::files;").len(), 1);
        assert_eq!(faults("use super::super::{Answer, files};").len(), 1);
        assert_eq!(faults("use super::Proxy; use crate::handler::{Answer, proxy::Proxy};").len(), 0);
        assert_eq!(variant_faults("server/src/handler/mod.rs", "use files::Files;", &modules).len(), 0);
    }

    #[test]
    fn a_file_without_its_first_sentence_is_found() {
        assert_eq!(first_line_faults("//! Chooses an endpoint.\n").len(), 0);
        for text in ["", "use std::io;\n", "//! kit\n", "//!\n//! Late in coming.\n", "/// Of an item.\n"] {
            assert_eq!(first_line_faults(text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn a_function_is_measured_by_its_braces_and_not_by_those_in_strings() {
        let body = "    let a = '{'; let b = \"}\"; let c = r#\"{\"{\"#; // {\n".repeat(69);
        assert_eq!(length_faults("a.rs", &format!("fn f<'a>(x: &'a str) {{\n{body}}}\n")).len(), 1);
        let fits = body.lines().take(68).collect::<Vec<_>>().join("\n");
        assert_eq!(length_faults("a.rs", &format!("trait T {{ fn g(&self); }}\nfn f() {{\n{fits}\n}}\n")).len(), 0);
    }

    #[test]
    fn a_file_is_measured_without_its_tests() {
        let code = "const A: u8 = 1;\n".repeat(500);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const B: u8 = 1;\n".repeat(300));
        assert_eq!(length_faults("a.rs", &format!("{code}{tests}")).len(), 0);
        assert_eq!(length_faults("a.rs", &format!("{code}const C: u8 = 1;\n{tests}")).len(), 1);
        assert_eq!(length_faults("server/src/route/tests.rs", &code.repeat(2)).len(), 0);
    }

    #[test]
    fn a_name_that_names_nothing_is_found() {
        assert_eq!(name_faults("server/src/utils/mod.rs", "").len(), 1);
        assert_eq!(name_faults("server/src/route/helpers.rs", "").len(), 1);
        assert_eq!(name_faults("server/src/route/mod.rs", "pub mod common;").len(), 1);
        assert_eq!(name_faults("server/src/route/commons.rs", "mod commons; // mod misc;").len(), 0);
    }

    #[test]
    fn impurity_is_found_in_groups_too() {
        let wrong =
            ["use std::time::Instant;", "use std::{io, fs};", "let a = std::env::var(\"A\");", "tokio::spawn(a)"];
        for text in wrong {
            assert_eq!(purity_faults(text).len(), 1, "{text}");
        }
        let right = "use std::{net::IpAddr, time::Duration};\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(purity_faults(right), Vec::<String>::new());
    }

    #[test]
    fn a_long_architecture_and_a_missing_key_are_found() {
        assert!(too_long("it", &"line\n".repeat(401), 400).is_some());
        assert!(too_long("it", &"line\n".repeat(400), 400).is_none());
        let table = "opt(\n    \"weight\", COUNT), opt(\"backup\", BOOL)";
        assert_eq!(missing_keys(table, "| `weight` | 1 |").len(), 1);
    }
}
