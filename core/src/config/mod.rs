//! Raw values from the config file become one checked [`Config`], or a list of diagnostics.
//!
//! **Invariant:** a [`Config`] is complete: every default filled in, every name resolved, every range checked.
//! **Invariant:** a [`Diagnostic`] names the file, the line and what would have been right.
//! **Invariant:** what a constructor takes is said once, in [`options`]; parser, reference and editor types follow.

mod address;
mod check;
pub mod checked;
mod diagnostic;
mod editor;
mod error_pages;
mod files;
mod json;
mod manual;
mod nearest;
mod networks;
pub mod options;
pub mod outline;
pub mod raw;
mod reader;
mod reference;
mod settings;
pub mod units;

pub use check::{
    Account, CheckAuthorities, CheckCertificate, Context, FindProgram, PathKind, ReadFile, RequestContext, check,
    check_handler,
};
pub use checked::*;
pub use diagnostic::{Diagnostic, Note, Severity};
pub use editor::luau_types;
pub use manual::manual;
pub use nearest::nearest;
pub use reference::reference;
