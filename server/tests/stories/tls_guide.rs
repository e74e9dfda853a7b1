//! What the guide to TLS shows is tried: the example with its nginx as they stand, and the commands.

use std::{path::Path, process::Command};

use testkit::{Nginx, Rsp};

const GUIDE: &str = include_str!("../../../doc/guide/tls.md");
const EXAMPLE: &str = include_str!("../../../example/tls.lua");

/// The example with ports of the test's own.
struct Example {
    rsp: Rsp,
    _nginx: Nginx,
    certificates: tempfile::TempDir,
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Example {
    #[track_caller]
    fn start() -> Self {
        let certificates = tempfile::tempdir().unwrap();
        let script = certificates.path().join("certificates.sh");
        std::fs::copy(root().join("example/tls/certificates.sh"), &script).unwrap();
        let made = Command::new("sh").arg(&script).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let nginx = Nginx::start(&server(certificates.path()));
        let config = EXAMPLE.replace(":8443", "127.0.0.1:$PORT").replace("127.0.0.1:9443", &nginx.address());
        let mut builder = Rsp::config(&config);
        for name in ["a.pem", "a.key", "c.pem", "c.key", "ca.pem"] {
            builder = builder.file(&format!("tls/{name}"), std::fs::read(certificates.path().join(name)).unwrap());
        }
        Self { rsp: builder.start(), _nginx: nginx, certificates }
    }

    /// Everything that a command of the guide says.
    fn says(&self, command: &str) -> String {
        let command = command.replace("8443", &self.rsp.port().to_string());
        let command = command.replace("example/tls", &self.certificates.path().display().to_string());
        let output = Command::new("timeout").args(["20", "sh", "-c", &command]).output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }
}

/// The server of the example's nginx, with the files of this folder.
fn server(certificates: &Path) -> String {
    let config = std::fs::read_to_string(root().join("example/tls/nginx.conf")).unwrap();
    let (_, server) = config.split_once("  server {").unwrap();
    let server = format!("server {{{}", server.trim_end().strip_suffix('}').unwrap());
    let file = |name: &str| certificates.join(name).display().to_string();
    server
        .replace("9443", "$PORT")
        .replace(" b.pem", &format!(" {}", file("b.pem")))
        .replace(" b.key", &format!(" {}", file("b.key")))
}

fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let blocks = GUIDE.split(&opening).skip(1).filter_map(|rest| rest.split("```").next()).collect::<Vec<_>>();
    assert!(!blocks.is_empty(), "the guide shows no {language}");
    blocks
}

#[test]
fn the_commands_of_the_guide_say_what_stands_behind_them() {
    let example = Example::start();
    let lines: Vec<_> = blocks("sh").into_iter().flat_map(str::lines).collect();
    assert!(lines.len() >= 8);
    for line in lines {
        let (command, wanted) = line.split_once(" # ").expect("what it says behind each command");
        let said = example.says(command);
        assert!(said.contains(wanted), "{command}\n{said}");
    }
}
