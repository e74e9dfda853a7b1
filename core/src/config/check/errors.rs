//! Error pages: `errors { [502] = "./502.html", ["5xx"] = function … }`, for the process or a site.

use std::{path::Path, sync::Arc};

use super::{Checker, PathKind};
use crate::config::{
    checked::{ErrorPage, ErrorPages, PageFile},
    diagnostic::Diagnostic,
    nearest::nearest,
    raw::{Entry, Key, Span, Table, Value},
    reader::found,
};

/// Bytes of a page; it is kept in memory.
const PAGE_MAX: u64 = 1 << 20;

/// Bytes of a page with placeholders: each answer holds its own copy, and a flood of them must stay as small as bodies
/// in flight are.
const FILLED_MAX: usize = 64 << 10;

const PLACEHOLDERS: [&str; 3] = ["{id}", "{status}", "{reason}"];

/// For example, in a label.
const USAGE: &str = "for example [502] = \"./502.html\" or [\"5xx\"] = \"./error.html\"";

/// What a key of the table means.
enum Status {
    Exact(u16),
    Class(u16),
}

impl Checker<'_> {
    /// The pages of the key `errors`; what they don't say is as in `base`.
    pub(super) fn error_pages_of_site(
        &mut self,
        value: &Value,
        span: Span,
        base: &Option<Arc<ErrorPages>>,
    ) -> Option<Arc<ErrorPages>> {
        let Value::Table(table) = value else {
            let message = format!("`errors` of `site` must be a table of pages, not {}", found(value));
            self.reader.error(span, message, "for example { [502] = \"./502.html\" }");
            return None;
        };
        let own = self.error_pages(table, span);
        Some(Arc::new(ErrorPages { base: base.clone(), ..own }))
    }

    /// The pages of one table.
    pub(super) fn error_pages(&mut self, table: &Table, span: Span) -> ErrorPages {
        if let Some(item) = table.items.first() {
            self.reader.error(item.span, "`errors` takes pages by status", USAGE);
        } else if table.entries.is_empty() {
            self.reader.report(Diagnostic::warning(span, "`errors` has no page in it", USAGE));
        }
        let mut pages = ErrorPages::default();
        for entry in &table.entries {
            let status = self.error_status(entry);
            let page = self.error_page(entry);
            match status {
                Some(Status::Exact(status)) => pages.statuses.extend(page.map(|page| (status, page))),
                Some(Status::Class(class)) => pages.classes.extend(page.map(|page| (class, page))),
                None => {}
            }
        }
        pages
    }

    fn error_status(&mut self, entry: &Entry) -> Option<Status> {
        let (shown, label) = match &entry.key {
            Key::Number(status @ 400..=599) => return u16::try_from(*status).ok().map(Status::Exact),
            Key::Number(number) => (format!("[{number}]"), "a status from 400 to 599".to_owned()),
            Key::Text(text) => match text.as_str() {
                "4xx" => return Some(Status::Class(4)),
                "5xx" => return Some(Status::Class(5)),
                text => {
                    let number = text.parse::<u16>().ok().filter(|status| (400..600).contains(status));
                    let near = || nearest(text, ["4xx", "5xx"]).map(|near| format!("did you mean \"{near}\"?"));
                    let label = number.map(|status| format!("did you mean [{status}], without quotes?"));
                    (format!("\"{}\"", text.escape_debug()), label.or_else(near).unwrap_or_else(|| USAGE.to_owned()))
                }
            },
        };
        self.reader.error(entry.span, format!("`errors` has no page for {shown}"), label);
        None
    }

    fn error_page(&mut self, entry: &Entry) -> Option<ErrorPage> {
        match &entry.value {
            Value::Function(id) => Some(ErrorPage::Function(*id)),
            Value::Text(text) if text.is_empty() || text.contains('\0') => {
                self.reader.error(entry.span, "the path of an error page is empty, or has a NUL in it", USAGE);
                None
            }
            Value::Text(text) => {
                let path = self.reader.path(text, entry.span);
                self.page_file(&path, entry.span).map(ErrorPage::File)
            }
            other => {
                let message = format!("an error page must be a file or a function, not {}", found(other));
                let label = match other {
                    Value::Made(made) => format!("function(request, status) return {}(…) end", made.what),
                    _ => USAGE.to_owned(),
                };
                self.reader.error(entry.span, message, label);
                None
            }
        }
    }

    fn page_file(&mut self, path: &Path, span: Span) -> Option<Arc<PageFile>> {
        if let Some(known) = self.pages.get(path) {
            return Some(Arc::clone(known));
        }
        // A pipe would be waited for without an end.
        let read = match (self.context.probe)(path) {
            PathKind::Folder => Err(format!("{} is a folder", path.display())),
            _ => (self.context.read)(path, PAGE_MAX),
        };
        let body = match read {
            Ok(body) => body,
            Err(reason) => {
                let label = "a path is relative to the folder of the file that says it";
                self.reader.error(span, format!("the error page can't be read: {reason}"), label);
                return None;
            }
        };
        let text = str::from_utf8(&body).ok();
        let has_placeholders = text.is_some_and(|text| PLACEHOLDERS.iter().any(|each| text.contains(each)));
        if has_placeholders && body.len() > FILLED_MAX {
            let message = format!("an error page with placeholders has 64 KiB at most: {}", path.display());
            self.reader.error(
                span,
                message,
                "put what is large into files of their own, or leave the placeholders out",
            );
            return None;
        }
        let page = Arc::new(PageFile { path: path.to_owned(), body: body.into(), has_placeholders });
        self.pages.insert(path.to_owned(), Arc::clone(&page));
        Some(page)
    }
}
