//! Clients that others wrote, by the scripts in `testkit/interop/`: told what to do by lines of JSON, and heard the same way.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{ChildStdin, Command},
    time::Duration,
};

use serde_json::Value;

use crate::program::{Program, Stream, find_program};

/// How long an event may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running client.
#[derive(Debug)]
pub struct Puppet {
    program: Program,
    orders: ChildStdin,
    heard: usize,
}

impl Puppet {
    /// A script on Node, with packages of npm: `("ws.js", json!({ "url": … }))`.
    #[track_caller]
    pub fn node(script: &str, start: &Value) -> Puppet {
        assert!(folder().join("node_modules").is_dir(), "no packages of npm: run scripts/install-test-needs");
        Puppet::start(Command::new(find_program(&["node", "nodejs"])), script, start)
    }

    /// A script on Python, with packages of PyPI.
    #[track_caller]
    pub fn python(script: &str, start: &Value) -> Puppet {
        let python = folder().join("python/bin/python3");
        assert!(python.is_file(), "no packages of PyPI: run scripts/install-test-needs");
        let mut command = Command::new(python);
        command.arg("-u");
        Puppet::start(command, script, start)
    }

    fn start(mut command: Command, script: &str, start: &Value) -> Puppet {
        command.arg(script).arg(start.to_string()).current_dir(folder());
        let (program, orders) = Program::start_listening(&mut command);
        Puppet { program, orders, heard: 0 }
    }

    /// Tells it to do something.
    #[track_caller]
    pub fn tell(&mut self, order: &Value) {
        let sent = writeln!(self.orders, "{order}");
        sent.unwrap_or_else(|error| panic!("{error}; it said:\n{}", self.program.output()));
    }

    /// The next thing that happened to it.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        let line = self.program.nth_line(Stream::Stdout, self.heard, PATIENCE);
        let line = line.unwrap_or_else(|| panic!("nothing after {} events of\n{}", self.heard, self.program.output()));
        self.heard += 1;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The next thing of this name that happened to it, skipping others.
    #[track_caller]
    pub fn hear_of(&mut self, name: &str) -> Value {
        loop {
            let mut event = self.hear();
            if let Some(value) = event.get_mut(name) {
                return value.take();
            }
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}
