//! What a program is told of a request: the meta-variables of CGI/1.1 (RFC 3875 §4.1), as websocketd sets them.
//!
//! **Invariant:** of rsp's own environment a program sees what `passenv` names; no client can set `HTTP_PROXY`, nor put
//! an end or a line feed into a value.

use std::{
    io::Write as _,
    os::unix::ffi::OsStrExt,
    time::{SystemTime, UNIX_EPOCH},
};

use http::header;
use rsp_core::config;

use crate::message::{Request, variables};

/// The whole environment of a process: `NAME=value`, each ended by a NUL. Of two with one name the later one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<u8>);

/// What the environment says beside the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// `SCRIPT_NAME`.
    pub script_name: &'a [u8],
    /// `PATH_INFO`.
    pub path_info: &'a [u8],
    /// `PATH_TRANSLATED`.
    pub path_translated: &'a [u8],
    /// `CONTENT_LENGTH`; None: empty.
    pub content_length: Option<u64>,
    /// `REMOTE_HOST`; None: the address.
    pub remote_host: Option<&'a str>,
    /// Whether it is told `HTTP_HOST`: CGI programs build links with it, websocketd hides it.
    pub has_host: bool,
}

/// The environment of a process that a request starts.
pub fn environment(request: &Request, told: &Told<'_>, command: &config::Command) -> Environment {
    let mut all = Environment::default();
    all.pass_on(command);
    let head = &request.head;
    all.add("SERVER_PROTOCOL", variables::protocol(head.version));
    all.add("REQUEST_METHOD", head.method.as_str().as_bytes());
    all.add("REQUEST_URI", head.target.as_bytes());
    all.add("QUERY_STRING", head.target.query().unwrap_or_default());
    all.add("SCRIPT_NAME", told.script_name);
    all.add("PATH_INFO", told.path_info);
    all.add("PATH_TRANSLATED", told.path_translated);
    all.add_shown("CONTENT_LENGTH", told.content_length.map_or_else(String::new, |length| length.to_string()));
    // A field of that name comes later and counts.
    all.add("CONTENT_TYPE", b"");
    all.add_addresses(request, told);
    all.add_user(request);
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    all.add_shown("UNIQUE_ID", stamp.as_nanos());
    variables::each_field(&head.headers, request.client.trusted, |name, value| {
        if told.has_host || name != "HTTP_HOST" {
            all.add(name, value);
        }
    });
    if let Some(upgrade) = &head.upgrade {
        // Of one hop only, and read by scripts all the same to see what they are asked for.
        all.add("HTTP_CONNECTION", b"Upgrade");
        all.add("HTTP_UPGRADE", upgrade.as_bytes());
    }
    all.add_given(command);
    all
}

impl Environment {
    /// The environment of a process that no request starts.
    pub fn without_request(command: &config::Command) -> Self {
        let mut all = Self::default();
        all.pass_on(command);
        all.add_given(command);
        all
    }

    /// Adds a variable, or puts it in the place of an earlier one. CR, LF and NUL become spaces.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        if name.is_empty() || name.bytes().any(|byte| matches!(byte, b'=' | 0)) {
            return;
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        self.0.extend(value.iter().map(|&byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
        self.0.push(0);
    }

    /// As a packet takes it.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn add_shown(&mut self, name: &str, value: impl std::fmt::Display) {
        // Room for any number or address.
        let mut text = Vec::with_capacity(48);
        // A Vec takes everything.
        let _ = write!(text, "{value}");
        self.add(name, &text);
    }

    /// What is ours and passed on, and what it is told of us.
    fn pass_on(&mut self, command: &config::Command) {
        // Whether a client came by TLS, and with which certificate, is told by the request alone.
        let is_told = |name: &str| name == "HTTPS" || name.starts_with("SSL_CLIENT_");
        for name in command.passenv.iter().filter(|name| !is_told(name)) {
            if let Some(value) = std::env::var_os(name) {
                self.0.extend_from_slice(name.as_bytes());
                self.0.push(b'=');
                self.0.extend_from_slice(value.as_bytes());
                self.0.push(0);
            }
        }
        self.add("SERVER_SOFTWARE", variables::SOFTWARE.as_bytes());
        self.add("GATEWAY_INTERFACE", b"CGI/1.1");
    }

    fn add_given(&mut self, command: &config::Command) {
        for (name, value) in &command.env {
            if !value.contains('\0') {
                self.0.extend_from_slice(name.as_bytes());
                self.0.push(b'=');
                self.0.extend_from_slice(value.as_bytes());
                self.0.push(0);
            }
        }
    }

    fn add_addresses(&mut self, request: &Request, told: &Told<'_>) {
        let is_https = variables::is_https(request);
        if is_https {
            self.add("HTTPS", b"on");
        }
        variables::each_of_certificate(request, |name, value| self.add(name, value));
        let (name, port) = variables::server(request);
        self.add("SERVER_NAME", name);
        self.add_shown("SERVER_PORT", port.unwrap_or(if is_https { 443 } else { 80 }));
        let address = request.client.ip.map_or_else(|| "unix:".to_owned(), |ip| ip.to_string());
        self.add("REMOTE_HOST", told.remote_host.unwrap_or(&address).as_bytes());
        self.add("REMOTE_ADDR", address.as_bytes());
        // The port belongs to the peer, who need not be the client.
        let peer = request.client.peer_address().filter(|peer| Some(peer.ip()) == request.client.ip);
        self.add_shown("REMOTE_PORT", peer.map_or_else(String::new, |peer| peer.port().to_string()));
    }

    fn add_user(&mut self, request: &Request) {
        let name = request.user.as_ref().map_or("", |user| &user.name);
        let credentials = request.head.headers.get(header::AUTHORIZATION).filter(|_| request.user.is_some());
        let scheme = credentials.and_then(|given| given.as_bytes().split(|&byte| byte == b' ').next());
        self.add("AUTH_TYPE", scheme.unwrap_or_default());
        self.add("REMOTE_USER", name.as_bytes());
        self.add("REMOTE_IDENT", b"");
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use http::{HeaderName, HeaderValue, Method};

    use super::*;
    use crate::message::User;

    const TOLD: Told<'_> = Told {
        script_name: b"/",
        path_info: b"/a b",
        path_translated: b"/a b",
        content_length: None,
        remote_host: None,
        has_host: false,
    };

    fn command() -> config::Command {
        config::Command {
            env: Vec::new(),
            passenv: Vec::new(),
            cwd: None,
            user: None,
            limits: config::ProcessLimits::default(),
        }
    }

    fn read(environment: &Environment) -> HashMap<String, String> {
        let text = String::from_utf8(environment.0.clone()).unwrap();
        let pairs = text.split_terminator('\0').map(|one| one.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn of(request: &Request) -> HashMap<String, String> {
        read(&environment(request, &TOLD, &command()))
    }

    #[test]
    fn a_request_is_told_in_the_words_of_cgi() {
        let mut request = Request::example(Method::GET, "/a%20b?x=%20&y");
        request.head.headers.append(header::HOST, HeaderValue::from_static("example.com:8080"));
        request.head.upgrade = Some(HeaderValue::from_static("websocket"));
        let told = of(&request);
        let stamp: u128 = told["UNIQUE_ID"].parse().unwrap();
        assert!(stamp > 1_700_000_000_000_000_000);
        for (name, value) in [
            ("SERVER_SOFTWARE", variables::SOFTWARE),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_NAME", "example.com"),
            ("SERVER_PORT", "8080"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/a%20b?x=%20&y"),
            ("SCRIPT_NAME", "/"),
            ("PATH_INFO", "/a b"),
            ("PATH_TRANSLATED", "/a b"),
            ("QUERY_STRING", "x=%20&y"),
            ("REMOTE_ADDR", "unix:"),
            ("REMOTE_HOST", "unix:"),
            ("REMOTE_PORT", ""),
            ("AUTH_TYPE", ""),
            ("CONTENT_LENGTH", ""),
            ("CONTENT_TYPE", ""),
            ("REMOTE_IDENT", ""),
            ("REMOTE_USER", ""),
            ("HTTP_UPGRADE", "websocket"),
            ("HTTP_CONNECTION", "Upgrade"),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!told.contains_key("HTTPS") && !told.contains_key("HTTP_HOST"));
    }

    #[test]
    fn a_proxy_that_is_trusted_says_whether_the_client_came_by_tls() {
        for (proto, https) in [("https", Some("on")), ("WSS", Some("on")), ("http", None), ("ws", None)] {
            let name = HeaderName::from_static("x-forwarded-proto");
            let mut request = Request::example(Method::GET, "/").with(name, proto);
            assert_eq!(of(&request).get("HTTPS"), None);
            request.client.trusted = true;
            assert_eq!(of(&request).get("HTTPS").map(String::as_str), https, "{proto}");
        }
    }

    #[test]
    fn fields_become_variables_but_not_each_others() {
        let mut request = Request::example(Method::GET, "/");
        for (name, value) in [
            ("host", "example.com"),
            ("proxy", "http://evil/"),
            ("x-two", "a"),
            ("x-two", "b"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("x-dot.name", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("content-type", "text/x"),
            ("content-length", "5"),
        ] {
            let name = HeaderName::from_static(name);
            request.head.headers.append(name, HeaderValue::from_static(value));
        }
        let mut fields: Vec<_> = of(&request).into_iter().filter(|(name, _)| name.starts_with("HTTP_")).collect();
        fields.sort();
        let expected = [("HTTP_COOKIE", "a=1; b=2"), ("HTTP_X_TWO", "a, b")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(of(&request)["CONTENT_TYPE"], "text/x");
        assert_eq!(of(&request)["CONTENT_LENGTH"], "");
        request.client.trusted = true;
        assert_eq!(of(&request)["HTTP_X_FORWARDED_FOR"], "1.2.3.4");
        let told = environment(&request, &Told { has_host: true, content_length: Some(5), ..TOLD }, &command());
        assert_eq!(read(&told)["HTTP_HOST"], "example.com");
        assert_eq!(read(&told)["CONTENT_LENGTH"], "5");
    }

    #[test]
    fn no_value_ends_early() {
        let request = Request::example(Method::GET, "/");
        let told = Told { path_info: b"/a\0b\r\nEVIL=1", ..TOLD };
        let all = read(&environment(&request, &told, &command()));
        assert_eq!(all["PATH_INFO"], "/a b  EVIL=1");
        let mut own = Environment::default();
        own.add("A=B", b"1");
        own.add("", b"1");
        assert_eq!(own, Environment::default());
    }

    #[test]
    fn what_is_ours_is_passed_on_by_name_and_what_is_given_wins() {
        let given = config::Command {
            env: vec![("QUERY_STRING".to_owned(), "mine".to_owned())],
            passenv: vec!["PATH".to_owned(), "HTTPS".to_owned(), "NO_SUCH_VARIABLE".to_owned()],
            ..command()
        };
        let all = read(&environment(&Request::example(Method::GET, "/?theirs"), &TOLD, &given));
        assert_eq!(all["QUERY_STRING"], "mine");
        assert_eq!(all["PATH"], std::env::var("PATH").unwrap());
        let alone = read(&Environment::without_request(&given));
        let mut names: Vec<_> = alone.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["GATEWAY_INTERFACE", "PATH", "QUERY_STRING", "SERVER_SOFTWARE"]);
    }

    #[test]
    fn a_user_is_told_only_when_somebody_found_out_who_it_is() {
        let mut request = Request::example(Method::GET, "/").with(header::AUTHORIZATION, "Basic YTpi");
        let told = of(&request);
        assert_eq!((&*told["AUTH_TYPE"], &*told["REMOTE_USER"]), ("", ""));
        request.user = Some(Arc::new(User { name: "anna".into(), info: None }));
        let told = of(&request);
        assert_eq!((&*told["AUTH_TYPE"], &*told["REMOTE_USER"]), ("Basic", "anna"));
    }
}
