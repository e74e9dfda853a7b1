//! Debian's php-fpm with a pool of its own, on TCP or a unix socket.

use std::{path::Path, process::Command, time::Duration};

use crate::{
    Signal, Socket,
    program::{Program, find_program},
    wait::{eventually, free_port},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running php-fpm and a folder for its scripts.
#[derive(Debug)]
pub struct PhpFpm {
    address: String,
    folder: tempfile::TempDir,
    program: Program,
}

impl PhpFpm {
    /// Starts it on a unix socket in its folder, with so many processes.
    #[track_caller]
    pub fn start_unix(processes: u32) -> PhpFpm {
        let folder = tempfile::Builder::new().prefix("rsp-php-").tempdir().expect("a folder");
        let socket = folder.path().join("php.sock").display().to_string();
        let program = run(folder.path(), &socket, processes);
        PhpFpm::listening(format!("unix:{socket}"), folder, program).expect("php-fpm on a unix socket")
    }

    /// Starts it on a free port of 127.0.0.1.
    #[track_caller]
    pub fn start_tcp(processes: u32) -> PhpFpm {
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("rsp-php-").tempdir().expect("a folder");
            let address = format!("127.0.0.1:{}", free_port());
            let program = run(folder.path(), &address, processes);
            if let Some(php) = PhpFpm::listening(address, folder, program) {
                return php;
            }
        }
        panic!("no port stayed free five times in a row");
    }

    fn listening(address: String, folder: tempfile::TempDir, mut program: Program) -> Option<PhpFpm> {
        let mut listens = false;
        eventually(PATIENCE, || {
            listens = Socket::connect(&address).is_ok();
            listens || !program.is_running()
        });
        assert!(listens || program.output().contains("in use"), "php-fpm did not start:\n{}", program.output());
        listens.then_some(PhpFpm { address, folder, program })
    }

    /// As an upstream's endpoint is written.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder of its scripts.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a script, or any other file.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file in the folder")).expect("its folder");
        std::fs::write(path, text).expect("write a script");
    }

    /// Ends it with all its processes, whatever they are doing.
    pub fn stop(&mut self) {
        if self.program.is_running() {
            self.program.signal(Signal::TERM);
            let _ = self.program.find_exit(PATIENCE);
        }
    }
}

impl Drop for PhpFpm {
    /// Killed, it would leave its processes behind.
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(folder: &Path, listen: &str, processes: u32) -> Program {
    let config = folder.join("php-fpm.conf");
    let (dir, root) = (folder.display(), rustix::process::geteuid().is_root());
    let user = if root { "user = root\ngroup = root\n" } else { "" };
    let text = format!(
        "[global]\npid = {dir}/php.pid\nerror_log = /dev/stderr\ndaemonize = no\n\
         [www]\n{user}listen = {listen}\npm = static\npm.max_children = {processes}\nclear_env = yes\n"
    );
    std::fs::write(&config, text).expect("write php-fpm.conf");
    let names = ["php-fpm", "php-fpm8.5", "php-fpm8.4", "php-fpm8.3", "php-fpm8.2"];
    let mut command = Command::new(find_program(&names));
    command.args(["--nodaemonize", "--no-php-ini", "--fpm-config"]).arg(&config);
    // A body goes to the script as it comes, of any length.
    command.args(["-d", "enable_post_data_reading=Off", "-d", "memory_limit=16M", "-d", "output_buffering=0"]);
    if root {
        command.arg("--allow-to-run-as-root");
    }
    Program::start(&mut command)
}
