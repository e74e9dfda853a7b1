//! Debian's redis-server: one alone, or a cluster of three.

use std::{path::Path, process::Command, time::Duration};

use crate::{
    Signal,
    program::{Program, find_program, run},
    wait::{eventually, free_port},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running redis-server with a folder and a port of its own, on which it can be started again.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    /// What its cluster talks over, which is usually 10,000 above and may be beyond the last one.
    bus: u16,
    folder: tempfile::TempDir,
    options: Vec<String>,
    program: Program,
}

impl Redis {
    /// One that keeps nothing on disk.
    #[track_caller]
    pub fn start() -> Redis {
        Redis::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// One that writes down every command before it answers.
    #[track_caller]
    pub fn start_lasting() -> Redis {
        Redis::start_with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One with these options on its command line. Also listens on a unix socket in its folder.
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Redis {
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("rsp-redis-").tempdir().expect("a folder");
            let (port, bus) = (free_port(), free_port());
            let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
            let program = launch(folder.path(), port, bus, &options);
            let mut redis = Redis { port, bus, folder, options, program };
            if redis.answers() {
                return redis;
            }
            assert!(redis.program.output().contains("in use"), "redis-server: {}", redis.program.output());
        }
        panic!("no port stayed free five times in a row");
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Its unix socket and its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it; what it has not written down is lost.
    #[track_caller]
    pub fn kill(&mut self) {
        // A stopped one dies, too.
        self.program.signal(Signal::KILL);
        assert!(self.program.find_exit(PATIENCE).is_some(), "redis-server lives on");
    }

    /// Starts it again where it was, with what it wrote down.
    #[track_caller]
    pub fn start_again(&mut self) {
        // The port may be taken for a moment by whoever looked for a free one.
        for _ in 0..5 {
            self.program = launch(self.folder.path(), self.port, self.bus, &self.options);
            if self.answers() {
                return;
            }
        }
        panic!("redis-server did not start again:\n{}", self.program.output());
    }

    /// Makes it stand still, as a machine does that swaps.
    pub fn freeze(&self) {
        self.program.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.program.signal(Signal::CONT);
    }

    /// What redis-cli says to a command.
    #[track_caller]
    pub fn ask(&self, command: &[&str]) -> String {
        ask(self.port, command)
    }

    fn answers(&mut self) -> bool {
        let mut answers = false;
        eventually(PATIENCE, || {
            let answer = self.ask(&["PING"]);
            answers = answer == "PONG" || answer.starts_with("NOAUTH");
            answers || !self.program.is_running()
        });
        answers
    }
}

/// A sentinel that watches a server as `main`, and puts a replica in its place half a second after its death.
#[derive(Debug)]
pub struct RedisSentinel {
    port: u16,
    _folder: tempfile::TempDir,
    _program: Program,
}

impl RedisSentinel {
    /// Waits until it knows of the replica.
    #[track_caller]
    pub fn start(main: &Redis) -> RedisSentinel {
        let (port, folder) =
            (free_port(), tempfile::Builder::new().prefix("rsp-sentinel-").tempdir().expect("a folder"));
        let config = folder.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n",
            main.port
        );
        std::fs::write(&config, text).expect("write sentinel.conf");
        let program = Program::start(Command::new(find_program(&["redis-server"])).arg(&config).arg("--sentinel"));
        let sentinel = RedisSentinel { port, _folder: folder, _program: program };
        eventually(PATIENCE, || ask(port, &["SENTINEL", "REPLICAS", "main"]).contains("127.0.0.1"));
        sentinel
    }

    /// `redis-sentinel://127.0.0.1:port/main`
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/main", self.port)
    }
}

/// Three masters that share the slots.
#[derive(Debug)]
pub struct RedisCluster {
    /// The servers.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Waits until all of them agree.
    #[track_caller]
    pub fn start() -> RedisCluster {
        let options = [
            "--save",
            "",
            "--appendonly",
            "no",
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        ];
        let nodes: Vec<_> = (0..3).map(|_| Redis::start_with(&options)).collect();
        let mut cli = Command::new(find_program(&["redis-cli"]));
        cli.args(["--cluster", "create"]).args(nodes.iter().map(|node| format!("{}@{}", node.address(), node.bus)));
        cli.args(["--cluster-replicas", "0", "--cluster-yes"]);
        let output = run(&mut cli, "", Duration::from_secs(60));
        assert_eq!(output.code, Some(0), "{}{}", output.text(), output.stderr);
        eventually(PATIENCE, || nodes.iter().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok")));
        RedisCluster { nodes }
    }

    /// `redis+cluster://…`, two of the three.
    pub fn url(&self) -> String {
        format!("redis+cluster://{},{}", self.nodes[0].address(), self.nodes[1].address())
    }
}

#[track_caller]
fn ask(port: u16, command: &[&str]) -> String {
    let mut cli = Command::new(find_program(&["redis-cli"]));
    cli.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(command);
    run(&mut cli, "", PATIENCE).text().trim_end().to_owned()
}

fn launch(folder: &Path, port: u16, bus: u16, options: &[String]) -> Program {
    let mut command = Command::new(find_program(&["redis-server"]));
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder);
    if options.iter().any(|option| option == "--cluster-enabled") {
        command.args(["--cluster-port", &bus.to_string()]);
    }
    command.arg("--unixsocket").arg(folder.join("redis.sock")).args(["--unixsocketperm", "700"]).args(options);
    Program::start(&mut command)
}
