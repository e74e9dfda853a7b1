//! Whose pages may open a session.
//!
//! A browser sends a page's `Origin` with every WebSocket and POST, and no page can forge it. Who sends none is no browser,
//! and could send any.

use http::{HeaderValue, StatusCode, header};
use rsp_core::config::{self, PagesOf};

use super::refusal;
use crate::message::{Request, Response};

/// The 403 to a page that may not come.
pub fn refused(pages: &config::Pages, request: &Request) -> Option<Box<Response>> {
    let forbidden = |why| Some(refusal(StatusCode::FORBIDDEN, why));
    let mut stated = request.head.headers.get_all(header::ORIGIN).iter();
    let (origin, more) = (stated.next(), stated.next());
    let origin = origin.filter(|origin| !(pages.origin_required && *origin == "null"));
    let Some(origin) = origin else {
        return pages.origin_required.then(|| {
            refusal(StatusCode::FORBIDDEN, "an `Origin` is required here, as browsers send it for pages of a site")
        });
    };
    let may_come = match &pages.of {
        PagesOf::Any => true,
        _ if more.is_some() => false,
        PagesOf::Same => is_own(origin.as_bytes(), request),
        listed => listed.lists(origin.as_bytes()),
    };
    match &pages.of {
        _ if may_come => None,
        PagesOf::Same | PagesOf::Any => forbidden(
            "the page is of another origin than this URL: list it in `origins`, or `trust` the proxy that says how the \
             browser came here",
        ),
        PagesOf::Listed(_) => forbidden("the page is of an origin that `origins` does not list"),
    }
}

/// Whether an `Origin` is that of the URL as the browser sees it: scheme, host and port.
pub fn is_own(origin: &[u8], request: &Request) -> bool {
    let scheme = believed(request, "x-forwarded-proto").unwrap_or(request.scheme.as_bytes());
    let host = || request.head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let Some(host) = believed(request, "x-forwarded-host").or_else(host) else { return false };
    let Some(at) = origin.windows(3).position(|part| part == b"://") else { return false };
    let (stated, authority) = (&origin[..at], &origin[at + 3..]);
    let port: &[u8] = match scheme.to_ascii_lowercase().as_slice() {
        b"http" => b":80",
        b"https" => b":443",
        _ => return false,
    };
    let without = |authority: &'_ [u8]| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    !host.is_empty() && stated.eq_ignore_ascii_case(scheme) && without(authority) == without(host)
}

/// What a trusted proxy says, if it says one thing.
fn believed<'a>(request: &'a Request, name: &str) -> Option<&'a [u8]> {
    if !request.client.trusted {
        return None;
    }
    let mut stated = request.head.headers.get_all(name).iter();
    match (stated.next(), stated.next()) {
        (Some(one), None) if !one.as_bytes().contains(&b',') => Some(one.as_bytes().trim_ascii()),
        _ => None,
    }
}
