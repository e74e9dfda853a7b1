//! What one evaluation gathers: statements, functions, texts and what is wrong with them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ffi::c_void,
    rc::Rc,
    sync::Arc,
};

use mlua::Lua;
use rsp_core::config::{
    Diagnostic, options,
    outline::Outline,
    raw::{FunctionId, Made, Span},
};

use super::{
    files::Finder,
    sources::{Sources, chunk_name},
    trouble::{self, Raised},
};

/// Findings beyond this are not kept: a loop can be wrong in each of its rounds.
const FINDINGS_MAX: usize = 100;

/// The state of one evaluation; of a worker's, as long as it serves.
pub(super) struct Recorder {
    /// Whether requests are running, and statements are over.
    pub(super) serving: Cell<bool>,
    pub(super) sources: RefCell<Sources>,
    /// None where an evaluation is repeated: it must find what the first one found.
    pub(super) finder: Option<RefCell<Finder>>,
    pub(super) statements: RefCell<Vec<Arc<Made>>>,
    findings: RefCell<Vec<Diagnostic>>,
    texts: RefCell<Vec<Text>>,
    /// The file in which the last call stood; the next one most likely stands there too.
    last: Cell<usize>,
    functions: RefCell<Functions>,
}

/// What is known of one text.
struct Text {
    chunk: String,
    outline: Rc<Outline>,
}

/// The functions that will run on requests.
#[derive(Default)]
struct Functions {
    ids: HashMap<*const c_void, u32, foldhash::fast::RandomState>,
    /// Keeps them alive, in the order of their numbers.
    list: Option<mlua::Table>,
    places: Vec<(u32, u32)>,
}

impl Recorder {
    pub(super) fn new(sources: Sources, finder: Option<Finder>) -> Self {
        Self {
            serving: Cell::new(false),
            sources: RefCell::new(sources),
            finder: finder.map(RefCell::new),
            statements: RefCell::default(),
            findings: RefCell::default(),
            texts: RefCell::default(),
            last: Cell::default(),
            functions: RefCell::default(),
        }
    }

    /// Notes something wrong and goes on, so that as much as can be found is told at once; a request it ends instead.
    pub(super) fn report(&self, finding: Diagnostic) -> mlua::Result<()> {
        if self.serving.get() {
            return Err(mlua::Error::external(Raised(finding)));
        }
        let mut findings = self.findings.borrow_mut();
        if findings.len() < FINDINGS_MAX && !findings.contains(&finding) {
            findings.push(finding);
        }
        Ok(())
    }

    pub(super) fn take_findings(&self) -> Vec<Diagnostic> {
        self.findings.take()
    }

    /// Gets a text ready to be run: its outline, and keys that one literal of it has twice.
    pub(super) fn outline(&self, file: u32) -> mlua::Result<()> {
        let sources = self.sources.borrow();
        let mut texts = self.texts.borrow_mut();
        for (index, source) in sources.texts.iter().enumerate().skip(texts.len()) {
            // Repeated evaluations have nothing wrong to point at.
            let outline = match self.finder {
                Some(_) => Outline::read(&source.text, index as u32, |name| options::find(name).is_some()),
                None => Outline::default(),
            };
            for duplicate in outline.duplicates() {
                let key = trouble::key(&duplicate.key);
                let error = Diagnostic::error(duplicate.again, format!("the key {key} is there twice"), "remove one");
                self.report(error.note(duplicate.first, "first here"))?;
            }
            texts.push(Text { chunk: chunk_name(&source.path), outline: Rc::new(outline) });
        }
        debug_assert!(texts.len() > file as usize);
        Ok(())
    }

    pub(super) fn outline_of(&self, file: u32) -> Option<Rc<Outline>> {
        self.texts.borrow().get(file as usize).map(|text| Rc::clone(&text.outline))
    }

    /// The line at hand in the function that called, `level` calls up.
    pub(super) fn line(&self, lua: &Lua, level: usize) -> Span {
        let texts = self.texts.borrow();
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let name = source.source.as_deref().unwrap_or_default();
            let name = name.strip_prefix('=').unwrap_or(name);
            let is_last = texts.get(self.last.get()).is_some_and(|text| text.chunk == name);
            let file = match is_last {
                true => self.last.get(),
                false => texts.iter().position(|text| text.chunk == name)?,
            };
            self.last.set(file);
            Some(Span { file: file as u32, line: debug.current_line()? as u32, column: 0, length: 0 })
        });
        place.flatten().unwrap_or_default()
    }

    /// The nearest line of the config that is being run, from `level` calls up.
    pub(super) fn nearest_line(&self, lua: &Lua, level: usize) -> Span {
        let lines = (level..level + 8).map(|level| self.line(lua, level));
        lines.into_iter().find(|span| span.line > 0).unwrap_or_default()
    }

    /// The same with a word on that line underlined.
    pub(super) fn word(&self, line: Span, word: &str) -> Span {
        let sources = self.sources.borrow();
        let text = sources.texts.get(line.file as usize).map_or("", |source| &*source.text);
        let Some(text) = text.lines().nth((line.line as usize).saturating_sub(1)).filter(|_| line.line > 0) else {
            return line;
        };
        let part_of_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let bytes = text.as_bytes();
        let mut places = memchr::memmem::find_iter(bytes, word);
        let alone = |at: &usize| {
            !part_of_word(at.checked_sub(1).and_then(|before| bytes.get(before)))
                && !part_of_word(bytes.get(at + word.len()))
        };
        match places.find(alone) {
            Some(at) => Span { column: at as u32 + 1, length: word.len() as u32, ..line },
            None => line,
        }
    }

    /// The number of a function; the same one for the same function.
    pub(super) fn number(&self, lua: &Lua, function: &mlua::Function) -> mlua::Result<FunctionId> {
        let mut functions = self.functions.borrow_mut();
        if let Some(&id) = functions.ids.get(&function.to_pointer()) {
            return Ok(FunctionId(id));
        }
        let info = function.info();
        let name = info.source.as_deref().unwrap_or_default();
        let file = self.texts.borrow().iter().position(|text| Some(text.chunk.as_str()) == name.strip_prefix('='));
        let place = (file.unwrap_or_default() as u32, info.line_defined.unwrap_or_default() as u32);
        let id = functions.places.len() as u32;
        if functions.list.is_none() {
            functions.list = Some(lua.create_table()?);
        }
        if let Some(list) = &functions.list {
            list.raw_push(function)?;
        }
        functions.ids.insert(function.to_pointer(), id);
        functions.places.push(place);
        Ok(FunctionId(id))
    }

    /// Where each function begins.
    pub(super) fn function_places(&self) -> Vec<(u32, u32)> {
        self.functions.borrow().places.clone()
    }

    /// The function of that number.
    pub(super) fn function(&self, id: FunctionId) -> Option<mlua::Function> {
        self.functions.borrow().list.as_ref()?.raw_get(id.0 + 1).ok()?
    }
}
