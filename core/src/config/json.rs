//! A table of the file as JSON, for `reply`.

use std::fmt::Write;

use super::{
    raw::{Key, Span, Table, Value},
    reader::found,
};

/// Tables inside of tables, at most.
const DEPTH_MAX: usize = 64;

/// Why a value has no JSON, and where it stands.
pub(super) struct JsonError {
    pub(super) span: Span,
    pub(super) message: String,
}

/// Writes a table as JSON: one with an array part is an array, any other an object; an empty one is `{}`.
///
/// Errors: functions and what constructors return, numbers that JSON doesn't have, keys that are no strings, a table
/// with both parts, more than 64 tables inside each other.
pub(super) fn json(table: &Table, span: Span) -> Result<String, JsonError> {
    let mut out = String::new();
    write_table(&mut out, table, span, 0)?;
    Ok(out)
}

fn write_value(out: &mut String, value: &Value, span: Span, depth: usize) -> Result<(), JsonError> {
    match value {
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if number.is_finite() => write_number(out, *number),
        Value::Text(text) => write_string(out, text),
        Value::Table(table) => write_table(out, table, span, depth)?,
        Value::Number(_) | Value::Function(_) | Value::Made(_) => {
            return Err(JsonError { span, message: format!("{} can't be written as JSON", found(value)) });
        }
    }
    Ok(())
}

fn write_table(out: &mut String, table: &Table, span: Span, depth: usize) -> Result<(), JsonError> {
    if depth == DEPTH_MAX {
        return Err(JsonError { span, message: format!("more than {DEPTH_MAX} tables inside each other") });
    }
    if table.items.is_empty() {
        return write_object(out, table, depth);
    }
    if let Some(entry) = table.entries.first() {
        let message = "a table with both a list and keys has no JSON".to_owned();
        return Err(JsonError { span: entry.span, message });
    }
    for (index, item) in table.items.iter().enumerate() {
        out.push(if index == 0 { '[' } else { ',' });
        write_value(out, &item.value, item.span, depth + 1)?;
    }
    out.push(']');
    Ok(())
}

fn write_object(out: &mut String, table: &Table, depth: usize) -> Result<(), JsonError> {
    out.push('{');
    for (index, entry) in table.entries.iter().enumerate() {
        let Key::Text(key) = &entry.key else {
            return Err(JsonError { span: entry.span, message: "a key of JSON must be a string".to_owned() });
        };
        if index > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, &entry.value, entry.span, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

/// Whole numbers without a fraction, all others in the shortest form that reads back the same.
fn write_number(out: &mut String, number: f64) {
    let number = if number == 0.0 { 0.0 } else { number };
    let _ = write!(out, "{number}");
}

/// RFC 8259 §7.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}
