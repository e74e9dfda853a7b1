//! JSON text as Lua values, and back.

use mlua::{Lua, Value as LuaValue};
use serde_json::Value;

use super::convert::kind;

/// Parses a text. `null` is nil, so it is missing from tables; 128 values inside each other at most.
pub(super) fn parse(lua: &Lua, text: &[u8]) -> mlua::Result<LuaValue> {
    match serde_json::from_slice(text) {
        Ok(value) => to_lua(lua, &value),
        Err(error) => Err(mlua::Error::runtime(format!("the body is not JSON: {error}"))),
    }
}

fn to_lua(lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
    Ok(match value {
        Value::Null => LuaValue::Nil,
        Value::Bool(value) => LuaValue::Boolean(*value),
        Value::Number(number) => LuaValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => LuaValue::String(lua.create_string(text)?),
        Value::Array(values) => {
            let table = lua.create_table_with_capacity(values.len(), 0)?;
            for (index, value) in values.iter().enumerate() {
                table.raw_set(index + 1, to_lua(lua, value)?)?;
            }
            LuaValue::Table(table)
        }
        Value::Object(fields) => {
            let table = lua.create_table_with_capacity(0, fields.len())?;
            for (name, value) in fields {
                table.raw_set(name.as_str(), to_lua(lua, value)?)?;
            }
            LuaValue::Table(table)
        }
    })
}

/// Tables inside of tables that are written, at most.
const DEPTH_MAX: usize = 64;

/// Writes a value as JSON, `bytes_max` at most: a table with a list is an array, any other an object, as `reply` has it.
///
/// # Errors
/// What is wrong with it, as the end of a sentence: functions and the like, numbers that JSON doesn't have, text that is not
/// UTF-8, keys that are no strings, a table with both parts, too many bytes or tables inside each other.
pub(super) fn write(value: &LuaValue, bytes_max: usize) -> Result<String, String> {
    let mut writer = Writer { out: String::new(), bytes_max };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    bytes_max: usize,
}

impl Writer {
    fn value(&mut self, value: &LuaValue, depth: usize) -> Result<(), String> {
        match value {
            LuaValue::Nil => self.push("null"),
            LuaValue::Boolean(value) => self.push(if *value { "true" } else { "false" }),
            LuaValue::Integer(number) => self.push(&number.to_string()),
            LuaValue::Number(number) if number.is_finite() => self.push(&number.to_string()),
            LuaValue::String(text) => self.text(text),
            LuaValue::Table(_) if depth == DEPTH_MAX => {
                Err(format!("has more than {DEPTH_MAX} tables inside each other"))
            }
            LuaValue::Table(table) if table.raw_len() > 0 => self.list(table, depth),
            LuaValue::Table(table) => self.object(table, depth),
            other => Err(format!("can't be written as JSON: it holds {}", kind(other))),
        }
    }

    fn list(&mut self, table: &mlua::Table, depth: usize) -> Result<(), String> {
        let length = table.raw_len();
        for index in 1..=length {
            self.push(if index == 1 { "[" } else { "," })?;
            let value: LuaValue = table.raw_get(index).map_err(|error| error.to_string())?;
            self.value(&value, depth + 1)?;
        }
        let mut entries = 0;
        // Ends early: a table may have any number of keys.
        let counted = table.for_each(|_: LuaValue, _: LuaValue| {
            entries += 1;
            if entries > length { Err(mlua::Error::runtime("")) } else { Ok(()) }
        });
        match counted {
            Ok(()) => self.push("]"),
            Err(_) => Err("can't be written as JSON: a table with both a list and keys".to_owned()),
        }
    }

    /// Keys are in order, so that equal tables come to equal texts.
    fn object(&mut self, table: &mlua::Table, depth: usize) -> Result<(), String> {
        let mut entries = Vec::new();
        let mut wrong = None;
        let read = table.for_each(|key: LuaValue, value: LuaValue| {
            match key {
                LuaValue::String(key) if entries.len() < self.bytes_max => entries.push((key, value)),
                LuaValue::String(_) => wrong = Some(self.too_long()),
                other => wrong = Some(format!("can't be written as JSON: a key is {}", kind(&other))),
            }
            if wrong.is_some() { Err(mlua::Error::runtime("")) } else { Ok(()) }
        });
        if let Some(wrong) = wrong.or(read.err().map(|error| error.to_string())) {
            return Err(wrong);
        }
        entries.sort_by_cached_key(|(key, _)| key.as_bytes().to_vec());
        self.push("{")?;
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                self.push(",")?;
            }
            self.text(key)?;
            self.push(":")?;
            self.value(value, depth + 1)?;
        }
        self.push("}")
    }

    fn text(&mut self, text: &mlua::LuaString) -> Result<(), String> {
        let bytes = text.as_bytes();
        if bytes.len() > self.bytes_max {
            return Err(self.too_long());
        }
        let text = str::from_utf8(&bytes).map_err(|_| "can't be written as JSON: a text is not UTF-8".to_owned())?;
        self.push(&Value::from(text).to_string())
    }

    fn push(&mut self, text: &str) -> Result<(), String> {
        if self.out.len() + text.len() > self.bytes_max {
            return Err(self.too_long());
        }
        self.out.push_str(text);
        Ok(())
    }

    fn too_long(&self) -> String {
        format!("has more than {} bytes as JSON", self.bytes_max)
    }
}
