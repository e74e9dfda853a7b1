//! What an application is told of a request: the meta-variables of CGI/1.1 (RFC 3875 §4.1), and what PHP looks for.

use std::{io::Write as _, os::unix::ffi::OsStrExt};

use http::HeaderMap;
use rsp_core::{config, frame::fastcgi::Params};

use super::script::Script;
use crate::message::{Request, variables};

/// Parameters that are being gathered; those that the config gives are its own.
struct Gathered<'a> {
    given: &'a [(String, String)],
    params: Params,
}

impl Gathered<'_> {
    fn add(&mut self, name: &str, value: &[u8]) {
        self.add_parts(name, &[value]);
    }

    fn add_parts(&mut self, name: &str, value: &[&[u8]]) {
        if !self.given.iter().any(|(given, _)| given == name) {
            self.params.add(name.as_bytes(), value);
        }
    }
}

/// The parameters of a request for `script` with a body of `length`.
pub fn params(spec: &config::Fastcgi, request: &Request, script: &Script, length: Option<u64>) -> Params {
    let mut all = Gathered { given: &spec.params, params: Params::default() };
    let head = &request.head;
    add_script(&mut all, spec, script);
    all.add("REQUEST_METHOD", head.method.as_str().as_bytes());
    all.add("QUERY_STRING", head.target.query().unwrap_or_default());
    all.add("REQUEST_URI", head.target.as_bytes());
    all.add("SERVER_PROTOCOL", variables::protocol(head.version));
    all.add("GATEWAY_INTERFACE", b"CGI/1.1");
    all.add("SERVER_SOFTWARE", variables::SOFTWARE.as_bytes());
    // Without it PHP that was built with --enable-force-cgi-redirect refuses to run.
    all.add("REDIRECT_STATUS", b"200");
    if let Some(length) = length {
        all.add("CONTENT_LENGTH", length.to_string().as_bytes());
    }
    add_addresses(&mut all, request);
    add_fields(&mut all, &head.headers, request.client.trusted);
    for (name, value) in &spec.params {
        all.params.add(name.as_bytes(), &[value.as_bytes()]);
    }
    all.params
}

fn add_script(all: &mut Gathered<'_>, spec: &config::Fastcgi, script: &Script) {
    let root = spec.scripts.as_ref().map(|scripts| scripts.folder.as_os_str().as_bytes());
    let root = root.map(|root| root.strip_suffix(b"/").unwrap_or(root));
    all.add_parts("SCRIPT_FILENAME", &[root.unwrap_or_default(), &script.name]);
    all.add("SCRIPT_NAME", &script.name);
    all.add_parts("DOCUMENT_URI", &[&script.name, &script.info]);
    if let Some(root) = root {
        all.add("DOCUMENT_ROOT", if root.is_empty() { b"/" } else { root });
    }
    all.add("PATH_INFO", &script.info);
    if let Some(root) = root.filter(|_| !script.info.is_empty()) {
        all.add_parts("PATH_TRANSLATED", &[root, &script.info]);
    }
}

fn add_addresses(all: &mut Gathered<'_>, request: &Request) {
    let is_https = variables::is_https(request);
    all.add("REQUEST_SCHEME", if is_https { b"https" } else { b"http" });
    if is_https {
        all.add("HTTPS", b"on");
    }
    variables::each_of_certificate(request, |name, value| all.add(name, value));
    // Room for any address.
    let mut text = Vec::with_capacity(48);
    let (name, port) = variables::server(request);
    all.add("SERVER_NAME", name);
    if let Some(local) = request.interim.client().and_then(|client| client.local_address()) {
        all.add("SERVER_ADDR", written(&mut text, local.ip()));
    }
    all.add("SERVER_PORT", written(&mut text, port.unwrap_or(if is_https { 443 } else { 80 })));
    match request.client.ip {
        Some(ip) => all.add("REMOTE_ADDR", written(&mut text, ip)),
        None => all.add("REMOTE_ADDR", b"unix:"),
    }
    // The port belongs to the peer, who need not be the client.
    let peer = request.client.peer_address();
    if let Some(peer) = peer.filter(|peer| Some(peer.ip()) == request.client.ip) {
        all.add("REMOTE_PORT", written(&mut text, peer.port()));
    }
}

fn written(text: &mut Vec<u8>, value: impl std::fmt::Display) -> &[u8] {
    text.clear();
    // A Vec takes everything.
    let _ = write!(text, "{value}");
    text
}

fn add_fields(all: &mut Gathered<'_>, headers: &HeaderMap, trusted: bool) {
    variables::each_field(headers, trusted, |name, value| all.add(name, value));
}
