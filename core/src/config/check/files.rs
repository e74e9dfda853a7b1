//! `files`: a folder that is there, and options that can be sent.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::HeaderValue;

use super::{Checker, Context, PathKind};
use crate::{
    config::{
        checked::{Candidate, Files, Hidden},
        nearest::nearest,
        raw::{Key, Source, Span, Value},
        reader::{found, strings},
        settings::{Arguments, Setting},
    },
    route::Pattern,
};

/// Files of one `try`: each may cost a look into the folder, for every request that finds none.
const CANDIDATES_MAX: usize = 16;

/// What stands in `try` for the path below the root.
const PLACEHOLDER: &str = "path";

impl Checker<'_> {
    pub(super) fn files(&mut self, arguments: &Arguments<'_>, pattern: &Pattern) -> Option<Files> {
        let Some((Some(Setting::Path(root)), span)) = arguments.positional.first() else { return None };
        let shown = root.display();
        let message = match (self.context.probe)(root) {
            PathKind::Folder => None,
            PathKind::File => Some(format!("`files` needs a folder, and this is none: {shown}")),
            PathKind::Missing => Some(format!("there is no folder {shown}")),
            PathKind::Denied => Some(format!("the folder {shown} can't be read")),
        };
        if let Some(message) = message {
            self.reader.error(*span, message, "a path is relative to the folder of the file that says it");
            return None;
        }
        let settings = &arguments.settings;
        let index = settings.text("index")?;
        if index.is_empty() || index.contains('/') {
            let span = settings.span("index", *span);
            self.reader.error(span, "`index` of `files` must be the name of a file", "for example \"index.html\"");
        }
        let cache_control = settings.text("cache_control");
        let cache_control =
            cache_control.and_then(|text| self.cache_control(text, settings.span("cache_control", *span)));
        let candidates = settings.raw("try").map(|(value, span)| self.candidates(value, span)).unwrap_or_default();
        let mime = settings.raw("mime").map(|(value, span)| self.media_types(value, span)).unwrap_or_default();
        Some(Files {
            root: root.clone(),
            index: index.to_owned(),
            prefix: pattern.literal_prefix().to_owned(),
            hidden: Arc::clone(&self.hidden),
            listing: settings.bool("listing"),
            dotfiles: settings.bool("dotfiles"),
            precompressed: settings.bool("precompressed"),
            cache_control,
            candidates,
            mime,
        })
    }

    fn cache_control(&mut self, text: &str, span: Span) -> Option<HeaderValue> {
        let value = HeaderValue::from_str(text.trim()).ok().filter(|value| !value.is_empty());
        if value.is_none() {
            let message = format!("`cache_control` of `files` is no header's value: \"{}\"", text.escape_debug());
            self.reader.error(span, message, "for example \"public, max-age=3600\"");
        }
        value
    }

    fn candidates(&mut self, value: &Value, span: Span) -> Box<[Candidate]> {
        let Some(names) = strings(value, span).filter(|names| !names.is_empty()) else {
            let message = format!("`try` of `files` must be a list of names, not {}", empty_or(value));
            self.reader.error(span, message, EXAMPLE);
            return Box::default();
        };
        if let Some((_, span)) = names.get(CANDIDATES_MAX) {
            self.reader.error(
                *span,
                format!("`try` of `files` takes {CANDIDATES_MAX} names at most"),
                "leave some out",
            );
        }
        names.into_iter().filter_map(|(text, span)| self.candidate(text, span)).collect()
    }

    /// `"{path}.html"`: the parts around the placeholder.
    fn candidate(&mut self, text: &str, span: Span) -> Option<Candidate> {
        // Whatever else stands in braces is told apart below.
        let begins = text.strip_prefix('/').or_else(|| Some(text.strip_prefix("{path}")?.trim_start_matches('/')));
        let Some(rest) = begins.or_else(|| text.starts_with('{').then_some(text)) else {
            let message = format!("\"{}\" of `try` must begin with a slash or with {{path}}", text.escape_debug());
            self.reader.error(span, message, format!("did you mean \"/{}\"?", text.escape_debug()));
            return None;
        };
        if rest.split('/').any(|name| name == "." || name == "..") || text.contains(['\0', '\\']) {
            let message = format!("\"{}\" of `try` names no file below the folder", text.escape_debug());
            self.reader.error(span, message, EXAMPLE);
            return None;
        }
        let mut parts = Vec::new();
        let mut left = text;
        while let Some((before, after)) = left.split_once('{') {
            let (name, rest) = after.split_once('}').unwrap_or((after, ""));
            if name != PLACEHOLDER || !after.contains('}') {
                let near = nearest(name, [PLACEHOLDER]);
                let label = if near.is_some() { "did you mean {path}?" } else { "only {path} is filled in" };
                self.reader.error(span, format!("nothing fills in {{{}}} of `try`", name.escape_debug()), label);
                return None;
            }
            parts.push(Box::from(before));
            left = rest;
        }
        parts.push(Box::from(left));
        Some(Candidate(parts.into()))
    }

    fn media_types(&mut self, value: &Value, span: Span) -> HashMap<Box<str>, HeaderValue> {
        const EXAMPLE: &str = "for example { md = \"text/markdown; charset=utf-8\" }";
        let table = match value {
            Value::Table(table) if table.items.is_empty() => table,
            other => {
                let message =
                    format!("`mime` of `files` must be a table of media types by ending, not {}", found(other));
                self.reader.error(span, message, EXAMPLE);
                return HashMap::new();
            }
        };
        let mut types = HashMap::new();
        for entry in &table.entries {
            let Key::Text(ending) = &entry.key else {
                self.reader.error(entry.span, "the endings of `mime` are strings", EXAMPLE);
                continue;
            };
            let bare = ending.strip_prefix('.').unwrap_or(ending).to_ascii_lowercase();
            if bare.is_empty() || bare.contains(['.', '/', '\0']) {
                let message = format!("\"{}\" of `mime` is no ending of a file's name", ending.escape_debug());
                self.reader.error(entry.span, message, "what follows the last dot: \"gz\" for archive.tar.gz");
                continue;
            }
            let text = match &entry.value {
                Value::Text(text) => text,
                other => {
                    let message = format!("the media type of `{bare}` must be a string, not {}", found(other));
                    self.reader.error(entry.span, message, EXAMPLE);
                    continue;
                }
            };
            let Some(value) = media_type(text) else {
                let message = format!("\"{}\" is no media type", text.escape_debug());
                self.reader.error(entry.span, message, "a type and a subtype: \"text/markdown; charset=utf-8\"");
                continue;
            };
            if types.insert(bare.clone().into_boxed_str(), value).is_some() {
                self.reader.error(entry.span, format!("`mime` has the ending `{bare}` twice"), "remove one");
            }
        }
        types
    }
}

const EXAMPLE: &str = "for example { \"{path}\", \"{path}.html\", \"/index.html\" }";

fn empty_or(value: &Value) -> String {
    match value {
        Value::Table(table) if table.entries.is_empty() && table.items.is_empty() => "an empty one".to_owned(),
        Value::Table(table) if table.entries.is_empty() => "a list with something else in it".to_owned(),
        other => found(other),
    }
}

/// RFC 9110 §8.3.1; parameters are only held to what a field may carry.
fn media_type(text: &str) -> Option<HeaderValue> {
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let (kind, subtype) = text.split(';').next()?.trim().split_once('/')?;
    let legal = is_token(kind) && is_token(subtype) && text.is_ascii();
    HeaderValue::from_str(text.trim()).ok().filter(|_| legal)
}

/// What `files` must never serve: rsp's own files and the texts of the config, as they are named and where links lead.
pub(super) fn hidden(context: &Context<'_>, own: Vec<PathBuf>, sources: &[Source]) -> Arc<Hidden> {
    let texts = sources.iter().filter(|source| !source.path.as_os_str().is_empty());
    let named = own.into_iter().chain(texts.map(|source| source.path.clone()));
    let mut hidden = Hidden::new();
    for path in named {
        let path: PathBuf = context.folder.join(path).components().collect();
        hidden.extend((context.real)(&path).or_else(|| real_folder(context, &path)));
        hidden.insert(path);
    }
    Arc::new(hidden)
}

/// Where a file will be that is not there yet: the secret is made after the first check.
fn real_folder(context: &Context<'_>, path: &Path) -> Option<PathBuf> {
    Some((context.real)(path.parent()?)?.join(path.file_name()?))
}
