//! Whom rsp runs as once its ports are bound: the `user` of the config.

use std::{ffi::CString, io};

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, initgroups, setgid, setuid};

/// A user and a group that are there.
#[derive(Debug, Clone)]
pub struct Identity {
    name: String,
    user: Uid,
    group: Gid,
}

impl Identity {
    /// Looks the names up; the error is a sentence.
    pub fn find(name: &str, group: Option<&str>) -> Result<Self, String> {
        let unreadable = |e: nix::Error| format!("the users of this machine can't be read: {}", e.desc());
        let user = User::from_name(name).map_err(unreadable)?;
        let user = user.ok_or_else(|| format!("there is no user \"{name}\""))?;
        let group = match group {
            None => user.gid,
            Some(name) => {
                let group = Group::from_name(name).map_err(unreadable)?;
                group.ok_or_else(|| format!("there is no group \"{name}\""))?.gid
            }
        };
        Ok(Self { name: name.to_owned(), user: user.uid, group })
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Becomes this user, in every thread of the process and for good; `before` runs while we still are root, with
    /// the numbers of user and group. Who is not root stays who he is, with a warning.
    pub fn assume(&self, before: impl FnOnce(u32, u32) -> io::Result<()>) -> io::Result<()> {
        if geteuid() == self.user && getegid() == self.group {
            return Ok(());
        }
        if !geteuid().is_root() {
            tracing::warn!("`user` has no effect: only root can become {}", self.name);
            return Ok(());
        }
        before(self.user.as_raw(), self.group.as_raw())?;
        let name = CString::new(self.name.as_str())?;
        // The user last: without root the groups can't be changed. libc tells every thread, a bare system call would not.
        initgroups(&name, self.group)?;
        setgid(self.group)?;
        Ok(setuid(self.user)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_apart_from_an_unknown_group() {
        let find = |name: &str, group: Option<&str>| {
            Identity::find(name, group).map(|found| (found.user.as_raw(), found.group.as_raw()))
        };
        assert_eq!(find("root", None), Ok((0, 0)));
        assert!(find("daemon", Some("root")).unwrap().1 == 0);
        assert!(find("no-such-user", None).unwrap_err().contains("no user \"no-such-user\""));
        assert!(find("root", Some("no-such-group")).unwrap_err().contains("no group \"no-such-group\""));
    }
}
