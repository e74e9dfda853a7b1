//! Answers that are known beforehand: `reply` and `redirect`.

use http::{HeaderValue, header};
use rsp_core::{config, route::Params};

use crate::message::{Body, Request, Response};

/// `reply(status, body, headers)`
pub fn reply(spec: &config::Reply) -> Response {
    let mut response = Response::new(spec.status, Body::Full(spec.body.clone()));
    response.headers = spec.headers.clone();
    response
}

/// `redirect(to, status)`, its placeholders filled in.
pub fn redirect(spec: &config::Redirect, request: &Request, params: &Params) -> Response {
    let to = fill(&spec.to, |name| placeholder(name, request, params));
    // What a client sent may hold bytes that no field can have; such a redirect goes to the root.
    let location = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/"));
    Response::new(spec.status, Body::Empty).with(header::LOCATION, location)
}

fn placeholder(name: &str, request: &Request, params: &Params) -> Option<String> {
    let target = &request.head.target;
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match name {
        "host" => Some(host(request)),
        "hostname" => Some(without_port(&host(request)).to_owned()),
        "uri" => Some(target.as_str().to_owned()),
        "path" => Some(lossy(target.path())),
        "query" => Some(lossy(target.query().unwrap_or_default())),
        param => params.get(param).map(encode),
    }
}

/// As the client sent it.
fn host(request: &Request) -> String {
    let host = request.head.headers.get(header::HOST);
    host.map_or_else(String::new, |host| String::from_utf8_lossy(host.as_bytes()).into_owned())
}

/// The colons of an address in brackets are none of a port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

/// A parameter was decoded for matching; in a URL it must be one segment again.
fn encode(param: &[u8]) -> String {
    percent_encoding::percent_encode(param, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Replaces each `{name}` that is known; others stay.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let filled = after.split_once('}').and_then(|(name, behind)| Some((value(name)?, behind)));
        match filled {
            Some((text, behind)) => {
                out.push_str(&text);
                rest = behind;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_unknown_ones_stay() {
        let value = |name: &str| (name == "path").then(|| "/a".to_owned());
        assert_eq!(fill("https://x{path}?{y}{", value), "https://x/a?{y}{");
    }

    #[test]
    fn a_host_without_its_port_keeps_its_brackets() {
        for (host, name) in [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")] {
            assert_eq!(without_port(host), name);
        }
    }
}
