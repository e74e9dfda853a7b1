//! Debian's websocketd, whose place rsp takes.

use std::{path::Path, process::Command, time::Duration};

use crate::{
    Client, Socket,
    program::{Output, Program, find_program, run},
    wait::{eventually, free_port},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running websocketd on a port of its own.
#[derive(Debug)]
pub struct Websocketd {
    port: u16,
    program: Program,
}

impl Websocketd {
    /// Starts it with these options and its command, in this working folder, with these variables beside those of the test;
    /// waits until it listens.
    #[track_caller]
    pub fn start(arguments: &[String], folder: &Path, environment: &[(&str, &str)]) -> Websocketd {
        for _ in 0..5 {
            let port = free_port();
            let mut program = Program::start(&mut command(port, arguments, folder, environment));
            let mut listens = false;
            eventually(PATIENCE, || {
                listens = Socket::connect(&format!("127.0.0.1:{port}")).is_ok();
                listens || !program.is_running()
            });
            if listens {
                return Websocketd { port, program };
            }
            assert!(program.output().contains("in use"), "websocketd did not start:\n{}", program.output());
        }
        panic!("no port stayed free five times in a row");
    }

    /// Runs it to its end; for what must not start.
    #[track_caller]
    pub fn run(arguments: &[String], folder: &Path) -> Output {
        run(&mut command(free_port(), arguments, folder, &[]), "", PATIENCE)
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A new connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.program.output()
    }
}

fn command(port: u16, arguments: &[String], folder: &Path, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(find_program(&["websocketd"]));
    command.arg(format!("--port={port}")).arg("--address=127.0.0.1").args(arguments);
    command.current_dir(folder).envs(environment.iter().copied());
    command
}
