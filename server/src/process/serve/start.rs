//! One process: from an order to a program that runs.
//!
//! **Invariant:** it inherits three descriptors, no ignored or blocked signal, and no variable but those of its order.

use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rsp_core::config::ProcessLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::{
    Identity,
    line::Descriptors,
    packet::{Start, What},
};

/// Starts it as the leader of a group of its own; its number.
///
/// # Errors
/// The system's number of what is wrong, and with what.
pub fn start(order: &Start<'_>, pipes: Descriptors) -> Result<i32, (i32, What)> {
    let mut command = Command::new(OsStr::from_bytes(order.program));
    let folder = Path::new(OsStr::from_bytes(order.folder));
    command.args(order.arguments.iter().copied().map(OsStr::from_bytes)).current_dir(folder).process_group(0);
    command.env_clear().envs(variables(order.environment));
    let mut pipes = pipes.into_iter();
    let mut next = || pipes.next().map_or_else(Stdio::null, Stdio::from);
    command.stdin(next()).stdout(next()).stderr(next());
    if order.identity.is_some() || order.limits != ProcessLimits::default() {
        confine(&mut command, order.limits, order.identity.clone());
    }
    match command.spawn() {
        Ok(child) => Ok(child.id().cast_signed()),
        Err(e) => {
            let what = if folder.is_dir() { What::Program } else { What::Folder };
            Err((e.raw_os_error().unwrap_or(nix::libc::EINVAL), what))
        }
    }
}

/// Of two with the same name the later one counts.
fn variables(environment: &[u8]) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    environment.split(|&byte| byte == 0).filter_map(|variable| {
        let at = memchr::memchr(b'=', variable).filter(|&at| at > 0)?;
        Some((OsStr::from_bytes(&variable[..at]), OsStr::from_bytes(&variable[at + 1..])))
    })
}

/// Between fork and exec: limits while we may still set them, then groups, and the user last.
#[allow(unsafe_code, reason = "the only hook there is between fork and exec")]
fn confine(command: &mut Command, limits: ProcessLimits, identity: Option<Identity>) {
    let confine = move || {
        confine_now(limits)?;
        if let Some(Identity { user, group, groups }) = &identity {
            become_(*user, *group, groups)?;
        }
        Ok(())
    };
    // SAFETY: the spawner has one thread, so that no lock can be held by another one at the fork; what runs here is
    // system calls.
    unsafe { command.pre_exec(confine) };
}

fn become_(user: u32, group: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setgid(Gid::from_raw(group))?;
    Ok(setuid(Uid::from_raw(user))?)
}

/// Nobody gets more than we have.
fn confine_now(limits: ProcessLimits) -> io::Result<()> {
    let all = [(Resource::Cpu, limits.cpu), (Resource::As, limits.memory), (Resource::Nofile, limits.files)];
    for (resource, limit) in all {
        let Some(limit) = limit else { continue };
        let most = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}
