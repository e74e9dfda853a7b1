//! Renders `rsp.d.luau`.

/// The types.
pub fn luau_types() -> String {
    String::new()
}
