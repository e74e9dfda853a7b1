//! The life of the spawner, in a process of its own: it takes orders, forks, and sees to every end.

mod groups;
mod start;

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use rustix::{
    net::{SocketType, sockopt},
    process::{Resource, Rlimit, getrlimit, set_child_subreaper, setrlimit, setsid},
    thread::{disable_transparent_huge_pages, set_name},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::groups::{Group, Groups};
use super::{
    line::Line,
    packet::{Answer, Order, PACKET_MAX, What},
};

/// The first argument of the spawner; no path of a config looks like it by mistake.
pub const ARGUMENT: &str = "--spawner";

/// What rsp changed for itself, and programs must not inherit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// The soft limit of open files; None: there is none.
    pub files: Option<u64>,
    /// Whether huge pages were off.
    pub small_pages: bool,
}

impl Inherited {
    /// The environment variable that tells the spawner, and a successor.
    pub const VARIABLE: &str = "RSP_INHERITED";

    /// What this process was started with; `before` is what another rsp says that started it and was changed already.
    pub fn find(before: Option<&OsStr>) -> Self {
        before.and_then(Self::read).unwrap_or_else(Self::now)
    }

    /// As it is now.
    fn now() -> Self {
        Self {
            files: getrlimit(Resource::Nofile).current,
            small_pages: rustix::thread::transparent_huge_pages_are_disabled().unwrap_or_default(),
        }
    }

    /// As a variable.
    pub fn written(self) -> String {
        let files = self.files.map_or_else(|| "none".to_owned(), |files| files.to_string());
        format!("{files} {}", self.small_pages)
    }

    fn read(words: &OsStr) -> Option<Self> {
        let (files, small_pages) = words.to_str()?.split_once(' ')?;
        let files = match files {
            "none" => None,
            files => Some(files.parse().ok()?),
        };
        Some(Self { files, small_pages: small_pages.parse().ok()? })
    }
}

/// Runs the spawner, if that is what this process was started for; its exit code.
pub fn serve(mut arguments: impl Iterator<Item = impl AsRef<OsStr>>) -> Option<u8> {
    if arguments.next()?.as_ref() != ARGUMENT {
        return None;
    }
    let inherited = Inherited::find(std::env::var_os(Inherited::VARIABLE).as_deref());
    let stdin = io::stdin();
    // Who types it has no line to rsp.
    if sockopt::socket_type(&stdin).ok()? != SocketType::SEQPACKET {
        return None;
    }
    let served = stdin.as_fd().try_clone_to_owned().and_then(|main| {
        prepare(inherited)?;
        tokio::runtime::LocalRuntime::new()?.block_on(attend_all(main))
    });
    Some(match served {
        Ok(()) => 0,
        Err(e) => {
            // Standard error that is closed leaves nobody to tell.
            let _ = writeln!(io::stderr(), "rsp: the process that starts programs: {e}");
            1
        }
    })
}

/// Undoes what programs must not inherit, and leaves the terminal and folder of rsp.
fn prepare(inherited: Inherited) -> io::Result<()> {
    close_on_exec();
    // A Ctrl-C is for rsp alone. One that leads a session already needs no other.
    let _ = setsid();
    let _ = set_name(c"rsp-spawner");
    std::env::set_current_dir("/")?;
    // Whoever lost its parent is ours: without that its end would not be seen, and no number could be known to be free.
    set_child_subreaper(Some(rustix::process::getpid()))?;
    // As in rsp, a kernel without huge pages has small ones.
    let _ = disable_transparent_huge_pages(inherited.small_pages);
    let limit = Rlimit { current: inherited.files, ..getrlimit(Resource::Nofile) };
    // It was allowed before.
    let _ = setrlimit(Resource::Nofile, limit);
    Ok(())
}

/// Whatever rsp was started with beside its standard streams is not for programs.
#[allow(unsafe_code, reason = "no safe name for a system call that takes no pointer")]
fn close_on_exec() {
    use nix::libc::{CLOSE_RANGE_CLOEXEC, close_range};
    let flags = i32::try_from(CLOSE_RANGE_CLOEXEC).unwrap_or_default();
    // SAFETY: it closes nothing now, and what is closed at an exec belongs to nobody any more.
    // Before Linux 5.11 it fails, and what rsp itself opens is close-on-exec all the same.
    unsafe { close_range(3, u32::MAX, flags) };
}

/// No signal stays ignored or blocked in programs, whatever the shell that started rsp ignored.
#[allow(unsafe_code, reason = "no safe name for a system call that sets no handler")]
fn forget_signals() -> io::Result<()> {
    use nix::libc::{SIG_DFL, SIGRTMAX};
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    // Those that can't be ignored, and those that the C library keeps, are refused.
    for number in 1..=SIGRTMAX() {
        // SAFETY: this process has one thread and set no handler yet.
        unsafe { nix::libc::signal(number, SIG_DFL) };
    }
    Ok(())
}

/// Handlers, so that no signal ends us before the last program; what has one is at its default after an exec. rsp says
/// when it is over.
fn keep_signals() -> io::Result<()> {
    forget_signals()?;
    let stops = [nix::libc::SIGTSTP, nix::libc::SIGTTIN, nix::libc::SIGTTOU];
    let ends = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
    let others = [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm(), SignalKind::pipe()];
    for kind in ends.into_iter().chain(others).chain(stops.map(SignalKind::from_raw)) {
        // The handler stays, though nobody listens.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Takes lines, until there is nobody to send any; then everybody ends.
async fn attend_all(main: OwnedFd) -> io::Result<()> {
    keep_signals()?;
    let groups = Rc::new(Groups::default());
    tokio::task::spawn_local(reap(signal(SignalKind::child())?, Rc::clone(&groups)));
    let main = Line::over(main)?;
    let mut buffer = [0; 16];
    let mut number = 0;
    while let Ok(Some((_, descriptors))) = main.receive(&mut buffer).await {
        for socket in descriptors {
            number += 1;
            tokio::task::spawn_local(attend(number, Line::over(socket)?, Rc::clone(&groups)));
        }
    }
    groups.end_all();
    groups.all_gone().await;
    Ok(())
}

async fn reap(mut child: Signal, groups: Rc<Groups>) {
    while child.recv().await.is_some() {
        groups.reap();
    }
}

/// Does what one line orders; whatever was started over it ends with it.
async fn attend(number: u32, line: Rc<Line>, groups: Rc<Groups>) {
    let mut buffer = vec![0; PACKET_MAX];
    while let Ok(Some((length, descriptors))) = line.receive(&mut buffer).await {
        match Order::read(&buffer[..length]) {
            Some(Order::Start(order)) => {
                let id = order.id;
                let close = order.close;
                let started = match groups.is_closing() {
                    true => Err((nix::libc::ECANCELED, What::Program)),
                    false => start::start(&order, descriptors),
                };
                let answer = match started {
                    Ok(pid) => {
                        groups.add(pid, Group::new((number, id), &line, close));
                        Answer::Started { id, pid }
                    }
                    Err((errno, what)) => Answer::Failed { id, errno, what },
                };
                line.post(answer.written());
            }
            Some(Order::End(id)) => groups.end((number, id)),
            None => break,
        }
        // Whoever ends has its turn, too.
        tokio::task::yield_now().await;
    }
    groups.end_line(number);
}
