//! The status for a person: the same facts as the JSON, as aligned text.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Readable text of the status; what is no JSON object is shown as it came.
pub fn readable(json: &str) -> String {
    let Ok(Value::Object(facts)) = serde_json::from_str(json) else { return json.to_owned() };
    let mut text = String::new();
    show_facts(&mut text, &facts, "");
    text
}

/// Plain facts first, one a line, then the lists of things.
fn show_facts(text: &mut String, facts: &Map<String, Value>, indent: &str) {
    let plain = || sorted(facts).filter(|(_, value)| !is_list_of_things(value));
    let width = plain().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in plain() {
        // A String takes everything that is written to it.
        let _ = writeln!(text, "{indent}{key:width$}  {}", plain_text(value));
    }
    let inner = format!("{indent}  ");
    for (key, value) in sorted(facts).filter(|(_, value)| is_list_of_things(value)) {
        let _ = writeln!(text, "{indent}{key}");
        let things: Vec<_> = value.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
        if things.iter().all(|thing| thing.values().all(|value| !is_list_of_things(value))) {
            show_table(text, &things, &inner);
        } else {
            things.iter().for_each(|thing| show_facts(text, thing, &inner));
        }
    }
}

fn show_table(text: &mut String, things: &[&Map<String, Value>], indent: &str) {
    let Some(first) = things.first() else { return };
    let columns: Vec<_> = sorted(first).map(|(key, _)| key).collect();
    let mut rows = vec![columns.iter().map(ToString::to_string).collect::<Vec<_>>()];
    rows.extend(
        things
            .iter()
            .map(|thing| columns.iter().map(|key| thing.get(*key).map_or_else(String::new, plain_text)).collect()),
    );
    let widths: Vec<_> =
        (0..columns.len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{indent}{}", cells.join("  ").trim_end());
    }
}

/// By key, but what names a thing comes first.
fn sorted(facts: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut all: Vec<_> = facts.iter().collect();
    all.sort_by_key(|(key, _)| (!matches!(key.as_str(), "name" | "hosts" | "version"), key.as_str()));
    all.into_iter()
}

fn is_list_of_things(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(Value::is_object))
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(plain_text).collect::<Vec<_>>().join(", "),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_reads_as_aligned_lines_and_tables() {
        let json = serde_json::json!({
            "version": "0.1.0",
            "pid": 7,
            "listeners": ["127.0.0.1:8080", "[::1]:8080"],
            "sites": [{"hosts": ["example.com", "*.example.com"], "routes": 3}, {"hosts": ["*"], "routes": 12}],
            "upstreams": [
                {"name": "app", "endpoints": [
                    {"name": "127.0.0.1:3000", "available": true, "in_flight": 2},
                    {"name": "127.0.0.1:3001", "available": false, "in_flight": 0},
                ]},
            ],
        });
        let wanted = "\
version    0.1.0
listeners  127.0.0.1:8080, [::1]:8080
pid        7
sites
  hosts                       routes
  example.com, *.example.com  3
  *                           12
upstreams
  name  app
  endpoints
    name            available  in_flight
    127.0.0.1:3000  yes        2
    127.0.0.1:3001  no         0
";
        assert_eq!(readable(&json.to_string()), wanted);
    }

    #[test]
    fn what_is_no_status_is_shown_as_it_came() {
        assert_eq!(readable("nonsense"), "nonsense");
        assert_eq!(readable("{\"a\":\"x\\u001b[2J\",\"b\":[]}"), "a  x?[2J\nb  -\n");
    }
}
