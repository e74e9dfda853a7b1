//! The globals of a config: Luau's own, the constructors, `env`, `require`, `include`, `print`, and none besides.

use std::{rc::Rc, sync::Arc};

use mlua::{Lua, Value as LuaValue, Variadic};
use rsp_core::config::{Diagnostic, nearest, options};

use super::{
    construct,
    recorder::Recorder,
    sources::chunk_name,
    trouble::{self, Raised},
};

/// What a config may not do: load code by other ways than `require`, reach into the environments of others, or steer
/// the collector.
const REMOVED: [&str; 6] = ["loadstring", "getfenv", "setfenv", "newproxy", "collectgarbage", "require"];

/// Globals of Lua 5.1 that Luau hasn't, and what to do about it.
const FOREIGN: [(&str, &str); 9] = [
    ("io", "a config reads no files; `require` and `include` run other config files"),
    ("package", "`require \"./file\"` needs no path"),
    ("module", "a file returns its values, and `require` gives them"),
    ("dofile", "use `include`"),
    ("loadfile", "use `require`"),
    ("load", "a config can't run text"),
    ("loadstring", "a config can't run text"),
    ("jit", "this is Luau"),
    ("arg", "use `env`"),
];

/// The globals of one evaluation.
pub(super) struct Environment {
    base: mlua::Table,
    recorder: Rc<Recorder>,
}

impl Environment {
    /// Sets up the globals, and locks them.
    pub(super) fn new(lua: &Lua, recorder: &Rc<Recorder>) -> mlua::Result<Rc<Self>> {
        let base = lua.globals();
        for name in REMOVED {
            base.raw_remove(name)?;
        }
        construct::install(lua, &base, recorder)?;
        let environment = Rc::new(Self { base: base.clone(), recorder: Rc::clone(recorder) });
        environment.install(lua)?;
        let undefined = Rc::clone(&environment);
        let index = lua.create_function(move |lua, (_, name): (LuaValue, LuaValue)| undefined.undefined(lua, &name))?;
        let meta = lua.create_table()?;
        meta.raw_set("__index", index)?;
        meta.raw_set("__metatable", false)?;
        base.set_metatable(Some(meta))?;
        if let Ok(os) = base.raw_get::<mlua::Table>("os") {
            let recorder = Rc::clone(recorder);
            let missing =
                lua.create_function(move |lua, (_, name): (LuaValue, LuaValue)| no_os(lua, &recorder, &name))?;
            let meta = lua.create_table()?;
            meta.raw_set("__index", missing)?;
            os.set_metatable(Some(meta))?;
        }
        lua.sandbox(true)?;
        Ok(environment)
    }

    fn install(self: &Rc<Self>, lua: &Lua) -> mlua::Result<()> {
        let this = Rc::clone(self);
        let env = lua.create_function(move |lua, arguments: Variadic<LuaValue>| this.env(lua, &arguments))?;
        self.base.raw_set("env", env)?;
        let this = Rc::clone(self);
        let modules = lua.create_table()?;
        let require = lua.create_function(move |lua, said: LuaValue| this.require(lua, &modules, &said))?;
        self.base.raw_set("require", require)?;
        let this = Rc::clone(self);
        let running = lua.create_table()?;
        let include = lua.create_function(move |lua, said: LuaValue| this.include(lua, &running, &said))?;
        self.base.raw_set("include", include)?;
        let recorder = Rc::clone(&self.recorder);
        let print = lua.create_function(move |lua, values: Variadic<LuaValue>| print(lua, &recorder, &values))?;
        self.base.raw_set("print", print)
    }

    /// Runs one text, with globals of its own behind which all others stand; gives them too.
    pub(super) fn run(&self, lua: &Lua, file: u32) -> mlua::Result<(mlua::Table, LuaValue)> {
        let source = self.recorder.sources.borrow().texts.get(file as usize).cloned();
        let Some(source) = source else { return Err(mlua::Error::runtime("a text is missing")) };
        let own = lua.create_table()?;
        let meta = lua.create_table()?;
        meta.raw_set("__index", &self.base)?;
        meta.raw_set("__metatable", false)?;
        own.set_metatable(Some(meta))?;
        let text = Arc::clone(&source.text);
        let name = format!("={}", chunk_name(&source.path));
        let chunk = lua.load(&*text).set_name(name).set_mode(mlua::chunk::ChunkMode::Text).set_environment(own.clone());
        let function = chunk.into_function()?;
        self.recorder.outline(file)?;
        let value = function.call(())?;
        Ok((own, value))
    }

    /// Reading a global that nobody set.
    fn undefined(&self, lua: &Lua, name: &LuaValue) -> mlua::Result<LuaValue> {
        let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
        let span = self.recorder.word(self.recorder.nearest_line(lua, 1), &name);
        if let Some((_, instead)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
            return Err(Raised::error(span, format!("there is no `{name}` in a config"), *instead));
        }
        let mut known: Vec<String> = Vec::new();
        let _ = self.base.for_each(|key: LuaValue, _: LuaValue| {
            known.extend(key.as_string().map(|key| key.to_string_lossy()));
            Ok(())
        });
        // The table's order is Lua's affair; of two that are as near the first in the alphabet is named.
        known.sort();
        let label = nearest(&name, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        Err(Raised::error(span, format!("`{name}` is not defined"), label.unwrap_or_default()))
    }

    fn env(&self, lua: &Lua, arguments: &[LuaValue]) -> mlua::Result<LuaValue> {
        let span = self.recorder.word(self.recorder.line(lua, 1), "env");
        let Some(name) = arguments.first().and_then(LuaValue::as_string) else {
            return Err(Raised::error(span, "`env` needs the name of a variable", "for example env \"PORT\""));
        };
        let name = name.to_string_lossy();
        let known = self.recorder.sources.borrow().variables.get(&name).cloned();
        let value = match known {
            Some(value) => value,
            None => match std::env::var(&name) {
                Ok(value) => Some(value),
                Err(std::env::VarError::NotPresent) => None,
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(Raised::error(span, format!("the variable {name} is not UTF-8"), ""));
                }
            },
        };
        self.recorder.sources.borrow_mut().variables.insert(name.clone(), value.clone());
        match (value, arguments.get(1)) {
            (Some(value), _) => lua.create_string(value).map(LuaValue::String),
            (None, Some(default)) if !default.is_nil() => Ok(default.clone()),
            (None, _) => {
                let label = format!("set it, or say a default: env(\"{name}\", \"…\")");
                let error = Diagnostic::error(span, format!("the variable {name} is not set"), label);
                self.recorder.report(error)?;
                lua.create_string("").map(LuaValue::String)
            }
        }
    }

    fn require(&self, lua: &Lua, modules: &mlua::Table, said: &LuaValue) -> mlua::Result<LuaValue> {
        let span = self.recorder.word(self.recorder.line(lua, 1), "require");
        let file = self.find(span, "require", said)?.first().copied().unwrap_or_default();
        match modules.raw_get(file + 1)? {
            // A module that returned nothing is kept as false.
            LuaValue::Nil => {}
            LuaValue::Boolean(true) => {
                return Err(Raised::error(span, "this file requires itself in a circle", ""));
            }
            LuaValue::Boolean(false) => return Ok(LuaValue::Nil),
            LuaValue::Table(kept) => return kept.raw_get(1),
            _ => {}
        }
        modules.raw_set(file + 1, true)?;
        let (_, value) = self.run(lua, file)?;
        match &value {
            LuaValue::Nil => modules.raw_set(file + 1, false)?,
            value => modules.raw_set(file + 1, lua.create_sequence_from([value.clone()])?)?,
        }
        Ok(value)
    }

    fn include(&self, lua: &Lua, running: &mlua::Table, said: &LuaValue) -> mlua::Result<()> {
        let span = self.recorder.word(self.recorder.line(lua, 1), "include");
        for file in self.find(span, "include", said)? {
            if file == 0 || running.raw_get(file)? {
                let path = self.recorder.sources.borrow().texts.get(file as usize).map(|text| text.path.clone());
                let path = path.unwrap_or_default();
                return Err(Raised::error(span, format!("{} includes itself", path.display()), "a narrower pattern"));
            }
            running.raw_set(file, true)?;
            self.run(lua, file)?;
            running.raw_set(file, false)?;
        }
        Ok(())
    }

    fn find(&self, span: rsp_core::config::raw::Span, what: &str, said: &LuaValue) -> mlua::Result<Vec<u32>> {
        let Some(said) = said.as_string().map(|said| said.to_string_lossy()) else {
            return Err(Raised::error(span, format!("`{what}` needs a path"), format!("{what} \"./file.lua\"")));
        };
        if self.recorder.serving.get() {
            let message = format!("`{what}` can't be called while a request runs");
            return Err(Raised::error(span, message, "call it at the top of the file, and keep what it gives"));
        }
        let key = (span.file, said);
        if let Some(known) = self.recorder.sources.borrow().found.get(&key) {
            return Ok(known.clone());
        }
        let Some(finder) = &self.recorder.finder else {
            return Err(Raised::error(span, format!("`{what}` asks for another file than the first time"), ""));
        };
        let sources = &mut *self.recorder.sources.borrow_mut();
        let found = match what {
            "require" => finder.borrow_mut().require(sources, span.file, &key.1).map(|file| vec![file]),
            _ => finder.borrow_mut().include(sources, span.file, &key.1),
        };
        let found = found.map_err(|message| Raised::error(span, message, ""))?;
        sources.found.insert(key, found.clone());
        Ok(found)
    }
}

fn no_os(lua: &Lua, recorder: &Recorder, name: &LuaValue) -> mlua::Result<LuaValue> {
    let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
    let span = recorder.word(recorder.nearest_line(lua, 1), &name);
    let label = if name == "getenv" { "use env \"NAME\"" } else { "" };
    Err(Raised::error(span, format!("there is no `os.{name}` in a config"), label))
}

fn print(lua: &Lua, recorder: &Recorder, values: &[LuaValue]) -> mlua::Result<()> {
    let place = trouble::place(recorder.line(lua, 1), &recorder.sources.borrow().texts);
    let texts: Vec<String> = values.iter().map(LuaValue::to_string).collect::<mlua::Result<_>>()?;
    tracing::info!("{place}: {}", texts.join(" "));
    Ok(())
}

/// Whether a name is one that a config may call.
pub(super) fn is_statement(name: &str) -> bool {
    options::find(name).is_some()
}
