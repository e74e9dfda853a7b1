//! The real binary, running a config in a folder of its own.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use crate::{
    Client,
    program::{Output, Program, run},
    wait::free_port,
};
use rustix::process::Signal;

/// How long a start, a control command or an end may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// What rsp exits with when it can't listen: another took the free port in between.
const CANNOT_LISTEN: i32 = 3;

/// A running rsp that listens. It is also a [`Program`]: its lines, its memory, its signals.
#[derive(Debug)]
pub struct Rsp {
    program: Program,
    ports: Vec<u16>,
    builder: RspBuilder,
    folder: tempfile::TempDir,
}

/// How to start one. In the config, the arguments and the files' texts these are filled in: `$PORT`, `$PORT2` … `$PORT9`
/// (free ports), `$DIR` (the folder), and what [`RspBuilder::set`] names.
#[derive(Debug, Clone)]
pub struct RspBuilder {
    config: Option<String>,
    arguments: Vec<String>,
    values: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    /// Those that may be run.
    programs: Vec<String>,
    environment: Vec<(String, String)>,
    binary: Option<PathBuf>,
    descriptors_max: Option<u32>,
    has_successors: bool,
}

impl Rsp {
    /// Runs `site.lua` with this text: `listen "127.0.0.1:$PORT" site "*" { ["/*"] = proxy "$ORIGIN" }`.
    pub fn config(text: &str) -> RspBuilder {
        RspBuilder { config: Some(text.to_owned()), ..Rsp::command(&["site.lua"]) }
    }

    /// Runs a command line: `["proxy", "--listen", "127.0.0.1:$PORT", "$ORIGIN"]`.
    pub fn command(arguments: &[&str]) -> RspBuilder {
        RspBuilder {
            config: None,
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            values: Vec::new(),
            files: Vec::new(),
            programs: Vec::new(),
            environment: Vec::new(),
            binary: None,
            descriptors_max: None,
            has_successors: false,
        }
    }

    /// The port that `$PORT` stands for.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The port that `$PORT2` … `$PORT9` stand for, by their number.
    pub fn port_of(&self, number: usize) -> u16 {
        self.ports[number - 1]
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// A URL on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A new connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    /// The folder of the config; the program's working folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the config's text, with the same values filled in; it is read at the next reload.
    pub fn rewrite_config(&mut self, text: &str) {
        self.builder.config = Some(text.to_owned());
        self.builder.write_files(self.folder.path(), &self.ports);
    }

    /// `rsp reload site.lua`: 0 once the new config serves, 2 and a diagnostic if it was refused.
    #[track_caller]
    pub fn reload(&self) -> Output {
        self.control(&["reload", "site.lua"])
    }

    /// Any command in the same folder and environment, run to its end: `["status", "site.lua"]`.
    #[track_caller]
    pub fn control(&self, arguments: &[&str]) -> Output {
        self.control_with_input(arguments, "")
    }

    /// The same with this on its standard input.
    #[track_caller]
    pub fn control_with_input(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
        run(&mut self.command_beside(arguments), input, PATIENCE)
    }

    /// Any command in the same folder and environment, running: `["subscribe", "news"]`.
    #[track_caller]
    pub fn begin(&self, arguments: &[&str]) -> Program {
        Program::start(&mut self.command_beside(arguments))
    }

    fn command_beside(&self, arguments: &[&str]) -> Command {
        let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        self.builder.command_in(self.folder.path(), &self.ports, &arguments)
    }

    /// SIGTERM, and the exit status once it has drained and ended.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.program.signal(Signal::TERM);
        self.program.wait_exit(PATIENCE)
    }
}

impl Deref for Rsp {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Rsp {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl RspBuilder {
    /// Fills in `$NAME`; capitals, so that no name is the beginning of an ordinary word.
    pub fn set(mut self, name: &str, value: impl ToString) -> RspBuilder {
        self.values.push((name.to_owned(), value.to_string()));
        self
    }

    /// A file in the folder. Text is filled in as the config is.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> RspBuilder {
        self.files.push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// A file in the folder that may be run: its text begins with `#!`. It is filled in as the config is.
    pub fn program(mut self, path: &str, text: &str) -> RspBuilder {
        self.programs.push(path.to_owned());
        self.file(path, text)
    }

    /// An environment variable of the program.
    pub fn environment(mut self, name: &str, value: &str) -> RspBuilder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another binary than the one built beside the test.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> RspBuilder {
        self.binary = Some(path.into());
        self
    }

    /// The hard limit on its open descriptors, which it can't raise.
    pub fn descriptors_max(mut self, count: u32) -> RspBuilder {
        self.descriptors_max = Some(count);
        self
    }

    /// With `--watch`.
    pub fn watched(mut self) -> RspBuilder {
        self.arguments.push("--watch".to_owned());
        self
    }

    /// It is upgraded: the processes that follow it end with the test, too.
    pub fn has_successors(mut self) -> RspBuilder {
        self.has_successors = true;
        self
    }

    /// Starts it and waits until it says that it listens on `$PORT` (on anything, if there is no `$PORT`).
    /// Panics with its output if it doesn't.
    #[track_caller]
    pub fn start(self) -> Rsp {
        for _ in 0..5 {
            let (folder, ports) = self.prepare();
            let mut command = self.command_in(folder.path(), &ports, &self.arguments);
            let mut program = match self.has_successors {
                true => Program::start_group(&mut command),
                false => Program::start(&mut command),
            };
            let wanted = if self.mentions("$PORT") { format!("port {}.", ports[0]) } else { String::new() };
            let listens = |line: &str| line.contains("Started.  Listening on") && line.ends_with(&wanted);
            if program.find_line(PATIENCE, listens).is_some() {
                return Rsp { program, ports, builder: self, folder };
            }
            let code = program.find_exit(Duration::from_secs(1)).and_then(|status| status.code());
            assert_eq!(code, Some(CANNOT_LISTEN), "rsp did not start:\n{}", program.output());
        }
        panic!("no port stayed free five times in a row");
    }

    /// Runs it to its end; for what must not start, and for commands such as `check`.
    #[track_caller]
    pub fn run(self) -> Output {
        let (folder, ports) = self.prepare();
        run(&mut self.command_in(folder.path(), &ports, &self.arguments), "", PATIENCE)
    }

    fn prepare(&self) -> (tempfile::TempDir, Vec<u16>) {
        let folder = tempfile::Builder::new().prefix("rsp-test-").tempdir().expect("a folder");
        let mut ports: Vec<u16> = Vec::new();
        while ports.len() < 9 {
            // A port that was free a moment ago may be the next free one, too.
            ports.extend(Some(free_port()).filter(|port| !ports.contains(port)));
        }
        self.write_files(folder.path(), &ports);
        (folder, ports)
    }

    fn write_files(&self, folder: &Path, ports: &[u16]) {
        let config = self.config.as_ref().map(|text| ("site.lua".to_owned(), text.clone().into_bytes()));
        for (path, content) in config.iter().chain(&self.files) {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("a file in the folder")).expect("its folder");
            let filled = match str::from_utf8(content) {
                Ok(text) => self.fill(text, folder, ports).into_bytes(),
                Err(_) => content.clone(),
            };
            std::fs::write(&path, filled).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        }
        for program in &self.programs {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(folder.join(program), mode).expect("a program that may be run");
        }
    }

    fn command_in(&self, folder: &Path, ports: &[u16], arguments: &[String]) -> Command {
        let binary = self.binary.clone().unwrap_or_else(built_binary);
        let mut command = match self.descriptors_max {
            None => Command::new(binary),
            Some(count) => {
                let mut limited = Command::new("sh");
                limited.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &count.to_string()]).arg(binary);
                limited
            }
        };
        command.args(arguments.iter().map(|one| self.fill(one, folder, ports))).current_dir(folder);
        // One-line commands put their admin socket there.
        command.env("XDG_RUNTIME_DIR", folder).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn fill(&self, text: &str, folder: &Path, ports: &[u16]) -> String {
        let named = self.values.iter().cloned();
        let numbered = ports.iter().enumerate().map(|(index, port)| (format!("PORT{}", index + 1), port.to_string()));
        let fixed = [("PORT".to_owned(), ports[0].to_string()), ("DIR".to_owned(), folder.display().to_string())];
        let mut values: Vec<(String, String)> = named.chain(numbered).chain(fixed).collect();
        // `$PORT2` before `$PORT`.
        values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
    }

    fn mentions(&self, word: &str) -> bool {
        self.config.iter().chain(&self.arguments).any(|text| text.contains(word))
    }
}

/// The binary that cargo built for the running test: told by the test runner, else beside it.
fn built_binary() -> PathBuf {
    let told = ["NEXTEST_BIN_EXE_rsp", "CARGO_BIN_EXE_rsp"].iter().find_map(std::env::var_os);
    let beside = || {
        let test = std::env::current_exe().expect("the test's own path");
        test.ancestors().nth(2).expect("target/debug/deps/test").join("rsp")
    };
    told.map_or_else(beside, PathBuf::from)
}
