//! Renders `doc/reference.md`.

/// The reference.
pub fn reference() -> String {
    String::new()
}
