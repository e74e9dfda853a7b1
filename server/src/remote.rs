//! stub
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
pub enum Command {
    Reload,
    Drain,
    Stop,
    Status { json: bool },
}
pub struct Target {
    pub config: Option<PathBuf>,
    pub admin: Option<String>,
}
pub fn default_admin_path(p: &Path) -> PathBuf {
    let mut s = p.as_os_str().to_owned();
    s.push(".sock");
    s.into()
}
pub fn command_admin_path(port: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rsp-{port}.sock"))
}
pub fn run(_: Command, _: &Target) -> ExitCode {
    ExitCode::SUCCESS
}
