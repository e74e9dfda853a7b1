//! `rsp reload`, `upgrade`, `drain`, `stop`, `status`, `publish` and `subscribe`: finds a running rsp and asks it, over
//! its admin address.
//!
//! The token for a TCP address comes from the environment, `RSP_ADMIN_TOKEN`: arguments are visible to everybody.

mod call;
mod publish;
mod reply;
mod show;
mod subscribe;

use std::{
    env, fmt, fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use http::Method;
use percent_encoding::percent_encode;
use rsp_core::route::PLAIN;

use self::call::{Address, Answer, Ask, CallError, call};
pub use self::{
    publish::{Publication, Source, publish},
    subscribe::{Subscription, subscribe},
};
pub use crate::handler::admin::command_admin_path;
use crate::handler::admin::{default_admin_path, runtime_folder};

/// It did what was asked.
const DONE: u8 = 0;

/// Nothing to ask, or nobody answers; also a request that makes no sense.
const NOT_RUNNING: u8 = 1;

/// It answered that it won't.
const REFUSED: u8 = 2;

/// Between the two looks that rates come from.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read the config again; a refused one changes nothing.
    Reload,
    /// Let the binary at its path take over; a new one that fails changes nothing.
    Upgrade,
    /// Finish the requests and end; returns when that has begun.
    Drain,
    /// End at once; returns when that has begun.
    Stop,
    /// Show what it does.
    Status {
        /// As JSON.
        json: bool,
    },
}

/// Which rsp to ask.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The config that it runs; its admin socket is beside it.
    pub config: Option<PathBuf>,
    /// Its admin address, which wins: `host:port`, `unix:/path`, or a path with a slash in it.
    pub admin: Option<String>,
}

/// Why nothing was asked, or nothing came back.
#[derive(Debug)]
enum Failure {
    /// No admin socket in the folders where they are.
    NoneFound(Vec<PathBuf>),
    /// Several admin sockets.
    Several(Vec<PathBuf>),
    /// Nobody listens there.
    NotRunning(Address, io::Error),
    /// Somebody listens who did not answer as rsp does.
    Broken(Address, io::Error),
}

/// Asks, prints the answer, and tells the shell: 0 done, 1 not running, 2 refused.
///
/// Without a config and an address it asks the only rsp whose admin socket is in this folder or the runtime folder.
pub fn run(command: Command, target: &Target) -> ExitCode {
    let token = token();
    let asked = find(target).and_then(|address| {
        let before = match command {
            Command::Status { json: false } => first_look(address.clone(), token.as_deref())?,
            _ => None,
        };
        Ok((before, ask(command, address, token.as_deref())?))
    });
    let (text, code) = match asked {
        Ok((before, answer)) => outcome(command, before.as_deref(), answer),
        Err(failure) => (format!("rsp: {failure}"), NOT_RUNNING),
    };
    let text = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
    // A reader that is gone wants no answer.
    let _ = match code {
        DONE => io::Write::write_all(&mut io::stdout(), text.as_bytes()),
        _ => io::Write::write_all(&mut io::stderr(), text.as_bytes()),
    };
    ExitCode::from(code)
}

/// A status a second earlier, so that a person sees rates.
#[allow(clippy::disallowed_methods, reason = "a command waits for nobody else")]
fn first_look(address: Address, token: Option<&str>) -> Result<Option<String>, Failure> {
    let answer = ask(Command::Status { json: true }, address, token)?;
    let text = answer.filter(|answer| answer.status == 200).map(|answer| answer.text);
    if text.is_some() {
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(text)
}

fn ask(command: Command, address: Address, token: Option<&str>) -> Result<Option<Answer>, Failure> {
    let (method, path) = match command {
        Command::Reload => (Method::POST, "/reload"),
        Command::Upgrade => (Method::POST, "/upgrade"),
        Command::Drain => (Method::POST, "/drain"),
        Command::Stop => (Method::POST, "/stop"),
        Command::Status { .. } => (Method::GET, "/status"),
    };
    match call(&address, &Ask::plain(method, path), token) {
        Ok(answer) => Ok(Some(answer)),
        // It was told and is gone before it could say so.
        Err(CallError::Ended) if command == Command::Stop => Ok(None),
        Err(CallError::Ended) => Err(Failure::Broken(address, io::ErrorKind::UnexpectedEof.into())),
        Err(CallError::Refused(e)) => Err(Failure::NotRunning(address, e)),
        Err(CallError::Broken(e)) => Err(Failure::Broken(address, e)),
    }
}

/// What to print, and the exit code.
fn outcome(command: Command, before: Option<&str>, answer: Option<Answer>) -> (String, u8) {
    let Some(Answer { status, text }) = answer else { return ("stopped".into(), DONE) };
    match (status, command) {
        (200..=299, Command::Status { json: false }) => (show::readable(before, &text, show::Look::of_output()), DONE),
        (200..=299, _) => (text, DONE),
        (422, _) => (text, REFUSED),
        _ => (format!("rsp: {}", refusal(&Answer { status, text })), REFUSED),
    }
}

/// What another answer than the one that was wanted says.
fn refusal(Answer { status, text }: &Answer) -> String {
    match status {
        401 => "refused: the token in RSP_ADMIN_TOKEN is missing or wrong".to_owned(),
        _ => format!("refused: {text}"),
    }
}

/// Arguments are visible to everybody.
fn token() -> Option<String> {
    env::var("RSP_ADMIN_TOKEN").ok()
}

/// Where the admin API has a channel.
fn channel_path(channel: &str) -> String {
    format!("/channels/{}", percent_encode(channel.as_bytes(), PLAIN))
}

fn find(target: &Target) -> Result<Address, Failure> {
    if let Some(admin) = &target.admin {
        return Ok(Address::parse(admin));
    }
    if let Some(config) = &target.config {
        return Ok(Address::Unix(default_admin_path(config)));
    }
    let (runtime, temporary) = (runtime_folder(), env::temp_dir());
    let mut folders = vec![runtime];
    if folders[0] != temporary {
        folders.push(temporary);
    }
    only(Path::new("."), &folders)
}

/// The only living admin socket: one beside its config in `here`, or one of a one-line command in `runtime`.
fn only(here: &Path, runtime: &[PathBuf]) -> Result<Address, Failure> {
    let beside = sockets(here).into_iter().filter(|path| path.with_extension("").is_file());
    let commands = runtime
        .iter()
        .flat_map(|folder| sockets(folder))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rsp-")));
    let mut living: Vec<_> = beside.chain(commands).filter(|path| call::is_listening(path)).collect();
    living.sort();
    living.dedup();
    match living.len() {
        0 => Err(Failure::NoneFound([here.to_owned()].into_iter().chain(runtime.iter().cloned()).collect())),
        1 => Ok(Address::Unix(living.remove(0))),
        _ => Err(Failure::Several(living)),
    }
}

/// Sockets named `*.sock` that belong to this user or to root; a stranger's in a shared folder may be a trap.
fn sockets(folder: &Path) -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .filter(|path| {
            fs::symlink_metadata(path)
                .is_ok_and(|found| found.file_type().is_socket() && [0, user].contains(&found.uid()))
        })
        .collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |paths: &[PathBuf]| paths.iter().map(|path| format!("\n  {}", path.display())).collect::<String>();
        match self {
            Self::NoneFound(folders) => {
                write!(
                    f,
                    "not running: no admin socket in any of{}\nname its config, or its address with --admin",
                    list(folders)
                )
            }
            Self::Several(paths) => write!(f, "several are running; choose one with --admin unix:PATH{}", list(paths)),
            Self::NotRunning(address, e) => write!(f, "not running: nobody listens on {address}: {e}"),
            Self::Broken(address, e) => write!(f, "no answer from {address}: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn config_beside_socket(folder: &Path, name: &str) -> (PathBuf, UnixListener) {
        let config = folder.join(name);
        fs::write(&config, "").unwrap();
        let path = default_admin_path(&config);
        let listener = UnixListener::bind(&path).unwrap();
        (path, listener)
    }

    #[test]
    fn an_address_wins_over_a_config() {
        let target = Target { config: Some("site.lua".into()), admin: Some("127.0.0.1:9600".into()) };
        assert_eq!(find(&target).unwrap(), Address::Tcp("127.0.0.1:9600".into()));
        let target = Target { config: Some("etc/site.lua".into()), admin: None };
        assert_eq!(find(&target).unwrap(), Address::Unix("etc/site.lua.sock".into()));
    }

    #[test]
    fn the_only_living_socket_is_found() {
        let (here, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [runtime.path().to_owned()];
        assert!(matches!(only(here.path(), &folders), Err(Failure::NoneFound(paths)) if paths.len() == 2));
        let (path, listener) = config_beside_socket(here.path(), "site.lua");
        // Another program's, a dead one, and what is no socket.
        let _other = UnixListener::bind(here.path().join("gunicorn.sock")).unwrap();
        drop(config_beside_socket(here.path(), "old.lua"));
        fs::write(runtime.path().join("rsp-80.sock"), "").unwrap();
        let _foreign = UnixListener::bind(runtime.path().join("dbus.sock")).unwrap();
        assert_eq!(only(here.path(), &folders).unwrap(), Address::Unix(path));
        drop(listener);
        let command = runtime.path().join("rsp-8080.sock");
        let _listener = UnixListener::bind(&command).unwrap();
        assert_eq!(only(here.path(), &folders).unwrap(), Address::Unix(command));
    }

    #[test]
    fn several_living_sockets_are_listed() {
        let here = tempfile::tempdir().unwrap();
        let (_one, _two) = (config_beside_socket(here.path(), "a.lua"), config_beside_socket(here.path(), "b.lua"));
        let failure = only(here.path(), &[]).unwrap_err().to_string();
        assert!(failure.contains("a.lua.sock\n") && failure.contains("b.lua.sock"), "{failure}");
    }

    #[test]
    fn the_answer_decides_the_exit_code() {
        let answer = |status, text: &str| Some(Answer { status, text: text.into() });
        let outcome = |command, answer| super::outcome(command, None, answer);
        let status = Command::Status { json: true };
        assert_eq!(outcome(Command::Reload, answer(200, "reloaded\n")), ("reloaded\n".into(), DONE));
        assert_eq!(outcome(Command::Reload, answer(422, "error: x\n")), ("error: x\n".into(), REFUSED));
        assert_eq!(outcome(Command::Drain, answer(503, "full\n")), ("rsp: refused: full\n".into(), REFUSED));
        assert_eq!(outcome(Command::Stop, answer(401, "")).1, REFUSED);
        assert_eq!(outcome(Command::Stop, None).1, DONE);
        assert_eq!(outcome(status, answer(200, "{\"pid\":1}\n")), ("{\"pid\":1}\n".into(), DONE));
        let status = Command::Status { json: false };
        assert!(outcome(status, answer(200, "{\"pid\":1}")).0.starts_with("rsp -, pid 1, "));
    }

    #[test]
    fn nobody_there_is_not_running() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join("dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        for path in [dead, folder.path().join("none.sock")] {
            let failure = ask(Command::Drain, Address::Unix(path), None).unwrap_err();
            assert!(matches!(failure, Failure::NotRunning(..)), "{failure}");
        }
    }
}
