//! The spawner as a process of its own, and programs that it starts.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rsp_core::config::{Command, ProcessLimits, User};
use rustix::{
    process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit, test_kill_process_group},
    thread::disable_transparent_huge_pages,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{error::Kind, observe::Metrics};

/// The test that is the spawner of the others.
pub const SPAWNER: &str = "process::tests::the_spawner_of_the_other_tests";

#[test]
#[ignore = "it is the spawner of the other tests"]
fn the_spawner_of_the_other_tests() {
    let code = serve(["--spawner"].into_iter());
    std::process::exit(code.map_or(1, i32::from));
}

struct Stage {
    spawner: Arc<Spawner>,
    metrics: Arc<Metrics>,
    programs: Rc<Programs>,
    places: Arc<Places>,
}

impl Stage {
    fn new() -> Self {
        let spawner = Spawner::new(Inherited::find(None));
        let metrics = Metrics::new();
        let programs = Programs::new(Arc::clone(&spawner), Arc::clone(&metrics));
        let places = programs.places("test");
        Self { spawner, metrics, programs, places }
    }

    async fn shell(&self, script: &str) -> Process {
        self.run("/bin/sh", &["-c", script], &command(), Duration::ZERO).await.unwrap()
    }

    async fn run(
        &self,
        program: &str,
        arguments: &[&str],
        command: &Command,
        close: Duration,
    ) -> Result<Process, crate::error::Fault> {
        let arguments: Vec<_> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let order = Order {
            program: Path::new(program),
            arguments: &arguments,
            environment: Environment::without_request(command),
            folder: Path::new("/"),
            command,
            close,
        };
        self.programs.start(order, self.places.take(1000).unwrap()).await
    }

    fn taken(&self) -> usize {
        let free: Vec<_> = (0..1000).map_while(|_| self.places.take(1000)).collect();
        1000 - free.len()
    }

    /// Waits until nobody is left and all places are free, so long at most.
    async fn empty_within(&self, time: Duration) -> bool {
        let late = Instant::now() + time;
        while self.metrics.processes.running.get() > 0 || self.taken() > 0 {
            if Instant::now() > late {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }
}

fn command() -> Command {
    Command {
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        passenv: Vec::new(),
        cwd: None,
        user: None,
        limits: ProcessLimits::default(),
    }
}

fn run(test: impl AsyncFnOnce(Stage)) {
    let runtime = tokio::runtime::LocalRuntime::new().unwrap();
    runtime.block_on(async { test(Stage::new()).await });
}

async fn said(process: &mut Process) -> String {
    let mut text = String::new();
    process.output.read_to_string(&mut text).await.unwrap();
    text
}

/// Reads up to the end of a line.
async fn line(process: &mut Process) -> String {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        text.push(process.output.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_program_runs_and_ends_with_its_input() {
    run(async |stage| {
        let mut process = stage.run("/bin/cat", &[], &command(), Duration::ZERO).await.unwrap();
        process.input.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
        assert_eq!(line(&mut process).await, "hello\n");
        process.input = None;
        std::future::poll_fn(|cx| process.running.poll_exited(cx)).await.unwrap();
        assert!(process.running.status().unwrap().success());
        assert!(stage.empty_within(Duration::from_secs(5)).await);
    });
}

#[test]
fn the_ladder_goes_no_further_than_it_must() {
    run(async |stage| {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let tell = |signal: &str| format!("trap 'echo {signal} >{}; exit 0' {signal}", file(signal));
        let deaf = |signals: &str| format!("trap '' {signals}");
        // A shell runs its trap when its child is over, so that it must have none.
        let wait = "echo ready; while :; do read line || :; done";
        for (traps, left, least) in [
            (format!("{}; {}", tell("INT"), tell("TERM")), Some("INT"), 100),
            (format!("{}; {}", deaf("INT"), tell("TERM")), Some("TERM"), 350),
            (deaf("INT TERM"), None, 850),
        ] {
            let mut process = stage.shell(&format!("{traps}; {wait}")).await;
            assert_eq!(line(&mut process).await, "ready\n");
            let before = Instant::now();
            drop(process);
            assert!(stage.empty_within(Duration::from_secs(5)).await, "{traps}");
            let took = before.elapsed().as_millis();
            assert!(took >= least, "{traps}: {took} ms");
            for signal in ["INT", "TERM"] {
                assert_eq!(fs::remove_file(file(signal)).is_ok(), left == Some(signal), "{traps}");
            }
        }
    });
}

#[test]
fn each_step_waits_longer_where_that_is_asked_for() {
    run(async |stage| {
        let deaf = "trap '' INT; echo ready; while :; do read line || :; done";
        let slow = Duration::from_millis(300);
        let mut process = stage.run("/bin/sh", &["-c", deaf], &command(), slow).await.unwrap();
        assert_eq!(line(&mut process).await, "ready\n");
        let before = Instant::now();
        drop(process);
        assert!(stage.empty_within(Duration::from_secs(5)).await);
        assert!(before.elapsed() >= Duration::from_millis(100 + 250 + 600));
    });
}

#[test]
fn the_children_of_a_program_end_with_it_though_it_is_dead_itself() {
    run(async |stage| {
        let script = "(trap '' INT; exec sleep 1000) & (trap '' INT TERM; exec sleep 1000) & echo $!";
        let mut process = stage.shell(script).await;
        line(&mut process).await;
        std::future::poll_fn(|cx| process.running.poll_exited(cx)).await.unwrap();
        let group = Pid::from_raw(process.running.id().cast_signed()).unwrap();
        assert!(test_kill_process_group(group).is_ok(), "the children are there");
        assert_eq!(stage.metrics.processes.running.get(), 1);
        drop(process);
        assert!(stage.empty_within(Duration::from_secs(5)).await);
        assert!(test_kill_process_group(group).is_err(), "nobody is left");
    });
}

#[test]
fn a_program_may_say_goodbye_though_nobody_reads_it() {
    run(async |stage| {
        let folder = tempfile::tempdir().unwrap();
        let done = folder.path().join("done");
        let script = format!("read line; echo goodbye && echo goodbye >&2 && touch {}", done.display());
        drop(stage.shell(&script).await);
        assert!(stage.empty_within(Duration::from_secs(5)).await);
        assert!(done.exists());
    });
}

#[test]
#[allow(unsafe_code, reason = "no safe name for a system call that sets no handler")]
fn a_program_inherits_three_descriptors_and_nothing_that_is_set_for_it() {
    // As whoever starts rsp may have it; the spawner has handlers for some signals and not for this one.
    // SAFETY: it sets no handler.
    unsafe { nix::libc::signal(nix::libc::SIGXFSZ, nix::libc::SIG_IGN) };
    run(async |stage| {
        // As rsp does for itself.
        disable_transparent_huge_pages(true).unwrap();
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(limit.current.unwrap() - 1), ..limit }).unwrap();
        let script = "ls /proc/self/fd; grep -E '^(SigBlk|SigIgn|THP_enabled)' /proc/self/status; ulimit -n; env";
        let mut process = stage.shell(script).await;
        let text = said(&mut process).await;
        let lines: Vec<_> = text.lines().collect();
        // The fourth is the folder that `ls` reads.
        assert_eq!(lines[..4], ["0", "1", "2", "3"], "{text}");
        assert!(lines.contains(&"THP_enabled:\t1"), "{text}");
        assert!(lines.contains(&&*limit.current.unwrap().to_string()), "{text}");
        for name in ["SigBlk:\t", "SigIgn:\t"] {
            let set = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap();
            // libc ignores two signals of its own, above the 31 that have names, in whatever it starts.
            assert_eq!(u64::from_str_radix(set, 16).unwrap() & 0x7fff_ffff, 0, "{text}");
        }
        assert!(text.contains("SERVER_SOFTWARE=rsp/") && !text.contains("HOME="), "{text}");
    });
}

#[test]
fn the_process_beside_rsp_has_no_variables_for_programs_to_read() {
    run(async |stage| {
        let mut process = stage.shell("cat /proc/$PPID/environ; echo read").await;
        let text = said(&mut process).await;
        let variables = text.strip_suffix("read\n").unwrap().split_terminator('\0');
        let names: Vec<_> = variables.map(|variable| variable.split('=').next().unwrap()).collect();
        assert!(names.iter().all(|name| ["LD_LIBRARY_PATH", Inherited::VARIABLE].contains(name)), "{names:?}");
    });
}

#[test]
fn a_program_gets_no_more_than_its_limits() {
    run(async |stage| {
        let limits = ProcessLimits { cpu: Some(1), memory: Some(512 << 20), files: Some(17) };
        let limited = Command { limits, ..command() };
        let script = "ulimit -n; ulimit -Hn; ulimit -v; echo; while :; do :; done";
        let mut process = stage.run("/bin/sh", &["-c", script], &limited, Duration::ZERO).await.unwrap();
        assert_eq!(said(&mut process).await, "17\n17\n524288\n\n");
        std::future::poll_fn(|cx| process.running.poll_exited(cx)).await.unwrap();
        assert_eq!(process.running.status().unwrap().signal(), Some(Signal::KILL.as_raw()), "its second is over");
    });
}

#[test]
fn a_program_becomes_another_user_with_all_its_groups_and_no_others() {
    run(async |stage| {
        let other = Command { user: Some(User { name: "nobody".to_owned(), group: None }), ..command() };
        let started =
            stage.run("/bin/sh", &["-c", "id -u; id -G; grep CapEff /proc/self/status"], &other, Duration::ZERO);
        match (rustix::process::geteuid().is_root(), started.await) {
            (true, Ok(mut process)) => {
                let lines = said(&mut process).await;
                let group = lines.lines().nth(1).unwrap().to_owned();
                assert_eq!(lines, format!("65534\n{group}\nCapEff:\t0000000000000000\n"));
                assert!(!group.split(' ').any(|group| group == "0"), "{group}");
            }
            (false, Err(fault)) => assert!(fault.cause.contains("only root"), "{}", fault.cause),
            (is_root, started) => panic!("root: {is_root}, {:?}", started.map(|_| ()).map_err(|fault| fault.cause)),
        }
        let nobody = Command { user: Some(User { name: "no-such-user".to_owned(), group: None }), ..command() };
        let fault = stage.run("/bin/true", &[], &nobody, Duration::ZERO).await.err().unwrap();
        assert!(fault.cause.contains("no user \"no-such-user\""), "{}", fault.cause);
    });
}

#[test]
fn a_thousand_processes_come_and_go_and_leave_nothing() {
    run(async |stage| {
        let mut first = stage.shell("echo $PPID; read line").await;
        let spawner: u32 = line(&mut first).await.trim().parse().unwrap();
        let descriptors = |pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let before = (descriptors(spawner), descriptors(std::process::id()));
        for _ in 0..20 {
            let mut some = Vec::new();
            for _ in 0..50 {
                some.push(stage.run("/bin/cat", &[], &command(), Duration::ZERO).await.unwrap());
            }
        }
        let is_empty = || testkit::processes::descendants(spawner).len() == 1;
        let late = Instant::now() + Duration::from_secs(5);
        while stage.metrics.processes.running.get() > 1 && Instant::now() < late {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(is_empty(), "{:?}", testkit::processes::descendants(spawner));
        assert_eq!((descriptors(spawner), descriptors(std::process::id())), before);
        assert_eq!((stage.metrics.processes.started.get(), stage.taken()), (1001, 1));
    });
}

#[test]
fn a_spawner_that_stands_still_is_not_waited_for_for_ever() {
    run(async |stage| {
        let mut first = stage.shell("echo $PPID; read line").await;
        let spawner = Pid::from_raw(line(&mut first).await.trim().parse().unwrap()).unwrap();
        kill_process(spawner, Signal::STOP).unwrap();
        tokio::time::pause();
        let fault = stage.run("/bin/true", &[], &command(), Duration::ZERO).await.err().unwrap();
        assert_eq!(fault.kind, Kind::Full, "{}", fault.cause);
        tokio::time::resume();
        kill_process(spawner, Signal::CONT).unwrap();
        assert!(stage.run("/bin/true", &[], &command(), Duration::ZERO).await.is_ok());
        drop(first);
        assert!(stage.empty_within(Duration::from_secs(5)).await);
    });
}

#[test]
fn what_can_not_be_run_says_why() {
    run(async |stage| {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, "#!/bin/sh\n").unwrap();
        for (program, why) in [("/no/such", "No such file"), (plain.to_str().unwrap(), "Permission denied")] {
            let fault = stage.run(program, &[], &command(), Duration::ZERO).await.err().unwrap();
            assert_eq!(fault.kind, Kind::UpstreamDead);
            assert!(fault.cause.contains(program) && fault.cause.contains(why), "{}", fault.cause);
        }
        let long = "x".repeat(200 << 10);
        let fault = stage.run("/bin/true", &[&long], &command(), Duration::ZERO).await.err().unwrap();
        assert_eq!(fault.kind, Kind::HeadTooLarge);
        assert!(stage.empty_within(Duration::ZERO).await);
        assert_eq!((stage.metrics.processes.failed.get(), stage.metrics.processes.started.get()), (3, 0));
    });
}

#[test]
fn a_start_that_nobody_waits_for_any_more_leaves_nothing_behind() {
    run(async |stage| {
        for _ in 0..20 {
            let command = command();
            let start = stage.run("/bin/cat", &[], &command, Duration::ZERO);
            let _ = tokio::time::timeout(Duration::from_micros(500), start).await;
        }
        assert!(stage.empty_within(Duration::from_secs(5)).await);
    });
}

#[test]
fn when_the_spawner_is_killed_all_is_over_at_once_and_goes_on_with_the_next() {
    run(async |stage| {
        let mut process = stage.shell("trap '' INT TERM; echo $PPID; while :; do read line || :; done").await;
        let spawner = Pid::from_raw(line(&mut process).await.trim().parse().unwrap()).unwrap();
        kill_process(spawner, Signal::KILL).unwrap();
        assert!(std::future::poll_fn(|cx| process.running.poll_exited(cx)).await.is_err());
        assert!(stage.empty_within(Duration::from_secs(1)).await);
        // Whoever inherits it may take its time to ask how it exited.
        let is_over = || testkit::processes::process(process.running.id()).is_none_or(|one| one.is_zombie);
        testkit::eventually(Duration::from_secs(1), is_over);
        drop(process);
        let late = Instant::now() + Duration::from_secs(5);
        let mut next = loop {
            match stage.run("/bin/echo", &["again"], &command(), Duration::ZERO).await {
                Ok(process) => break process,
                Err(fault) => assert!(Instant::now() < late, "{}", fault.cause),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(line(&mut next).await, "again\n");
    });
}

#[test]
fn the_end_of_the_spawner_is_that_of_all_processes() {
    run(async |stage| {
        let mut process = stage.shell("trap '' INT; echo ready; while :; do read line || :; done").await;
        assert_eq!(line(&mut process).await, "ready\n");
        let group = Pid::from_raw(process.running.id().cast_signed()).unwrap();
        stage.spawner.end(Duration::from_secs(5)).await;
        assert!(test_kill_process_group(group).is_err());
        assert!(stage.run("/bin/true", &[], &command(), Duration::ZERO).await.is_err());
    });
}
