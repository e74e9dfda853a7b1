//! Stories of how programs end: with their clients, with rsp, with the process that starts them; and nothing is left.

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use rustix::process::{Pid, kill_process};
use testkit::{
    Message, Rsp, Signal, WebSocket, eventually,
    processes::{ProcessState, descendants, process, processes},
};

use super::{SOON, front};

/// It says its number and its parent's, and ignores all that can be ignored.
const DEAF: &str =
    r#"exec { "sh", "-c", "trap '' INT TERM HUP; echo $$ $PPID; while :; do read line || sleep 0.01; done" }"#;

/// A new talk, and the numbers of the program and of the spawner.
fn open(rsp: &Rsp) -> (WebSocket, u32, u32) {
    let mut ws = WebSocket::open(&rsp.address(), "/");
    let said = ws.text();
    let (own, parent) = said.split_once(' ').unwrap();
    let (own, parent) = (own.parse().unwrap(), parent.parse().unwrap());
    (ws, own, parent)
}

fn spawner(rsp: &Rsp) -> u32 {
    let is_it = |one: &ProcessState| one.parent == rsp.pid() && one.name == "rsp-spawner";
    processes().into_iter().find(is_it).expect("a spawner").pid
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn is_over(pid: u32) -> bool {
    process(pid).is_none_or(|one| one.is_zombie)
}

fn metric(rsp: &Rsp, name: &str) -> String {
    let said = testkit::curl(&["-sS", "--unix-socket", &admin_socket(rsp), "http://rsp/metrics"]).text();
    let line = said.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name}:\n{said}"))
}

fn admin_socket(rsp: &Rsp) -> String {
    rsp.folder().join("admin.sock").display().to_string()
}

#[test]
fn a_client_that_leaves_ends_its_program_in_the_steps_of_websocketd() {
    let trap = |signal: &str| format!("trap 'echo {signal} >>$DIR/said; exit' {signal}");
    for (traps, said, least) in [
        (trap("INT"), Some("INT\n"), 100),
        (format!("trap '' INT; {}", trap("TERM")), Some("TERM\n"), 350),
        ("trap '' INT TERM".to_owned(), None, 850),
    ] {
        // It forks nothing, as a child that has not become another program yet would run its traps, too.
        let script = format!("{traps}; echo $$ $PPID; while :; do read line; done");
        let rsp = front("", "exec \"./program.sh\"").program("program.sh", &format!("#!/bin/sh\n{script}\n")).start();
        let (ws, pid, _) = open(&rsp);
        let before = Instant::now();
        drop(ws);
        eventually(SOON, || process(pid).is_none());
        let took = before.elapsed().as_millis();
        assert!(took >= least, "{traps}: {took} ms");
        assert_eq!(fs::read_to_string(rsp.folder().join("said")).ok().as_deref(), said, "{traps}");
    }
}

#[test]
fn a_thousand_clients_come_and_go_and_a_second_later_nothing_of_them_is_left() {
    let rsp = front("admin \"unix:$DIR/admin.sock\"", "exec \"cat\"").start();
    let echo = || {
        let mut ws = WebSocket::open(&rsp.address(), "/");
        ws.send("hello");
        assert_eq!(ws.text(), "hello");
        ws
    };
    drop(echo());
    let spawner = spawner(&rsp);
    eventually(SOON, || descendants(spawner).is_empty());
    let descriptors = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = (descriptors(rsp.pid()), descriptors(spawner));
    for _ in 0..20 {
        let all: Vec<_> = (0..50).map(|_| echo()).collect();
        drop(all);
    }
    eventually(std::time::Duration::from_secs(1), || descendants(spawner).is_empty());
    eventually(SOON, || (descriptors(rsp.pid()), descriptors(spawner)) == before);
    assert_eq!(metric(&rsp, "rsp_processes"), "0");
    assert_eq!(metric(&rsp, "rsp_processes_started_total"), "1001");
}

#[test]
fn when_rsp_is_killed_its_programs_end_with_all_that_they_started() {
    let started = "(trap '' INT TERM; sleep 1000) & echo $$ $PPID; wait";
    let mut rsp = front("", &format!("exec {{ \"sh\", \"-c\", \"{started}\" }}")).start();
    let (_ws, _, parent) = open(&rsp);
    let all = descendants(parent);
    assert!(all.iter().any(|one| one.name == "sleep") || all.len() > 1, "{all:?}");
    rsp.kill();
    eventually(std::time::Duration::from_secs(2), || all.iter().all(|one| is_over(one.pid)) && is_over(parent));
}

#[test]
fn when_the_spawner_is_killed_clients_are_told_and_the_next_one_is_served() {
    let rsp = front("", DEAF).start();
    let (mut ann, first, parent) = open(&rsp);
    let (mut bob, second, _) = open(&rsp);
    send(parent, Signal::KILL);
    for ws in [&mut ann, &mut bob] {
        assert!(matches!(ws.read(), Message::Close(..)));
    }
    eventually(SOON, || is_over(first) && is_over(second));
    rsp.wait_for_line(SOON, |line| line.contains("the process that starts programs has died"));
    eventually(SOON, || WebSocket::try_open(&rsp.address(), "/", "").is_ok());
    let (_ws, _, next) = open(&rsp);
    assert_ne!(next, parent);
}

#[test]
fn rsp_ends_with_its_programs_and_the_spawner() {
    let mut rsp = front("drain \"0s\"", DEAF).start();
    let (_ws, pid, parent) = open(&rsp);
    assert_eq!(rsp.stop().code(), Some(0));
    assert!(process(pid).is_none(), "{:?}", process(pid));
    assert!(process(parent).is_none(), "{:?}", process(parent));
}

#[test]
fn an_interrupt_or_the_end_of_a_terminal_is_rsps_alone() {
    let rsp = front("", DEAF).start();
    let (mut ws, pid, parent) = open(&rsp);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        send(parent, signal);
    }
    ws.send("");
    let one = process(parent).unwrap();
    assert_eq!((one.group, process(pid).unwrap().group), (parent, pid), "groups of their own");
    let (_other, ..) = open(&rsp);
}

#[test]
fn programs_have_what_rsp_was_started_with_also_after_an_upgrade() {
    let wrapper = tempfile::NamedTempFile::new().unwrap();
    let text = format!("#!/bin/sh\nulimit -Sn 99\nexec 9</dev/null\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_rsp"));
    fs::write(wrapper.path(), text).unwrap();
    fs::set_permissions(wrapper.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let wrapper = wrapper.into_temp_path();
    let program = "ulimit -Sn; echo $(ls /proc/self/fd)";
    let config = format!("exec {{ \"sh\", \"-c\", \"{program}\" }}");
    let mut rsp = front("", &config).binary(&*wrapper).has_successors().start();
    let told = |rsp: &Rsp, when: &str| {
        let mut ws = WebSocket::open(&rsp.address(), "/");
        // The last descriptor is the folder that `ls` reads.
        assert_eq!([ws.text(), ws.text()], ["99", "0 1 2 3"], "{when}");
    };
    told(&rsp, "at first");
    let upgraded = rsp.control(&["upgrade", "site.lua"]);
    assert_eq!(upgraded.code, Some(0), "{}", upgraded.stderr);
    assert!(rsp.wait_exit(SOON).success());
    told(&rsp, "after the upgrade");
}

#[test]
fn a_program_runs_as_its_user_within_its_limits() {
    let words = r#""sh", "-c", "id -u; ulimit -n; ulimit -v; ulimit -t""#;
    let limits = r#"limits = { cpu = "7s", memory = "512MiB", files = 21 }"#;
    let rsp = front("", &format!("exec {{ {words}, user = \"nobody\", {limits} }}")).start();
    let mut ws = WebSocket::open(&rsp.address(), "/");
    if rustix::process::geteuid().is_root() {
        assert_eq!([ws.text(), ws.text(), ws.text(), ws.text()], ["65534", "21", "524288", "7"]);
    }
}

#[test]
fn a_program_that_goes_away_later_is_502_and_a_line_in_the_log() {
    let rsp = front("", "exec \"./program.sh\"").program("program.sh", "#!/bin/sh\necho $$ $PPID\n").start();
    open(&rsp);
    fs::remove_file(rsp.folder().join("program.sh")).unwrap();
    let refused = WebSocket::try_open(&rsp.address(), "/", "").err().unwrap();
    assert_eq!(refused.status, 502);
    rsp.wait_for_line(SOON, |line| line.contains("program.sh: No such file or directory"));
}
