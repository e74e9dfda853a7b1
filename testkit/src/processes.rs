//! The processes of the machine, as `/proc` tells of them.

use std::fs;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessState {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// The number of its group.
    pub group: u32,
    /// The first 15 bytes of its name.
    pub name: String,
    /// Whether it has exited and nobody has asked how.
    pub is_zombie: bool,
}

/// All that there are.
pub fn processes() -> Vec<ProcessState> {
    let folders = fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

/// One process; None: it is gone.
pub fn process(pid: u32) -> Option<ProcessState> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may hold anything, parentheses too.
    let (name, rest) = stat.rsplit_once(") ")?;
    let (_, name) = name.split_once(" (")?;
    let mut fields = rest.split(' ');
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(ProcessState { pid, parent, group, name: name.to_owned(), is_zombie })
}

/// Those below one, however deep.
pub fn descendants(pid: u32) -> Vec<ProcessState> {
    let all = processes();
    let mut found: Vec<ProcessState> = all.iter().filter(|one| one.parent == pid).cloned().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|one| one.pid) {
        found.extend(all.iter().filter(|one| one.parent == parent).cloned());
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_and_its_child_are_seen_until_they_are_reaped() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait"]).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut below = Vec::new();
        crate::eventually(std::time::Duration::from_secs(5), || {
            below = descendants(child.id());
            below.iter().any(|one| one.name == "sleep")
        });
        assert_eq!(process(child.id()).unwrap().parent, std::process::id());
        let pid = rustix::process::Pid::from_raw(below[0].pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        crate::eventually(std::time::Duration::from_secs(5), || process(child.id()).unwrap().is_zombie);
        child.wait().unwrap();
        assert_eq!(process(child.id()), None);
    }
}
