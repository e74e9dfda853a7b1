//! Lua's errors in a person's words: diagnostics for a config, lines of the log for a function.

use std::{fmt, sync::Arc};

use rsp_core::config::{
    Diagnostic,
    raw::{Key, Source, Span},
};

use super::sources::chunk_name;
use crate::error::Fault;

/// Calls that a diagnostic lists.
const FRAMES_MAX: usize = 5;

/// A diagnostic on its way through Lua.
#[derive(Debug, Clone)]
pub(super) struct Raised(pub(super) Diagnostic);

/// A fault on its way through Lua: a body that is too large keeps its own status.
#[derive(Debug, Clone)]
pub(super) struct RaisedFault(pub(super) Fault);

impl Raised {
    pub(super) fn error(span: Span, message: impl Into<String>, label: impl Into<String>) -> mlua::Error {
        mlua::Error::external(Self(Diagnostic::error(span, message, label)))
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match self.0.label.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.0.label),
        }
    }
}

impl std::error::Error for Raised {}

impl fmt::Display for RaisedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.cause)
    }
}

impl std::error::Error for RaisedFault {}

/// What went wrong while a config was evaluated.
pub(super) fn diagnose(error: &mlua::Error, sources: &[Source]) -> Diagnostic {
    let (cause, traceback) = root(error);
    if let Some(Raised(diagnostic)) = cause.downcast_ref::<Raised>() {
        return with_frames(diagnostic.clone(), traceback, sources).located(sources);
    }
    let said = Said::of(cause);
    let (span, message) = said.place(sources);
    let traceback = said.traceback.as_deref().unwrap_or(traceback);
    let label = if matches!(cause, mlua::Error::SyntaxError { .. }) { syntax_hint(&message) } else { "" };
    let message = message.replace("<eof>", "the end of the file");
    with_frames(Diagnostic::error(span, message, label), traceback, sources).located(sources)
}

/// What most likely is behind one of Luau's messages.
fn syntax_hint(message: &str) -> &'static str {
    if message.ends_with("got <eof>") {
        return "a bracket or an `end` is missing somewhere above";
    }
    if message.starts_with("Expected '}'") {
        return "is a comma missing before this?";
    }
    match message.contains("Ambiguous syntax") {
        true => "put a `;` at the end of the line before",
        false => "",
    }
}

/// Why a function failed, where, and what called it: one line for the log.
pub(super) fn describe(error: &mlua::Error, sources: &[Source]) -> String {
    let (cause, traceback) = root(error);
    let (message, traceback) = match cause.downcast_ref::<Raised>() {
        Some(raised) if raised.0.span.line > 0 => {
            (format!("{}: {raised}", place(raised.0.span, sources)), traceback.to_owned())
        }
        Some(raised) => (raised.to_string(), traceback.to_owned()),
        None => {
            let said = Said::of(cause);
            (said.message.clone(), said.traceback.unwrap_or_else(|| traceback.to_owned()))
        }
    };
    let frames = frames(&traceback, sources);
    let placed = take_place(&message, sources).is_some();
    let mut text = match frames.first().filter(|_| !placed) {
        Some(span) => format!("{}: {message}", place(*span, sources)),
        None => message,
    };
    for span in frames.iter().skip(1).take(FRAMES_MAX) {
        text.push_str(&format!(", called from {}", place(*span, sources)));
    }
    text
}

/// The fault that an error carries, if it is one.
pub(super) fn fault(error: &mlua::Error) -> Option<Fault> {
    root(error).0.downcast_ref::<RaisedFault>().map(|raised| raised.0.clone())
}

/// A key as a file writes it.
pub(super) fn key(key: &Key) -> String {
    match key {
        Key::Text(text) => format!("`{}`", text.escape_debug()),
        Key::Number(number) => format!("[{number}]"),
    }
}

/// `file:line`
pub(super) fn place(span: Span, sources: &[Source]) -> String {
    let path = sources.get(span.file as usize).map(|source| chunk_name(&source.path)).unwrap_or_default();
    format!("{path}:{}", span.line)
}

/// What stands under all the wrapping, and the innermost stack trace.
fn root(error: &mlua::Error) -> (&mlua::Error, &str) {
    let mut innermost = (error, "");
    loop {
        match innermost.0 {
            mlua::Error::CallbackError { traceback, cause } => innermost = (cause.as_ref(), traceback),
            mlua::Error::WithContext { cause, .. } | mlua::Error::BadArgument { cause, .. } => {
                innermost.0 = Arc::as_ref(cause);
            }
            _ => return innermost,
        }
    }
}

/// Lua's own words.
struct Said {
    message: String,
    traceback: Option<String>,
}

impl Said {
    fn of(error: &mlua::Error) -> Self {
        let text = match error {
            mlua::Error::RuntimeError(text) | mlua::Error::MemoryError(text) => text.clone(),
            mlua::Error::SyntaxError { message, .. } => message.clone(),
            mlua::Error::StackError => "stack overflow".to_owned(),
            other => other.to_string(),
        };
        match text.split_once("\nstack traceback:") {
            Some((message, traceback)) => {
                Self { message: message.trim_end().to_owned(), traceback: Some(traceback.to_owned()) }
            }
            None => Self { message: text.trim_end().to_owned(), traceback: None },
        }
    }

    /// Takes `file:line:` from the front of the message.
    fn place(&self, sources: &[Source]) -> (Span, String) {
        let (span, rest) = take_place(&self.message, sources).unwrap_or((Span::default(), &self.message));
        (span, rest.trim_start().to_owned())
    }
}

fn take_place<'m>(message: &'m str, sources: &[Source]) -> Option<(Span, &'m str)> {
    sources.iter().enumerate().find_map(|(index, source)| {
        let rest = message.strip_prefix(chunk_name(&source.path).as_str())?.strip_prefix(':')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let line = rest[..digits].parse().ok()?;
        let rest = rest[digits..].strip_prefix(':').unwrap_or(&rest[digits..]);
        Some((Span { file: index as u32, line, column: 0, length: 0 }, rest))
    })
}

/// Lines of the config in a stack trace, innermost first.
fn frames(traceback: &str, sources: &[Source]) -> Vec<Span> {
    traceback.lines().filter_map(|line| Some(take_place(line.trim(), sources)?.0)).collect()
}

fn with_frames(mut diagnostic: Diagnostic, traceback: &str, sources: &[Source]) -> Diagnostic {
    let frames = frames(traceback, sources);
    if let Some(first) = frames.first().filter(|_| diagnostic.span.line == 0) {
        diagnostic.span = *first;
    }
    let here = (diagnostic.span.file, diagnostic.span.line);
    let calls = frames.iter().skip_while(|span| (span.file, span.line) == here);
    for span in calls.take(FRAMES_MAX) {
        diagnostic = diagnostic.note(*span, "called from here");
    }
    diagnostic
}

/// Whether Lua ran out of what it may allocate.
pub(super) fn is_memory(error: &mlua::Error) -> bool {
    let cause = root(error).0;
    matches!(cause, mlua::Error::MemoryError(_)) || Said::of(cause).message.starts_with("not enough memory")
}
