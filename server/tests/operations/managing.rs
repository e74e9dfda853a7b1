//! Stories of the service manager: what it is told, the sockets it passes, the watchdog it waits for.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use testkit::{Client, Program, Rsp, RspBuilder, Signal, eventually, free_port};

use super::{HELLO, SOON, get, status, wait_for_message};

/// The service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned(), _folder: folder }
    }

    fn told(&self, builder: RspBuilder) -> RspBuilder {
        builder.environment("NOTIFY_SOCKET", &self.path)
    }

    /// The next message that is no watchdog's.
    fn next(&self) -> String {
        loop {
            let message = self.within(SOON).expect("a message");
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn within(&self, time: Duration) -> Option<String> {
        let mut bytes = [0; 4096];
        self.socket.set_read_timeout(Some(time)).unwrap();
        self.socket.recv(&mut bytes).ok().map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_upgrade_and_end() {
    let manager = Manager::new();
    let mut rsp = manager.told(Rsp::config(HELLO)).has_successors().start();
    let first = manager.next();
    assert!(first.starts_with("READY=1\nSTATUS=serving; sites: 1, addresses: 1"), "{first}");
    assert_eq!(get(&rsp, "/").text(), "hello\n", "whoever is told may ask");
    assert_eq!(rsp.reload().code, Some(0));
    let reloading = manager.next();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(since.trim().parse::<u64>().unwrap() > 0);
    assert!(manager.next().starts_with("READY=1\n"));

    assert_eq!(rsp.control(&["upgrade", "site.lua"]).code, Some(0));
    let successor = status(&rsp)["pid"].as_u64().unwrap();
    let taken_over = manager.next();
    assert!(taken_over.starts_with("READY=1\n"), "{taken_over}");
    assert!(taken_over.ends_with(&format!("MAINPID={successor}\n")), "{taken_over}");
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert_eq!(rsp.control(&["drain", "site.lua"]).code, Some(0));
    let last = manager.next();
    assert!(last.starts_with("STOPPING=1\n"), "the old one did not say that the service stops: {last}");
}

#[test]
fn the_watchdog_is_fed_until_a_worker_is_stuck_and_by_a_successor_too() {
    let manager = Manager::new();
    let stuck = r#"listen "127.0.0.1:$PORT" workers(1) limits { script_cpu = "60s" } drain "0s"
        site "*" { ["/stuck"] = function() while true do end end, ["/*"] = reply(200, "hello\n") }"#;
    let rsp = manager.told(Rsp::config(stuck)).environment("WATCHDOG_USEC", "400000").has_successors().start();
    let fed = || assert_eq!(manager.within(SOON).as_deref(), Some("WATCHDOG=1\n"));
    assert!(manager.within(SOON).unwrap().starts_with("READY=1"));
    (0..3).for_each(|_| fed());
    assert_eq!(rsp.control(&["upgrade", "site.lua"]).code, Some(0));
    while manager.within(SOON).unwrap() == "WATCHDOG=1\n" {}
    // What the old one said last, and then the successor's.
    (0..5).for_each(|_| fed());
    let mut client = rsp.client();
    client.send("GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_message(&rsp, "the watchdog is not fed");
    let since = Instant::now();
    let mut late = Vec::new();
    while since.elapsed() < Duration::from_secs(2) {
        late.extend(
            manager.within(Duration::from_millis(100)).filter(|_| since.elapsed() > Duration::from_millis(500)),
        );
    }
    assert_eq!(late, Vec::<String>::new());
}

/// Runs `site.lua` by systemd's own tool for socket activation, which starts it at the first connection.
fn activated(folder: &Path, addresses: &[&str], config: &str) -> Program {
    fs::write(folder.join("site.lua"), config).unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command.args(addresses.iter().flat_map(|address| ["--listen", address]));
    Program::start(command.arg(env!("CARGO_BIN_EXE_rsp")).arg("site.lua").current_dir(folder))
}

#[test]
fn a_listen_takes_the_socket_of_the_service_manager() {
    let folder = tempfile::tempdir().unwrap();
    let (port, other) = (free_port(), free_port());
    let front = folder.path().join("front.sock");
    let config = format!(
        "listen \"127.0.0.1:{port}\" listen \"unix:front.sock\" workers(3) site \"*\" (reply(200, \"hello\\n\"))"
    );
    let addresses = [format!("127.0.0.1:{port}"), front.display().to_string(), format!("127.0.0.1:{other}")];
    let mut rsp = activated(folder.path(), &addresses.each_ref().map(String::as_str), &config);
    eventually(SOON, || Client::try_connect(&addresses[0]).is_ok());
    rsp.wait_for_line(SOON, |line| line.contains(&format!("inherited socket 127.0.0.1:{other}")));
    let unix = format!("unix:{}", front.display());
    for address in [&addresses[0], &unix, &addresses[0], &unix] {
        assert_eq!(Client::connect(address).get("/").text(), "hello\n");
    }
    // What nobody wanted at the start is there for a reload, and what a reload drops comes back.
    let command = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rsp"));
        let output = command.args(words).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    for port in [other, port] {
        let config = format!("listen \"127.0.0.1:{port}\" workers(3) site \"*\" (reply(200, \"{port}\"))");
        fs::write(folder.path().join("site.lua"), config).unwrap();
        command(&["reload", "site.lua"]);
        assert_eq!(Client::connect(&format!("127.0.0.1:{port}")).get("/").text(), port.to_string());
    }
    rsp.signal(Signal::TERM);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert!(front.exists(), "the socket file is the service manager's");
}

#[test]
fn promised_sockets_that_are_not_there_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("site.lua"), format!("listen \"127.0.0.1:{}\" site \"*\" (reply(200))", free_port()))
        .unwrap();
    let script = "LISTEN_PID=$$ LISTEN_FDS=60000 exec \"$0\" site.lua";
    let output = Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_rsp")]).current_dir(folder.path()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("service manager"), "{output:?}");
}

#[test]
fn the_unit_files_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib");
    for name in ["rsp.service", "rsp.socket"] {
        let text = fs::read_to_string(contrib.join(name)).unwrap();
        let text = text.replace("/usr/bin/rsp ", &format!("{} ", env!("CARGO_BIN_EXE_rsp")));
        fs::write(folder.path().join(name), text).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "rsp.service", "rsp.socket"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
}
