//! A page on which a person tries a program by hand.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::message::{Request, Response};

const PAGE: &str = include_str!("console.html");

/// What the page may do: run its own script, look as it does, and open any WebSocket, since a person types the address.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let [script, style] = ["script", "style"].map(hash);
    let policy = format!(
        "default-src 'none'; script-src {script}; style-src {style}; img-src data:; connect-src ws: wss:; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Whether it is a browser that opens the URL.
pub fn is_for(request: &Request) -> bool {
    let accepts = request.head.headers.get_all(header::ACCEPT).iter();
    matches!(request.head.method, Method::GET | Method::HEAD)
        && accepts.filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/html"))
}

/// The page.
pub fn page() -> Response {
    Response::new(StatusCode::OK, PAGE.into())
        .with(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
        .with(header::CONTENT_SECURITY_POLICY, POLICY.clone())
        .with(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .with(header::VARY, HeaderValue::from_static("Accept"))
        // Another build of rsp may have another page.
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .with(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"))
}

/// The source that stands for the page's one element of that name (CSP 3 §2.3.1).
fn hash(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let text = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map_or("", |(text, _)| text);
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_that_open_the_url_get_the_page_and_nobody_else() {
        let asked = |method, accept: &str| Request::example(method, "/").with(header::ACCEPT, accept);
        assert!(is_for(&asked(Method::GET, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")));
        assert!(is_for(&asked(Method::HEAD, "text/html")));
        assert!(!is_for(&asked(Method::GET, "*/*")));
        assert!(!is_for(&asked(Method::POST, "text/html")));
        assert!(!is_for(&Request::example(Method::GET, "/")));
    }

    #[test]
    fn the_page_brings_all_that_it_needs_and_names_nothing_else() {
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("<style>").count(), 1);
        for foreign in ["http://", "https://", "src=", "@import", "url(", "style=\"", "onclick"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        let policy = POLICY.to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
