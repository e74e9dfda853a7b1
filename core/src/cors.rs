//! Cross-origin resource sharing, by the Fetch standard (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! **Invariant:** an answer names no origin but the one that asked, and that only if the config lists it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::config::{Cors, Origin, Origins};

/// What an answer would say that only this filter may decide.
const DECIDED: [HeaderName; 5] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// The method that a preflight asks for; None: the request is no preflight.
pub fn preflighted(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).and_then(|wanted| Method::from_bytes(wanted.as_bytes()).ok())
}

/// The value of `Access-Control-Allow-Origin` for a request with these fields; None: nobody, or nobody asked.
pub fn allowed_origin(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let Some(listed) = &cors.origins else { return Some(HeaderValue::from_static("*")) };
    let mut stated = request.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (stated.next(), stated.next()) else { return None };
    listed.iter().any(|listed| listed.matches(origin.as_bytes())).then(|| origin.clone())
}

/// Writes the decision into an answer, over what it says itself. `origin` is what [`allowed_origin`] gave.
pub fn write(cors: &Cors, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    for name in DECIDED {
        answer.remove(name);
    }
    if cors.origins.is_some() {
        vary(answer, "Origin");
    }
    let Some(origin) = origin else { return };
    set(answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.credentials {
        set(answer, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// The fields of the answer to a preflight.
pub fn preflight(cors: &Cors, request: &HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::new();
    let origin = allowed_origin(cors, request);
    write(cors, origin.as_ref(), &mut answer);
    vary(&mut answer, "Access-Control-Request-Method");
    vary(&mut answer, "Access-Control-Request-Headers");
    if origin.is_none() {
        return answer;
    }
    // `*` would mean less with credentials, and never `Authorization`: what is asked for is named.
    let asked = |name: HeaderName| request.get(name).filter(|value| is_list_of_tokens(value)).cloned();
    let methods = cors.methods.clone().or_else(|| asked(header::ACCESS_CONTROL_REQUEST_METHOD));
    let headers = cors.headers.clone().or_else(|| asked(header::ACCESS_CONTROL_REQUEST_HEADERS));
    let said = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, headers),
        (header::ACCESS_CONTROL_MAX_AGE, cors.max_age.map(|age| HeaderValue::from(age.as_secs()))),
    ];
    for (name, value) in said {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            set(&mut answer, name, value);
        }
    }
    answer
}

impl Origins {
    /// Whether pages of this origin may come; `origin` is an `Origin` field's value.
    pub fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|listed| listed.matches(origin)),
        }
    }
}

impl Origin {
    /// Whether an `Origin` field's value is this one; browsers write it in lower case and without a default port.
    pub(crate) fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(known) => known.as_bytes() == origin,
            Self::Below { scheme, suffix } => {
                let name = origin.strip_prefix(scheme.as_bytes()).and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
                let legal = |&byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                name.is_some_and(|name| !name.is_empty() && !name.ends_with(b".") && name.iter().all(legal))
            }
        }
    }
}

/// Only a map of 2^15 names refuses, and limits keep heads far below.
fn set(answer: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let _ = answer.try_insert(name, value);
}

fn vary(answer: &mut HeaderMap, name: &'static str) {
    let says = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names.any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_bytes()))
    };
    if !answer.get_all(header::VARY).iter().any(says) {
        let _ = answer.try_append(header::VARY, HeaderValue::from_static(name));
    }
}

fn is_list_of_tokens(value: &HeaderValue) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(byte);
    value.as_bytes().iter().all(token)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn listed(origins: &[Origin]) -> Cors {
        Cors {
            origins: Some(origins.to_vec()),
            methods: Some(HeaderValue::from_static("PUT")),
            headers: Some(HeaderValue::from_static("content-type")),
            credentials: false,
            max_age: None,
        }
    }

    fn exact(origin: &str) -> Origin {
        Origin::Exact(origin.to_owned())
    }

    fn below(scheme: &str, suffix: &str) -> Origin {
        Origin::Below { scheme: scheme.to_owned(), suffix: suffix.to_owned() }
    }

    fn fields(all: &[(&'static str, &str)]) -> HeaderMap {
        let all = all.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut fields = HeaderMap::new();
        for (name, value) in all {
            fields.append(name, value);
        }
        fields
    }

    fn written(answer: &HeaderMap) -> Vec<String> {
        let mut all: Vec<_> =
            answer.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn an_origin_is_listed_byte_for_byte_or_below_a_suffix() {
        let cors = listed(&[
            exact("https://a.example"),
            exact("null"),
            below("https://", ".b.example"),
            below("http://", ".c.example:8080"),
        ]);
        let allowed = |origin: &str| allowed_origin(&cors, &fields(&[("origin", origin)])).is_some();
        for origin in
            ["https://a.example", "null", "https://x.b.example", "https://x.y.b.example", "http://x.c.example:8080"]
        {
            assert!(allowed(origin), "{origin}");
        }
        for origin in [
            "http://a.example",
            "https://a.example:444",
            "https://a.example.evil",
            "https://A.example",
            "",
            "NULL",
            "https://b.example",
            "https://.b.example",
            "https://evil.org/.b.example",
            "https://evil:1@x.b.example",
            "https://x.b.example:1",
            "http://x.b.example",
            "http://x.c.example",
            "https://xb.example",
            "https://a.example ,",
        ] {
            assert!(!allowed(origin), "{origin}");
        }
        assert_eq!(allowed_origin(&cors, &fields(&[])), None);
        let twice = fields(&[("origin", "https://a.example"), ("origin", "https://a.example")]);
        assert_eq!(allowed_origin(&cors, &twice), None);
    }

    #[test]
    fn what_the_upstream_said_of_origins_is_replaced_and_what_it_exposes_stays() {
        let cors = Cors { credentials: true, ..listed(&[exact("https://a.example")]) };
        let said = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "DELETE"),
            ("access-control-expose-headers", "X-Total"),
            ("vary", "Accept-Encoding"),
        ];
        let mut answer = fields(&said);
        write(&cors, Some(&HeaderValue::from_static("https://a.example")), &mut answer);
        assert_eq!(
            written(&answer),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://a.example",
                "access-control-expose-headers: X-Total",
                "vary: Accept-Encoding",
                "vary: Origin",
            ]
        );
        let mut answer = fields(&[("access-control-allow-origin", "*"), ("vary", "accept, ORIGIN")]);
        write(&cors, None, &mut answer);
        assert_eq!(written(&answer), ["vary: accept, ORIGIN"]);
    }

    #[test]
    fn every_origin_needs_no_vary() {
        let cors = Cors { origins: None, ..listed(&[]) };
        let mut answer = HeaderMap::new();
        write(&cors, allowed_origin(&cors, &fields(&[])).as_ref(), &mut answer);
        assert_eq!(written(&answer), ["access-control-allow-origin: *"]);
    }

    #[test]
    fn a_preflight_is_told_what_is_allowed() {
        let cors = Cors { max_age: Some(Duration::from_millis(600_900)), ..listed(&[exact("https://a.example")]) };
        let asks = fields(&[("origin", "https://a.example"), ("access-control-request-method", "DELETE")]);
        assert_eq!(preflighted(&Method::OPTIONS, &asks), Some(Method::DELETE));
        assert_eq!(
            written(&preflight(&cors, &asks)),
            [
                "access-control-allow-headers: content-type",
                "access-control-allow-methods: PUT",
                "access-control-allow-origin: https://a.example",
                "access-control-max-age: 600",
                "vary: Access-Control-Request-Headers",
                "vary: Access-Control-Request-Method",
                "vary: Origin",
            ]
        );
        let foreign = fields(&[("origin", "https://b.example"), ("access-control-request-method", "PUT")]);
        assert!(written(&preflight(&cors, &foreign)).iter().all(|field| field.starts_with("vary")));
    }

    #[test]
    fn any_method_and_header_are_named_as_asked() {
        let cors = Cors { methods: None, headers: None, ..listed(&[exact("null")]) };
        let asked = |headers| {
            fields(&[
                ("origin", "null"),
                ("access-control-request-method", "PATCH"),
                ("access-control-request-headers", headers),
            ])
        };
        let answer = preflight(&cors, &asked("authorization,x-a"));
        assert_eq!(answer["access-control-allow-methods"], "PATCH");
        assert_eq!(answer["access-control-allow-headers"], "authorization,x-a");
        assert!(!preflight(&cors, &asked("x<script>")).contains_key("access-control-allow-headers"));
    }

    #[test]
    fn not_every_options_request_is_a_preflight() {
        let origin = ("origin", "null");
        let asks = ("access-control-request-method", "PUT");
        assert_eq!(preflighted(&Method::OPTIONS, &fields(&[origin])), None);
        assert_eq!(preflighted(&Method::OPTIONS, &fields(&[asks])), None);
        assert_eq!(preflighted(&Method::PUT, &fields(&[origin, asks])), None);
        assert_eq!(preflighted(&Method::OPTIONS, &fields(&[origin, ("access-control-request-method", "P T")])), None);
    }
}
