//! Stories of starting: what listens, what is said, and what is refused before any port is bound.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use testkit::{Client, Origin, Rsp, Stream, eventually, free_port};

use super::{HELLO, SOON, get};

#[test]
fn a_config_runs_by_its_name_alone_or_after_run() {
    for arguments in [&["site.lua"][..], &["run", "site.lua"]] {
        let mut rsp = Rsp::command(arguments).file("site.lua", HELLO).start();
        let port = rsp.lines(Stream::Stdout);
        let port = port[0].rsplit_once("port ").and_then(|(_, rest)| rest.strip_suffix('.')).unwrap().to_owned();
        assert_eq!(Client::connect(&format!("127.0.0.1:{port}")).get("/").text(), "hello\n");
        assert_eq!(rsp.stop().code(), Some(0));
    }
}

#[test]
fn each_listener_says_that_it_started_with_the_time() {
    let text =
        r#"listen "127.0.0.1:$PORT2" listen "unix:front.sock" listen "127.0.0.1:$PORT" site "*" (reply(200, ""))"#;
    let rsp = Rsp::config(text).start();
    let lines = rsp.lines(Stream::Stdout);
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, place) in lines.iter().zip([
        format!("port {}.", rsp.port_of(2)),
        format!("unix:{}.", rsp.folder().join("front.sock").display()),
        format!("port {}.", rsp.port()),
    ]) {
        let (time, rest) = line.split_at(34);
        assert_eq!(rest, format!(" Started.  Listening on {place}"));
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert!(
            matches!(&*shape, "[0000-00-00 00:00:00.000000 +0000]" | "[0000-00-00 00:00:00.000000 -0000]"),
            "{time}"
        );
    }
}

#[test]
fn one_line_commands_proxy_and_serve_files() {
    let origin = Origin::echoing();
    let rsp =
        Rsp::command(&["proxy", "--listen", "127.0.0.1:$PORT", "$ORIGIN"]).set("ORIGIN", origin.address()).start();
    assert!(get(&rsp, "/a?b").text().starts_with("GET /a?b HTTP/1.1\r\n"));

    let rsp = Rsp::command(&["files", "--listen", "127.0.0.1:$PORT", "public"]).file("public/a.txt", "A").start();
    assert_eq!(get(&rsp, "/a.txt").text(), "A");
    assert_eq!(get(&rsp, "/b.txt").status, 404);
    let socket = rsp.folder().join(format!("rsp-{}.sock", rsp.port()));
    assert!(std::fs::metadata(socket).unwrap().file_type().is_socket(), "its admin socket is in the runtime folder");
}

#[test]
fn check_prints_the_routes_and_binds_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = r#"
        listen "$TAKEN"
        local app = upstream "app" { "127.0.0.1:1" }
        site { "example.com", "*.example.com" } {
            ["/api/*"] = { deny { "10.0.0.0/8" }, headers { response = { set = { ["x-a"] = "1" } } }, proxy(app) },
            ["POST /login"] = reply(204),
            ["/old"] = redirect("/new", 301),
            ["/f"] = function() end,
            ["/chat/{room}"] = channel "chat:{room}",
        }"#;
    let output =
        Rsp::command(&["check", "site.lua"]).file("site.lua", text).set("TAKEN", taken.local_addr().unwrap()).run();
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    let words: Vec<Vec<_>> = output
        .text()
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    let words: Vec<_> = words.iter().map(|line| line.join(" ")).collect();
    let listen = format!("listen {}", taken.local_addr().unwrap());
    assert_eq!(words[..2], [&*listen, "site example.com *.example.com"]);
    for route in [
        "* /api/* deny, headers, proxy app",
        "POST /login reply 204",
        "* /old redirect 301 /new",
        "* /f function",
        "* /chat/{room} channel chat:{room}",
    ] {
        assert!(words.iter().any(|line| line == route), "no {route:?} in {words:#?}");
    }
}

#[test]
fn check_into_a_closed_pipe_is_no_failure() {
    let routes: String = (0..20_000).map(|n| format!("[\"/route/{n}\"] = reply(200), ")).collect();
    let text = format!("listen \":8080\" site \"*\" {{ {routes} }}");
    let rsp = Rsp::config(HELLO).file("large.lua", text).start();
    let script = "{ \"$0\" check large.lua; echo $? >&2; } | head -1";
    let binary = std::env::var("CARGO_BIN_EXE_rsp").unwrap_or_else(|_| env!("CARGO_BIN_EXE_rsp").to_owned());
    let output = std::process::Command::new("sh").args(["-c", script, &binary]).current_dir(rsp.folder()).output();
    let output = output.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "listen :8080\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "0\n");
}

#[test]
fn bad_usage_exits_with_1_and_says_how() {
    for arguments in [&[][..], &["proxy"], &["files", "a", "b"], &["reload", "--nonsense"], &["a.lua", "b.lua"]] {
        let output = Rsp::command(arguments).run();
        assert_eq!(output.code, Some(1), "{arguments:?}");
        assert!(output.stderr.contains("Usage:"), "{}", output.stderr);
    }
    let help = Rsp::command(&["--help"]).run();
    assert_eq!((help.code, help.text().contains("Usage:")), (Some(0), true));
}

#[test]
fn a_wrong_config_exits_with_2_before_anything_is_bound() {
    for (text, part) in [
        (
            "listen \"127.0.0.1:$PORT\" listen \"unix:x.sock\" site \"*\" { [\"/\"] = proxy { \"127.0.0.1:1\", tiemout = 3 } }",
            "timeout",
        ),
        ("listen \"127.0.0.1:$PORT\" listen \"unix:x.sock\" site \"*\" { [\"/\"] = repy(200) }", "repy"),
        ("listen \"127.0.0.1:$PORT\" listen \"unix:x.sock\" site \"*\" {", "wrong.lua:1"),
        ("listenPort = \"8000\"\nbackendAddress = 127", "backendAddress"),
    ] {
        let rsp = Rsp::config(HELLO).file("wrong.lua", text).start();
        let output = rsp.control(&["wrong.lua"]);
        assert_eq!(output.code, Some(2), "{text}: {}", output.stderr);
        assert!(output.stderr.contains(part), "{}", output.stderr);
        assert!(output.stdout.is_empty(), "nothing started");
        assert!(!rsp.folder().join("x.sock").exists() && !rsp.folder().join("wrong.lua.sock").exists());
    }
}

#[test]
fn a_missing_config_is_a_wrong_one_and_is_named() {
    let output = Rsp::command(&["nowhere.lua"]).run();
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("nowhere.lua") && output.stderr.contains("No such file"), "{}", output.stderr);
}

#[test]
fn every_error_names_its_line() {
    let text = "listen \"127.0.0.1:$PORT\"\nsite \"*\" {\n  [\"/a\"] = proxy { \"127.0.0.1:1\", tiemout = \"3s\" },\n  [\"/b\"] = files \"./nowhere\",\n}\n";
    let output = Rsp::config(text).run();
    assert_eq!(output.code, Some(2));
    for part in ["site.lua:3", "site.lua:4", "tiemout", "nowhere"] {
        assert!(output.stderr.contains(part), "no {part:?} in\n{}", output.stderr);
    }
}

#[test]
fn an_address_in_use_exits_with_3_also_when_another_rsp_has_it() {
    let first = Rsp::config(HELLO).start();
    let second =
        format!("listen \"unix:left.sock\" listen \"127.0.0.1:{}\" site \"*\" (reply(200, \"second\"))", first.port());
    let started = Rsp::config(&second).file("second.lua", &second);
    let output = started.clone().run();
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("127.0.0.1:{}", first.port())), "{}", output.stderr);
    assert!(output.stdout.is_empty(), "nothing says that it started");
    for _ in 0..20 {
        assert_eq!(get(&first, "/").text(), "hello\n");
    }
    // In the folder of one that runs, so that what is left behind can be seen.
    std::fs::write(first.folder().join("second.lua"), second).unwrap();
    assert_eq!(first.control(&["second.lua"]).code, Some(3));
    assert!(!first.folder().join("left.sock").exists() && !first.folder().join("second.lua.sock").exists());
}

#[test]
fn a_second_run_of_the_same_config_leaves_the_first_one_alone() {
    let rsp =
        Rsp::config("listen \"unix:front.sock\" listen \"127.0.0.1:$PORT\" site \"*\" (reply(200, \"hello\\n\"))")
            .start();
    assert_eq!(rsp.control(&["site.lua"]).code, Some(3));
    let front = format!("unix:{}", rsp.folder().join("front.sock").display());
    assert_eq!(Client::connect(&front).get("/").text(), "hello\n");
    assert_eq!(rsp.control(&["status", "site.lua"]).code, Some(0));
}

#[test]
fn a_unix_listener_has_its_mode_and_replaces_a_stale_socket() {
    let text =
        r#"listen { "unix:front.sock", mode = "0600" } listen "127.0.0.1:$PORT" site "*" (reply(200, "hello\n"))"#;
    let mut rsp = Rsp::config(text).start();
    let path = rsp.folder().join("front.sock");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&rsp.folder().join("site.lua.sock"))), (0o600, 0o600));
    let address = format!("unix:{}", path.display());
    assert_eq!(Client::connect(&address).get("/").text(), "hello\n");
    rsp.kill();
    assert!(path.exists(), "a killed rsp leaves its sockets");

    let mut again = Rsp::config(text).start();
    let stale = again.folder().join("front.sock");
    again.kill();
    drop(std::os::unix::net::UnixListener::bind(again.folder().join("other.sock")).unwrap());
    assert!(stale.exists());
    let port = free_port();
    let config = format!("listen \"unix:front.sock\" listen \"127.0.0.1:{port}\" site \"*\" (reply(200, \"new\\n\"))");
    std::fs::write(again.folder().join("site.lua"), config).unwrap();
    let binary = env!("CARGO_BIN_EXE_rsp");
    let mut command = std::process::Command::new(binary);
    let successor = testkit::Program::start(command.arg("site.lua").current_dir(again.folder()));
    successor.wait_for_line(SOON, |line| line.contains("Started"));
    eventually(SOON, || Client::try_connect(&format!("unix:{}", stale.display())).is_ok());
    assert_eq!(Client::connect(&format!("unix:{}", stale.display())).get("/").text(), "new\n");
    assert_eq!(mode(&stale), 0o660, "the default");
}

#[test]
fn a_file_in_the_way_of_a_socket_is_kept() {
    let output = Rsp::config("listen \"unix:precious\" site \"*\" (reply(200))").file("precious", "data").run();
    assert_eq!(output.code, Some(3));
    assert!(output.stderr.contains("precious") && output.stderr.contains("no socket"), "{}", output.stderr);
}

#[test]
fn all_addresses_and_ipv6_are_listened_on() {
    let rsp = Rsp::config(r#"listen ":$PORT" listen "[::1]:$PORT2" site "*" (reply(200, "hello\n"))"#).start();
    for address in
        [format!("127.0.0.1:{}", rsp.port()), format!("[::1]:{}", rsp.port()), format!("[::1]:{}", rsp.port_of(2))]
    {
        assert_eq!(Client::connect(&address).get("/").text(), "hello\n", "{address}");
    }
    assert!(Client::try_connect(&format!("127.0.0.1:{}", rsp.port_of(2))).is_err());
}

#[test]
fn a_warning_does_not_keep_it_from_starting() {
    let text = r#"listen "127.0.0.1:$PORT" upstream "nobody" { "127.0.0.1:1" } site "*" (reply(200, "hello\n"))"#;
    let rsp = Rsp::config(text).start();
    assert_eq!(get(&rsp, "/").text(), "hello\n");
}

#[test]
fn rsp_log_sets_what_is_said() {
    let quiet = Rsp::config(HELLO).environment("RSP_LOG", "off").start();
    let loud = Rsp::config(HELLO).environment("RSP_LOG", "debug").start();
    let odd = Rsp::config(HELLO).environment("RSP_LOG", "=,=").start();
    for rsp in [&quiet, &loud] {
        assert_eq!(rsp.client().request("GET / HTTP/1.1\r\n\r\n").status, 400);
        assert_eq!(rsp.reload().code, Some(0));
    }
    loud.wait_for_line(SOON, |line| line.contains("debug: 400: "));
    assert_eq!(quiet.lines(Stream::Stderr), Vec::<String>::new());
    odd.wait_for_line(SOON, |line| line.contains("warn: RSP_LOG is no filter"));
}

#[test]
fn the_original_config_runs_unchanged() {
    let origin = Origin::replying("from the backend");
    let (address, port) = origin.address().split_once(':').map(|(a, p)| (a.to_owned(), p.to_owned())).unwrap();
    let text = "listenPort = \"$PORT\"\nbackendAddress = \"$ADDRESS\"\nbackendPort = \"$BACKEND\"\n";
    let rsp = Rsp::config(text).set("ADDRESS", address).set("BACKEND", port).start();
    assert_eq!(get(&rsp, "/").text(), "from the backend");
    let wrong = Rsp::config("listenPort = 8000\nbackendAddress = \"127.0.0.1\"\nbackendPort = \"80\"\n").run();
    assert_eq!(wrong.code, Some(2));
    assert_eq!(
        wrong.stderr.lines().next().map(|line| line.contains("listenPort must be a string")),
        Some(true),
        "{}",
        wrong.stderr
    );
}
