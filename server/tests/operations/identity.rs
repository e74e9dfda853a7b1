//! Stories of `user`: root binds, and somebody else serves.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use testkit::{Client, Rsp};

use super::{HELLO, SOON, get, status, wait_for_message};

/// Debian's number of `nobody`, and of `nogroup`.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The four user ids, the four group ids and the further groups of every thread, each once.
fn identities(pid: u64) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let ids = lines.filter(|(key, _)| ["Uid", "Gid", "Groups"].contains(key));
        found.push(ids.flat_map(|(_, ids)| ids.split_whitespace().map(|id| id.parse().unwrap())).collect());
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn every_thread_is_the_user_and_reload_and_upgrade_still_work() {
    let text = r#"user "nobody:nogroup" listen "127.0.0.1:$PORT" listen "unix:front.sock" workers(2)
        upstream "app" { "127.0.0.1:1", sticky = "id" } site "*" (reply(200, "hello\n"))"#;
    let binary = tempfile::tempdir().unwrap();
    fs::set_permissions(binary.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_rsp"), binary.path().join("rsp")).unwrap();
    let mut rsp = Rsp::config(text).binary(binary.path().join("rsp")).has_successors().start();
    if !is_root() {
        wait_for_message(&rsp, "only root can become nobody");
        return;
    }
    fs::set_permissions(rsp.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(identities(rsp.pid().into()), [vec![NOBODY; 9]]);
    assert_eq!(get(&rsp, "/").text(), "hello\n");
    for name in ["front.sock", "site.lua.sock", "site.lua.secret"] {
        let found = fs::metadata(rsp.folder().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (NOBODY, NOBODY), "{name}");
    }
    rsp.rewrite_config(&text.replace("nobody:nogroup", "daemon"));
    let output = rsp.reload();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.text().contains("`user` can't change on reload"), "{}", output.text());
    rsp.rewrite_config(&format!("{text} listen \"127.0.0.1:1\""));
    let output = rsp.reload();
    assert_eq!((output.code, output.stderr.contains("cannot listen on 127.0.0.1:1")), (Some(2), true));
    rsp.rewrite_config(text);
    let output = rsp.control(&["upgrade", "site.lua"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
    assert_eq!(identities(status(&rsp)["pid"].as_u64().unwrap()), [vec![NOBODY; 9]]);
    let front = format!("unix:{}", rsp.folder().join("front.sock").display());
    assert_eq!(Client::connect(&front).get("/").text(), "hello\n");
}

#[test]
fn an_unknown_user_or_group_is_a_wrong_config() {
    for (user, wrong) in [
        ("no-such-user", "there is no user"),
        ("root:no-such-group", "there is no group"),
        ("root:", "`user` can't be"),
    ] {
        let output = Rsp::config(&format!("user \"{user}\" {HELLO}\nworkers(0)")).run();
        assert_eq!(output.code, Some(2));
        // What else is wrong is told too.
        for part in [wrong, "site.lua:1:", user, "site.lua:2:"] {
            assert!(output.stderr.contains(part), "no {part:?} in {}", output.stderr);
        }
    }
}
