//! What is asked for by TLS, and of whom.

use super::*;

fn secured(lua: &mut Lua, host: &str, tls: Value) {
    let hello = lua.make("reply", vec![number(200.0)], vec![]);
    lua.site(host, vec![("tls", tls), ("/", hello)]);
}

fn listening() -> Lua {
    let mut lua = Lua::new();
    lua.say("listen", vec![text(":443")], vec![("tls", Value::Bool(true))]);
    lua.say("listen", vec![text(":80")], vec![]);
    lua
}

fn certificate(name: &str) -> Value {
    options(vec![("cert", text(&format!("{name}.pem"))), ("key", text(&format!("{name}.key")))])
}

fn files(name: &str) -> CertificateFiles {
    let path = |ending| format!("/etc/rsp/{name}.{ending}").into();
    CertificateFiles { cert: path("pem"), key: path("key"), ocsp: None }
}

#[test]
fn a_listener_has_tls_from_version_1_2_on_or_as_it_says() {
    let mut lua = Lua::new();
    lua.say("listen", vec![text(":443")], vec![("tls", Value::Bool(true))]);
    lua.say("listen", vec![text(":444")], vec![("tls", options(vec![("min", text("1.3"))]))]);
    lua.say("listen", vec![text(":80")], vec![("tls", Value::Bool(false)), ("http2", Value::Bool(true))]);
    secured(&mut lua, "a.example", certificate("a"));
    let listeners = lua.config().listeners;
    let tls = listeners.iter().map(|listener| listener.tls.map(|tls| tls.min)).collect::<Vec<_>>();
    assert_eq!(tls, [Some(TlsVersion::V12), Some(TlsVersion::V13), None]);
    assert!(listeners[2].http2);
}

#[test]
fn what_all_certificates_of_a_site_share_is_said_once() {
    let mut lua = listening();
    let entries = vec![("client_ca", text("ca.pem")), ("ciphers", text("TLS_AES_128_GCM_SHA256"))];
    secured(&mut lua, "a.example", table(vec![certificate("ecdsa"), certificate("rsa")], entries));
    let Some(SiteTls::Terminate(tls)) = lua.config().sites.remove(0).tls else { panic!("opened") };
    let wanted = Terminate {
        certificates: Certificates::Files(vec![files("ecdsa"), files("rsa")]),
        client_ca: Some("/etc/rsp/ca.pem".into()),
        min: None,
        ciphers: vec!["TLS_AES_128_GCM_SHA256".to_owned()],
    };
    assert_eq!(*tls, wanted);
}

#[test]
fn a_certificate_may_have_its_key_in_the_same_file() {
    let mut lua = listening();
    secured(&mut lua, "a.example", options(vec![("cert", text("both.pem")), ("min", text("1.3"))]));
    let Some(SiteTls::Terminate(tls)) = lua.config().sites.remove(0).tls else { panic!("opened") };
    let both = || "/etc/rsp/both.pem".into();
    let files = CertificateFiles { cert: both(), key: both(), ocsp: None };
    assert_eq!((&tls.certificates, tls.min), (&Certificates::Files(vec![files]), Some(TlsVersion::V13)));
}

#[test]
fn keys_certificates_and_the_folder_of_the_authoritys_are_hidden_from_files() {
    let mut lua = listening();
    let own = options(vec![("cert", text("own.pem")), ("key", text("own.key"))]);
    lua.named("upstream", "a", vec![text("https://a")], vec![("tls", own)]);
    lua.say("acme", vec![], vec![("cache", text("acme"))]);
    secured(&mut lua, "a.example", text("acme"));
    secured(&mut lua, "b.example", certificate("b"));
    secured(&mut lua, "c.example", list(vec![certificate("c")]));
    let hidden = lua.config().hidden;
    for name in ["own.pem", "own.key", "acme", "b.pem", "b.key", "c.pem", "c.key"] {
        for folder in ["/etc/rsp", "/releases/7"] {
            assert!(hidden.contains(&Path::new(folder).join(name)), "{folder}/{name}");
        }
    }
}

#[test]
fn hsts_is_a_year_or_as_long_as_it_says() {
    let year = std::time::Duration::from_secs(365 * 86_400);
    for (said, wanted) in
        [(Value::Bool(true), Some(year)), (Value::Bool(false), None), (text("0s"), Some(std::time::Duration::ZERO))]
    {
        let mut lua = listening();
        let hello = lua.make("reply", vec![number(200.0)], vec![]);
        lua.site("a.example", vec![("tls", certificate("a")), ("hsts", said), ("/", hello)]);
        assert_eq!(lua.config().sites[0].hsts, wanted);
    }
}

#[test]
fn a_site_that_is_passed_through_needs_no_routes() {
    let mut lua = listening();
    let through = lua.make("passthrough", vec![text("10.0.0.7:443")], vec![("idle_timeout", text("1h"))]);
    lua.site("a.example", vec![("tls", through), ("redirect_http", Value::Bool(true))]);
    let (config, warnings) = lua.check().unwrap();
    assert_eq!(shown(&warnings), [""; 0]);
    let Some(SiteTls::Passthrough(tunnel)) = &config.sites[0].tls else { panic!("passed through") };
    assert_eq!(tunnel.upstream.name, "10.0.0.7:443");
    assert_eq!(tunnel.idle_timeout, Some(std::time::Duration::from_secs(3600)));
}

#[test]
fn a_tunnel_alone_needs_no_site() {
    let mut lua = Lua::new();
    let tunnel = lua.make("tunnel", vec![text("10.0.0.7:5432")], vec![]);
    lua.say("listen", vec![text(":5432")], vec![("tcp", tunnel)]);
    assert_eq!(lua.warnings(), [""; 0]);
    assert_eq!(lua.config().listeners[0].tcp.as_ref().unwrap().upstream.name, "10.0.0.7:5432");
}

#[test]
fn an_authority_is_named_by_a_word_or_its_url() {
    for (said, wanted) in [
        (None, "https://acme-v02.api.letsencrypt.org/directory"),
        (Some("production"), "https://acme-v02.api.letsencrypt.org/directory"),
        (Some("staging"), "https://acme-staging-v02.api.letsencrypt.org/directory"),
        (Some("https://ca.internal:14000/dir"), "https://ca.internal:14000/dir"),
        (Some("http://127.0.0.1:4001/dir"), "wrong"),
        (Some("https://[::1]:4001/dir"), "https://[::1]:4001/dir"),
        (Some("http://ca.internal/dir"), "wrong"),
        (Some("https:///dir"), "wrong"),
        (Some("https://ca.internal/a b"), "wrong"),
        (Some("ftp://ca.internal/"), "wrong"),
    ] {
        let mut lua = listening();
        let said = said.map(|url| ("directory", text(url)));
        lua.say("acme", vec![], [("cache", text("./acme"))].into_iter().chain(said).collect());
        secured(&mut lua, "a.example", text("acme"));
        let directory = lua.check().map_or("wrong".to_owned(), |(config, _)| config.acme.unwrap().directory.clone());
        assert_eq!(directory, wanted);
    }
}

#[test]
fn an_endpoint_written_as_https_has_tls_and_port_443() {
    let mut lua = Lua::listening();
    let plain = options(vec![("server_name", text("app.internal")), ("verify", Value::Bool(false))]);
    lua.named("upstream", "a", vec![text("https://a.example"), text("b.example:8443")], vec![]);
    lua.named("upstream", "b", vec![text("10.0.0.7:8443"), text("unix:app.sock")], vec![("tls", plain)]);
    let upstreams = lua.config().upstreams;
    let seen = |upstream: &Upstream| {
        let endpoints = upstream.endpoints.iter();
        endpoints
            .map(|endpoint| (endpoint.name.clone(), endpoint.address.to_string(), endpoint.tls))
            .collect::<Vec<_>>()
    };
    let named = |name: &str, address: &str, tls| (name.to_owned(), address.to_owned(), tls);
    let [first, second] =
        [named("https://a.example", "a.example:443", true), named("b.example:8443", "b.example:8443", false)];
    assert_eq!(seen(&upstreams[0]), [first, second]);
    assert!(upstreams[1].endpoints.iter().all(|endpoint| endpoint.tls));
    assert_eq!(upstreams[1].tls.server_name.as_deref(), Some("app.internal"));
    assert!(!upstreams[1].tls.verify);
}
