//! Raw values from the config file become one checked [`Config`], or a list of diagnostics.
//!
//! **Invariant:** a [`Config`] is complete: every default filled in, every name resolved, every range checked.
//! **Invariant:** a [`Diagnostic`] names the file, the line and what would have been right.

pub mod checked;
pub mod raw;

pub use checked::*;
