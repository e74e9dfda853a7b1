//! A child process whose output is captured line by line, and which never outlives its test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::pause;

/// A running program. Dropping it kills it, by its own process id.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    /// Whether it leads a process group, which ends with it.
    leads: bool,
    captured: Arc<Captured>,
}

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a program left that ran to its end.
#[derive(Debug, Clone)]
pub struct Output {
    /// None: ended by a signal.
    pub code: Option<i32>,
    /// Bytes, for binary bodies.
    pub stdout: Vec<u8>,
    /// For diagnostics.
    pub stderr: String,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

#[derive(Debug, Default)]
struct Captured {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<(Stream, String)>,
    /// How many of the two outputs have ended.
    ended: u8,
}

impl Program {
    /// Starts it with its outputs captured and nothing to read.
    pub fn start(command: &mut Command) -> Program {
        Program::start_with(command, Stdio::null()).0
    }

    /// As [`Program::start`], with a standard input that is written to.
    pub(crate) fn start_listening(command: &mut Command) -> (Program, ChildStdin) {
        let (program, stdin) = Program::start_with(command, Stdio::piped());
        (program, stdin.expect("piped"))
    }

    fn start_with(command: &mut Command, stdin: Stdio) -> (Program, Option<ChildStdin>) {
        let name = format!("{command:?}");
        // Programs inherit it: the kernel makes huge pages of small ones when it likes, which no measured figure survives.
        rustix::thread::disable_transparent_huge_pages(true).expect("small pages");
        let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("start {name}: {error}"));
        let captured = Arc::new(Captured::default());
        captured.follow(Stream::Stdout, child.stdout.take().expect("piped"));
        captured.follow(Stream::Stderr, child.stderr.take().expect("piped"));
        let stdin = child.stdin.take();
        (Program { name, child, leads: false, captured }, stdin)
    }

    /// As [`Program::start`], in a process group of its own: what it starts and leaves behind ends with it as well.
    pub fn start_group(command: &mut Command) -> Program {
        let command = std::os::unix::process::CommandExt::process_group(command, 0);
        let mut program = Program::start(command);
        program.leads = true;
        program
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines so far of one output.
    pub fn lines(&self, stream: Stream) -> Vec<String> {
        let lines = self.captured.lines.lock().unwrap();
        lines.all.iter().filter(|(from, _)| *from == stream).map(|(_, line)| line.clone()).collect()
    }

    /// The first line of either output, past or to come, that `wanted` accepts. Panics with all output at the
    /// deadline, or as soon as the program has ended without it.
    #[track_caller]
    pub fn wait_for_line(&self, deadline: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.find_line(deadline, wanted);
        found.unwrap_or_else(|| panic!("{}: no such line within {deadline:?} in\n{}", self.name, self.output()))
    }

    /// One line of one output, past or to come; none if there was none.
    pub(crate) fn nth_line(&self, stream: Stream, index: usize, deadline: Duration) -> Option<String> {
        let lines = self.captured.lines.lock().unwrap();
        let of_stream = |lines: &Lines| {
            let line = lines.all.iter().filter(|(from, _)| *from == stream).nth(index);
            line.map(|(_, line)| line.clone())
        };
        let waits = |lines: &mut Lines| of_stream(lines).is_none() && lines.ended < 2;
        let (lines, _) = self.captured.changed.wait_timeout_while(lines, deadline, waits).unwrap();
        of_stream(&lines)
    }

    /// As [`Program::wait_for_line`]; none if there was none.
    pub fn find_line(&self, deadline: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let end = Instant::now() + deadline;
        let mut lines = self.captured.lines.lock().unwrap();
        let mut seen = 0;
        loop {
            if let Some((_, line)) = lines.all[seen..].iter().find(|(_, line)| wanted(line)) {
                return Some(line.clone());
            }
            seen = lines.all.len();
            let left = end.checked_duration_since(Instant::now())?;
            if lines.ended == 2 {
                return None;
            }
            lines = self.captured.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Both outputs as far as they came, for messages.
    pub fn output(&self) -> String {
        let lines = self.captured.lines.lock().unwrap();
        lines.all.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("signal");
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits until it has ended; panics with its output at the deadline.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let status = wait_exit(&mut self.child, deadline);
        status.unwrap_or_else(|| panic!("{} still runs after {deadline:?}:\n{}", self.name, self.output()))
    }

    /// As [`Program::wait_exit`]; none if it still runs.
    pub fn find_exit(&mut self, deadline: Duration) -> Option<ExitStatus> {
        wait_exit(&mut self.child, deadline)
    }

    /// Ends it with SIGKILL and waits.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Bytes of private anonymous memory (heap and stacks), without what the kernel holds for its sockets.
    #[track_caller]
    pub fn user_memory(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("an Anonymous line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// How many descriptors it has open.
    #[track_caller]
    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its descriptors").count()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.leads
            && let Some(group) = Pid::from_raw(self.pid().cast_signed())
        {
            // None of it may be left.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        self.kill();
    }
}

impl Captured {
    fn follow(self: &Arc<Captured>, stream: Stream, output: impl Read + Send + 'static) {
        let captured = Arc::clone(self);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                captured.lines.lock().unwrap().all.push((stream, text));
                captured.changed.notify_all();
                line.clear();
            }
            captured.lines.lock().unwrap().ended += 1;
            captured.changed.notify_all();
        });
    }
}

/// Runs a program to its end with `input` on its standard input. Kills it and panics at the deadline.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: impl AsRef<[u8]>, deadline: Duration) -> Output {
    let name = format!("{command:?}");
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("start {name}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    // A program that ends without reading its input is no error.
    let _ = stdin.write_all(input.as_ref());
    drop(stdin);
    let stdout = gather(child.stdout.take().expect("piped"));
    let stderr = gather(child.stderr.take().expect("piped"));
    let status = wait_exit(&mut child, deadline);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (stdout.join().unwrap(), String::from_utf8_lossy(&stderr.join().unwrap()).into_owned());
    let status = status.unwrap_or_else(|| panic!("{name} still ran after {deadline:?}: {stderr}"));
    Output { code: status.code(), stdout, stderr }
}

/// A program on the PATH, or where Debian keeps servers.
#[track_caller]
pub(crate) fn find_program(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = || std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = names.iter().find_map(|name| folders().map(|folder| folder.join(name)).find(|file| file.is_file()));
    found.unwrap_or_else(|| panic!("none of {names:?} is installed: run scripts/install-test-needs"))
}

fn gather(mut output: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = output.read_to_end(&mut all);
        all
    })
}

fn wait_exit(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        pause(Duration::from_millis(5));
    }
}
