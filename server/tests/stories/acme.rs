//! Certificates from an ACME authority that runs on this machine.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use testkit::{AcmeAuthority, AcmeFault, Output, Rsp, RspBuilder, curl, eventually};

const SOON: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
    acme { directory = "$DIRECTORY", cache = "$CACHE", ca = "$DIR/ca.pem", email = "me@a.test", challenge = "$CHALLENGE" }
    listen "127.0.0.1:$PORT"
    listen { "127.0.0.1:$PORT2", tls = true }
    site "a.test" { tls = "acme", redirect_http = true, ["/*"] = reply(200, "a\n") }
"#;

/// An authority, and a folder that outlives the rsp that keeps certificates in it.
struct Scene {
    authority: AcmeAuthority,
    folder: tempfile::TempDir,
}

impl Scene {
    fn of(authority: AcmeAuthority) -> Self {
        Self { authority, folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn rsp(&self, config: &str, challenge: &str) -> RspBuilder {
        fs::write(self.folder.path().join("ca.pem"), self.authority.ca()).unwrap();
        let cache = self.cache().display().to_string();
        let rsp = Rsp::config(config).file("ca.pem", self.authority.ca()).set("DIRECTORY", self.authority.directory());
        rsp.set("CACHE", cache).set("CHALLENGE", challenge)
    }

    fn start(&self) -> Rsp {
        let rsp = self.rsp(CONFIG, "http-01").start();
        self.authority.looks_at(rsp.port(), rsp.port_of(2));
        rsp
    }

    /// A request of the site by a client that believes the authority only, and the chain that it was shown.
    fn get(&self, rsp: &Rsp, name: &str) -> Output {
        let port = rsp.port_of(2);
        let (resolve, url) = (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}/"));
        let ca = self.folder.path().join("ca.pem").display().to_string();
        curl(&["--resolve", &resolve, "--cacert", &ca, "--write-out", "%{certs}", &url])
    }

    fn is_served(&self, rsp: &Rsp, name: &str) -> bool {
        self.get(rsp, name).code == Some(0)
    }

    /// Waits until it is served.
    #[track_caller]
    fn awaits(&self, rsp: &Rsp, name: &str) {
        let end = Instant::now() + SOON;
        while !self.is_served(rsp, name) {
            let curl = self.get(rsp, name).stderr;
            assert!(Instant::now() < end, "{curl}\n{}\n{:?}", rsp.output(), self.authority.requests());
        }
    }

    /// Whether the client is shown the certificate that was signed as the n-th, from 0.
    fn shows(&self, rsp: &Rsp, name: &str, n: usize) -> bool {
        let got = self.get(rsp, name).text();
        let signed = self.authority.signed();
        signed.get(n).is_some_and(|chain| lines(&got).contains(&lines(chain.split("-----END").next().unwrap())))
    }

    /// The files of the cache, below the folder of the authority.
    fn files(&self) -> Vec<PathBuf> {
        let inside = |path: &Path| fs::read_dir(path).into_iter().flatten().map(|one| one.unwrap().path());
        inside(&self.cache()).flat_map(|folder| inside(&folder).collect::<Vec<_>>()).collect()
    }

    fn file(&self, end: &str) -> PathBuf {
        let is_it = |path: &&PathBuf| path.to_string_lossy().ends_with(end) && !path.ends_with("account.json");
        self.files().iter().find(is_it).expect("such a file").clone()
    }
}

/// Without the ends of lines, which PEM texts may break anywhere.
fn lines(text: &str) -> String {
    text.split_whitespace().collect()
}

fn status(rsp: &Rsp) -> serde_json::Value {
    let told = rsp.control(&["status", "--json", "site.lua"]);
    serde_json::from_str(&told.text()).expect("a status")
}

#[test]
fn a_first_certificate_is_got_by_an_answer_over_plain_http() {
    let scene = Scene::of(AcmeAuthority::start());
    let rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    let got = scene.get(&rsp, "a.test").text();
    assert!(got.starts_with("a\n"), "{got}");
    assert!(scene.shows(&rsp, "a.test", 0));
    assert_eq!(scene.authority.contact().as_deref(), Some("mailto:me@a.test"));
    assert_eq!(scene.authority.complaints(), [""; 0]);
    let found = status(&rsp);
    assert_eq!(found["certificates"][0]["names"], serde_json::json!(["a.test"]));
    assert_eq!(found["certificates"][0]["state"], "valid");
    assert!(found["certificates"][0]["expires"].is_string());
    assert!(rsp.control(&["status", "site.lua"]).text().contains("a.test"), "a table of it");
}

#[test]
fn a_first_certificate_is_got_by_a_handshake() {
    let scene = Scene::of(AcmeAuthority::start());
    let rsp = scene.rsp(CONFIG, "tls-alpn-01").start();
    scene.authority.looks_at(rsp.port(), rsp.port_of(2));
    scene.awaits(&rsp, "a.test");
    assert!(scene.shows(&rsp, "a.test", 0));
    assert_eq!(scene.authority.complaints(), [""; 0]);
    assert_eq!(scene.authority.count("/challenge/0/tls-alpn-01"), 1);
    // Nothing of the challenge is left.
    let port = rsp.port_of(2).to_string();
    let openssl = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "a.test", "-alpn", "acme-tls/1"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&openssl.stderr).contains("no application protocol"), "{openssl:?}");
}

#[test]
fn until_there_is_a_certificate_plain_http_goes_on_and_handshakes_end_with_an_alert() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.fails("/new-order", AcmeFault::Slow(Duration::from_secs(3)));
    let mut config = CONFIG.to_owned();
    config.push_str(r#"site "*" { ["/*"] = reply(200, "plain") }"#);
    let rsp = scene.rsp(&config, "http-01").start();
    assert_eq!(curl(&[&rsp.url("/")]).text(), "plain");
    let refused = scene.get(&rsp, "a.test");
    assert_eq!(refused.code, Some(35), "{refused:?}");
    assert!(refused.stderr.contains("alert internal error"), "{refused:?}");
    let found = status(&rsp);
    assert!(["ordering", "waiting"].contains(&found["certificates"][0]["state"].as_str().unwrap()), "{found}");
    scene.authority.looks_at(rsp.port(), rsp.port_of(2));
    scene.awaits(&rsp, "a.test");
}

#[test]
fn keys_are_kept_where_nobody_else_can_read_them() {
    let scene = Scene::of(AcmeAuthority::start());
    let rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    eventually(SOON, || {
        scene
            .files()
            .iter()
            .any(|path| path.to_string_lossy().contains("a.test") && path.ends_with(scene.file(".json")))
    });
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scene.cache()), 0o700);
    let files = scene.files();
    assert!(files.len() >= 4, "account, certificate, notes, lock: {files:?}");
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }
    assert!(fs::read_to_string(scene.file(".pem")).unwrap().contains("PRIVATE KEY"));
    assert!(!rsp.output().contains("PRIVATE"), "{}", rsp.output());
}

#[test]
fn a_restart_asks_the_authority_for_nothing() {
    let scene = Scene::of(AcmeAuthority::start());
    let mut rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    eventually(SOON, || scene.authority.count("/renewal-info") == 1);
    assert!(rsp.stop().success());
    let before = scene.authority.requests().len();
    let rsp = scene.start();
    assert!(scene.is_served(&rsp, "a.test"), "the first handshake finds it");
    assert_eq!(scene.authority.requests().len(), before, "{:?}", scene.authority.requests());
}

#[test]
fn a_renewal_cuts_no_connection_and_shows_the_new_certificate() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.signs_for(Duration::from_secs(9));
    let rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    // A plain connection of the same worker is open all the time.
    let mut client = rsp.client();
    eventually(SOON, || {
        client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
        assert_eq!(client.read_response("GET").status, 301, "the connection goes on");
        assert!(scene.is_served(&rsp, "a.test"), "no handshake fails in between");
        scene.authority.signed().len() >= 2 && scene.shows(&rsp, "a.test", scene.authority.signed().len() - 1)
    });
    assert!(scene.authority.replaced() >= 1, "RFC 9773 §5");
    assert_eq!(scene.authority.complaints(), [""; 0]);
}

#[test]
fn an_authority_that_wants_a_renewal_gets_it() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.signs_for(Duration::from_secs(24));
    scene.authority.wants_renewal_within(Duration::from_secs(1000), Duration::from_secs(2000));
    let rsp = scene.start();
    eventually(SOON, || scene.authority.count("/renewal-info") >= 1);
    let before = Instant::now();
    scene.authority.wants_renewal_within(Duration::ZERO, Duration::ZERO);
    eventually(SOON, || scene.shows(&rsp, "a.test", 1));
    assert!(before.elapsed() < Duration::from_secs(12), "long before two thirds of its life");
    assert!(scene.authority.replaced() >= 1);
}

#[test]
fn an_authority_that_always_wants_a_renewal_is_not_asked_without_end() {
    let scene = Scene::of(AcmeAuthority::start());
    // A window of long ago.
    scene.authority.wants_renewal_within(Duration::ZERO, Duration::ZERO);
    let rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    eventually(SOON, || scene.authority.count("/renewal-info") >= 1);
    let before = Instant::now();
    eventually(SOON, || before.elapsed() > Duration::from_secs(3));
    assert_eq!(scene.authority.count("/new-order"), 1, "{:?}", scene.authority.requests());
}

#[test]
fn an_authority_that_is_away_at_the_start_is_tried_again() {
    let mut scene = Scene::of(AcmeAuthority::new());
    let rsp = scene.start();
    eventually(SOON, || status(&rsp)["certificates"][0]["state"] == "failing");
    let found = status(&rsp);
    assert!(found["certificates"][0]["last_error"].as_str().unwrap().contains("Connection refused"), "{found}");
    scene.authority.open();
    scene.awaits(&rsp, "a.test");
    eventually(SOON, || status(&rsp)["certificates"][0]["last_error"].is_null());
}

#[test]
fn the_wait_that_an_authority_asks_for_is_kept_even_by_a_restart() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.fails("/new-order", AcmeFault::RateLimited(6));
    let mut rsp = scene.start();
    eventually(SOON, || status(&rsp)["certificates"][0]["state"] == "failing");
    let refused = Instant::now();
    let found = status(&rsp);
    assert!(found["certificates"][0]["last_error"].as_str().unwrap().contains("rateLimited"), "{found}");
    assert!(rsp.stop().success());
    let rsp = scene.start();
    assert_eq!(rsp.reload().code, Some(0), "nor by a reload");
    assert_eq!(scene.authority.count("/new-order"), 1);
    scene.awaits(&rsp, "a.test");
    assert!(refused.elapsed() > Duration::from_secs(4), "{:?}", refused.elapsed());
}

#[test]
fn a_nonce_that_is_refused_is_no_failure() {
    let scene = Scene::of(AcmeAuthority::start());
    for path in ["/new-account", "/new-order", "/authz", "/challenge", "/order"] {
        scene.authority.fails(path, AcmeFault::BadNonce);
    }
    let rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    assert!(!rsp.output().contains("no certificate for"), "{}", rsp.output());
}

#[test]
fn an_authority_that_breaks_is_tried_again() {
    for fault in [AcmeFault::Broken, AcmeFault::Garbage] {
        for path in ["/directory", "/new-account", "/new-order"] {
            let scene = Scene::of(AcmeAuthority::start());
            scene.authority.fails(path, fault.clone());
            let rsp = scene.start();
            eventually(SOON, || scene.is_served(&rsp, "a.test") || rsp.output().contains("no certificate for"));
            assert!(rsp.output().contains("no certificate for a.test"), "{path} {fault:?}: {}", rsp.output());
            if fault == AcmeFault::Broken {
                assert!(rsp.output().contains("500"), "{}", rsp.output());
                scene.awaits(&rsp, "a.test");
            }
        }
    }
}

#[test]
fn a_challenge_that_is_found_wrong_leaves_the_old_certificate_where_it_is() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.signs_for(Duration::from_secs(30));
    let rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    scene.authority.finds_challenges_wrong(true);
    scene.authority.wants_renewal_within(Duration::ZERO, Duration::ZERO);
    eventually(SOON, || status(&rsp)["certificates"][0]["state"] == "renewal failing");
    let found = status(&rsp);
    let why = found["certificates"][0]["last_error"].as_str().unwrap();
    assert!(why.contains("unauthorized") && why.contains("nothing is good enough"), "the authority's own words: {why}");
    assert!(scene.shows(&rsp, "a.test", 0));
    assert!(rsp.output().contains("the old one stays"), "{}", rsp.output());
}

#[test]
fn a_chain_that_means_nothing_is_never_shown() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.signs_for(Duration::from_secs(30));
    let rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    scene.authority.fails("/cert", AcmeFault::Garbage);
    scene.authority.wants_renewal_within(Duration::ZERO, Duration::ZERO);
    eventually(SOON, || status(&rsp)["certificates"][0]["state"] == "renewal failing");
    assert!(scene.shows(&rsp, "a.test", 0));
}

#[test]
fn of_two_processes_with_one_cache_one_orders() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.fails("/new-order", AcmeFault::Slow(Duration::from_secs(2)));
    let first = scene.start();
    eventually(SOON, || scene.authority.count("/new-order") == 1);
    let second = scene.rsp(CONFIG, "http-01").start();
    eventually(SOON, || scene.is_served(&first, "a.test") && scene.is_served(&second, "a.test"));
    assert_eq!(scene.authority.count("/new-order"), 1);
    assert_eq!(scene.authority.count("/new-account"), 1);
    assert!(second.output().contains("another process orders certificates"), "{}", second.output());
    assert!(scene.shows(&first, "a.test", 0) && scene.shows(&second, "a.test", 0));
}

#[test]
fn a_reload_orders_what_is_missing_and_keeps_showing_what_is_there() {
    let scene = Scene::of(AcmeAuthority::start());
    let mut rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    scene.authority.fails("/new-order", AcmeFault::Slow(Duration::from_secs(2)));
    rsp.rewrite_config(&CONFIG.replace(r#"site "a.test""#, r#"site { "a.test", "b.test" }"#));
    assert_eq!(rsp.reload().code, Some(0), "{}", rsp.output());
    assert!(scene.shows(&rsp, "a.test", 0), "while the other one is ordered");
    scene.awaits(&rsp, "b.test");
    assert!(scene.shows(&rsp, "a.test", 1) && scene.shows(&rsp, "b.test", 1));
    // What no site wants is neither shown nor asked for.
    rsp.rewrite_config(&CONFIG.replace(r#"site "a.test""#, r#"site "c.test""#));
    assert_eq!(rsp.reload().code, Some(0), "{}", rsp.output());
    scene.awaits(&rsp, "c.test");
    assert!(!scene.is_served(&rsp, "a.test"));
    assert_eq!(status(&rsp)["certificates"].as_array().unwrap().len(), 1);
}

#[test]
fn a_config_without_certificates_of_an_authority_stops_the_asking_and_one_with_them_begins_it_again() {
    let mut scene = Scene::of(AcmeAuthority::new());
    let mut rsp = scene.start();
    eventually(SOON, || status(&rsp)["certificates"][0]["state"] == "failing");
    rsp.rewrite_config(r#"listen "127.0.0.1:$PORT" site "*" (reply(200, "plain"))"#);
    assert_eq!(rsp.reload().code, Some(0), "{}", rsp.output());
    assert_eq!(status(&rsp)["certificates"], serde_json::json!([]));
    scene.authority.open();
    // A second one finds the thread without anything to do.
    assert_eq!(rsp.reload().code, Some(0), "{}", rsp.output());
    assert_eq!(scene.authority.requests(), [""; 0]);
    rsp.rewrite_config(CONFIG);
    assert_eq!(rsp.reload().code, Some(0), "{}", rsp.output());
    scene.awaits(&rsp, "a.test");
}

#[test]
fn an_upgrade_in_the_middle_of_an_order_leaves_it_to_the_successor() {
    let scene = Scene::of(AcmeAuthority::start());
    scene.authority.fails("/new-order", AcmeFault::Slow(Duration::from_secs(5)));
    let rsp = scene.rsp(CONFIG, "http-01").has_successors().start();
    scene.authority.looks_at(rsp.port(), rsp.port_of(2));
    eventually(SOON, || scene.authority.count("/new-order") == 1);
    let upgraded = rsp.control(&["upgrade", "site.lua"]);
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    scene.awaits(&rsp, "a.test");
    assert_eq!(status(&rsp)["generation"], 2);
    assert_eq!(scene.authority.signed().len(), 1);
}

#[test]
fn a_broken_file_of_the_cache_is_ordered_again() {
    let scene = Scene::of(AcmeAuthority::start());
    let mut rsp = scene.start();
    scene.awaits(&rsp, "a.test");
    assert!(rsp.stop().success());
    fs::write(scene.file(".pem"), "garbage").unwrap();
    let rsp = scene.start();
    eventually(SOON, || scene.shows(&rsp, "a.test", 1));
    assert!(rsp.output().contains("it is ordered again"), "{}", rsp.output());
}

#[test]
fn a_trial_at_another_authority_leaves_the_certificates_of_the_first_alone() {
    let (staging, real) = (Scene::of(AcmeAuthority::start()), AcmeAuthority::start());
    let mut rsp = staging.start();
    eventually(SOON, || staging.is_served(&rsp, "a.test"));
    real.looks_at(rsp.port(), rsp.port_of(2));
    fs::write(rsp.folder().join("real.pem"), real.ca()).unwrap();
    rsp.rewrite_config(&CONFIG.replace("$DIRECTORY", &real.directory()).replace("ca.pem", "real.pem"));
    assert_eq!(rsp.reload().code, Some(0), "{}", rsp.output());
    eventually(SOON, || real.signed().len() == 1);
    fs::write(staging.folder.path().join("ca.pem"), real.ca()).unwrap();
    eventually(SOON, || staging.is_served(&rsp, "a.test"));
    assert_eq!(fs::read_dir(staging.cache()).unwrap().count(), 2, "a folder an authority");
}

#[test]
fn a_cache_that_can_not_be_written_is_said_at_the_start() {
    let scene = Scene::of(AcmeAuthority::start());
    let refused = scene.rsp(&CONFIG.replace("$CACHE", "/proc/acme"), "http-01").run();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("the cache of `acme`"), "{}", refused.stderr);
}
