//! Stories of a reload: what changes, what lives on, and what a wrong config must not touch.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use testkit::{Answer, Client, Gate, Origin, Rsp, Signal, Step, eventually};

use super::{SOON, assert_closed, assert_echoes, assert_metric, get, status, tunnel, wait_for_message};

/// A config whose answer is `text`.
fn replying(text: &str) -> String {
    format!("listen \"127.0.0.1:$PORT\" site \"*\" {{ [\"/*\"] = reply(200, \"{text}\") }}")
}

/// A config that sends everything to `origin`.
fn proxying(origin: &Origin) -> String {
    format!("listen \"127.0.0.1:$PORT\" site \"*\" {{ [\"/*\"] = proxy \"{}\" }}", origin.address())
}

/// Answers `one` at once, `/held` when the gate opens, and anything with `Upgrade` with an echo.
fn origin(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |request| {
        if request.head.headers.get("upgrade").is_some() {
            return Answer::upgrade("echo");
        }
        let mut answer = Answer::ok("one");
        if request.target == "/held" {
            answer.0.insert(1, Step::Pass(gate.clone()));
        }
        answer
    })
}

#[test]
fn hup_and_rsp_reload_bring_the_new_routes() {
    let mut rsp = Rsp::config(&replying("one")).start();
    let mut open = rsp.client();
    assert_eq!(open.get("/").text(), "one");
    rsp.rewrite_config(&replying("two"));
    assert_eq!(open.get("/").text(), "one", "a file alone changes nothing");
    rsp.signal(Signal::HUP);
    eventually(SOON, || get(&rsp, "/").text() == "two");
    assert_eq!(open.get("/").text(), "two", "an open connection's next request sees it too");
    rsp.rewrite_config(&replying("three"));
    let output = rsp.reload();
    assert_eq!((output.code, &*output.stderr), (Some(0), ""));
    assert_eq!(get(&rsp, "/").text(), "three", "it serves when the command ends");
    assert_metric(&rsp, "rsp_reloads_total{result=\"ok\"}", 2.0);
}

#[test]
fn a_request_finishes_on_the_config_it_began_with() {
    let gate = Gate::new();
    let origin = origin(&gate);
    let mut rsp = Rsp::config(&proxying(&origin)).start();
    let mut client = rsp.client();
    client.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_for_heads(1, SOON);
    rsp.rewrite_config(&replying("two"));
    assert_eq!(rsp.reload().code, Some(0));
    gate.open();
    assert_eq!(client.read_response("GET").text(), "one");
    assert_eq!(client.get("/held").text(), "two");
}

#[test]
fn tunnels_live_on_when_their_route_and_listener_are_gone() {
    let origin = origin(&Gate::new());
    let mut rsp = Rsp::config(&(proxying(&origin) + " listen \"127.0.0.1:$PORT2\"")).start();
    let old = format!("127.0.0.1:{}", rsp.port_of(2));
    let mut tunnels = [tunnel(&rsp.address(), "/"), tunnel(&old, "/")];
    let mut idle = Client::connect(&old);
    assert_eq!(idle.get("/").text(), "one");
    rsp.rewrite_config(&(replying("two") + " listen \"127.0.0.1:$PORT3\""));
    assert_eq!(rsp.reload().code, Some(0));
    tunnels.iter_mut().for_each(assert_echoes);
    assert_eq!(Client::connect(&format!("127.0.0.1:{}", rsp.port_of(3))).get("/").text(), "two");
    eventually(SOON, || Client::try_connect(&old).is_err());
    assert_eq!(idle.get("/").text(), "two", "a connection of the listener that went goes on");
    rsp.wait_for_line(SOON, |line| line.ends_with(&format!("Listening on port {}.", rsp.port_of(3))));
    // The same address may come back.
    rsp.rewrite_config(&(replying("three") + " listen \"127.0.0.1:$PORT2\""));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(Client::connect(&old).get("/").text(), "three");
    tunnels.iter_mut().for_each(assert_echoes);
}

#[test]
fn a_unix_listener_that_goes_takes_its_socket_along() {
    let mut rsp = Rsp::config(&(replying("one") + " listen \"unix:front.sock\"")).start();
    let path = rsp.folder().join("front.sock");
    let address = format!("unix:{}", path.display());
    assert_eq!(Client::connect(&address).get("/").text(), "one");
    rsp.rewrite_config(&replying("two"));
    assert_eq!(rsp.reload().code, Some(0));
    assert!(!path.exists());
    rsp.rewrite_config(&(replying("three") + " listen \"unix:front.sock\""));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(Client::connect(&address).get("/").text(), "three");
}

#[test]
fn a_wrong_config_changes_nothing_and_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let mut rsp = Rsp::config(&replying("one")).start();
    let fine = replying("two");
    for (wrong, part) in [
        (fine.clone() + " tiemout(3)", "tiemout"),
        (fine.clone() + " site \"x\" { [\"/\"] = proxy { \"127.0.0.1:1\", tiemout = 3 } }", "timeout"),
        (fine.clone() + " listen \"unix:new.sock\" log { to = \"nowhere/access.log\" }", "nowhere/access.log"),
        (format!("{fine} listen \"unix:new.sock\" listen \"{taken}\""), &taken),
        (String::new(), ""),
    ] {
        rsp.rewrite_config(&wrong);
        let output = rsp.reload();
        assert_eq!(output.code, Some(2), "{wrong}");
        assert!(output.stderr.contains(part), "no {part:?} in\n{}", output.stderr);
        assert_eq!(get(&rsp, "/").text(), "one");
        assert!(!rsp.folder().join("new.sock").exists(), "{wrong}");
    }
    assert_metric(&rsp, "rsp_reloads_total{result=\"failed\"}", 5.0);
    rsp.signal(Signal::HUP);
    wait_for_message(&rsp, "reload refused, nothing has changed");
    rsp.rewrite_config(&fine);
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(get(&rsp, "/").text(), "two");
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let rsp = Rsp::config(&replying("one")).start();
    std::fs::remove_file(rsp.folder().join("site.lua")).unwrap();
    assert_eq!(rsp.reload().code, Some(2));
    assert_eq!(get(&rsp, "/").text(), "one");
}

#[test]
fn what_can_not_change_is_warned_about() {
    let mut rsp = Rsp::config(&(replying("one") + " workers(1)")).start();
    rsp.rewrite_config(&(replying("two") + " workers(2) admin \"unix:elsewhere.sock\""));
    let output = rsp.reload();
    assert_eq!(output.code, Some(0));
    let said = output.text() + &output.stderr;
    assert!(said.contains("workers") && said.contains("admin"), "{said}");
    assert_eq!(get(&rsp, "/").text(), "two");
    assert_eq!(status(&rsp)["workers"], 1);
}

#[test]
fn an_endpoint_stays_ejected_over_reloads_and_so_does_the_turn() {
    let [one, two, mut three] = ["one", "two", "three"].map(Origin::replying);
    for declared in [true, false] {
        three.restart();
        let endpoints = format!("\"{}\", \"{}\", \"{}\"", one.address(), two.address(), three.address());
        let proxy = if declared { "proxy(upstream \"app\" { $E })" } else { "proxy(upstream { $E })" };
        let text = "listen \"127.0.0.1:$PORT\" workers(1) site \"*\" { [\"/*\"] = $PROXY, [\"/$N\"] = reply(200) }"
            .replace("$PROXY", proxy)
            .replace("$E", &endpoints);
        let mut rsp = Rsp::config(&text.replace("$N", "first")).start();
        three.stop();
        let mut answers: Vec<String> = (0..6).map(|_| get(&rsp, "/").text()).collect();
        let ejected = |rsp: &Rsp| -> Vec<bool> {
            let status = status(rsp);
            let endpoints = status["upstreams"][0]["endpoints"].as_array().unwrap().clone();
            endpoints.iter().map(|endpoint| endpoint["available"] == false).collect()
        };
        assert_eq!(ejected(&rsp), [false, false, true]);
        for n in 0..4 {
            rsp.rewrite_config(&text.replace("$N", &format!("route-{n}")));
            assert_eq!(rsp.reload().code, Some(0));
            assert_eq!(ejected(&rsp), [false, false, true], "after reload {n}, declared: {declared}");
            answers.push(get(&rsp, "/").text());
        }
        let last = &answers[answers.len() - 4..];
        assert!(last.iter().any(|text| text == "one") && last.iter().any(|text| text == "two"), "{last:?}");
    }
}

#[test]
fn a_bare_address_keeps_its_counts_over_reloads_too() {
    let origin = origin(&Gate::new());
    let mut rsp = Rsp::config(&proxying(&origin)).start();
    let _tunnel = tunnel(&rsp.address(), "/");
    for n in 0..3 {
        rsp.rewrite_config(&(proxying(&origin) + &format!(" site \"s{n}\" (reply(200))")));
        assert_eq!(rsp.reload().code, Some(0));
        assert_eq!(status(&rsp)["upstreams"][0]["endpoints"][0]["in_flight"], 1, "after reload {n}");
    }
}

#[test]
fn the_number_of_idle_connections_changes_and_the_endpoint_stays_the_same() {
    let origin = origin(&Gate::new());
    let text = |keepalive: usize| {
        format!(
            "workers(1) listen \"127.0.0.1:$PORT\" site \"*\" (proxy(upstream {{ \"{}\", keepalive = {keepalive} }}))",
            origin.address()
        )
    };
    let mut rsp = Rsp::config(&text(64)).start();
    let _tunnel = tunnel(&rsp.address(), "/");
    let opened = |rsp: &Rsp, requests: usize| {
        let before = origin.connections_opened();
        (0..requests).for_each(|_| assert_eq!(get(rsp, "/").text(), "one"));
        origin.connections_opened() - before
    };
    assert_eq!(opened(&rsp, 3), 1);
    rsp.rewrite_config(&text(0));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(opened(&rsp, 3), 3);
    assert_eq!(status(&rsp)["upstreams"][0]["endpoints"][0]["in_flight"], 1);
    rsp.rewrite_config(&text(1));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(opened(&rsp, 3), 1);
}

#[test]
fn a_refused_config_leaves_the_upstreams_as_they_were() {
    let (one, two) = (origin(&Gate::new()), Origin::replying("two"));
    let text = |address: &str| {
        format!("listen \"127.0.0.1:$PORT\" local a = upstream \"app\" {{ \"{address}\" }} site \"*\" (proxy(a))")
    };
    let mut rsp = Rsp::config(&text(&one.address())).start();
    let _tunnel = tunnel(&rsp.address(), "/");
    rsp.rewrite_config(&(text(&two.address()) + " log { to = \"nowhere/access.log\" }"));
    assert_eq!(rsp.reload().code, Some(2));
    let endpoint = status(&rsp)["upstreams"][0]["endpoints"][0].clone();
    assert_eq!((&endpoint["name"], &endpoint["in_flight"]), (&one.address().into(), &1.into()));
}

#[test]
fn the_access_log_moves_with_its_path() {
    let log = |name: &str| replying("one") + &format!(" log {{ to = \"{name}.log\" }}");
    let mut rsp = Rsp::config(&log("first")).start();
    let lines = |rsp: &Rsp, name: &str| std::fs::read_to_string(rsp.folder().join(name)).unwrap_or_default();
    get(&rsp, "/a");
    eventually(SOON, || lines(&rsp, "first.log").contains("/a"));
    rsp.rewrite_config(&log("second"));
    assert_eq!(rsp.reload().code, Some(0));
    get(&rsp, "/b");
    eventually(SOON, || lines(&rsp, "second.log").contains("/b"));
    assert!(!lines(&rsp, "first.log").contains("/b"));
}

#[test]
fn two_hundred_reloads_keep_every_tunnel_and_no_memory() {
    let origin = origin(&Gate::new());
    let text = |n: usize| {
        let routes: String = (0..50).map(|m| format!("[\"/r{n}/{m}\"] = reply(200, \"text\"), ")).collect();
        proxying(&origin) + &format!(" site \"other\" {{ {routes} [\"/f\"] = function() return nil end }}")
    };
    let mut rsp = Rsp::config(&text(0)).start();
    let mut tunnels: Vec<_> = (0..20).map(|_| tunnel(&rsp.address(), "/")).collect();
    let mut reload = |times: usize| {
        for n in 0..times {
            rsp.rewrite_config(&text(n % 2));
            let mut admin = super::admin(&rsp);
            let answer = admin.request("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        (rsp.user_memory(), rsp.open_descriptors())
    };
    let (before, descriptors) = reload(40);
    let (after, descriptors_after) = reload(160);
    assert!(after < before + (4 << 20), "{before} bytes became {after}");
    assert!(descriptors_after <= descriptors + 2, "{descriptors} descriptors became {descriptors_after}");
    tunnels.iter_mut().for_each(assert_echoes);
}

#[test]
fn reloads_under_keep_alive_load_fail_nothing() {
    let origin = origin(&Gate::new());
    let mut rsp = Rsp::config(&proxying(&origin)).start();
    let (stop, address) = (Arc::new(AtomicBool::new(false)), rsp.address());
    let load = |keep_alive: bool| {
        let (stop, address) = (Arc::clone(&stop), address.clone());
        std::thread::spawn(move || {
            let (mut client, mut served) = (Client::connect(&address), 0);
            while !stop.load(Ordering::Relaxed) {
                if !keep_alive {
                    client = Client::connect(&address);
                }
                let answer = client.get("/");
                assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
                served += 1;
            }
            served
        })
    };
    let loads = [load(true), load(true), load(false)];
    for n in 0..15 {
        let extra = if n % 2 == 0 { " listen \"127.0.0.1:$PORT2\"" } else { "" };
        rsp.rewrite_config(&(proxying(&origin) + extra + &format!(" site \"s{n}\" (reply(200))")));
        assert_eq!(rsp.reload().code, Some(0));
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        assert!(load.join().expect("no request failed") > 0);
    }
}

#[test]
fn a_site_bound_to_a_listener_that_went_is_gone_with_it() {
    let text = "listen \"127.0.0.1:$PORT\" listen \"127.0.0.1:$PORT2\" \
                site { \"*\", listen = \"127.0.0.1:$PORT\" } (reply(200, \"all\")) \
                site { \"*\", listen = \"127.0.0.1:$PORT2\" } (reply(200, \"own\"))";
    let mut rsp = Rsp::config(text).start();
    let mut client = Client::connect(&format!("127.0.0.1:{}", rsp.port_of(2)));
    assert_eq!((client.get("/").text(), get(&rsp, "/").text()), ("own".into(), "all".into()));
    rsp.rewrite_config(&replying("two"));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(client.get("/").text(), "two");
    assert_eq!(rsp.stop().code(), Some(0));
    assert_closed(&mut client);
}

#[test]
fn limits_change_for_open_connections() {
    let mut rsp = Rsp::config(&(replying("one") + " limits { idle_timeout = \"1h\" }")).start();
    let mut client = rsp.client();
    assert_eq!(client.get("/").text(), "one");
    rsp.rewrite_config(&(replying("two") + " limits { idle_timeout = \"200ms\" }"));
    assert_eq!(rsp.reload().code, Some(0));
    assert_eq!(client.get("/").text(), "two");
    assert!(client.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn a_reload_says_what_it_leaves_as_it_was() {
    let config = |token: &str, backlog: u32| {
        format!(
            "workers(1) broker \"memory\" listen {{ \"127.0.0.1:$PORT\", backlog = {backlog} }}\n\
             admin {{ \"unix:$DIR/site.lua.sock\", token = \"{token}\" }}\nsite \"*\" (reply(200, \"ok\"))"
        )
    };
    let mut rsp = Rsp::config(&config("old", 16)).start();
    assert!(!rsp.reload().text().contains("warning"));
    rsp.rewrite_config(&config("new", 32).replace("\"memory\"", "{ redis = \"redis://:secret@127.0.0.1\" }"));
    let said = rsp.reload().text();
    assert!(
        said.contains("`admin` can't change") && said.contains("`mode` and `backlog` of `listen` 127.0.0.1:"),
        "{said}"
    );
    assert!(said.contains("`broker` can't change") && !said.contains("secret"), "{said}");
}
