//! What a program is told of a request: the meta-variables of CGI/1.1 (RFC 3875 §4.1), as websocketd sets them.

use rsp_core::config;

use crate::message::Request;

/// The whole environment of a process: `NAME=value`, each ended by a NUL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<u8>);

/// What the environment says beside the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// `SCRIPT_NAME`.
    pub script_name: &'a [u8],
    /// `PATH_INFO`.
    pub path_info: &'a [u8],
    /// `PATH_TRANSLATED`.
    pub path_translated: &'a [u8],
    /// `CONTENT_LENGTH`; None: empty.
    pub content_length: Option<u64>,
    /// `REMOTE_HOST`; None: the address.
    pub remote_host: Option<&'a str>,
}

/// The environment of a process that a request starts.
pub fn environment(request: &Request, told: &Told<'_>, command: &config::Command) -> Environment {
    let _ = (request, told, command);
    Environment::default()
}
