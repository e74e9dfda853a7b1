//! Stories of rsp beside Debian's websocketd, and of what replaces it.
//!
//! Both run the same programs with the same flags and are sent the same bytes. Debian's is 0.4.1; where a later websocketd
//! does otherwise, and where rsp does so on purpose, the difference stands in the test with its reason.

mod environment;
mod folders;
mod messages;
mod refusals;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use testkit::{Client, Message, Response, Rsp, RspBuilder, WebSocket, Websocketd};

/// Both, with the same flags, and the folder of their programs.
struct Beside {
    ours: Rsp,
    theirs: Websocketd,
    folder: tempfile::TempDir,
}

/// How to start both: `$HERE` in their arguments is the folder of their programs.
struct Starter {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Starter {
    fn new() -> Starter {
        Starter { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// A program in their folder.
    fn program(self, path: &str, text: &str) -> Starter {
        let file = self.write(path, text);
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// A file that can't be run.
    fn file(self, path: &str, text: &str) -> Starter {
        self.write(path, text);
        self
    }

    /// A variable of the servers' own environment.
    fn variable(mut self, name: &'static str, value: &'static str) -> Starter {
        self.environment.push((name, value));
        self
    }

    #[track_caller]
    fn start(self, arguments: &[&str]) -> Beside {
        let all: Vec<&str> = ["exec", "--port=$PORT", "--address=127.0.0.1"].iter().chain(arguments).copied().collect();
        let variables = self.environment.iter();
        let ours = variables.fold(self.rsp(&all), |ours, (name, value)| ours.environment(name, value)).start();
        let theirs = Websocketd::start(&self.filled(arguments), ours.folder(), &self.environment);
        Beside { ours, theirs, folder: self.folder }
    }

    fn rsp(&self, arguments: &[&str]) -> RspBuilder {
        Rsp::command(arguments).set("HERE", self.folder.path().display())
    }

    fn filled(&self, arguments: &[&str]) -> Vec<String> {
        let here = self.folder.path().display().to_string();
        arguments.iter().map(|argument| argument.replace("$HERE", &here)).collect()
    }

    fn write(&self, path: &str, text: &str) -> std::path::PathBuf {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file
    }
}

/// Both with a program and its arguments, and no flag.
#[track_caller]
fn beside(program: &[&str]) -> Beside {
    Starter::new().start(program)
}

impl Beside {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What both answer to the same bytes: ours, theirs.
    #[track_caller]
    fn ask(&self, request: &str) -> [Response; 2] {
        [self.ours.client(), self.theirs.client()].map(|mut client: Client| client.request(request))
    }

    /// A WebSocket to both: ours, theirs.
    #[track_caller]
    fn open(&self, path: &str) -> [WebSocket; 2] {
        [self.ours.address(), self.theirs.address()].map(|address| WebSocket::open(&address, path))
    }

    /// What both programs say on their own until they end: ours, theirs.
    #[track_caller]
    fn hear(&self, path: &str) -> [Vec<Message>; 2] {
        self.open(path).map(|mut socket| all_messages(&mut socket))
    }
}

/// Everything up to the end, and that.
#[track_caller]
fn all_messages(socket: &mut WebSocket) -> Vec<Message> {
    let mut all = vec![socket.read()];
    while !matches!(all.last(), Some(Message::Close(..) | Message::Cut)) {
        all.push(socket.read());
    }
    all
}

/// The handshake of a WebSocket with these fields more.
fn handshake(path: &str, host: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// `NAME=value` lines as they were said, by name.
fn variables(messages: &[Message]) -> std::collections::BTreeMap<String, String> {
    let lines = messages.iter().filter_map(|message| match message {
        Message::Text(text) => text.split_once('='),
        _ => None,
    });
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
