//! Whose pages may open a session.
//!
//! A browser sends a page's `Origin` with every WebSocket and POST, and no page can forge it. Who sends none is no browser,
//! and could send any.

use http::{HeaderMap, HeaderValue, StatusCode, header};
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
        PagesOf::Any if !pages.same_origin => true,
        _ if more.is_some() => false,
        _ if pages.same_origin && !is_own(origin.as_bytes(), request) => false,
        PagesOf::Any => true,
        PagesOf::Same => is_own(origin.as_bytes(), request),
        listed => listed.lists(origin.as_bytes()),
    };
    match &pages.of {
        _ if may_come => None,
        _ if pages.same_origin => forbidden("the page is of another origin than this URL"),
        PagesOf::Same | PagesOf::Any => forbidden(
            "the page is of another origin than this URL: list it in `origins`, or `trust` the proxy that says how the \
             browser came here",
        ),
        PagesOf::Listed(_) => forbidden("the page is of an origin that `origins` does not list"),
    }
}

/// Lets a page of another origin that may come read an answer.
pub(super) fn show(pages: &config::Pages, request: &Request, answer: &mut HeaderMap) {
    let who = match &pages.of {
        PagesOf::Same => return,
        PagesOf::Any => HeaderValue::from_static("*"),
        listed => {
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
            match request.head.headers.get(header::ORIGIN).filter(|origin| listed.lists(origin.as_bytes())) {
                Some(origin) => origin.clone(),
                None => return,
            }
        }
    };
    // Every page can make itself `null`.
    if who != "*" && who != "null" {
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, who);
}

/// Whether an `Origin` is that of the URL as the browser sees it: scheme, host and port.
pub fn is_own(origin: &[u8], request: &Request) -> bool {
    let scheme = believed(request, "x-forwarded-proto").unwrap_or(request.scheme.as_bytes()).to_ascii_lowercase();
    let host = || request.head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let Some(host) = believed(request, "x-forwarded-host").or_else(host) else { return false };
    let Some(at) = origin.windows(3).position(|part| part == b"://") else { return false };
    let (stated, authority) = (&origin[..at], &origin[at + 3..]);
    let (scheme, port): (&[u8], &[u8]) = match scheme.as_slice() {
        // The page's own is never that of its WebSocket, which is what some proxies say.
        b"http" | b"ws" => (b"http", b":80"),
        b"https" | b"wss" => (b"https", b":443"),
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method};
    use rsp_core::config::{Origin, PageOrigin, Pages};

    use super::*;

    fn asked(fields: &[(&'static str, &str)]) -> Request {
        let request = Request::example(Method::POST, "/a");
        fields.iter().fold(request, |request, (name, value)| request.with(HeaderName::from_static(name), value))
    }

    fn pages(of: PagesOf, origin_required: bool) -> Pages {
        Pages { of, origin_required, same_origin: false }
    }

    #[test]
    fn an_origin_is_the_urls_own_if_scheme_host_and_port_are() {
        for (origin, host) in [
            ("http://a.example", "a.example"),
            ("http://a.example", "A.example:80"),
            ("http://a.example:8080", "a.example:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_own(origin.as_bytes(), &asked(&[("host", host)])), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://a.example", "a.example"),
            ("http://a.example:8080", "a.example"),
            ("http://a.example", "a.example:443"),
            ("http://a.example.evil", "a.example"),
            ("http://b.example", "a.example"),
            ("null", "null"),
            ("http://", ""),
            ("", ""),
        ] {
            assert!(!is_own(origin.as_bytes(), &asked(&[("host", host)])), "{origin} {host}");
        }
        assert!(!is_own(b"http://a.example", &asked(&[])));
    }

    #[test]
    fn where_only_the_urls_own_pages_may_come_a_list_lets_in_no_others() {
        let listed = |hosts: &[&str]| {
            let host = |host: &&str| PageOrigin::Host { scheme: None, host: (*host).to_owned(), port: None };
            Pages { same_origin: true, ..pages(PagesOf::Listed(hosts.iter().map(host).collect()), true) }
        };
        let is_refused =
            |pages: &Pages, origin| refused(pages, &asked(&[("host", "a.example"), ("origin", origin)])).is_some();
        let both = listed(&["a.example", "b.example"]);
        assert!(!is_refused(&both, "http://a.example"));
        assert!(is_refused(&both, "http://b.example") && is_refused(&both, "http://c.example"));
        assert!(is_refused(&listed(&["b.example"]), "http://a.example"));
    }

    #[test]
    fn what_a_proxy_says_of_scheme_and_host_counts_if_it_is_trusted_and_clear() {
        let fields = [("host", "10.0.0.1:3000"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example")];
        let mut request = asked(&fields);
        assert!(!is_own(b"https://a.example", &request));
        request.client.trusted = true;
        assert!(is_own(b"https://a.example", &request));
        assert!(!is_own(b"http://10.0.0.1:3000", &request));
        let mut of_websocket = asked(&[("x-forwarded-proto", "wss"), ("x-forwarded-host", "a.example")]);
        of_websocket.client.trusted = true;
        assert!(is_own(b"https://a.example", &of_websocket) && !is_own(b"http://a.example", &of_websocket));
        let mut unclear = asked(&fields).with(HeaderName::from_static("x-forwarded-host"), "b.example");
        unclear.client.trusted = true;
        assert!(!is_own(b"https://a.example", &unclear) && !is_own(b"https://b.example", &unclear));
    }

    #[test]
    fn foreign_pages_are_refused_unless_they_are_listed() {
        let listed = || PagesOf::Listed(vec![PageOrigin::Cors(Origin::Exact("http://b.example".to_owned()))]);
        for (of, own, other, null) in
            [(PagesOf::Same, true, false, false), (PagesOf::Any, true, true, true), (listed(), false, true, false)]
        {
            let pages = pages(of, false);
            let comes = |origin| refused(&pages, &asked(&[("host", "a.example"), ("origin", origin)])).is_none();
            assert_eq!([comes("http://a.example"), comes("http://b.example"), comes("null")], [own, other, null]);
            assert!(refused(&pages, &asked(&[("host", "a.example")])).is_none(), "who is no browser may come");
        }
        let twice = asked(&[("origin", "http://b.example"), ("origin", "http://b.example")]);
        assert!(refused(&pages(listed(), false), &twice).is_some());
    }

    #[test]
    fn who_states_no_origin_is_refused_where_one_is_required() {
        for of in [PagesOf::Same, PagesOf::Any] {
            let pages = pages(of, true);
            assert!(refused(&pages, &asked(&[("host", "a.example")])).is_some());
            assert!(refused(&pages, &asked(&[("host", "a.example"), ("origin", "null")])).is_some());
            assert!(refused(&pages, &asked(&[("host", "a.example"), ("origin", "http://a.example")])).is_none());
        }
    }
}
