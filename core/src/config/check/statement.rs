//! The statements other than `site` and `upstream`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{Checker, PathKind};
use crate::config::{
    checked::{AccessLog, Acme, Address, Admin, Broker, ErrorPages, Limits, Listener, LogFormat, Networks, User},
    diagnostic::Diagnostic,
    nearest::nearest,
    options::{self, Kind},
    raw::{File, Made, Span},
    settings::{Setting, Settings},
};

/// What the statements say, defaults filled in.
pub(super) struct Statements {
    pub(super) listeners: Vec<(Listener, Span)>,
    pub(super) admin: Admin,
    pub(super) access_log: AccessLog,
    pub(super) workers: Option<NonZeroUsize>,
    pub(super) trust: Networks,
    pub(super) limits: Limits,
    pub(super) errors: Option<Arc<ErrorPages>>,
    pub(super) resolver: Vec<SocketAddr>,
    pub(super) drain: Duration,
    pub(super) user: Option<User>,
    pub(super) broker: Broker,
    pub(super) acme: Option<(Arc<Acme>, Span)>,
}

impl Checker<'_> {
    pub(super) fn statements(&mut self, file: &File) -> Statements {
        let mut statements = Statements {
            listeners: Vec::new(),
            admin: Admin { address: None, token: None },
            access_log: AccessLog { format: LogFormat::default(), to: None },
            workers: None,
            trust: Networks::default(),
            limits: Limits::default(),
            errors: None,
            resolver: Vec::new(),
            drain: DRAIN,
            user: None,
            broker: Broker::Memory,
            acme: None,
        };
        let mut said: HashMap<&str, Span> = HashMap::new();
        for made in &file.statements {
            if ["site", "upstream"].contains(&made.what) {
                continue;
            }
            if made.what != "listen"
                && let Some(first) = said.insert(made.what, made.span)
            {
                let message = format!("`{}` is said twice", made.what);
                self.reader.report(Diagnostic::error(made.span, message, "say it once").note(first, "first here"));
            }
            self.statement(made, &mut statements);
        }
        let listener = |(listener, _): &&(Listener, Span)| Some(&listener.address) == statements.admin.address.as_ref();
        if let (Some((_, place)), Some(span)) = (statements.listeners.iter().find(listener), said.get("admin")) {
            let error = Diagnostic::error(*span, "`admin` and `listen` have the same address", "another one");
            self.reader.report(error.note(*place, "the `listen`"));
        }
        if !file.statements.iter().any(|made| made.what == "listen") {
            let place = file.statements.first().map_or(Span::default(), |made| made.span);
            self.reader.error(place, "no `listen`: nothing would be served", "add: listen \"127.0.0.1:8080\"");
        }
        self.somebody_is_believed(&statements);
        statements
    }

    /// A header of the PROXY protocol counts from peers in `trust` only.
    fn somebody_is_believed(&mut self, statements: &Statements) {
        for (listener, span) in statements.listeners.iter().filter(|(listener, _)| listener.proxy_protocol) {
            let (anybody, who) = match &listener.address {
                Address::Unix(_) => (statements.trust.unix, "trust { \"unix\" }"),
                Address::Tcp(_) => (!statements.trust.nets.is_empty(), "for example trust { \"10.0.0.0/8\" }"),
            };
            if !anybody {
                let message =
                    format!("`proxy_protocol` of `listen` {} needs a `trust`: whose header counts", listener.address);
                self.reader.error(*span, message, who);
            }
        }
    }

    fn statement(&mut self, made: &Made, statements: &mut Statements) {
        let Some(constructor) = options::find(made.what).filter(|found| found.kind == Kind::Statement) else {
            return self.reader.error(made.span, format!("`{}` is no statement", made.what), "");
        };
        if !self.reader.landed(constructor, made.span) {
            return;
        }
        // Its keys are statuses, which no table of options can list.
        if made.what == "errors" {
            statements.errors = Some(Arc::new(self.error_pages(&made.arguments, made.span)));
            return;
        }
        let arguments = self.reader.arguments(constructor, made);
        match made.what {
            "listen" => {
                let Some(Setting::Address(address)) = arguments.at(0) else { return };
                self.listen(address.clone(), &arguments.settings, made.span, &mut statements.listeners);
            }
            "admin" => {
                let Some(Setting::Address(address)) = arguments.at(0) else { return };
                let token = arguments.settings.text("token").map(str::to_owned);
                self.admin_guarded(address, token.as_deref(), made.span);
                statements.admin = Admin { address: Some(address.clone()), token };
            }
            "log" => statements.access_log = self.access_log(&arguments.settings, &statements.access_log.clone()),
            "workers" => {
                if let Some(Setting::Integer(count)) = arguments.at(0) {
                    statements.workers = usize::try_from(*count).ok().and_then(NonZeroUsize::new);
                }
            }
            "broker" => {
                if let Some(broker) = self.broker(&arguments, made) {
                    statements.broker = broker;
                }
            }
            "acme" => statements.acme = self.acme(&arguments.settings, made.span).map(|acme| (acme, made.span)),
            "trust" => statements.trust = arguments.networks(),
            "limits" => statements.limits = limits(&arguments.settings, &Limits::default()),
            "resolver" => {
                for (address, span) in &arguments.positional {
                    self.name_server(address.as_ref(), *span, &mut statements.resolver);
                }
            }
            "drain" => {
                if let Some(Setting::Duration(duration)) = arguments.at(0) {
                    statements.drain = *duration;
                }
            }
            "user" => {
                if let Some(Setting::Text(text)) = arguments.at(0) {
                    statements.user = self.user(text, made.span);
                }
            }
            _ => {}
        }
    }

    pub(super) fn user(&mut self, text: &str, place: Span) -> Option<User> {
        let (name, group) = match text.split_once(':') {
            None => (text, None),
            Some((name, group)) => (name, Some(group)),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains([':', '\0', '\n']);
        if !is_name(name) || !group.is_none_or(is_name) {
            self.reader.error(
                place,
                format!("`user` can't be \"{}\"", text.escape_debug()),
                "\"name\" or \"name:group\"",
            );
            return None;
        }
        if let Err(unknown) = (self.context.account)(name, group) {
            self.reader.error(place, unknown, "a user of this machine");
        }
        Some(User { name: name.to_owned(), group: group.map(str::to_owned) })
    }

    fn listen(&mut self, address: Address, settings: &Settings<'_>, span: Span, listeners: &mut Vec<(Listener, Span)>) {
        if let (Address::Tcp(_), Some((.., mode))) = (&address, settings.given("mode")) {
            self.reader.error(*mode, "`mode` of `listen` is for unix sockets only", "remove it");
        }
        let any_port = matches!(&address, Address::Tcp(address) if address.port() == 0);
        let first = listeners.iter().find(|(listener, _)| listener.address == address);
        if let Some((_, first)) = first.filter(|_| !any_port) {
            let error = Diagnostic::error(span, "this address is listened on twice", "remove one of them");
            return self.reader.report(error.note(*first, "first here"));
        }
        let mode = settings.mode("mode").unwrap_or_default();
        let backlog = settings.integer("backlog").and_then(|length| u32::try_from(length).ok()).unwrap_or_default();
        let proxy_protocol = settings.bool("proxy_protocol");
        let tls = self.listen_tls(settings);
        let tcp = self.listen_tcp(settings);
        let http2 = settings.bool("http2");
        listeners.push((Listener { address, mode, backlog, proxy_protocol, tls, http2, tcp }, span));
    }

    fn name_server(&mut self, address: Option<&Setting<'_>>, span: Span, servers: &mut Vec<SocketAddr>) {
        // Where there is no text it has been said what is wrong.
        let Some(Setting::Text(text)) = address else { return };
        let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
        match address.ok().filter(|address| address.port() != 0 && !address.ip().is_unspecified()) {
            Some(address) => servers.push(address),
            None => {
                let message = format!("\"{}\" is no address of a name server", text.escape_debug());
                self.reader.error(span, message, "an IP address: \"10.0.0.2\" or \"10.0.0.2:53\"");
            }
        }
    }

    fn admin_guarded(&mut self, address: &Address, token: Option<&str>, span: Span) {
        match (address, token) {
            (Address::Tcp(_), None) => {
                self.reader.error(span, "`admin` on TCP needs a token", "add: token = env \"TOKEN\"");
            }
            (_, Some("")) => {
                self.reader.error(span, "`token` of `admin` is empty", "a secret, for example env \"TOKEN\"")
            }
            _ => {}
        }
    }

    /// An access log; what isn't said is as in `base`.
    pub(super) fn access_log(&mut self, settings: &Settings<'_>, base: &AccessLog) -> AccessLog {
        let mut log = base.clone();
        if settings.given("format").is_some() {
            log.format = match settings.text("format") {
                Some("common") => LogFormat::Common,
                Some("json") => LogFormat::Json,
                Some("websocketd") => LogFormat::Websocketd,
                Some("none") => LogFormat::None,
                _ => LogFormat::Combined,
            };
        }
        if let Some((_, Setting::Text(text), span)) = settings.given("to") {
            let path = self.reader.path(text, *span);
            log.to = (*text != "stdout").then_some(path);
            if let Some(path) = &log.to {
                self.log_path(path, text, *span);
            }
        }
        log
    }

    fn log_path(&mut self, path: &Path, text: &str, span: Span) {
        let probe = self.context.probe;
        if text.is_empty() || probe(path) == PathKind::Folder {
            let label = "a file, or \"stdout\"";
            return self.reader.error(span, format!("`to` of `log` can't be \"{text}\""), label);
        }
        if path.parent().is_some_and(|folder| probe(folder) != PathKind::Folder) {
            let near = nearest(text, ["stdout"]).map_or("create the folder first", |_| "did you mean \"stdout\"?");
            self.reader.error(span, format!("the folder of the log \"{text}\" can't be read"), near);
        }
    }

    /// Limits that have no effect in a site, because they count before the site is known.
    pub(super) fn limits_too_early(&mut self, settings: &Settings<'_>) {
        for (name, _, span) in &settings.given {
            if ["head", "head_timeout", "connections", "connections_per_client"].contains(name) {
                let message = format!("`{name}` has no effect in a site: it counts before the site is known");
                self.reader.report(Diagnostic::warning(*span, message, "say it in the statement `limits`"));
            }
        }
    }
}

/// The default of `drain`; a test holds it against the table of options.
const DRAIN: Duration = Duration::from_secs(30);

/// Limits; what isn't said is as in `base`.
pub(super) fn limits(settings: &Settings<'_>, base: &Limits) -> Limits {
    let mut limits = base.clone();
    for (name, setting, _) in &settings.given {
        match setting {
            Setting::Size(bytes) => size_limit(&mut limits, name, *bytes),
            Setting::Duration(duration) => time_limit(&mut limits, name, *duration),
            Setting::Integer(count) => count_limit(&mut limits, name, *count),
            _ => {}
        }
    }
    limits
}

fn size_limit(limits: &mut Limits, name: &str, bytes: u64) {
    let memory = usize::try_from(bytes).unwrap_or(usize::MAX);
    match name {
        "head" => limits.head = memory,
        "uri" => limits.uri = memory,
        "body" => limits.body = Some(bytes),
        "buffer" => limits.buffer = memory,
        "script_memory" => limits.script_memory = memory,
        _ => {}
    }
}

fn time_limit(limits: &mut Limits, name: &str, duration: Duration) {
    match name {
        "head_timeout" => limits.head_timeout = duration,
        "idle_timeout" => limits.idle_timeout = duration,
        "body_timeout" => limits.body_timeout = duration,
        "write_timeout" => limits.write_timeout = duration,
        "script_cpu" => limits.script_cpu = duration,
        _ => {}
    }
}

fn count_limit(limits: &mut Limits, name: &str, count: u64) {
    let size = usize::try_from(count).unwrap_or(usize::MAX);
    match name {
        "headers" => limits.headers = size,
        "connections" => limits.connections = size,
        "connections_per_client" => limits.connections_per_client = Some(size),
        "requests_per_connection" => limits.requests_per_connection = Some(count),
        "tunnels" => limits.tunnels = Some(size),
        "channels" => limits.channels = size,
        _ => {}
    }
}
