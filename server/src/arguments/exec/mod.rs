//! `rsp exec`, and the name `websocketd`: websocketd's command line becomes a config.

mod table;
mod text;

use std::{
    ffi::OsString,
    net::{IpAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    process::ExitCode,
};

use rsp_core::config::CertificateFiles;

#[cfg(test)]
pub use self::table::FLAGS;
use super::{
    Task, USAGE,
    flags::{self, Given, Wrong},
    folder,
};
use crate::{
    boot::{self, Origin},
    remote, script, tls,
};

/// A flag that can't be read.
const BAD_FLAG: u8 = 2;
/// `--devconsole` together with what would answer in its place.
const TWO_ANSWERS: u8 = 4;

/// Where it listens by default unless it is called websocketd.
const DEFAULT_PORT: u16 = 8080;
/// Where websocketd does.
const WEBSOCKETD_PORT: u16 = 80;
/// The same with `--ssl`.
const TLS_PORT: u16 = 443;

/// What there is to do instead of what was asked.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// To be printed, and all is well.
    Print(String),
    /// To be said on standard error.
    Refuse { code: u8, said: String },
}

/// What a command line means.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// As `listen` takes them.
    listeners: Vec<String>,
    /// Listeners that redirect to this port.
    redirects: Vec<String>,
    port: u16,
    /// The program and its arguments; empty: none.
    command: Vec<String>,
    /// Whether pages of other origins may come where no flag says.
    any_origin: bool,
    /// Whether the access log is on.
    logs_access: bool,
    /// With what TLS is opened; None: nothing is.
    tls: Option<Tls>,
}

/// The files of `--ssl`, as they were named.
#[derive(Debug, PartialEq, Eq)]
struct Tls {
    cert: String,
    key: String,
    /// Who signs the certificates that clients need.
    ca: Option<String>,
}

/// Reads the words behind `exec`, or behind the name `websocketd`; the error is the exit code, and the reason has been printed.
pub fn parse(name: &str, words: impl Iterator<Item = OsString>) -> Result<Task, ExitCode> {
    read(name, words, &folder()).map_err(|outcome| match outcome {
        Outcome::Print(text) => {
            // A reader that has seen enough is no failure.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            ExitCode::SUCCESS
        }
        Outcome::Refuse { code, said } => {
            // Standard error that is closed leaves nobody to tell.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
            ExitCode::from(code)
        }
    })
}

fn read(name: &str, words: impl Iterator<Item = OsString>, folder: &Path) -> Result<Task, Outcome> {
    let bad_flag = |line: String| Outcome::Refuse { code: BAD_FLAG, said: format!("{line}\n{}", table::usage(name)) };
    let words = words.map(|word| {
        word.into_string().map_err(|word| bad_flag(format!("this word is no UTF-8: {}", word.to_string_lossy())))
    });
    let words = words.collect::<Result<Vec<_>, _>>()?;
    let given = flags::parse(words, table::FLAGS).map_err(|wrong| match wrong {
        Wrong::Help => Outcome::Print(table::help(name)),
        Wrong::Line(line) => bad_flag(line),
    })?;
    for (flag, print) in [("version", table::version as fn() -> String), ("license", table::license)] {
        if given.switch(flag) {
            return Err(Outcome::Print(print()));
        }
    }
    let messages = level(&given).ok_or_else(|| {
        let level = given.text("loglevel").unwrap_or_default();
        refuse(USAGE, format!("Incorrect loglevel flag '{level}'. Use --help to see allowed values."))
    })?;
    refusals(&given).map_or(Ok(()), Err)?;
    what_runs(&given, folder)
        .map_err(|said| Outcome::Refuse { code: USAGE, said: format!("{said}\n{}", table::usage(name)) })?;
    let plan = plan(&given, name == "websocketd")?;
    if let Some(tls) = &plan.tls {
        tls.check(folder).map_err(|why| refuse(boot::CANNOT_LISTEN, format!("Can't start server: {why}")))?;
    }
    let text = text::config(&plan, &given).map_err(bad_flag)?;
    let admin = remote::command_admin_path(&match plan.listeners.first() {
        Some(listener) if listener.starts_with("unix:") => listener.replace(':', "-"),
        _ => plan.port.to_string(),
    });
    let origin = Origin::Command { text, folder: folder.to_owned(), admin, greeting: String::new() };
    Ok(Task::Run { origin, watch: false, messages: Some(messages) })
}

fn refuse(code: u8, said: String) -> Outcome {
    Outcome::Refuse { code, said: said + "\n" }
}

/// The level of rsp's own messages; None: there is no such level.
fn level(given: &Given) -> Option<&'static str> {
    let level = if given.has("loglevel") { given.text("loglevel")? } else { "access" };
    Some(match level {
        "debug" => "trace",
        "trace" => "debug",
        "access" | "info" => "info",
        // What programs say on standard error is an error, to websocketd.
        "error" => "error,rsp::process::errors=info",
        "fatal" => "off",
        _ => return None,
    })
}

/// Flags that can't be meant together.
fn refusals(given: &Given) -> Option<Outcome> {
    let files = ["sslcert", "sslkey", "sslca"].map(|flag| given.text(flag).is_some());
    let (ssl, console) = (given.switch("ssl"), given.switch("devconsole"));
    let is = |flag| given.text(flag).is_some();
    let said = if ssl && !(files[0] && files[1]) {
        "Please specify both --sslcert and --sslkey when requesting --ssl."
    } else if !ssl && files.contains(&true) {
        "You should not be using --ssl* flags when there is no --ssl option."
    } else if console && (is("staticdir") || is("cgidir")) {
        let other = if is("staticdir") { "--staticdir" } else { "--cgidir" };
        let said = format!("Invalid parameters: --devconsole cannot be used with {other}. Pick one.");
        return Some(refuse(TWO_ANSWERS, said));
    } else if given.switch("binary") && given.switch("passstderr") {
        "--passstderr makes objects of lines: it cannot be used with --binary. Pick one."
    } else {
        return None;
    };
    Some(refuse(USAGE, said.into()))
}

/// Looks for what is served, in the folder that paths are relative to. Errors: a line that says what is missing.
fn what_runs(given: &Given, folder: &Path) -> Result<(), String> {
    let is = |flag| given.text(flag).is_some();
    let command = given.rest.first();
    let folders = [
        ("dir", "Could not find your script dir '", "'."),
        ("staticdir", "Your static dir '", "' is not pointing to an accessible directory."),
        ("cgidir", "Your CGI dir '", "' is not pointing to an accessible directory."),
    ];
    let Some(command) = command else {
        return match folders.iter().any(|(flag, ..)| is(flag)) {
            true => folders_are_there(given, folder, &folders),
            false if given.has_any() => {
                Err("Please specify COMMAND or provide --dir, --staticdir or --cgidir argument.".into())
            }
            false => Err("Command line arguments are missing.".into()),
        };
    };
    if is("dir") {
        return Err("Ambiguous. Provided COMMAND and --dir argument. Please only specify just one.".into());
    }
    let path = if command.contains('/') { folder.join(command) } else { PathBuf::from(command) };
    if script::find_program(&path).is_err() {
        return Err(format!("Unable to locate specified COMMAND '{command}' in OS path."));
    }
    folders_are_there(given, folder, &folders)
}

fn folders_are_there(given: &Given, folder: &Path, folders: &[(&str, &str, &str)]) -> Result<(), String> {
    for (flag, before, behind) in folders {
        if let Some(path) = given.text(flag).filter(|path| !folder.join(path).is_dir()) {
            return Err(format!("{before}{path}{behind}"));
        }
    }
    Ok(())
}

fn plan(given: &Given, is_websocketd: bool) -> Result<Plan, Outcome> {
    let cannot = |what: String| refuse(boot::CANNOT_LISTEN, what);
    let port = |flag| match given.number(flag) {
        None | Some(0) => Ok(None),
        Some(port) => match u16::try_from(port) {
            Ok(port) => Ok(Some(port)),
            Err(_) => Err(cannot(format!("cannot listen on port {port}: a port is a number up to 65535"))),
        },
    };
    let (asked, redirect) = (port("port")?, port("redirport")?);
    let addresses: Vec<_> = given.texts("address").collect();
    let socket = given.text("unixsocket");
    let is_own = !is_websocketd && asked.is_none() && addresses.is_empty() && socket.is_none();
    let tls = tls(given);
    let port = asked.unwrap_or(match (is_own, &tls) {
        (true, _) => DEFAULT_PORT,
        (false, None) => WEBSOCKETD_PORT,
        (false, Some(_)) => TLS_PORT,
    });
    let mut hosts = Vec::new();
    match (&*addresses, socket) {
        ([], _) if is_own => hosts.push("127.0.0.1".to_owned()),
        ([], Some(_)) if asked.is_none() => {}
        ([], _) => hosts.push(String::new()),
        (addresses, _) => {
            for address in addresses {
                let host = host(address).map_err(|why| cannot(format!("cannot listen on {address}: {why}")))?;
                if !hosts.contains(&host) {
                    hosts.push(host);
                }
            }
        }
    }
    let mut listeners: Vec<_> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    listeners.extend(socket.map(|path| format!("unix:{path}")));
    Ok(Plan {
        listeners,
        redirects: redirect.map_or(Vec::new(), |port| hosts.iter().map(|host| format!("{host}:{port}")).collect()),
        port,
        command: given.rest.clone(),
        any_origin: !is_own,
        logs_access: matches!(given.text("loglevel"), None | Some("debug" | "trace" | "access")),
        tls,
    })
}

fn tls(given: &Given) -> Option<Tls> {
    let file = |flag| given.text(flag).map(str::to_owned);
    if !given.switch("ssl") {
        return None;
    }
    Some(Tls { cert: file("sslcert")?, key: file("sslkey")?, ca: file("sslca") })
}

impl Tls {
    /// Errors: a sentence that names the file and the reason.
    fn check(&self, folder: &Path) -> Result<(), String> {
        let files = CertificateFiles { cert: folder.join(&self.cert), key: folder.join(&self.key), ocsp: None };
        tls::check_files(&files)?;
        self.ca.as_ref().map_or(Ok(()), |ca| tls::check_authorities(&folder.join(ca)))
    }
}

/// An address as `listen` takes it; a name is looked up. Empty: all.
fn host(address: &str) -> Result<String, String> {
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let ip = match bare.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) if address.is_empty() => return Ok(String::new()),
        Err(_) => {
            let found: Vec<_> =
                (address, 0).to_socket_addrs().map_err(|e| e.to_string())?.map(|found| found.ip()).collect();
            let ip = found.iter().find(|ip| ip.is_ipv4()).or(found.first());
            *ip.ok_or("it has no address")?
        }
    };
    Ok(match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    })
}

#[cfg(test)]
mod tests;
