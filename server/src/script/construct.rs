//! The constructors: what a file calls, and what those calls return.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
};

use mlua::{Lua, MetaMethod, MultiValue, UserData, UserDataMethods, Value as LuaValue};
use rsp_core::config::{
    Diagnostic, Handler,
    options::{self, Constructor, Kind},
    raw::{Made, Table},
};

use super::{
    channels::Channels,
    convert::{Conversion, kind},
    recorder::Recorder,
    trouble::Raised,
};

/// What a constructor returns.
pub(super) struct Handle {
    made: RefCell<Arc<Made>>,
    /// Its place among the statements, while `site "x"` or `upstream "x"` still waits for its table.
    waits: Cell<Option<usize>>,
    /// What its check on a request came to, where that is the same on all routes: a handler that was built at the top
    /// of the file is checked once.
    pub(super) checked: OnceCell<Handler>,
}

/// Puts every constructor of the table of options into `globals`, but those that need more than their arguments.
pub(super) fn install(lua: &Lua, globals: &mlua::Table, recorder: &Rc<Recorder>) -> mlua::Result<()> {
    for constructor in options::constructors().filter(|constructor| constructor.kind != Kind::Evaluation) {
        let recorder = Rc::clone(recorder);
        if constructor.name == "channel" {
            globals.raw_set(constructor.name, lua.create_userdata(Channels { recorder, constructor })?)?;
            continue;
        }
        let construct = move |lua: &Lua, arguments: MultiValue| construct(lua, &recorder, constructor, arguments);
        globals.raw_set(constructor.name, lua.create_function(construct)?)?;
    }
    Ok(())
}

impl Handle {
    pub(super) fn made(&self) -> Arc<Made> {
        Arc::clone(&self.made.borrow())
    }
}

impl UserData for Handle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Call, |lua, this, arguments: MultiValue| this.complete(lua, arguments));
        methods.add_meta_method(MetaMethod::Index, |lua, this, key: LuaValue| this.no_field(lua, &key));
        methods.add_meta_method(MetaMethod::NewIndex, |lua, this, (key, _): (LuaValue, LuaValue)| {
            this.no_field(lua, &key)
        });
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.made.borrow().what));
    }
}

pub(super) fn construct(
    lua: &Lua,
    recorder: &Rc<Recorder>,
    constructor: &'static Constructor,
    arguments: MultiValue,
) -> mlua::Result<LuaValue> {
    let what = constructor.name;
    let arguments = arguments.as_slices().0;
    let conversion = Conversion::of_call(lua, recorder, (what, 1), arguments);
    let statement = constructor.kind == Kind::Statement;
    if statement && recorder.serving.get() {
        let message = format!("`{what}` can't be called while a request runs");
        return Err(Raised::error(conversion.span, message, "it belongs to the top of the file"));
    }
    if constructor.kind == Kind::Value && !constructor.landed {
        let error = Diagnostic::error(conversion.span, format!("`{what}` is not in this version"), "");
        recorder.report(error)?;
    }
    let steps = steps(what, arguments);
    let (name, arguments) = match steps {
        Steps::One => (Table::default(), conversion.arguments(arguments)?),
        Steps::Two => (conversion.arguments(arguments)?, Table::default()),
        Steps::Both => (conversion.arguments(&arguments[..1])?, conversion.arguments(&arguments[1..])?),
    };
    let complete = !matches!(steps, Steps::Two);
    let made = Arc::new(Made { what, name, arguments, complete, span: conversion.span });
    let mut waits = None;
    if statement {
        let mut statements = recorder.statements.borrow_mut();
        waits = (!complete).then_some(statements.len());
        statements.push(Arc::clone(&made));
    }
    if statement && complete && what != "upstream" {
        return Ok(LuaValue::Nil);
    }
    handle(lua, made, waits)
}

/// In how many steps a constructor gets its arguments.
#[derive(Clone, Copy)]
enum Steps {
    One,
    /// This is the first of two.
    Two,
    /// Both are in one call: `site("h", { … })`.
    Both,
}

fn steps(what: &str, arguments: &[LuaValue]) -> Steps {
    match (what, arguments) {
        ("site", [_]) | ("upstream", [LuaValue::String(_)]) => Steps::Two,
        ("site", [_, _]) | ("upstream", [LuaValue::String(_), LuaValue::Table(_)]) => Steps::Both,
        _ => Steps::One,
    }
}

fn handle(lua: &Lua, made: Arc<Made>, waits: Option<usize>) -> mlua::Result<LuaValue> {
    let handle = Handle { made: RefCell::new(made), waits: Cell::new(waits), checked: OnceCell::new() };
    lua.create_userdata(handle).map(LuaValue::UserData)
}

impl Handle {
    /// The second step of `site "h" { … }` and `upstream "n" { … }`.
    fn complete(&self, lua: &Lua, arguments: MultiValue) -> mlua::Result<LuaValue> {
        let Some(recorder) = lua.app_data_ref::<Rc<Recorder>>().map(|recorder| Rc::clone(&recorder)) else {
            return Ok(LuaValue::Nil);
        };
        let first = self.made();
        // Lua passes the called value first.
        let arguments = arguments.as_slices().0;
        let conversion = Conversion::of_call(lua, &recorder, (first.what, 2), arguments);
        let Some(index) = self.waits.take() else {
            let message = match first.what {
                "site" | "upstream" => format!("this `{}` was given its table already", first.what),
                what => format!("`{what}` is complete, and can't be called"),
            };
            return Err(Raised::error(conversion.span, message, "is a comma missing?"));
        };
        let arguments = conversion.arguments(arguments)?;
        let made = Made { name: first.name.clone(), arguments, complete: true, span: first.span, what: first.what };
        let made = Arc::new(made);
        if let Some(statement) = recorder.statements.borrow_mut().get_mut(index) {
            *statement = Arc::clone(&made);
        }
        *self.made.borrow_mut() = Arc::clone(&made);
        match made.what {
            "upstream" => handle(lua, made, None),
            _ => Ok(LuaValue::Nil),
        }
    }

    fn no_field(&self, lua: &Lua, key: &LuaValue) -> mlua::Result<()> {
        let what = self.made.borrow().what;
        let name = key.as_string().map(|name| name.to_string_lossy());
        let span = lua
            .app_data_ref::<Rc<Recorder>>()
            .map(|recorder| recorder.word(recorder.line(lua, 1), name.as_deref().unwrap_or_default()));
        let field = name.as_ref().map_or(kind(key).to_owned(), |name| format!("`{name}`"));
        let message = format!("`{what}` has no field {field}");
        Err(Raised::error(span.unwrap_or_default(), message, "options are given in its table"))
    }
}
