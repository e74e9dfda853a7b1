//! Checked error pages: which one an error answer gets.

use std::{path::PathBuf, sync::Arc};

use super::raw::FunctionId;

/// What stands in for the built-in bodies of error answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages {
    /// By status, 400 to 599.
    pub statuses: Vec<(u16, ErrorPage)>,
    /// By the first digit of the status: 4 or 5.
    pub classes: Vec<(u16, ErrorPage)>,
    /// A site's are followed by the process's.
    pub base: Option<Arc<ErrorPages>>,
}

/// One error page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorPage {
    /// A file that was read with the config.
    File(Arc<PageFile>),
    /// Called with the request and the status; returns a handler, or nil for the built-in page.
    Function(FunctionId),
}

/// The file of an error page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFile {
    /// Whose ending tells its type.
    pub path: PathBuf,
    /// What it holds.
    pub body: bytes::Bytes,
    /// Whether it is text with `{id}`, `{status}` or `{reason}` in it.
    pub has_placeholders: bool,
}

impl ErrorPages {
    /// The page of a status: the status itself before its class, the site's before the process's.
    pub fn find(&self, status: u16) -> Option<&ErrorPage> {
        let exact = self.statuses.iter().find(|(known, _)| *known == status);
        let class = || self.classes.iter().find(|(known, _)| *known == status / 100);
        exact.or_else(class).map(|(_, page)| page).or_else(|| self.base.as_ref()?.find(status))
    }

    /// Whether one of them is a function, which needs the request.
    pub fn has_functions(&self) -> bool {
        let mut pages = self.statuses.iter().chain(&self.classes);
        pages.any(|(_, page)| matches!(page, ErrorPage::Function(_)))
            || self.base.as_ref().is_some_and(|base| base.has_functions())
    }
}
