//! Edits that the config asks for.

use http::HeaderMap;

use crate::config::HeaderEdit;

/// Removes, then sets, then adds; a map that is full stays as it is.
pub fn edit(headers: &mut HeaderMap, edit: &HeaderEdit) {
    for name in &edit.remove {
        headers.remove(name);
    }
    for (name, _) in &edit.set {
        headers.remove(name);
    }
    // Of two values that are set for one name, both stand: the config wrote both.
    for (name, value) in edit.set.iter().chain(&edit.add) {
        // Only a map of 2^15 names refuses, and limits keep heads far below.
        let _ = headers.try_append(name.clone(), value.clone());
    }
}
