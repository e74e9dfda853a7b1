//! A config file, or the text of a one-line command, becomes a checked config.

use std::{
    cell::RefCell,
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use rsp_core::config::{self, Certificates, Config, Context, SiteTls};

use super::identity::Identity;
use crate::{error, script, tls};

/// Where a config comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// The text that a one-line command stands for, and the port that names its admin socket.
    Command {
        /// The config.
        text: String,
        /// The folder its paths are relative to.
        folder: PathBuf,
        /// Its admin socket.
        admin: PathBuf,
        /// Printed once it listens; for a person, empty if there is nothing to say.
        greeting: String,
    },
}

/// A checked config and what workers need to run its functions.
pub struct Loaded {
    /// The checked config.
    pub config: Arc<Config>,
    /// The texts it was evaluated from.
    pub sources: Arc<script::Sources>,
    /// Every file that was read for it, the config file first: what it requires and includes, and what it names, as
    /// error pages.
    pub files: Vec<PathBuf>,
    /// Whom to run as.
    pub identity: Option<Identity>,
    /// Rendered warnings; empty if there are none.
    pub warnings: String,
}

/// Why there is no config.
pub struct Refused {
    /// Rendered.
    pub diagnostic: String,
    /// The files that were read, or asked for in vain, as far as it came.
    pub files: Vec<PathBuf>,
}

impl Origin {
    /// The admin socket where the config names no other.
    pub fn admin_socket(&self) -> PathBuf {
        match self {
            Self::File(path) => crate::handler::admin::default_admin_path(path),
            Self::Command { admin, .. } => admin.clone(),
        }
    }

    pub(super) fn file(&self) -> Option<&std::path::Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Command { .. } => None,
        }
    }

    pub(super) fn greeting(&self) -> &str {
        match self {
            Self::File(_) => "",
            Self::Command { greeting, .. } => greeting,
        }
    }
}

/// A Lua string literal, for the text of a one-line command.
pub fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
    format!("\"{escaped}\"")
}

/// Evaluates and checks.
pub fn load(origin: &Origin) -> Result<Loaded, Refused> {
    let evaluated = match origin {
        Origin::File(path) => script::load(path),
        Origin::Command { text, folder, .. } => script::load_text(text, folder),
    };
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let admin = folder.join(origin.admin_socket());
    let read = RefCell::default();
    let context = Context {
        folder: &folder,
        admin_socket: &admin,
        probe: &script::probe,
        real: &script::real,
        read: &|path, most| {
            Vec::push(&mut read.borrow_mut(), path.to_owned());
            script::read_file(path, most)
        },
        account: &|name, group| Identity::find(name, group).map(drop),
        program: &script::find_program,
        certificate: &tls::check_files,
        authorities: &tls::check_authorities,
    };
    let script::Loaded { file, sources } = evaluated.map_err(|failed| {
        let files: Vec<_> = failed.sources.iter().map(|source| source.path.clone()).collect();
        let diagnostic = failed.checked(&context).render();
        Refused { diagnostic, files: [files, read.take()].concat() }
    })?;
    let checked = config::check(&file, &context);
    let files = [sources.paths().map(Path::to_owned).collect(), read.take()].concat();
    let render = |found: &[config::Diagnostic]| error::render(found, &file.sources);
    match checked {
        Ok((config, warnings)) => {
            // Asked for again, as programs may have users of their own.
            let identity = config.user.as_ref().map(|user| Identity::find(&user.name, user.group.as_deref()));
            let identity = match identity.transpose() {
                Ok(identity) => identity,
                Err(why) => return Err(Refused { diagnostic: format!("{why}\n"), files }),
            };
            let warnings = render(&warnings);
            Ok(Loaded { config: Arc::new(config), sources: Arc::new(sources), files, identity, warnings })
        }
        Err(found) => Err(Refused { diagnostic: render(&found), files }),
    }
}

/// The routes as `rsp check` prints them.
pub fn routing_table(config: &Config) -> String {
    let mut out = String::new();
    for listener in &config.listeners {
        let tls = if listener.tls.is_some() { "  tls" } else { "" };
        let tcp = listener.tcp.as_ref().map_or(String::new(), |tcp| format!("  tunnel {}", tcp.upstream.name));
        let _ = writeln!(out, "listen {}{tls}{tcp}", listener.address);
    }
    for site in &config.sites {
        let hosts: Vec<_> = site.hosts.iter().map(ToString::to_string).collect();
        let tls = match &site.tls {
            None => String::new(),
            Some(SiteTls::Terminate(terms)) if terms.certificates == Certificates::Acme => "  acme".to_owned(),
            Some(SiteTls::Terminate(_)) => "  tls".to_owned(),
            Some(SiteTls::Passthrough(tunnel)) => format!("  passthrough {}", tunnel.upstream.name),
        };
        let _ = writeln!(out, "\nsite {}{tls}", hosts.join(" "));
        let width = site.routes.iter().map(|route| route.pattern.as_str().len()).max().unwrap_or_default();
        for route in &site.routes {
            let method = route.method.as_ref().map_or("*", |method| method.as_str());
            let chain = chain(&route.chain);
            let _ = writeln!(out, "  {method:<7} {:<width$}  {chain}", route.pattern.as_str());
        }
    }
    out
}

/// Filters and handler in the words of the config.
fn chain(chain: &config::Chain) -> String {
    let filters = chain.filters.iter().map(|filter| match filter {
        config::Filter::Allow(_) => "allow, ",
        config::Filter::Deny(_) => "deny, ",
        config::Filter::Auth(_) => "auth, ",
        config::Filter::Headers(_) => "headers, ",
        config::Filter::Limit(_) => "limit, ",
        config::Filter::Cors(_) => "cors, ",
        config::Filter::Rewrite(_) => "rewrite, ",
        config::Filter::Function(_) => "function, ",
    });
    let handler = match &chain.handler {
        config::Handler::Proxy(proxy) => format!("proxy {}", proxy.upstream.name),
        config::Handler::Files(files) => format!("files {}", files.root.display()),
        config::Handler::Fastcgi(fastcgi) => format!("fastcgi {}", fastcgi.upstream.name),
        config::Handler::Reply(reply) => format!("reply {}", reply.status.as_u16()),
        config::Handler::Redirect(redirect) => format!("redirect {} {}", redirect.status.as_u16(), redirect.to),
        config::Handler::Channel(channel) => format!("channel {}", channel.name),
        config::Handler::Exec(exec) => format!("exec {}", exec.program),
        config::Handler::Cgi(cgi) => format!("cgi {}", cgi.folder.display()),
        config::Handler::Bridge(bridge) => format!("bridge {}", bridge.upstream.name),
        config::Handler::Function(_) => "function".to_owned(),
    };
    filters.collect::<String>() + &handler
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_can_not_leave_its_quotes() {
        assert_eq!(quoted("a\"] = x\\"), "\"a\\\"] = x\\\\\"");
    }
}
