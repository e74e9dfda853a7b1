//! The groups of running processes, and how each one ends.
//!
//! **Invariant:** no signal goes to a number that may be another's. A group keeps its number as long as it has a member,
//! dead ones included; we inherit members whose parents are gone, and nobody but us reaps them: what the kernel finds
//! among our children right before a signal is there for it.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, kill_process_group, wait, waitid,
};
use tokio::sync::Notify;

use super::super::{line::Line, packet::Answer};

/// After its input was closed and after each signal; `close` is added to each.
const STEPS: [(Duration, Signal); 3] = [
    (Duration::from_millis(100), Signal::INT),
    (Duration::from_millis(250), Signal::TERM),
    (Duration::from_millis(500), Signal::KILL),
];

/// Who is still there is waiting for the kernel; it is told again.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// The number of a line, and rsp's own number of a process.
type Name = (u32, u32);

/// All that run.
#[derive(Default)]
pub struct Groups {
    /// By the number of their leaders.
    all: RefCell<HashMap<Pid, Group>>,
    /// Their leaders by what rsp calls them.
    names: RefCell<HashMap<Name, Pid>>,
    /// Those whose leaders have exited.
    orphaned: RefCell<HashSet<Pid>>,
    is_closing: Cell<bool>,
    /// The last one is gone.
    emptied: Notify,
}

/// A process, and those that it started.
pub struct Group {
    name: Name,
    line: Rc<Line>,
    close: Duration,
    is_ending: bool,
    gone: Rc<Notify>,
}

impl Group {
    /// One that was just started.
    pub fn new(name: Name, line: &Rc<Line>, close: Duration) -> Self {
        Self { name, line: Rc::clone(line), close, is_ending: false, gone: Rc::default() }
    }
}

impl Groups {
    /// Keeps one that runs.
    pub fn add(&self, pid: i32, group: Group) {
        if let Some(pid) = Pid::from_raw(pid) {
            self.names.borrow_mut().insert(group.name, pid);
            self.all.borrow_mut().insert(pid, group);
        }
    }

    /// Lets one end.
    pub fn end(self: &Rc<Self>, name: Name) {
        let pid = self.names.borrow().get(&name).copied();
        if let Some(pid) = pid {
            self.begin_ladder(pid);
        }
    }

    /// Lets all of a line end.
    pub fn end_line(self: &Rc<Self>, number: u32) {
        let names = self.names.borrow();
        let all: Vec<_> = names.iter().filter(|((line, _), _)| *line == number).map(|(_, pid)| *pid).collect();
        drop(names);
        all.into_iter().for_each(|pid| self.begin_ladder(pid));
    }

    /// Lets everybody end; nobody is started any more.
    pub fn end_all(self: &Rc<Self>) {
        self.is_closing.set(true);
        let all: Vec<_> = self.all.borrow().keys().copied().collect();
        all.into_iter().for_each(|pid| self.begin_ladder(pid));
    }

    /// Whether nobody is started any more.
    pub fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// Resolves when nobody is left.
    pub async fn all_gone(&self) {
        while !self.all.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }

    /// Takes note of all that have exited.
    pub fn reap(&self) {
        // Another's number than that of a child is never met here.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(group) = self.all.borrow().get(&pid) {
                group.line.post(Answer::Exited { id: group.name.1, status: status.as_raw() }.written());
                self.orphaned.borrow_mut().insert(pid);
            }
        }
        let orphaned: Vec<_> = self.orphaned.borrow().iter().copied().collect();
        orphaned.into_iter().filter(|pid| !has_members(*pid)).for_each(|pid| self.forget(pid));
    }

    fn forget(&self, pid: Pid) {
        self.orphaned.borrow_mut().remove(&pid);
        let Some(group) = self.all.borrow_mut().remove(&pid) else { return };
        self.names.borrow_mut().remove(&group.name);
        group.line.post(Answer::Gone { id: group.name.1 }.written());
        group.gone.notify_one();
        if self.all.borrow().is_empty() {
            self.emptied.notify_one();
        }
    }

    fn begin_ladder(self: &Rc<Self>, pid: Pid) {
        let mut all = self.all.borrow_mut();
        let Some(group) = all.get_mut(&pid).filter(|group| !group.is_ending) else { return };
        group.is_ending = true;
        let (gone, close) = (Rc::clone(&group.gone), group.close);
        let groups = Rc::clone(self);
        tokio::task::spawn_local(async move { groups.descend(pid, close, &gone).await });
    }

    async fn descend(&self, pid: Pid, close: Duration, gone: &Notify) {
        for (wait, signal) in STEPS {
            if tokio::time::timeout(wait + close, gone.notified()).await.is_ok() {
                return;
            }
            self.signal(pid, signal);
        }
        while tokio::time::timeout(KILL_AGAIN, gone.notified()).await.is_err() {
            self.signal(pid, Signal::KILL);
        }
    }

    /// To the whole group, and to its leader wherever it went.
    fn signal(&self, pid: Pid, signal: Signal) {
        // Who is gone meanwhile is not yet reaped, which makes this harmless; who became another user can't be told.
        if has_members(pid) {
            let _ = kill_process_group(pid, signal);
        }
        if !self.orphaned.borrow().contains(&pid) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Whether one of our children, dead or alive, is in this group.
fn has_members(group: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pgid(Some(group)), look).err() != Some(rustix::io::Errno::CHILD)
}
