//! JSON text as Lua values.

use mlua::{Lua, Value as LuaValue};
use serde_json::Value;

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
