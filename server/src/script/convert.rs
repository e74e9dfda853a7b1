//! Lua values become raw values, each with its place where the outline knows it.

use std::{cell::Cell, rc::Rc};

use mlua::{Lua, Value as LuaValue};
use rsp_core::config::{
    Diagnostic,
    outline::{Argument, Call, Literal, Outline},
    raw::{Entry, Item, Key, Span, Table, Value},
};

use super::{channels::Channels, construct::Handle, recorder::Recorder, trouble::Raised};

/// Tables inside of tables; a table that holds itself ends here.
const DEPTH_MAX: u32 = 32;

/// Integer keys from here on are statuses; a smaller one behind a gap is a hole.
const STATUS_MIN: i64 = 100;

/// Values of one handler that a request builds: converting them can't be interrupted, and takes some 20 ms.
const VALUES_MAX: u32 = 100_000;

/// Converts the arguments of one call.
pub(super) struct Conversion<'a> {
    lua: &'a Lua,
    recorder: &'a Recorder,
    outline: Option<Rc<Outline>>,
    /// Which call of the outline this is.
    call: Option<usize>,
    name: &'static str,
    /// How many values may still be converted.
    left: Cell<u32>,
    /// The call.
    pub(super) span: Span,
}

impl<'a> Conversion<'a> {
    /// For a call of `name` that happens right now.
    pub(super) fn of_call(
        lua: &'a Lua,
        recorder: &'a Recorder,
        (name, step): (&'static str, u8),
        arguments: &[LuaValue],
    ) -> Self {
        let line = recorder.line(lua, 1);
        let left = Cell::new(if recorder.serving.get() { VALUES_MAX } else { u32::MAX });
        let mut conversion = Self { lua, recorder, outline: None, call: None, name, left, span: line };
        if recorder.serving.get() || line.line == 0 {
            return conversion;
        }
        conversion.outline = recorder.outline_of(line.file);
        let calls = conversion.outline.as_ref().map_or(&[][..], |outline| outline.calls_at(line.line));
        conversion.call = which(calls, conversion.outline.as_deref(), (name, step), arguments);
        if let Some(call) = conversion.call.and_then(|index| calls.get(index)) {
            conversion.span = call.span;
        }
        conversion
    }

    /// For values that no call was given.
    pub(super) fn of_file(lua: &'a Lua, recorder: &'a Recorder) -> Self {
        Self { lua, recorder, outline: None, call: None, name: "", left: Cell::new(u32::MAX), span: Span::default() }
    }

    fn literal_call(&self) -> Option<&Call> {
        self.outline.as_ref()?.calls_at(self.span.line).get(self.call?)
    }

    fn literal(&self, argument: Option<&Argument>) -> Option<&Literal> {
        self.outline.as_ref()?.table(argument?.table?)
    }

    /// One table for all arguments: a single one that is a table is it, others are its items.
    pub(super) fn arguments(&self, arguments: &[LuaValue]) -> mlua::Result<Table> {
        let places = self.literal_call().map_or(&[][..], |call| &call.arguments);
        if let [LuaValue::Table(table)] = arguments {
            return self.table(table, self.literal(places.first()), 0);
        }
        let given = arguments.iter().rposition(|value| !value.is_nil()).map_or(0, |last| last + 1);
        if given == 0 && !arguments.is_empty() {
            return Err(Raised::error(
                self.span,
                format!("`{}` is given nil", self.name),
                "a name that was never set?",
            ));
        }
        let mut items = Vec::with_capacity(given);
        for (index, value) in arguments[..given].iter().enumerate() {
            let place = places.get(index);
            let span = place.map_or(self.span, |place| place.span);
            if value.is_nil() {
                let message = format!("argument {} of `{}` is nil", index + 1, self.name);
                self.recorder.report(Diagnostic::error(span, message, "a name that was never set?"))?;
                continue;
            }
            let value = self.value(value, self.literal(place), span, 0)?;
            items.push(Item { value, span });
        }
        Ok(Table { items, entries: Vec::new() })
    }

    fn table(&self, table: &mlua::Table, literal: Option<&Literal>, depth: u32) -> mlua::Result<Table> {
        if depth == DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} tables inside each other");
            return Err(Raised::error(self.span, message, "does a table hold itself?"));
        }
        let mut items: Vec<Item> = Vec::with_capacity(table.raw_len().min(self.left.get() as usize));
        let mut entries = Vec::with_capacity(literal.map_or(0, |literal| literal.entries.len()));
        table.for_each(|key: LuaValue, value: LuaValue| {
            match self.key(&key)? {
                Key::Number(number) if number == items.len() as i64 + 1 => {
                    let place = literal.and_then(|literal| literal.items.get(items.len()));
                    let span = place.map_or(self.span, |place| place.span);
                    items.push(Item { value: self.value(&value, self.literal(place), span, depth)?, span });
                }
                Key::Number(number) if (1..STATUS_MIN).contains(&number) => self.hole(items.len() + 1, literal)?,
                key => {
                    let place = literal.and_then(|literal| literal.entry(&key));
                    let span = place.map_or(self.span, |entry| entry.span);
                    let nested = self.literal(place.map(|entry| &entry.value));
                    let value = self.value(&value, nested, span, depth)?;
                    entries.push(Entry { key, value, span });
                }
            }
            Ok(())
        })?;
        if literal.is_some() {
            entries.sort_by_key(|entry| entry.span);
        }
        Ok(Table { items, entries })
    }

    fn hole(&self, index: usize, literal: Option<&Literal>) -> mlua::Result<()> {
        let place = literal.and_then(|literal| literal.items.get(index - 1));
        let span = place.map_or(self.span, |place| place.span);
        let message = format!("item {index} of this list is nil");
        self.recorder.report(Diagnostic::error(span, message, "a name that was never set?"))
    }

    fn key(&self, key: &LuaValue) -> mlua::Result<Key> {
        match key {
            LuaValue::String(text) => match text.to_str() {
                Ok(text) => Ok(Key::Text(text.to_owned())),
                Err(_) => Err(Raised::error(self.span, "a key is not UTF-8", "")),
            },
            LuaValue::Integer(number) => Ok(Key::Number(*number)),
            other => {
                let message = format!("a key must be a string or a whole number, not {}", kind(other));
                Err(Raised::error(self.span, message, ""))
            }
        }
    }

    fn value(&self, value: &LuaValue, literal: Option<&Literal>, span: Span, depth: u32) -> mlua::Result<Value> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None if self.recorder.serving.get() => {
                let message = format!("a handler of more than {VALUES_MAX} values");
                return Err(Raised::error(self.span, message, "while a request runs; answer with less"));
            }
            None => {}
        }
        Ok(match value {
            LuaValue::Boolean(value) => Value::Bool(*value),
            LuaValue::Integer(number) => Value::Number(*number as f64),
            LuaValue::Number(number) => Value::Number(*number),
            LuaValue::String(text) => match text.to_str() {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => {
                    self.recorder.report(Diagnostic::error(span, "this string is not UTF-8", "text must be UTF-8"))?;
                    Value::Text(text.to_string_lossy())
                }
            },
            LuaValue::Table(table) => Value::Table(self.table(table, literal, depth + 1)?),
            LuaValue::Function(function) => self.function(function, span)?,
            LuaValue::UserData(data) => match data.borrow::<Handle>() {
                Ok(handle) => Value::Made(handle.made()),
                Err(_) if data.is::<Channels>() => return Err(named(span)),
                Err(_) => return Err(Raised::error(span, "a request can't be part of a handler", "")),
            },
            other => {
                let message = format!("{} means nothing here", kind(other));
                return Err(Raised::error(span, message, ""));
            }
        })
    }

    fn function(&self, function: &mlua::Function, span: Span) -> mlua::Result<Value> {
        if function.info().what == "C" {
            return Err(named(span));
        }
        if self.recorder.serving.get() {
            let message = "a handler that is built while a request runs can't hold a function";
            return Err(Raised::error(span, message, "call it, and build the handler from what it returns"));
        }
        self.recorder.number(self.lua, function).map(Value::Function)
    }
}

fn named(span: Span) -> mlua::Error {
    Raised::error(span, "a constructor must be called, not named", "with its arguments, or with ()")
}

/// What a person calls a value.
pub(super) fn kind(value: &LuaValue) -> &'static str {
    match value {
        LuaValue::Nil => "nil",
        LuaValue::Boolean(_) => "a boolean",
        LuaValue::Integer(_) | LuaValue::Number(_) => "a number",
        LuaValue::String(_) => "a string",
        LuaValue::Table(_) => "a table",
        LuaValue::Function(_) => "a function",
        LuaValue::Thread(_) => "a coroutine",
        _ => "a value of Lua's own",
    }
}

/// Which of the calls on one line it is: the only one of its name, or the only one that says what was given.
fn which(calls: &[Call], outline: Option<&Outline>, (name, step): (&str, u8), arguments: &[LuaValue]) -> Option<usize> {
    /// A line with more of them is one that no person wrote.
    const CANDIDATES_MAX: usize = 16;
    let named = |call: &Call| call.step == step && *call.name == *name;
    let mut candidates = calls.iter().enumerate().filter(|(_, call)| named(call));
    let first = candidates.next()?;
    if candidates.next().is_none() {
        return Some(first.0);
    }
    if calls.len() > CANDIDATES_MAX {
        return None;
    }
    let mut fitting = calls.iter().enumerate().filter(|(_, call)| named(call) && fits(call, outline, arguments));
    let (index, _) = fitting.next()?;
    fitting.next().is_none().then_some(index)
}

/// Whether these arguments can be what the literal call says.
fn fits(call: &Call, outline: Option<&Outline>, arguments: &[LuaValue]) -> bool {
    call.arguments.len() == arguments.len()
        && call.arguments.iter().zip(arguments).all(|(said, given)| match (&said.text, said.table, given) {
            (Some(text), _, LuaValue::String(given)) => given.as_bytes() == text.as_bytes(),
            (_, Some(id), LuaValue::Table(given)) => {
                outline.and_then(|outline| outline.table(id)).is_none_or(|literal| same_shape(literal, given))
            }
            (Some(_), _, _) | (_, Some(_), _) => false,
            (None, None, _) => true,
        })
}

fn same_shape(literal: &Literal, given: &mlua::Table) -> bool {
    let mut keys = 0;
    let counted = given.for_each(|key: LuaValue, _: LuaValue| {
        keys += usize::from(key.is_string());
        Ok(())
    });
    let has = |key: &Key| match key {
        Key::Text(key) => given.raw_get::<LuaValue>(key.as_str()),
        Key::Number(key) => given.raw_get::<LuaValue>(*key),
    };
    let texts = literal.entries.iter().filter(|entry| matches!(entry.key, Key::Text(_))).count();
    let same = |item: (usize, &Argument)| match &item.1.text {
        Some(text) => {
            given.raw_get::<mlua::LuaString>(item.0 + 1).is_ok_and(|given| given.as_bytes() == text.as_bytes())
        }
        None => true,
    };
    counted.is_ok()
        && (literal.computed || keys == texts)
        && literal.items.len() == given.raw_len()
        && literal.items.iter().enumerate().all(same)
        && literal.entries.iter().all(|entry| has(&entry.key).is_ok_and(|value| !value.is_nil()))
}
