//! Where admin sockets are when nobody says otherwise: who listens and who connects must agree.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The admin socket of a config: `site.lua.sock` beside `site.lua`.
pub fn default_admin_path(config: &Path) -> PathBuf {
    let mut path = config.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// The admin socket of a one-line command that listens on `port`: `rsp-PORT.sock` in the runtime folder.
pub fn command_admin_path(port: &str) -> PathBuf {
    // What is no port must not name another folder.
    let port: String = port.chars().map(|c| if c == '/' { '-' } else { c }).collect();
    runtime_folder().join(format!("rsp-{port}.sock"))
}

/// `$XDG_RUNTIME_DIR`, or the folder of temporary files.
pub fn runtime_folder() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => env::temp_dir(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_stands_beside_the_config() {
        assert_eq!(default_admin_path(Path::new("/etc/rsp/site.lua")), Path::new("/etc/rsp/site.lua.sock"));
        assert_eq!(default_admin_path(Path::new("site")), Path::new("site.sock"));
    }

    #[test]
    fn the_socket_of_a_command_stays_in_the_runtime_folder() {
        assert_eq!(command_admin_path("8080"), runtime_folder().join("rsp-8080.sock"));
        assert_eq!(command_admin_path("/run/x.sock").parent(), Some(&*runtime_folder()));
    }
}
