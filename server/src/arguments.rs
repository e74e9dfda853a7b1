//! The command line: what a person types becomes a task.

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
    remote::{self, Target},
};

/// Where every one-line command listens unless it is told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// The exit code of a command line that makes no sense.
const USAGE: u8 = 1;

/// What to do.
pub enum Task {
    /// Serve until told to end.
    Run(Origin),
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
}

#[derive(Subcommand)]
enum Words {
    /// Run a config.
    Run {
        /// The config.
        config: PathBuf,
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
    /// Check a config and print its routing table.
    Check {
        /// The config.
        config: PathBuf,
    },
    /// Make a running rsp read its config again.
    Reload(Running),
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

/// Reads the command line; the error is the exit code, and the reason has been printed.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Task, ExitCode> {
    let line = Line::try_parse_from(words).map_err(|e| {
        // Standard error that is closed leaves nobody to tell.
        let _ = e.print();
        ExitCode::from(if e.use_stderr() { USAGE } else { 0 })
    })?;
    match (line.command, line.config) {
        (Some(words), _) => Ok(task(words)),
        (None, Some(config)) => Ok(Task::Run(Origin::File(config))),
        (None, None) => Err(ExitCode::from(USAGE)),
    }
}

fn task(words: Words) -> Task {
    match words {
        Words::Run { config } => Task::Run(Origin::File(config)),
        Words::Check { config } => Task::Check(Origin::File(config)),
        Words::Demo(Listen { listen }) => Task::Demo { admin: admin_path(&listen), listen },
        Words::Proxy { listen, targets } => {
            let targets: Vec<_> = targets.iter().map(|target| quoted(target)).collect();
            Task::Run(one_line(&listen.listen, &format!("proxy(upstream {{ {} }})", targets.join(", "))))
        }
        Words::Files { listen, folder } => {
            Task::Run(one_line(&listen.listen, &format!("files {}", quoted(&folder.to_string_lossy()))))
        }
        Words::Reload(running) => remote(remote::Command::Reload, running),
        Words::Drain(running) => remote(remote::Command::Drain, running),
        Words::Stop(running) => remote(remote::Command::Stop, running),
        Words::Status { running, json } => remote(remote::Command::Status { json }, running),
    }
}

fn remote(command: remote::Command, running: Running) -> Task {
    Task::Remote(command, Target { config: running.config, admin: running.admin })
}

/// The config that a one-line command stands for.
fn one_line(listen: &str, handler: &str) -> Origin {
    let text = format!("listen {}\nsite \"*\" {{ [\"/*\"] = {handler} }}\n", quoted(listen));
    Origin::Command {
        text,
        folder: std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned()),
        admin: admin_path(listen),
        greeting: String::new(),
    }
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
        assert!(matches!(task, Ok(Task::Run(Origin::File(path))) if path == Path::new("site.lua")));
    }
}
