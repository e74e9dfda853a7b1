//! The command line: what a person types becomes a task.

mod exec;
mod flags;
#[cfg(test)]
mod manual;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    boot::{Origin, quoted},
    remote::{self, Publication, Source, Subscription, Target},
};

/// Where every one-line command listens unless it is told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// The exit code of a command line that makes no sense.
const USAGE: u8 = 1;

/// What to do.
pub enum Task {
    /// Serve until told to end; with `watch`, reload whenever the files of the config change.
    Run {
        /// What to serve.
        origin: Origin,
        /// Look after the files.
        watch: bool,
        /// How much rsp says of itself where `RSP_LOG` does not say; None: as always.
        messages: Option<&'static str>,
    },
    /// Serve the embedded demo until told to end.
    Demo {
        /// Where the site listens.
        listen: String,
        /// Its admin socket.
        admin: PathBuf,
    },
    /// Check and print the routing table.
    Check(Origin),
    /// Talk to a running rsp.
    Remote(remote::Command, Target),
    /// Publish on a channel of a running rsp.
    Publish(Publication, Target),
    /// Print what is published on a channel of a running rsp.
    Subscribe(Subscription, Target),
}

#[derive(Parser)]
#[command(
    name = "rsp",
    version,
    about = "Reverse proxy, load balancer and live channels; the config is a Lua file.",
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Line {
    #[command(subcommand)]
    command: Option<Words>,
    /// The config to run.
    config: Option<PathBuf>,
    /// Reload when the config, or a file that it includes, changes.
    #[arg(long, requires = "config")]
    watch: bool,
}

#[derive(Subcommand)]
enum Words {
    /// Run a config.
    Run {
        /// The config.
        config: PathBuf,
        /// Reload when the config, or a file that it includes, changes.
        #[arg(long)]
        watch: bool,
    },
    /// Run the embedded demo.
    Demo(Listen),
    /// A reverse proxy for one or more servers.
    Proxy {
        #[command(flatten)]
        listen: Listen,
        /// Where requests go: host:port or unix:/path.
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// A server of static files.
    Files {
        #[command(flatten)]
        listen: Listen,
        /// The folder that is served.
        folder: PathBuf,
    },
    /// A program for each WebSocket, with websocketd's flags: rsp exec --help.
    #[command(disable_help_flag = true)]
    Exec {
        /// websocketd's flags, then the program and its arguments.
        #[arg(value_name = "FLAGS AND COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Check a config and print its routing table.
    Check {
        /// The config.
        config: PathBuf,
    },
    /// Make a running rsp read its config again.
    Reload(Running),
    /// Let a new version of the binary take over from a running rsp; no connection is lost.
    Upgrade(Running),
    /// Make a running rsp finish its requests and end.
    Drain(Running),
    /// Make a running rsp end at once.
    Stop(Running),
    /// Show what a running rsp does.
    Status {
        #[command(flatten)]
        running: Running,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publish on a channel of a running rsp what stands behind its name or on standard input, and print the position.
    Publish(Publish),
    /// Print the messages of a channel of a running rsp as they come, each on a line.
    Subscribe(Subscribe),
}

#[derive(Args)]
struct Publish {
    /// The channel.
    channel: String,
    /// The message; without it, standard input to its end.
    data: Option<OsString>,
    /// Each line of standard input is a message.
    #[arg(long, conflicts_with_all = ["data", "key"])]
    lines: bool,
    /// The message is bytes, even where it looks like text.
    #[arg(long)]
    binary: bool,
    /// The message is published once, however often it is sent under this key within five minutes.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The admin address of the rsp: host:port or unix:/path.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

#[derive(Args)]
struct Subscribe {
    /// The channel.
    channel: String,
    /// Print objects as JSON: messages with their positions, and who joins and leaves.
    #[arg(long)]
    json: bool,
    /// Begin behind this position.
    #[arg(long, value_name = "POSITION", conflicts_with = "history")]
    since: Option<String>,
    /// Begin with so many of the latest messages.
    #[arg(long, value_name = "N")]
    history: Option<usize>,
    /// The admin address of the rsp: host:port or unix:/path.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

#[derive(Args)]
struct Listen {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    listen: String,
}

#[derive(Args)]
struct Running {
    /// The config it runs.
    config: Option<PathBuf>,
    /// Its admin address: host:port or unix:/path.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

impl Task {
    /// How much rsp says of itself where `RSP_LOG` does not say.
    pub fn messages(&self) -> Option<&'static str> {
        match self {
            Self::Run { messages, .. } => *messages,
            _ => None,
        }
    }
}

/// Reads the command line; the error is the exit code, and the reason has been printed.
pub fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Task, ExitCode> {
    let words: Vec<_> = words.by_ref().collect();
    // These two have flags that clap can't read.
    match &*words {
        [name, rest @ ..] if Path::new(name).file_name().is_some_and(|name| name == "websocketd") => {
            return exec::parse("websocketd", rest.iter().cloned());
        }
        [_, word, rest @ ..] if word == "exec" => return exec::parse("rsp exec", rest.iter().cloned()),
        _ => {}
    }
    let line = Line::try_parse_from(words).map_err(|e| {
        // Standard error that is closed leaves nobody to tell.
        let _ = e.print();
        ExitCode::from(if e.use_stderr() { USAGE } else { 0 })
    })?;
    match (line.command, line.config) {
        (Some(words), _) => task(words),
        (None, Some(config)) => Ok(run(config, line.watch)),
        (None, None) => Err(ExitCode::from(USAGE)),
    }
}

fn run(config: PathBuf, watch: bool) -> Task {
    Task::Run { origin: Origin::File(config), watch, messages: None }
}

fn task(words: Words) -> Result<Task, ExitCode> {
    Ok(match words {
        Words::Run { config, watch } => run(config, watch),
        Words::Exec { words } => return exec::parse("rsp exec", words.into_iter()),
        Words::Check { config } => Task::Check(Origin::File(config)),
        Words::Demo(Listen { listen }) => Task::Demo { admin: admin_path(&listen), listen },
        Words::Proxy { listen, targets } => {
            let targets: Vec<_> = targets.iter().map(|target| quoted(target)).collect();
            one_line(&listen.listen, &format!("proxy(upstream {{ {} }})", targets.join(", ")))
        }
        Words::Files { listen, folder } => {
            one_line(&listen.listen, &format!("files {}", quoted(&folder.to_string_lossy())))
        }
        Words::Reload(running) => remote(remote::Command::Reload, running),
        Words::Upgrade(running) => remote(remote::Command::Upgrade, running),
        Words::Drain(running) => remote(remote::Command::Drain, running),
        Words::Stop(running) => remote(remote::Command::Stop, running),
        Words::Status { running, json } => remote(remote::Command::Status { json }, running),
        Words::Publish(words) => publication(words),
        Words::Subscribe(Subscribe { channel, json, since, history, admin }) => {
            Task::Subscribe(Subscription { channel, is_json: json, since, history }, Target { config: None, admin })
        }
    })
}

fn publication(Publish { channel, data, lines, binary, key, admin }: Publish) -> Task {
    let source = match data {
        Some(data) => Source::Given(data.into_encoded_bytes()),
        None if lines => Source::Lines,
        None => Source::Input,
    };
    Task::Publish(Publication { channel, source, is_binary: binary, key }, Target { config: None, admin })
}

fn remote(command: remote::Command, running: Running) -> Task {
    Task::Remote(command, Target { config: running.config, admin: running.admin })
}

/// Runs the config that a one-line command stands for.
fn one_line(listen: &str, handler: &str) -> Task {
    let text = format!("listen {}\nsite \"*\" {{ [\"/*\"] = {handler} }}\n", quoted(listen));
    let origin = Origin::Command { text, folder: folder(), admin: admin_path(listen), greeting: String::new() };
    Task::Run { origin, watch: false, messages: None }
}

/// What the paths of a one-line command are relative to.
fn folder() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned())
}

fn admin_path(listen: &str) -> PathBuf {
    remote::command_admin_path(listen.rsplit(':').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Line::command().debug_assert();
    }

    #[test]
    fn a_path_alone_runs_it() {
        let task = parse(["rsp", "site.lua"].map(OsString::from).into_iter());
        assert!(
            matches!(task, Ok(Task::Run { origin: Origin::File(path), watch: false, .. }) if path == Path::new("site.lua"))
        );
    }

    #[test]
    fn only_a_file_can_be_watched() {
        for (words, wanted) in [
            (&["rsp", "--watch", "site.lua"][..], true),
            (&["rsp", "site.lua", "--watch"], true),
            (&["rsp", "run", "--watch", "site.lua"], true),
            (&["rsp", "--watch"], false),
            (&["rsp", "proxy", "--watch", "127.0.0.1:1"], false),
            (&["rsp", "--watch", "files", "."], false),
        ] {
            let line = Line::try_parse_from(words);
            assert_eq!(line.is_ok_and(|line| line.watch || line.command.is_some()), wanted, "{words:?}");
        }
    }
}
