//! Real programs to stand before and behind rsp: Debian's nginx, Python's `http.server`, curl.

use std::{path::Path, process::Command, time::Duration};

use crate::{
    program::{Output, Program, find_program, run},
    wait::{eventually, free_port},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// nginx with a config of its own in a folder of its own, never as a service.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    folder: tempfile::TempDir,
    /// Kept for its end.
    _program: Program,
}

impl Nginx {
    /// Starts it with `servers` as the content of `http { … }`, `$PORT` and `$DIR` filled in:
    /// `server { listen 127.0.0.1:$PORT; root $DIR; }`. Waits until it listens.
    #[track_caller]
    pub fn start(servers: &str) -> Nginx {
        for _ in 0..5 {
            let port = free_port();
            let folder = tempfile::Builder::new().prefix("rsp-nginx-").tempdir().expect("a folder");
            let config = folder.path().join("nginx.conf");
            std::fs::write(&config, nginx_config(servers, folder.path(), port)).expect("write nginx.conf");
            let mut command = Command::new(find_program(&["nginx"]));
            command.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(&config);
            let mut program = Program::start(&mut command);
            let mut listens = false;
            eventually(PATIENCE, || {
                listens = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
                listens || !program.is_running()
            });
            if listens {
                return Nginx { port, folder, _program: program };
            }
            assert!(program.output().contains("bind()"), "nginx did not start:\n{}", program.output());
        }
        panic!("no port stayed free five times in a row");
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What `$DIR` stands for; put files to serve there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn nginx_config(servers: &str, folder: &Path, port: u16) -> String {
    let dir = folder.display().to_string();
    let servers = servers.replace("$PORT", &port.to_string()).replace("$DIR", &dir);
    // One process, so that killing it leaves no worker behind. As root it would become nobody, who may not enter the
    // test's folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {dir}/{kind};\n"))
        .collect();
    format!(
        "daemon off; master_process off; {user} pid {dir}/nginx.pid; error_log stderr notice;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n    access_log off;\n{temporary}{servers}\n}}\n"
    )
}

/// A running HAProxy that proxies what the test says.
#[derive(Debug)]
pub struct Haproxy {
    port: u16,
    _folder: tempfile::TempDir,
    /// Kept for its end.
    _program: Program,
}

impl Haproxy {
    /// Starts it with these sections, `$PORT` filled in. Waits until it listens.
    #[track_caller]
    pub fn start(sections: &str) -> Haproxy {
        for _ in 0..5 {
            let port = free_port();
            let folder = tempfile::Builder::new().prefix("rsp-haproxy-").tempdir().expect("a folder");
            let config = folder.path().join("haproxy.cfg");
            let defaults = "defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";
            let sections = sections.replace("$PORT", &port.to_string());
            std::fs::write(&config, format!("{defaults}{sections}")).expect("write haproxy.cfg");
            let mut program =
                Program::start(Command::new(find_program(&["haproxy"])).arg("-db").arg("-f").arg(&config));
            let mut listens = false;
            eventually(PATIENCE, || {
                listens = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
                listens || !program.is_running()
            });
            if listens {
                return Haproxy { port, _folder: folder, _program: program };
            }
            assert!(program.output().contains("cannot bind"), "HAProxy did not start:\n{}", program.output());
        }
        panic!("no port stayed free five times in a row");
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// `python3 -m http.server` on a folder: HTTP/1.0 and one thread a connection, as in the field.
#[derive(Debug)]
pub struct PythonHttpServer {
    port: u16,
    program: Program,
}

impl PythonHttpServer {
    /// Serves `folder` on a port of its own choice and waits until it listens.
    #[track_caller]
    pub fn start(folder: &Path) -> PythonHttpServer {
        let mut command = Command::new(find_program(&["python3"]));
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(folder);
        let program = Program::start(&mut command);
        // "Serving HTTP on 127.0.0.1 port 40001 (http://127.0.0.1:40001/) ..."
        let line = program.wait_for_line(PATIENCE, |line| line.starts_with("Serving HTTP on"));
        let port = line.split(' ').nth(5).and_then(|word| word.parse().ok());
        PythonHttpServer { port: port.unwrap_or_else(|| panic!("no port in {line:?}")), program }
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its own request log so far.
    pub fn log(&self) -> String {
        self.program.output()
    }
}

/// A line of an htpasswd file, by Apache's program: `htpasswd -nb` with these options before name and password.
#[track_caller]
pub fn htpasswd(options: &[&str], name: &str, password: &str) -> String {
    let mut command = Command::new(find_program(&["htpasswd"]));
    let output = run(command.arg("-nb").args(options).args([name, password]), "", PATIENCE);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    format!("{}\n", output.text().trim())
}

/// Runs curl, quiet but for errors, with these arguments; 30 s at most.
#[track_caller]
pub fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new(find_program(&["curl"]));
    command.args(["--silent", "--show-error", "--max-time", "25", "--noproxy", "*"]).args(arguments);
    run(&mut command, "", Duration::from_secs(30))
}

/// Starts curl, unbuffered, with these arguments, for an answer that goes on.
#[track_caller]
pub fn curl_follows(arguments: &[&str]) -> Program {
    let mut command = Command::new(find_program(&["curl"]));
    command.args(["--silent", "--show-error", "--no-buffer", "--noproxy", "*"]).args(arguments);
    Program::start(&mut command)
}

/// Runs a program of the system to its end.
#[track_caller]
pub fn run_program(name: &str, arguments: &[&str]) -> Output {
    run(Command::new(find_program(&[name])).args(arguments), "", Duration::from_secs(30))
}

/// Runs `openssl` with these arguments and this on its standard input; 30 s at most.
#[track_caller]
pub fn openssl(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    run(Command::new(find_program(&["openssl"])).args(arguments), input, Duration::from_secs(30))
}
