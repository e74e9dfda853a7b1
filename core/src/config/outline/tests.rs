//! Stories of the outline.
