//! Stories of the statements.

use super::*;

#[test]
fn statements_are_said_once_and_addresses_listened_on_once() {
    let mut lua = Lua::listening();
    lua.say("workers", vec![number(2.0)], vec![]);
    lua.say("workers", vec![number(3.0)], vec![]);
    lua.say("listen", vec![text("[::]:80")], vec![]);
    lua.say("listen", vec![text(":0")], vec![]);
    lua.say("listen", vec![text(":0")], vec![]);
    lua.say("listen", vec![text("unix:a.sock")], vec![("mode", text("0666"))]);
    lua.say("listen", vec![text(":81")], vec![("mode", text("0666"))]);
    assert_eq!(
        lua.errors(),
        [
            "3:0 `workers` is said twice | say it once (2: first here)",
            "4:0 this address is listened on twice | remove one of them (1: first here)",
            "8:2 `mode` of `listen` is for unix sockets only | remove it",
        ]
    );
}

#[test]
fn admin_on_tcp_needs_a_token() {
    let mut lua = Lua::listening();
    lua.say("admin", vec![text("127.0.0.1:9600")], vec![]);
    assert_eq!(lua.errors(), ["2:0 `admin` on TCP needs a token | add: token = env \"TOKEN\""]);
    let mut lua = Lua::listening();
    lua.say("admin", vec![text("unix:admin.sock")], vec![]);
    let files = lua.make("files", vec![text("public")], vec![]);
    lua.site("a", vec![("/static/*", files)]);
    let config = lua.config();
    assert_eq!(config.admin.address, Some(Address::Unix("/etc/rsp/admin.sock".into())));
    let Handler::Files(files) = &config.sites[0].routes[0].chain.handler else { panic!("files") };
    let mut hidden: Vec<_> = files.hidden.iter().map(|path| path.to_str().unwrap()).collect();
    hidden.sort_unstable();
    let names = ["admin.secret", "admin.sock", "site.lua"];
    let wanted: Vec<_> =
        ["/etc/rsp", "/releases/7"].iter().flat_map(|at| names.map(|name| format!("{at}/{name}"))).collect();
    assert_eq!(hidden, wanted, "as they are named and as links lead there");
    assert_eq!((files.prefix.as_str(), files.root.as_path()), ("/static/", Path::new("/etc/rsp/public")));
}

#[test]
fn admin_and_listen_do_not_share_an_address() {
    let mut lua = Lua::listening();
    lua.say("admin", vec![text(":80")], vec![("token", text("secret"))]);
    assert_eq!(lua.errors(), ["2:0 `admin` and `listen` have the same address | another one (1: the `listen`)"]);
}

#[test]
fn an_option_that_is_a_table_takes_nothing_by_position() {
    let retry = list(vec![number(3.0)]);
    let errors = route_errors(|lua| lua.make("proxy", vec![text("a:80")], vec![("retry", retry)]));
    assert_eq!(errors, ["0:1 `retry` of `proxy` takes options by name | { tries = … }"]);
}

#[test]
fn networks_are_checked_one_by_one() {
    let mut lua = Lua::listening();
    lua.say("trust", vec![text("unix"), text("10.0.0.1/8"), text("example.com"), number(1.0)], vec![]);
    assert_eq!(
        lua.errors(),
        [
            "2:2 the network of `trust` has bits set behind its prefix: \"10.0.0.1/8\" | did you mean \"10.0.0.0/8\"?",
            "2:3 the network of `trust` must be a network, not \"example.com\" | for example \"10.0.0.0/8\", \"::1\" or \"unix\"",
            "2:4 the network of `trust` must be a network, not the number 1 | for example \"10.0.0.0/8\", \"::1\" or \"unix\"",
        ]
    );
}

#[test]
fn an_unknown_user_is_told_together_with_whatever_else_is_wrong() {
    let mut lua = Lua::new();
    lua.say("user", vec![text("nobody-here")], vec![]);
    lua.say("listen", vec![text(":80000")], vec![]);
    let errors = lua.errors();
    assert_eq!(errors[0], "1:0 there is no user \"nobody-here\" | a user of this machine");
    assert!(errors[1].starts_with("2:"), "{errors:?}");
}

#[test]
fn a_user_is_a_name_and_perhaps_a_group() {
    for (said, wanted) in [
        ("www-data", Some(("www-data", None))),
        ("www-data:adm", Some(("www-data", Some("adm")))),
        ("", None),
        (":adm", None),
        ("www-data:", None),
        ("a:b:c", None),
    ] {
        let mut lua = Lua::new();
        lua.say("listen", vec![text(":80")], vec![]);
        lua.say("user", vec![text(said)], vec![]);
        match wanted {
            Some((name, group)) => {
                let user = lua.config().user.unwrap();
                assert_eq!((&*user.name, user.group.as_deref()), (name, group));
            }
            None => assert!(lua.errors()[0].starts_with(&format!("2:0 `user` can't be \"{said}\"")), "{said}"),
        }
    }
}
