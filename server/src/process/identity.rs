//! Whom a program runs as.

use std::ffi::CString;

use nix::unistd::{Gid, Group, User, getegid, geteuid, getgrouplist};
use rsp_core::config;

/// Groups that one user can be in; the kernel would take 65,536, a packet not.
const GROUPS_MAX: usize = 4096;

/// A user, a group, and the groups that the user is in besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Looks names up, which may take as long as a directory on the network does; None: it is who we are already.
    ///
    /// # Errors
    /// A sentence: there is no such name, or we can't become it.
    pub fn find(wanted: &config::User) -> Result<Option<Self>, String> {
        let config::User { name, group } = wanted;
        let unreadable = |e: nix::Error| format!("the users of this machine can't be read: {}", e.desc());
        let user = User::from_name(name).map_err(unreadable)?.ok_or_else(|| format!("there is no user \"{name}\""))?;
        let group = match group {
            None => user.gid,
            Some(name) => {
                let group = Group::from_name(name).map_err(unreadable)?;
                group.ok_or_else(|| format!("there is no group \"{name}\""))?.gid
            }
        };
        if geteuid() == user.uid && getegid() == group {
            return Ok(None);
        }
        if !geteuid().is_root() {
            return Err(format!("only root can become {name}"));
        }
        let c_name = CString::new(name.as_str()).map_err(|_| format!("there is no user {name:?}"))?;
        let groups = getgrouplist(&c_name, group).map_err(unreadable)?;
        let groups = groups.into_iter().map(Gid::as_raw).take(GROUPS_MAX).collect();
        Ok(Some(Self { user: user.uid.as_raw(), group: group.as_raw(), groups }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers() {
        let find = |name: &str, group: Option<&str>| {
            Identity::find(&config::User { name: name.to_owned(), group: group.map(str::to_owned) })
        };
        assert!(find("no-such-user", None).unwrap_err().contains("no user \"no-such-user\""));
        assert!(find("root", Some("no-such-group")).unwrap_err().contains("no group \"no-such-group\""));
        if geteuid().is_root() {
            assert_eq!(find("root", Some("root")), Ok(None));
            let daemon = find("daemon", Some("root")).unwrap().unwrap();
            assert_eq!((daemon.group, daemon.groups.contains(&0)), (0, true));
        } else {
            assert!(find("root", None).unwrap_err().contains("only root"));
        }
    }
}
