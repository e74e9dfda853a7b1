//! Stories of evaluation: config files in, raw values and drawn diagnostics out.

mod engine;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rsp_core::config::{
    self, Context,
    raw::{FunctionId, Key, Made, Source, Value},
};

use super::{evaluate::Failed, *};
use crate::error::draw;

/// A folder with the files of one story.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = folder.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Loaded, Failed> {
        load(&self.path("site.lua"))
    }

    /// What is wrong with `site.lua`, checked too, with paths relative to the folder.
    fn errors(&self) -> String {
        errors(&self.path("site.lua"), self.0.path())
    }
}

/// What is wrong with a file, checked too, with paths relative to the folder.
fn errors(path: &Path, folder: &Path) -> String {
    let socket = folder.join("site.lua.sock");
    let context = Context {
        folder,
        admin_socket: &socket,
        probe: &probe,
        real: &real,
        read: &files::read_file,
        account: &|_, _| Ok(()),
        program: &files::find_program,
        certificate: &crate::tls::check_files,
        authorities: &crate::tls::check_authorities,
    };
    let drawn = match load(path).map_err(|failed| failed.checked(&context)) {
        Err(failed) => draw(&failed.diagnostics, &failed.sources, false),
        Ok(loaded) => {
            let found = config::check(&loaded.file, &context).map_or_else(|found| found, |(_, warnings)| warnings);
            draw(&found, &loaded.file.sources, false)
        }
    };
    drawn.replace(&format!("{}/", folder.display()), "")
}

fn load_one(text: &str) -> Result<Loaded, Failed> {
    load_text(text, Path::new("/nowhere"))
}

/// The statements of a text that is right.
fn statements(text: &str) -> Vec<std::sync::Arc<Made>> {
    match load_one(text) {
        Ok(loaded) => loaded.file.statements,
        Err(failed) => panic!("{}", failed.render()),
    }
}

fn messages(text: &str) -> Vec<String> {
    let failed = load_one(text).map(|loaded| loaded.file).expect_err("this text is wrong");
    failed.diagnostics.iter().map(|d| format!("{}:{} {}", d.span.line, d.span.column, d.message)).collect()
}

#[test]
fn every_form_of_a_call_gives_the_same_values() {
    for text in ["trust '::1'", "trust('::1')", "trust { '::1' }", "trust({ '::1' })"] {
        let made = &statements(text)[0];
        assert_eq!((made.what, made.arguments.items.len()), ("trust", 1), "{text}");
        assert_eq!(made.arguments.items[0].value, Value::Text("::1".into()), "{text}");
    }
}

/// `UPDATE=1` writes the expected texts anew, to be read before they are believed.
#[test]
fn every_wrong_config_gets_its_diagnostic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "lua") {
            continue;
        }
        count += 1;
        let drawn = errors(&path, &folder);
        let beside = path.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&beside, &drawn).unwrap();
        }
        if std::fs::read_to_string(&beside).unwrap_or_default() != drawn {
            wrong.push(format!("{}:\n{drawn}", path.display()));
        }
    }
    assert!(count >= 45, "{count} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_comes_to_no_end_is_an_error() {
    for text in
        ["local n = 0\nwhile true do\n  n += 1\nend", "\nwhile true do pcall(function() while true do end end) end"]
    {
        let texts = vec![Source { path: "site.lua".into(), text: text.into() }];
        let sources = Sources { texts, ..Sources::default() };
        let finder = files::Finder::new(Path::new("/nowhere"), None);
        let failed = evaluate::load_within(Duration::from_millis(100), sources, finder).map(drop).unwrap_err();
        assert_eq!(failed.diagnostics[0].message, "this ran for 0.1 s: an endless loop?");
        assert!((2..=3).contains(&failed.diagnostics[0].span.line), "{failed:?}");
    }
}

#[test]
fn every_example_is_right() {
    for name in ["site.lua", "original.lua", "functions.lua"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../example");
        assert_eq!(errors(&folder.join(name), &folder), "", "{name}");
    }
}

#[test]
fn a_missing_file_is_told_in_the_words_of_the_original() {
    let folder = Folder::new(&[]);
    let drawn = draw(&folder.load().map(drop).unwrap_err().diagnostics, &[], false);
    let path = folder.path("site.lua");
    assert_eq!(
        drawn,
        format!("Error parsing config file: cannot open {}: No such file or directory\n", path.display())
    );
}

#[test]
fn a_file_of_the_original_rsp_is_its_three_globals() {
    let text = "listenPort = '8000'\nbackendAddress = '127.0.0.1'\nbackendPort = 80 .. ''\nother = 1";
    let legacy = load_one(text).map(|loaded| loaded.file.legacy).ok().flatten().unwrap();
    assert_eq!(legacy, ["8000", "127.0.0.1", "80"].map(|text| Some(Value::Text(text.into()))));
    let partly = load_one("listenPort = 8000").map(|loaded| loaded.file.legacy).ok().flatten().unwrap();
    assert_eq!(partly, [Some(Value::Number(8000.0)), None, None]);
    assert!(load_one("listen ':80' listenPort = '1'").is_ok_and(|loaded| loaded.file.legacy.is_none()));
}

#[test]
fn a_module_is_run_once_and_gives_its_value() {
    let folder = Folder::new(&[
        (
            "site.lua",
            "local a, b = require './lib/ports', require './lib/ports.lua'\nassert(a == b)\nlisten(a.address)",
        ),
        ("lib/ports.lua", "listen ':81'\nlocal more = require './more'\nreturn { address = more .. '80' }"),
        ("lib/more.luau", "return ':'"),
    ]);
    let file = folder.load().unwrap_or_else(|failed| panic!("{}", failed.render())).file;
    assert_eq!(file.statements.len(), 2);
    assert_eq!(file.statements[1].arguments.items[0].value, Value::Text(":80".into()));
    assert_eq!(file.sources.len(), 3);
    assert_eq!(file.statements[0].span.file, 1);
}

#[test]
fn included_files_run_in_the_order_of_their_names_with_globals_of_their_own() {
    let folder = Folder::new(&[
        ("site.lua", "name = 'main'\ninclude 'sites/*.lua'\nassert(name == 'main')"),
        ("sites/b.lua", "name = 'b'\nlisten(':2')"),
        ("sites/a.lua", "name = 'a'\nlisten(':1')"),
        ("sites/c.txt", "error()"),
    ]);
    let file = folder.load().unwrap_or_else(|failed| panic!("{}", failed.render())).file;
    let said: Vec<_> = file.statements.iter().map(|made| made.arguments.items[0].value.clone()).collect();
    assert_eq!(said, [Value::Text(":1".into()), Value::Text(":2".into())]);
}

#[test]
fn no_file_above_the_folder_is_read_not_even_by_a_link() {
    let folder = Folder::new(&[
        ("secret.lua", "return 1"),
        ("etc/site.lua", "require './link'"),
        ("etc/b.lua", "include 'l*.lua'"),
    ]);
    std::os::unix::fs::symlink(folder.path("secret.lua"), folder.path("etc/link.lua")).unwrap();
    for name in ["etc/site.lua", "etc/b.lua"] {
        let failed = load(&folder.path(name)).map(drop).unwrap_err();
        assert!(failed.diagnostics[0].message.ends_with("link.lua is outside of the config's folder"), "{failed:?}");
    }
}

#[test]
fn files_that_require_each_other_in_a_circle_are_an_error() {
    let folder = Folder::new(&[("site.lua", "require './a'"), ("a.lua", "require './b'"), ("b.lua", "require './a'")]);
    let errors = folder.errors();
    assert!(errors.starts_with("error: this file requires itself in a circle\n --> b.lua:1:1"), "{errors}");
    let folder = Folder::new(&[("site.lua", "include 'a.lua'"), ("a.lua", "include 'site.lua'")]);
    assert!(folder.errors().contains("includes itself"), "{}", folder.errors());
}

#[test]
fn a_worker_sees_what_was_loaded_and_not_what_the_files_say_now() {
    let folder = Folder::new(&[
        (
            "site.lua",
            "listen ':80'\nsite '*' (function() return reply(200, require_me) end)\nrequire_me = require './a'",
        ),
        ("a.lua", "return 'old'"),
    ]);
    let sources = folder.load().unwrap_or_else(|failed| panic!("{}", failed.render())).sources;
    std::fs::remove_file(folder.path("a.lua")).unwrap();
    std::fs::write(folder.path("site.lua"), "error()").unwrap();
    assert!(evaluate::repeat(&mlua::Lua::new(), &sources).is_ok());
}

#[test]
fn the_globals_can_not_be_changed_for_others() {
    for text in [
        "string.rep = nil",
        "_G.proxy = 1",
        "getmetatable('').__index = nil",
        "loadstring('x')",
        "getfenv(0)",
        "setmetatable(_G, nil)",
    ] {
        assert!(load_one(text).is_err(), "{text}");
    }
}

#[test]
fn a_site_takes_its_routes_in_every_form() {
    let texts = [
        "site 'h' { ['/*'] = reply(200) }",
        "site('h') { ['/*'] = reply(200) }",
        "site('h', { ['/*'] = reply(200) })",
        "site { 'h' } { ['/*'] = reply(200) }",
        "local s = site 'h'\ns { ['/*'] = reply(200) }",
    ];
    for text in texts {
        let made = &statements(text)[0];
        assert!(made.complete, "{text}");
        assert_eq!(made.name.items[0].value, Value::Text("h".into()), "{text}");
        assert_eq!(made.arguments.entries[0].key, Key::Text("/*".into()), "{text}");
    }
    assert_eq!(statements("site 'h' (reply(200))")[0].arguments.items.len(), 1);
    let options = &statements("site { 'a', 'b', listen = ':80' } {}")[0];
    assert_eq!((options.name.items.len(), options.name.entries.len()), (2, 1));
}

#[test]
fn keys_and_items_know_their_places() {
    let made = &statements("limits {\n  head = 1,\n  ['uri'] = 2 }\ntrust { '::1',\n  'unix' }")[..];
    let places: Vec<_> =
        made[0].arguments.entries.iter().map(|entry| (entry.span.line, entry.span.column, entry.span.length)).collect();
    assert_eq!(places, [(2, 3, 4), (3, 4, 5)]);
    let places: Vec<_> = made[1].arguments.items.iter().map(|item| (item.span.line, item.span.column)).collect();
    assert_eq!(places, [(4, 9), (5, 3)]);
}

#[test]
fn one_function_has_one_number_however_often_it_is_named() {
    let text = "local f = function() end\nsite 'a' { ['/'] = f, ['/x'] = { f, reply(200) } }\nsite 'b' (function() return f end)";
    let loaded = load_one(text).ok().unwrap();
    assert_eq!(loaded.file.functions, 2);
    assert_eq!(loaded.file.statements[1].arguments.items[0].value, Value::Function(FunctionId(1)));
}

#[test]
fn a_string_that_is_caught_by_pcall_does_not_hide_what_was_wrong() {
    assert_eq!(messages("pcall(function() trust { nil, 'x' } end)"), ["1:26 item 1 of this list is nil"]);
}
