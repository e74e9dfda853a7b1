//! Whose pages may open a session.

use rsp_core::config;

use crate::message::{Request, Response};

/// Whether an `Origin` is that of the URL as the browser sees it: scheme, host and port.
pub fn is_own(origin: &[u8], request: &Request) -> bool {
    let _ = (origin, request);
    false
}

/// The 403 to a page that may not come.
pub fn refused(pages: &config::Pages, request: &Request) -> Option<Box<Response>> {
    let _ = (pages, request);
    None
}
