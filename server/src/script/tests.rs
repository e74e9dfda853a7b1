//! Stories of evaluation: config files in, raw values and drawn diagnostics out.

mod engine;

use std::path::{Path, PathBuf};

use rsp_core::config::{
    self, Context,
    raw::{FunctionId, Key, Made, Value},
};

use super::*;
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
        let drawn = match self.load() {
            Err(failed) => draw(&failed.diagnostics, &failed.sources, false),
            Ok(loaded) => {
                let path = self.path("site.lua.sock");
                let context = Context { folder: self.0.path(), admin_socket: &path, probe: &probe };
                let found = config::check(&loaded.file, &context).map_or_else(|found| found, |(_, warnings)| warnings);
                draw(&found, &loaded.file.sources, false)
            }
        };
        drawn.replace(&format!("{}/", self.0.path().display()), "")
    }
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

#[test]
fn scratch() {
    let folder = Folder::new(&[(
        "site.lua",
        r#"
listen "127.0.0.1:8080"
local app = upstream "app" {
  "127.0.0.1:3000", { "127.0.0.1:3001", weight = 2, bakcup = true },
  balance = "least",
  outlier = { failuers = 3 },
}
site "example.com" {
  ["/"]               = reply(200, "x"), ["/b"] = reply("x"),
  ["/api/*"]          = proxy(app),
  ["/api/*"]          = proxy(app),
  ["/who"]            = function(request) if true then return reply(200, request.client.ip .. "\n") end end,
  ["/x"] = reply(200, if a then b else c, { x = 1, x = 2 }),
}
"#,
    )]);
    println!("{}", folder.errors());
    let folder = Folder::new(&[(
        "site.lua",
        r#"
listen "127.0.0.1:8080"
local app = upstream "app" {
  "127.0.0.1:3000", { "127.0.0.1:3001", weight = 2, bakcup = true },
  balance = "least",
  outlier = { failuers = 3 },
}
site "example.com" {
  ["/"]               = reply(200, "x"), ["/b"] = reply("x"),
  ["/api/*"]          = proxy { app, timeuot = "3s" },
  ["/who"]            = function(request) if true then return reply(200, request.client.ip .. "\n") end end,
}
site "b"
"#,
    )]);
    println!("{}", folder.errors());
    for text in [
        "local x = \n\n 1 + {}",
        "local function f()\n  error('boom')\nend\nf()",
        "lisen ':80'",
        "x = = 2",
        "local a = {}\na.b.c = 1",
        "listenPort = 80 + nil\nbackendPort='9'",
        "io.open('x')",
        "print(os.getenv('x'))",
        "env 'NOPE'",
        "while true do end",
        "require './x'",
        "pcall(function() error() end) error({})",
        "listen ':80' {}",
    ] {
        match load_one(text) {
            Ok(_) => println!("OK {text}"),
            Err(f) => println!("{}", draw(&f.diagnostics, &f.sources, false)),
        }
    }
}

/// `cargo test --release -p rsp hundred_thousand -- --ignored --nocapture`
#[test]
#[ignore = "takes a while without optimisation"]
fn a_hundred_thousand_sites_are_evaluated_in_a_second() {
    let shared = "listen ':80'\nlocal app = upstream 'app' { '127.0.0.1:3000' }\nlocal to = proxy(app)\n
        for i = 1, 100000 do
            local routes = {}
            for j = 1, 10 do routes['/' .. j .. '/*'] = TO end
            site('s' .. i .. '.example') (routes)
        end";
    for (name, text) in
        [("shared handler", shared.replace("TO", "to")), ("own handlers", shared.replace("TO", "proxy(app)"))]
    {
        let start = std::time::Instant::now();
        let loaded = load_one(&text).unwrap_or_else(|failed| panic!("{}", failed.render()));
        println!("{name}: {} ms", start.elapsed().as_millis());
        assert_eq!(loaded.file.statements.len(), 100_002);
        assert_eq!(loaded.file.statements[100_001].arguments.entries.len(), 10);
    }
}
