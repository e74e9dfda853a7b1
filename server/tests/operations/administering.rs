//! Stories of the admin API and of the commands that talk to it.

use testkit::{Client, Origin, Rsp, eventually};

use super::{HELLO, SOON, admin, get, get_from, status};

const WITH_TOKEN: &str = r#"listen "127.0.0.1:$PORT" admin { "127.0.0.1:$PORT2", token = "sesame" }
    site "*" (reply(200, "hello\n"))"#;

#[test]
fn status_is_json_on_the_socket_and_text_for_people() {
    let origin = Origin::replying("x");
    let text = r#"workers(2) listen "127.0.0.1:$PORT" local app = upstream "app" { { "$ORIGIN", name = "one" } }
        site { "a.example", "b.example" } { ["/"] = proxy(app), ["/x"] = reply(200) } site "*" (reply(200))"#;
    let rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    let _open = rsp.client();
    let json = status(&rsp);
    assert_eq!(json["pid"], rsp.pid());
    assert_eq!((&json["workers"], &json["requests_in_flight"]), (&2.into(), &0.into()));
    assert_eq!((&json["config"], &json["last_reload"]), (&"site.lua".into(), &serde_json::Value::Null));
    assert_eq!((&json["listeners"][0]["address"], &json["listeners"][0]["open"]), (&rsp.address().into(), &1.into()));
    let site = &json["sites"][0];
    assert_eq!((&site["hosts"], &site["routes"]), (&serde_json::json!(["a.example", "b.example"]), &2.into()));
    assert_eq!(json["upstreams"][0]["name"], "app");
    assert_eq!(json["upstreams"][0]["endpoints"][0]["name"], "one");
    let direct: serde_json::Value = serde_json::from_str(&admin(&rsp).get("/status").text()).unwrap();
    assert_eq!(direct["pid"], json["pid"]);
    let text = rsp.control(&["status", "site.lua"]);
    assert_eq!(text.code, Some(0));
    for part in [&*rsp.pid().to_string(), &rsp.address(), "app", "one", "a.example"] {
        assert!(text.text().contains(part), "no {part} in\n{}", text.text());
    }
}

#[test]
fn status_says_how_sites_endpoints_and_the_last_reload_are() {
    let origin = Origin::replying("x");
    let text = r#"listen "127.0.0.1:$PORT"
        local app = upstream "app" { "$ORIGIN", "127.0.0.1:1" }
        site "quiet.example" { ["/"] = reply(200) }
        site "busy.example" { ["/"] = proxy(app), ["/gone"] = reply(410) }"#;
    let mut rsp = Rsp::config(text).set("ORIGIN", origin.address()).start();
    for _ in 0..6 {
        assert_eq!(get_from(&rsp, "busy.example", "/").status, 200);
    }
    assert_eq!(get_from(&rsp, "busy.example", "/gone").status, 410);
    eventually(SOON, || status(&rsp)["sites"][0]["requests"] == 7);
    let json = status(&rsp);
    let site = &json["sites"][0];
    assert_eq!(site["hosts"], serde_json::json!(["busy.example"]), "the busiest comes first");
    assert_eq!((&site["2xx"], &site["4xx"], &json["sites_total"]), (&6.into(), &1.into(), &2.into()));
    let endpoints = &json["upstreams"][0]["endpoints"];
    assert_eq!((&endpoints[0]["state"], &endpoints[0]["requests"]), (&"up".into(), &6.into()));
    assert_eq!((&endpoints[1]["state"], &endpoints[1]["ejections"]), (&"ejected".into(), &1.into()));
    assert!((1..=10).contains(&endpoints[1]["state_seconds"].as_u64().unwrap()), "{json}");

    rsp.rewrite_config("nonsense(");
    assert_eq!(rsp.reload().code, Some(2));
    assert_eq!(status(&rsp)["last_reload"]["result"], "refused");
    let shown = rsp.control(&["status", "site.lua"]).text();
    assert!(shown.contains("reload refused ") && shown.contains("1 of 2 up"), "{shown}");
    assert!(!shown.contains('\x1b'), "no colours for a pipe");
}

#[test]
fn over_tcp_the_token_opens_and_nothing_else_does() {
    let mut rsp = Rsp::config(WITH_TOKEN).start();
    let address = format!("127.0.0.1:{}", rsp.port_of(2));
    let ask = |method: &str, path: &str, fields: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n");
        Client::connect(&address).request(&head)
    };
    let token = "Authorization: Bearer sesame\r\n";
    assert_eq!(ask("GET", "/status", token).status, 200);
    assert_eq!(
        ask("GET", "/metrics", token).header("content-type").unwrap().split(';').next(),
        Some("application/openmetrics-text")
    );
    for fields in ["", "Authorization: Bearer sesam\r\n", "Authorization: Basic sesame\r\n"] {
        let refused = ask("POST", "/stop", fields);
        assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    }
    assert_eq!(ask("POST", "/stop", &format!("{token}Origin: http://evil.example\r\n")).status, 403);
    assert_eq!(ask("POST", "/nowhere", token).status, 404);
    let wrong_method = ask("GET", "/stop", token);
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, Some("POST")));
    assert!(rsp.is_running());
    assert!(!rsp.folder().join("site.lua.sock").exists());
}

#[test]
fn commands_find_a_tcp_admin_and_take_the_token_from_the_environment() {
    let mut rsp = Rsp::config(WITH_TOKEN).environment("RSP_ADMIN_TOKEN", "sesame").start();
    let address = format!("127.0.0.1:{}", rsp.port_of(2));
    let output = rsp.control(&["status", "--admin", &address]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    assert_eq!(rsp.control(&["stop", "--admin", &address]).code, Some(0));
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));

    let rsp = Rsp::config(WITH_TOKEN).environment("RSP_ADMIN_TOKEN", "wrong").start();
    let address = format!("127.0.0.1:{}", rsp.port_of(2));
    let output = rsp.control(&["stop", "--admin", &address]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("401") || output.stderr.contains("token"), "{}", output.stderr);
}

#[test]
fn a_reload_over_http_says_what_became_of_it() {
    let mut rsp = Rsp::config(HELLO).start();
    let post = |rsp: &Rsp| admin(rsp).request("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(post(&rsp).status, 200);
    rsp.rewrite_config("listen {");
    let refused = post(&rsp);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("site.lua:1"), "{}", refused.text());
    assert_eq!(get(&rsp, "/").text(), "hello\n");
}

#[test]
fn without_a_running_rsp_commands_exit_with_1() {
    for command in ["reload", "drain", "stop", "status"] {
        let output = Rsp::command(&[command, "site.lua"]).file("site.lua", HELLO).run();
        assert_eq!(output.code, Some(1), "{command}: {}", output.stderr);
        assert!(output.stderr.contains("site.lua"), "{command}: {}", output.stderr);
    }
    // What a killed one left behind is nobody either.
    let mut killed = Rsp::config(HELLO).start();
    killed.kill();
    assert_eq!(killed.control(&["status", "site.lua"]).code, Some(1));
}

#[test]
fn without_a_name_the_only_one_in_the_folder_is_meant() {
    // Not the folder where one-line commands of others have their sockets.
    let rsp = Rsp::config(HELLO).environment("TMPDIR", "/nonexistent").start();
    assert_eq!(rsp.control(&["status"]).code, Some(0));
    let second = format!("listen \"127.0.0.1:{}\" site \"*\" (reply(200))", rsp.port_of(2));
    std::fs::write(rsp.folder().join("other.lua"), second).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rsp"));
    let other = testkit::Program::start(command.arg("other.lua").current_dir(rsp.folder()));
    other.wait_for_line(SOON, |line| line.contains("Started"));
    let output = rsp.control(&["status"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("site.lua.sock") && output.stderr.contains("other.lua.sock"), "{}", output.stderr);
}

#[test]
fn files_never_show_the_admin_socket() {
    let rsp = Rsp::config(r#"listen "127.0.0.1:$PORT" site "*" { ["/*"] = files "." }"#).file("a.txt", "A").start();
    assert_eq!(get(&rsp, "/a.txt").text(), "A");
    assert_eq!(get(&rsp, "/site.lua.sock").status, 404);
}

#[test]
fn a_one_line_command_is_found_by_its_socket() {
    let mut rsp = Rsp::command(&["files", "--listen", "127.0.0.1:$PORT", "."]).start();
    let socket = format!("unix:{}", rsp.folder().join(format!("rsp-{}.sock", rsp.port())).display());
    assert_eq!(rsp.control(&["status", "--admin", &socket]).code, Some(0));
    assert_eq!(rsp.control(&["reload", "--admin", &socket]).code, Some(0));
    assert_eq!(rsp.control(&["drain", "--admin", &socket]).code, Some(0));
    assert_eq!(rsp.wait_exit(SOON).code(), Some(0));
}
