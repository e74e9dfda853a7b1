//! Evaluates a config file: its text in, raw values or diagnostics out.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use mlua::{Lua, VmState};
use rsp_core::config::{
    Context, Diagnostic, check,
    raw::{File, Source, Span, Table, Value},
};

use super::{
    convert::Conversion,
    environment::Environment,
    files::{self, Finder},
    recorder::Recorder,
    sources::Sources,
    trouble::{self, Raised},
};
use crate::error;

/// A config that takes longer is taken for an endless loop.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of Lua's memory while a config is evaluated: a million sites take about one GiB.
const MEMORY_MAX: usize = 8 << 30;

/// The original rsp's globals.
const ORIGINAL: [&str; 3] = ["listenPort", "backendAddress", "backendPort"];

/// What a config file says.
pub struct Loaded {
    /// Its values, not checked.
    pub file: File,
    /// For evaluating it again.
    pub sources: Sources,
}

/// Why a config file says nothing.
#[derive(Debug, Clone)]
pub struct Failed {
    /// In source order; at least one.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts, as spans index them.
    pub sources: Vec<Source>,
    /// What the file says, where it came to its end all the same.
    file: Option<Box<File>>,
}

/// Evaluates a config file.
///
/// Reads the file, what it requires and includes, and the environment. Takes 30 s at most, or fails.
pub fn load(path: &Path) -> Result<Loaded, Failed> {
    let text = match files::read(path) {
        Ok(text) => text,
        Err(reason) => return Err(Failed::without_place(format!("{ORIGINAL_PREFIX}{reason}"))),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let finder = Finder::new(folder, Some(path));
    let texts = vec![Source { path: path.to_owned(), text }];
    load_within(TIME_MAX, Sources { texts, ..Sources::default() }, finder)
}

/// Evaluates the text that a one-line command stands for; its paths are relative to `folder`.
pub fn load_text(text: &str, folder: &Path) -> Result<Loaded, Failed> {
    let finder = Finder::new(folder, None);
    let texts = vec![Source { path: PathBuf::new(), text: text.into() }];
    load_within(TIME_MAX, Sources { texts, folder: folder.to_owned(), ..Sources::default() }, finder)
}

impl Failed {
    /// As a person reads it, with the lines of the file.
    pub fn render(&self) -> String {
        error::render(&self.diagnostics, &self.sources)
    }

    /// The same with what a check of the rest finds, on lines that aren't known to be wrong already.
    pub fn checked(mut self, context: &Context<'_>) -> Self {
        let Some(Err(found)) = self.file.as_ref().map(|file| check(file, context)) else { return self };
        let place = |finding: &Diagnostic| (finding.span.file, finding.span.line);
        let wrong: Vec<_> = self.diagnostics.iter().map(place).collect();
        let more = found.into_iter().filter(|finding| finding.span.line > 0 && !wrong.contains(&place(finding)));
        self.diagnostics.extend(more);
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        self
    }

    pub(super) fn without_place(message: String) -> Self {
        let diagnostics = vec![Diagnostic::error(Span::default(), message, "")];
        Self { diagnostics, sources: Vec::new(), file: None }
    }
}

/// What the original rsp says first about a file that it can't run.
const ORIGINAL_PREFIX: &str = "Error parsing config file: ";

pub(super) fn load_within(time: Duration, sources: Sources, finder: Finder) -> Result<Loaded, Failed> {
    let recorder = Rc::new(Recorder::new(sources, Some(finder)));
    let lua = Lua::new();
    let evaluated = evaluate(&lua, &recorder, time);
    let mut findings = recorder.take_findings();
    let mut sources = recorder.sources.take();
    sources.functions = recorder.function_places();
    let file = match evaluated {
        Ok(legacy) => {
            let (statements, functions) = (recorder.statements.take(), sources.functions.len() as u32);
            Some(Box::new(File { statements, sources: sources.texts.clone(), functions, legacy }))
        }
        Err(error) => {
            findings.push(trouble::diagnose(&error, &sources.texts));
            None
        }
    };
    match file {
        Some(file) if findings.is_empty() => Ok(Loaded { file: *file, sources }),
        file => {
            let located = findings.into_iter().map(|finding| finding.located(&sources.texts));
            let mut diagnostics: Vec<_> = located.collect();
            diagnostics.sort_by_key(|diagnostic| diagnostic.span);
            as_the_original_said(&mut diagnostics, &sources.texts);
            Err(Failed { diagnostics, sources: sources.texts, file })
        }
    }
}

/// Evaluates again, for a worker; `recorder` keeps the functions.
pub(super) fn repeat(lua: &Lua, sources: &Sources) -> Result<Rc<Recorder>, Failed> {
    let recorder = Rc::new(Recorder::new(sources.clone(), None));
    let failed = |diagnostic| Failed { diagnostics: vec![diagnostic], sources: sources.texts.clone(), file: None };
    evaluate(lua, &recorder, TIME_MAX).map_err(|error| failed(trouble::diagnose(&error, &sources.texts)))?;
    let places = recorder.function_places();
    if places != sources.functions {
        let pairs = places.iter().zip(&sources.functions);
        let differs = pairs.take_while(|(now, then)| now == then).count();
        let (file, line) = sources.functions.get(differs).or(places.get(differs)).copied().unwrap_or_default();
        let span = Span { file, line, column: 0, length: 0 };
        let message = "this file builds other functions each time it is evaluated";
        let label = "functions must not depend on the time or on chance";
        return Err(failed(Diagnostic::error(span, message, label).located(&sources.texts)));
    }
    recorder.statements.take();
    Ok(recorder)
}

/// The original's three globals, if that is what the file is.
fn evaluate(lua: &Lua, recorder: &Rc<Recorder>, time: Duration) -> mlua::Result<Option<[Option<Value>; 3]>> {
    lua.set_app_data(Rc::clone(recorder));
    let environment = Environment::new(lua, recorder)?;
    bound(lua, recorder, time);
    let result = environment.run(lua, 0);
    lua.remove_interrupt();
    let (globals, _) = result?;
    if !recorder.statements.borrow().is_empty() {
        return Ok(None);
    }
    let values = ORIGINAL.map(|name| globals.raw_get(name).unwrap_or(mlua::Value::Nil));
    if values.iter().all(mlua::Value::is_nil) {
        return Ok(None);
    }
    let conversion = Conversion::of_file(lua, recorder);
    let mut legacy = [None, None, None];
    for (value, place) in values.into_iter().zip(&mut legacy) {
        let Table { items, .. } = match value {
            mlua::Value::Nil => continue,
            value => conversion.arguments(&[value, mlua::Value::Boolean(true)])?,
        };
        *place = items.into_iter().next().map(|item| item.value);
    }
    Ok(Some(legacy))
}

/// Ends the evaluation when it takes too long or too much.
fn bound(lua: &Lua, recorder: &Rc<Recorder>, time: Duration) {
    let recorder = Rc::clone(recorder);
    let end = Instant::now() + time;
    let calls = Cell::new(0_u32);
    lua.set_interrupt(move |lua| {
        calls.set(calls.get().wrapping_add(1));
        if !calls.get().is_multiple_of(256) {
            return Ok(VmState::Continue);
        }
        let message = if Instant::now() > end {
            format!("this ran for {} s: an endless loop?", time.as_secs_f32())
        } else if lua.used_memory() > MEMORY_MAX {
            format!("this took more than {} GiB of memory", MEMORY_MAX >> 30)
        } else {
            return Ok(VmState::Continue);
        };
        // What catches this error is stopped at its next step.
        calls.set(u32::MAX);
        Err(Raised::error(recorder.nearest_line(lua, 0), message, "a config only declares; it must come to an end"))
    });
}

/// A file of the original rsp that fails gets the original's first line.
fn as_the_original_said(diagnostics: &mut Vec<Diagnostic>, sources: &[Source]) {
    let Some(main) = sources.first() else { return };
    let assigned = |name: &str| main.text.lines().any(|line| line.trim_start().starts_with(name));
    let calls = rsp_core::config::outline::Outline::read(&main.text, 0, super::environment::is_statement);
    if !ORIGINAL.iter().any(|name| assigned(name)) || calls.calls().next().is_some() {
        return;
    }
    let Some(first) = diagnostics.first() else { return };
    let message = format!("{ORIGINAL_PREFIX}{first}");
    diagnostics.insert(0, Diagnostic::error(Span::default(), message, ""));
}
