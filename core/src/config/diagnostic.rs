//! What is wrong with a config, as plain data: the binary draws it with the source text.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::raw::{Source, Span};

/// One thing to say about a config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the config can run all the same.
    pub severity: Severity,
    /// What is wrong, one line.
    pub message: String,
    /// The file of [`Diagnostic::span`]; empty when the line is 0.
    pub path: PathBuf,
    /// What to underline; a line of 0 means that no place is known.
    pub span: Span,
    /// What would be right, to stand beside the underline; may be empty.
    pub label: String,
    /// Other places that have a part in it.
    pub notes: Vec<Note>,
}

/// Whether a config with this diagnostic can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It can't.
    Error,
    /// It can, but somebody should look.
    Warning,
}

/// A second place of a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What to underline.
    pub span: Span,
    /// What is there.
    pub label: String,
}

impl Diagnostic {
    /// An error at a place; `label` says what would be right.
    pub fn error(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            path: PathBuf::new(),
            span,
            label: label.into(),
            notes: Vec::new(),
        }
    }

    /// A warning at a place; `label` says what would be better.
    pub fn warning(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message, label) }
    }

    /// The same, pointing at a second place too.
    pub fn note(mut self, span: Span, label: impl Into<String>) -> Self {
        self.notes.push(Note { span, label: label.into() });
        self
    }

    /// The same, with the path of its file filled in.
    pub fn located(mut self, sources: &[Source]) -> Self {
        let source = sources.get(self.span.file as usize).filter(|_| self.span.line > 0);
        self.path = source.map_or(Path::new(""), |source| &source.path).to_owned();
        self
    }
}

/// `file:line: message`, or the message alone where no place is known.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.span.line > 0 {
            write!(f, "{}:{}: ", self.path.display(), self.span.line)?;
        }
        f.write_str(&self.message)
    }
}
