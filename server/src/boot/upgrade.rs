//! The running rsp's side of an upgrade: starts the new binary, hands it every accept queue, and waits until it serves.
//!
//! **Invariant:** until the new one has said that it is ready, this one accepts; a new one that fails has changed nothing.

use std::{
    env,
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rsp_core::config::Address;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    channel::{self, Channel},
    succession::{PREDECESSOR, is_successor},
};
use crate::process::Inherited;

/// How long the new binary may take until it is ready: as long as a config may take to evaluate.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// How this process was started: what an upgrade starts again.
pub struct Startup {
    /// The file by its name, so that one that took its place is the new version.
    program: PathBuf,
    /// As it was called first, then its arguments.
    words: Vec<OsString>,
    folder: PathBuf,
    /// What programs inherit, whatever this process changes for itself.
    pub inherited: Inherited,
}

/// One address to hand over.
pub struct Offered {
    /// As the config names it.
    pub address: Address,
    /// Its accept queues.
    pub sockets: Vec<OwnedFd>,
    /// Whether a socket file is ours to remove.
    pub ours: bool,
}

/// What a new binary is told, and how long it may take.
struct Offer {
    offered: Vec<Offered>,
    /// Ours; the successor's is the next one.
    generation: u64,
    within: Duration,
}

/// An upgrade that is under way.
pub struct Attempt {
    channel: Channel,
    /// What became of it; the error is for a person.
    pub outcome: oneshot::Receiver<Result<Successor, String>>,
}

/// The new rsp, which accepts.
pub struct Successor {
    /// Its process.
    pub pid: u32,
    /// The addresses that it took over, each as often as it was offered.
    pub taken: Vec<Address>,
}

impl Startup {
    /// Looks at how this process was started; call it before anything changes the folder or replaces the binary.
    pub fn new() -> Self {
        let words: Vec<_> = env::args_os().collect();
        let folder = env::current_dir().unwrap_or_else(|_| "/".into());
        let own = env::current_exe().unwrap_or_default();
        // A name may be a link that is turned to the next version; it counts if it leads here now.
        let named = words.first().and_then(|name| by_name(Path::new(name), &folder));
        let program = named.filter(|named| is_same_file(named, Path::new("/proc/self/exe"))).unwrap_or(own);
        let before = env::var_os(Inherited::VARIABLE).filter(|_| is_successor());
        let inherited = Inherited::find(before.as_deref());
        Self { program, words, folder, inherited }
    }

    fn command(&self, channel: OwnedFd) -> Command {
        let mut command = Command::new(&self.program);
        if let Some((name, arguments)) = self.words.split_first() {
            command.arg0(name).args(arguments);
        }
        command.current_dir(&self.folder).stdin(Stdio::from(channel));
        command.env(PREDECESSOR, std::process::id().to_string());
        // What we changed for ourselves is not what its programs shall have.
        command.env(Inherited::VARIABLE, self.inherited.written());
        // They name this process and its descriptors; the successor is told otherwise.
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        command
    }
}

fn by_name(name: &Path, folder: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 || name.is_absolute() {
        return Some(folder.join(name));
    }
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|one| folder.join(one).join(name)).find(|path| path.is_file())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

impl Attempt {
    /// Starts the new binary on a thread of its own; nothing here waits for it.
    ///
    /// # Errors
    /// A sentence: no channel or no thread can be had.
    pub fn start(startup: &Startup, offered: Vec<Offered>, generation: u64) -> Result<Self, String> {
        let (ours, theirs) = Channel::pair().map_err(|e| format!("no channel to a new rsp: {e}"))?;
        let channel = ours.try_clone().map_err(|e| e.to_string())?;
        let command = startup.command(theirs);
        let program = startup.program.clone();
        let (tell, outcome) = oneshot::channel();
        let run = move || {
            let offer = Offer { offered, generation, within: READY_WITHIN };
            let result = start_and_hand_over(command, &program, &ours, &offer);
            // Who began a drain meanwhile does not ask any more.
            let _ = tell.send(result);
        };
        thread::Builder::new().name("upgrade".to_owned()).spawn(run).map_err(|e| format!("no thread: {e}"))?;
        Ok(Self { channel, outcome })
    }

    /// Gives it up: the new process is ended.
    pub fn cancel(&self) {
        // One that serves already, but could not say so yet, needs a word to end; one that is gone needs none.
        let _ = self.channel.send(&json!({ "end": true }), &[]);
        self.channel.hang_up();
    }
}

fn start_and_hand_over(
    mut command: Command,
    program: &Path,
    channel: &Channel,
    offer: &Offer,
) -> Result<Successor, String> {
    let spawned = command.spawn();
    // The command holds the successor's end, without which its death would not be seen.
    drop(command);
    let mut child = spawned.map_err(|e| format!("cannot start {}: {e}\n", program.display()))?;
    match hand_over(channel, offer) {
        Ok(taken) => Ok(Successor { pid: child.id(), taken }),
        Err(Trouble::Refused(diagnostic)) => {
            end(&mut child);
            Err(diagnostic)
        }
        Err(Trouble::Gone) => Err(format!("the new rsp ended before it was ready: {}\n", end(&mut child))),
        Err(Trouble::Io(e)) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            end(&mut child);
            Err(format!("the new rsp was not ready within {:?}\n", offer.within))
        }
        Err(Trouble::Io(e)) => {
            end(&mut child);
            Err(format!("the new rsp does not answer as one: {e}\n"))
        }
    }
}

/// How it ended, by itself or by us.
fn end(child: &mut Child) -> String {
    // One that hung up is about to end; what it says of itself is worth a moment.
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
    {
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        // Ended or not, it is over.
        let _ = poll(&mut ended, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
    }
    // One that has ended can't be killed, which is as good.
    let _ = child.kill();
    child.wait().map_or_else(|e| e.to_string(), |status| status.to_string())
}

enum Trouble {
    /// It says why.
    Refused(String),
    /// It has hung up.
    Gone,
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Gone,
            _ => Self::Io(e),
        }
    }
}

fn hand_over(channel: &Channel, offer: &Offer) -> Result<Vec<Address>, Trouble> {
    let deadline = Instant::now() + offer.within;
    channel.wait_until(deadline)?;
    let stdin = io::stdin();
    channel.send(&json!({ "rsp": channel::VERSION, "generation": offer.generation }), &[stdin.as_fd()])?;
    for one in &offer.offered {
        // A path that JSON can't say stays here: the successor finds it in use, and says so.
        let Some(address) = channel::written(&one.address) else { continue };
        for (index, sockets) in one.sockets.chunks(channel::DESCRIPTORS_MAX).enumerate() {
            let lent: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
            channel.send(&json!({ "listen": address, "ours": one.ours, "more": index > 0 }), &lent)?;
        }
    }
    channel.send(&json!({ "all": true }), &[])?;
    let prepared = answer(channel, deadline, "prepared")?;
    let taken = prepared.as_array().into_iter().flatten().filter_map(channel::read).collect();
    channel.send(&json!({ "go": true }), &[])?;
    answer(channel, deadline, "ready")?;
    Ok(taken)
}

fn answer(channel: &Channel, deadline: Instant, wanted: &str) -> Result<Value, Trouble> {
    channel.wait_until(deadline)?;
    let packet = channel.receive()?.ok_or(Trouble::Gone)?;
    if let Some(diagnostic) = packet.said.get("refused").and_then(Value::as_str) {
        return Err(Trouble::Refused(diagnostic.to_owned()));
    }
    packet.said.get(wanted).cloned().ok_or_else(|| Trouble::Io(io::ErrorKind::InvalidData.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_folder_is_looked_up_on_the_path() {
        assert_eq!(by_name(Path::new("./rsp"), Path::new("/srv")), Some("/srv/./rsp".into()));
        assert_eq!(by_name(Path::new("/usr/bin/rsp"), Path::new("/srv")), Some("/usr/bin/rsp".into()));
        let shell = by_name(Path::new("sh"), Path::new("/")).unwrap();
        assert!(shell.is_absolute() && shell.ends_with("sh"));
    }

    #[test]
    fn a_new_binary_that_never_gets_ready_is_ended_when_its_time_is_over() {
        let startup =
            Startup { program: "/bin/sleep".into(), words: vec!["sleep".into(), "1000".into()], ..Startup::new() };
        let (ours, theirs) = Channel::pair().unwrap();
        let offer = Offer { offered: Vec::new(), generation: 1, within: Duration::from_millis(50) };
        // It returns only when the new process is over.
        let outcome = start_and_hand_over(startup.command(theirs), &startup.program, &ours, &offer);
        assert_eq!(outcome.map(|_| ()).unwrap_err(), "the new rsp was not ready within 50ms\n");
        assert!(ours.receive().unwrap().is_none(), "nobody has the other end");
    }

    #[test]
    fn this_process_would_be_started_again_as_it_was() {
        let startup = Startup::new();
        assert!(is_same_file(&startup.program, Path::new("/proc/self/exe")), "{:?}", startup.program);
        assert_eq!(startup.words, env::args_os().collect::<Vec<_>>());
    }
}
