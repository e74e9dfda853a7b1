//! Stories of an upgrade: a new binary takes over without a lost connection, or changes nothing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use testkit::{Answer, Client, End, Gate, Origin, Rsp, Signal, Step, eventually};

use super::{HELLO, SOON, admin, assert_echoes, get, status, tunnel, wait_for_message};

const FRONT: &str = r#"listen "127.0.0.1:$PORT" listen "unix:front.sock" drain "1h" workers(2)
    site "*" { ["/held"] = proxy "$ORIGIN", ["/*"] = reply(200, "hello\n") }"#;

/// A link to the binary that a test can turn elsewhere.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let installed = Self { folder: tempfile::tempdir().unwrap() };
        installed.turn(env!("CARGO_BIN_EXE_rsp"));
        installed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rsp")
    }

    fn turn(&self, to: &str) {
        let _ = fs::remove_file(self.path());
        symlink(to, self.path()).unwrap();
    }

    fn replace(&self, text: &str, mode: u32) {
        let _ = fs::remove_file(self.path());
        fs::write(self.path(), text).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// `rsp upgrade` by the binary that the tests were built with: exit code, and what it says.
fn upgrade(rsp: &Rsp) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rsp"));
    let output = command.args(["upgrade", "site.lua"]).current_dir(rsp.folder()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

fn pid(rsp: &Rsp) -> u64 {
    status(rsp)["pid"].as_u64().unwrap()
}

fn descriptors_of(pid: u64) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn the_new_process_serves_and_the_old_one_finishes_what_it_has() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |request| match request.head.headers.get("upgrade") {
        Some(_) => Answer::upgrade("echo"),
        None => {
            let mut answer = Answer::ok("done");
            answer.0.insert(1, Step::Pass(held.clone()));
            answer
        }
    });
    let mut rsp = Rsp::config(FRONT).set("ORIGIN", origin.address()).has_successors().start();
    let old = u64::from(rsp.pid());
    let mut tunnel = tunnel(&rsp.address(), "/held");
    let mut busy = rsp.client();
    busy.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_for_heads(2, SOON);

    let (code, said) = upgrade(&rsp);
    assert_eq!(code, Some(0), "{said}");
    let new = status(&rsp);
    assert_ne!(new["pid"], old);
    assert_eq!((&new["generation"], said), (&2.into(), format!("upgraded: process {}\n", new["pid"])));
    assert_eq!(get(&rsp, "/").text(), "hello\n");

    gate.open();
    let answer = busy.read_response("GET");
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("done", Some("close")));
    assert_echoes(&mut tunnel);
    assert!(rsp.is_running(), "the tunnel is the old one's");
    drop(tunnel);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));

    let front = format!("unix:{}", rsp.folder().join("front.sock").display());
    assert_eq!(Client::connect(&front).get("/").text(), "hello\n", "the old one left the socket file");
    assert_eq!(upgrade(&rsp).0, Some(0), "a successor has successors");
    assert_eq!(status(&rsp)["generation"], 3);
    assert_eq!(rsp.control(&["drain", "site.lua"]).code, Some(0));
    eventually(SOON, || !rsp.folder().join("front.sock").exists() && !rsp.folder().join("site.lua.sock").exists());
}

#[test]
fn a_program_of_a_channel_is_run_by_one_of_them() {
    let config = r#"listen "127.0.0.1:$PORT" drain "1h" workers(1) site "*" {
        ["/held"] = proxy "$ORIGIN",
        ["/ticks"] = exec { "sh", "-c", "echo $$ >> pids; exec cat", channel = "ticks" },
    }"#;
    let origin = Origin::start(|_| Answer::upgrade("echo"));
    let mut rsp = Rsp::config(config).set("ORIGIN", origin.address()).has_successors().start();
    let mut tunnel = tunnel(&rsp.address(), "/held");
    let pids = || fs::read_to_string(rsp.folder().join("pids")).unwrap_or_default();
    let runs = |pid: &str| fs::exists(format!("/proc/{pid}")).unwrap();
    eventually(SOON, || pids().lines().count() == 1);
    assert_eq!(upgrade(&rsp).0, Some(0));
    eventually(SOON, || matches!(&*pids().lines().map(runs).collect::<Vec<_>>(), [false, true]));
    assert_echoes(&mut tunnel);
    assert!(rsp.is_running(), "the tunnel is the old one's");
}

#[test]
fn no_connection_is_lost_while_one_process_follows_another() {
    let rsp = Rsp::config(FRONT).set("ORIGIN", "127.0.0.1:1").has_successors().start();
    let front = format!("unix:{}", rsp.folder().join("front.sock").display());
    let done = AtomicBool::new(false);
    let ask_again_and_again = |address: String| {
        let mut answered = 0;
        while !done.load(Relaxed) {
            let mut client = Client::try_connect(&address).expect("never refused");
            let answer = client.request("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            assert_eq!((answer.status, answer.end != End::Cut), (200, true), "{answer:?}");
            answered += 1;
        }
        answered
    };
    let answered: u32 = std::thread::scope(|scope| {
        let clients = [rsp.address(), rsp.address(), front].map(|one| scope.spawn(|| ask_again_and_again(one)));
        for _ in 0..5 {
            assert_eq!(upgrade(&rsp).0, Some(0));
        }
        done.store(true, Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(answered > 0);
    assert_eq!(status(&rsp)["generation"], 6);
}

#[test]
fn a_new_binary_that_fails_leaves_the_old_one_serving() {
    let installed = Installed::new();
    let mut rsp = Rsp::config(HELLO).binary(installed.path()).has_successors().start();
    let assert_refused = |rsp: &Rsp, part: &str| {
        let (code, said) = upgrade(rsp);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part), "no {part:?} in {said}");
        assert_eq!(get(rsp, "/").text(), "hello\n");
    };
    installed.turn("/bin/false");
    assert_refused(&rsp, "exit status: 1");
    installed.turn("/nowhere");
    assert_refused(&rsp, "No such file");
    installed.replace("\x7fELF, but cut short", 0o755);
    assert_refused(&rsp, "Exec format error");
    installed.replace("#!/bin/sh\nexit 7\n", 0o755);
    assert_refused(&rsp, "exit status: 7");
    installed.replace("#!/bin/sh\necho nonsense >&0\nexec sleep 1000\n", 0o755);
    assert_refused(&rsp, "does not answer as one");
    installed.turn(env!("CARGO_BIN_EXE_rsp"));
    rsp.rewrite_config("listen {");
    assert_refused(&rsp, "site.lua:1");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rsp.rewrite_config(&format!("{HELLO} listen \"{}\" listen \"unix:new.sock\"", taken.local_addr().unwrap()));
    assert_refused(&rsp, "in use");
    rsp.rewrite_config(&format!("{HELLO} upstream \"nobody\" {{ \"127.0.0.1:1\" }}"));
    assert_eq!(u64::from(rsp.pid()), {
        installed.turn("/bin/false");
        let answer = admin(&rsp).get("/status").text();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["pid"].as_u64().unwrap()
    });
    installed.turn(env!("CARGO_BIN_EXE_rsp"));
    assert_eq!(upgrade(&rsp).0, Some(0), "the next one may be better");
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
}

#[test]
fn an_upgrade_is_alone_and_ends_with_a_drain() {
    let installed = Installed::new();
    let mut rsp = Rsp::config(HELLO).binary(installed.path()).has_successors().start();
    installed.replace("#!/bin/sh\nexec sleep 1000\n", 0o755);
    let mut first = admin(&rsp);
    first.send("POST /upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    wait_for_message(&rsp, "upgrading");
    let (code, said) = upgrade(&rsp);
    assert_eq!((code, said.contains("under way")), (Some(2), true), "{said}");
    let reload = admin(&rsp).request("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((reload.status, reload.text().contains("upgrading")), (422, true));
    assert_eq!(get(&rsp, "/").text(), "hello\n");
    rsp.signal(Signal::TERM);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
}

#[test]
fn every_queue_is_accepted_from_whatever_the_number_of_workers() {
    let config = |workers: u32| FRONT.replace("workers(2)", &format!("workers({workers})"));
    let mut rsp = Rsp::config(&config(3)).set("ORIGIN", "127.0.0.1:1").has_successors().start();
    let front = format!("unix:{}", rsp.folder().join("front.sock").display());
    for workers in [1, 4, 2] {
        rsp.rewrite_config(&config(workers));
        assert_eq!(upgrade(&rsp).0, Some(0));
        assert_eq!(status(&rsp)["workers"], workers);
        for _ in 0..50 {
            assert_eq!(get(&rsp, "/").text(), "hello\n");
        }
        assert_eq!(Client::connect(&front).get("/").text(), "hello\n");
    }
}

#[test]
fn an_upgrade_may_change_where_it_listens() {
    let text = "site \"*\" (reply(200, \"hello\\n\"))";
    let mut rsp =
        Rsp::config(&format!("listen \"127.0.0.1:$PORT\" listen \"127.0.0.1:$PORT2\" listen \"unix:old.sock\" {text}"))
            .has_successors()
            .start();
    let [second, third] = [2, 3].map(|number| format!("127.0.0.1:{}", rsp.port_of(number)));
    rsp.rewrite_config(&format!(
        "listen \"127.0.0.1:$PORT\" listen \"127.0.0.1:$PORT3\" listen \"unix:new.sock\" {text}"
    ));
    assert_eq!(upgrade(&rsp).0, Some(0));
    assert_eq!(get(&rsp, "/").text(), "hello\n");
    assert_eq!(Client::connect(&third).get("/").text(), "hello\n");
    eventually(SOON, || Client::try_connect(&second).is_err());
    let sockets = ["old.sock", "new.sock"].map(|name| rsp.folder().join(name).exists());
    assert_eq!(sockets, [false, true]);
    wait_for_message(&rsp, &format!("{second} is listened on no more"));
}

#[test]
fn nothing_but_the_sockets_is_inherited() {
    let mut rsp = Rsp::config(HELLO).file("log", "").has_successors().start();
    rsp.rewrite_config(&format!("{HELLO} log {{ to = \"log\" }}"));
    assert_eq!(upgrade(&rsp).0, Some(0));
    let second = descriptors_of(pid(&rsp));
    for _ in 0..3 {
        assert_eq!(upgrade(&rsp).0, Some(0));
    }
    let fifth = pid(&rsp);
    eventually(SOON, || descriptors_of(fifth) == second);
    let stdin = fs::read_link(format!("/proc/{fifth}/fd/0")).unwrap();
    assert_eq!(stdin, PathBuf::from("/dev/null"), "the standard input of the first");
}

#[test]
fn usr2_upgrades_a_one_line_command_too() {
    let mut rsp =
        Rsp::command(&["files", "--listen", "127.0.0.1:$PORT", "."]).file("a.txt", "A").has_successors().start();
    rsp.signal(Signal::USR2);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert_eq!(get(&rsp, "/a.txt").text(), "A");
    wait_for_message(&rsp, "upgraded: process");
}
