//! TLS and HTTP/2 with clients and servers that others wrote: curl, OpenSSL, Python, nghttp2, Chromium, nginx and HAProxy.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};
use testkit::{Authority, Chromium, Haproxy, KeyKind, Nginx, Puppet, Rsp, RspBuilder, curl};

/// Certificates in a folder: an authority's, and one for this machine.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.write(folder.path());
        authority.sign(&["localhost", "127.0.0.1"]).write(folder.path(), "site");
        authority.sign_with(&["localhost"], KeyKind::Rsa, |_| {}).write(folder.path(), "rsa");
        authority.sign_client("front").write(folder.path(), "client");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Certificate and key in one file, as HAProxy wants them.
    fn both(&self, name: &str) -> String {
        let read = |kind| std::fs::read_to_string(self.path(&format!("{name}.{kind}"))).unwrap();
        let both = format!("{name}.both");
        std::fs::write(self.path(&both), ["pem", "key"].map(read).concat()).unwrap();
        self.text(&both)
    }
}

/// rsp on TLS for any name, with these routes; `statements` stand before the site.
fn secured(certificates: &Certificates, statements: &str, routes: &str) -> RspBuilder {
    let listen = if statements.contains("listen") { "" } else { "listen { \"127.0.0.1:$PORT\", tls = true }" };
    Rsp::config(&format!(
        "workers(1)\n{listen}\n{statements}\nsite \"*\" {{\n  tls = {{ cert = \"site.pem\", key = \"site.key\" }},\n  {routes}\n}}\n"
    ))
    .file("site.pem", std::fs::read(certificates.path("site.pem")).unwrap())
    .file("site.key", std::fs::read(certificates.path("site.key")).unwrap())
    .file("ca.pem", std::fs::read(certificates.path("ca.pem")).unwrap())
}

const WHO: &str =
    "function(request) return reply(200, `{request.version} {request.scheme} {request.client.ip}\\n`) end";

fn url(rsp: &Rsp, path: &str) -> String {
    format!("https://localhost:{}{path}", rsp.port())
}

/// What a program says to the end, given `input`; it has twenty seconds.
#[track_caller]
fn say(words: &[&str], input: &str) -> String {
    let script = "printf '%s' \"$INPUT\" | exec timeout 20 \"$@\"";
    let output = Command::new("sh").args(["-c", script, "sh"]).args(words).env("INPUT", input).output().unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

#[test]
fn curl_speaks_both_versions_of_http_and_of_tls() {
    let certificates = Certificates::new();
    let rsp = secured(&certificates, "", &format!("[\"/*\"] = {WHO}")).start();
    let ca = certificates.text("ca.pem");
    for (flags, version) in [
        (&["--http2", "--tlsv1.3"][..], "2"),
        (&["--http2", "--tls-max", "1.2"], "2"),
        (&["--http1.1", "--tlsv1.3"], "1.1"),
        (&["--http1.1", "--tls-max", "1.2"], "1.1"),
        (&["--no-alpn"], "1.1"),
    ] {
        let url = url(&rsp, "/");
        let all = [&["--cacert", &ca, "-w", "%{http_version} %{ssl_verify_result}", &url], flags].concat();
        let output = curl(&all);
        assert_eq!(output.text(), format!("{version} https 127.0.0.1\n{version} 0"), "{flags:?}: {}", output.stderr);
    }
    // A stranger's authority is none.
    assert_eq!(curl(&[&url(&rsp, "/")]).code, Some(60));
}

#[test]
fn curl_uploads_and_downloads_megabytes_by_both() {
    let certificates = Certificates::new();
    let nginx = Nginx::start("server { listen 127.0.0.1:$PORT; root $DIR; client_max_body_size 0; dav_methods PUT; }");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(nginx.folder().join("large"), &bytes).unwrap();
    let rsp = secured(&certificates, "", "[\"/*\"] = proxy \"$NGINX\"").set("NGINX", nginx.address()).start();
    let ca = certificates.text("ca.pem");
    for flag in ["--http2", "--http1.1"] {
        let output = curl(&["--cacert", &ca, flag, &url(&rsp, "/large")]);
        assert!(output.stdout == bytes, "{flag}: {} bytes, {}", output.stdout.len(), output.stderr);
        let (large, name) = (nginx.folder().join("large"), format!("uploaded{flag}"));
        let url = url(&rsp, &format!("/{name}"));
        let output = curl(&["--cacert", &ca, flag, "-w", "%{http_code}", "-T", large.to_str().unwrap(), &url]);
        assert!(output.text().ends_with("201"), "{flag}: {} {}", output.text(), output.stderr);
        assert!(std::fs::read(nginx.folder().join(name)).unwrap() == bytes, "{flag}");
    }
}

#[test]
fn openssl_verifies_resumes_and_negotiates() {
    let certificates = Certificates::new();
    let rsp = secured(&certificates, "", &format!("[\"/*\"] = {WHO}")).start();
    let (address, ca) = (rsp.address(), certificates.text("ca.pem"));
    let client = |more: &[&str], input: &str| {
        let words = ["openssl", "s_client", "-connect", &address, "-servername", "localhost", "-CAfile", &ca];
        say(&[&words, more].concat(), input)
    };
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = client(&[version, "-alpn", "h2,http/1.1", "-verify_return_error"], "");
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("ALPN protocol: h2"), "{said}");
        assert!(said.contains(name), "{said}");
        // With the session of one connection another is opened.
        let session = certificates.text("session");
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client(&[version, "-sess_out", &session, "-quiet", "-ign_eof"], request);
        let said = client(&[version, "-sess_in", &session, "-ign_eof"], request);
        assert!(said.contains("Reused, ") && said.contains("1.1 https 127.0.0.1"), "{said}");
    }
    let said = client(&["-tls1_1"], "");
    assert!(said.contains("alert protocol version") || said.contains("alert handshake failure"), "{said}");
    assert!(client(&["-alpn", "ftp"], "").contains("no application protocol"));
}

#[test]
fn python_s_ssl_has_what_both_agreed_on() {
    let certificates = Certificates::new();
    let rsp = secured(&certificates, "", &format!("[\"/*\"] = {WHO}")).start();
    let script = "import http.client, ssl, sys\n\
        context = ssl.create_default_context(cafile=sys.argv[2])\n\
        connection = http.client.HTTPSConnection('localhost', int(sys.argv[1]), context=context, timeout=10)\n\
        for number in range(3):\n    \
            connection.request('GET', '/')\n    \
            print(connection.getresponse().read().decode().strip(), connection.sock.version())\n";
    let said = say(&["python3", "-c", script, &rsp.port().to_string(), &certificates.text("ca.pem")], "");
    assert_eq!(said, "1.1 https 127.0.0.1 TLSv1.3\n".repeat(3));
}

#[test]
fn nghttp_and_h2load_get_every_answer() {
    let certificates = Certificates::new();
    let rsp = secured(&certificates, "", &format!("[\"/*\"] = {WHO}")).start();
    let said = say(&["nghttp", "-v", &url(&rsp, "/")], "");
    assert!(said.contains("The negotiated protocol: h2") && said.contains(":status: 200"), "{said}");
    assert!(said.contains("SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):1"), "{said}");
    assert!(!said.contains("[ERROR]") && !said.contains("RST_STREAM"), "{said}");
    let said = say(&["h2load", "-n", "2000", "-c", "4", "-m", "16", &url(&rsp, "/")], "");
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored"), "{said}");
    let said = say(&["h2load", "--h1", "-n", "400", "-c", "4", &url(&rsp, "/")], "");
    assert!(said.contains("400 succeeded, 0 failed, 0 errored"), "{said}");
}

#[test]
fn websockets_and_event_streams_of_python_share_a_channel_over_tls() {
    let certificates = Certificates::new();
    let rsp = secured(&certificates, "", "[\"/*\"] = channel { \"room\", history = 10 }").start();
    let ca = certificates.text("ca.pem");
    let wss = url(&rsp, "/").replace("https:", "wss:");
    let mut socket = Puppet::python("websocket.py", &json!({ "url": wss, "ca": ca }));
    assert_eq!(socket.hear_of("open"), Value::Null);
    let mut events = Puppet::python("event_stream.py", &json!({ "url": url(&rsp, "/"), "ca": ca }));
    assert_eq!(events.hear_of("open"), Value::Null);
    for text in ["over TLS – 猫", &"long ".repeat(10_000)] {
        socket.tell(&json!({ "text": text }));
        assert_eq!(socket.hear_of("text"), text);
        assert_eq!(events.hear_of("message"), text);
    }
    let output = curl(&["--cacert", &ca, "-d", "from curl", &url(&rsp, "/")]);
    assert!(output.text().contains("\"subscribers\":2"), "{}", output.text());
    assert_eq!((socket.hear_of("text"), events.hear_of("message")), ("from curl".into(), "from curl".into()));
}

#[test]
fn a_page_by_http_2_has_its_channel_over_wss_in_a_browser() {
    let certificates = Certificates::new();
    let routes = "[\"/room\"] = channel { \"room\", history = 10 }, [\"/*\"] = files \".\"";
    let page = "<!doctype html><title>secured</title><h1>Over TLS</h1><img src=\"/a.svg\">";
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"80\" height=\"80\"><circle cx=\"40\" cy=\"40\" r=\"40\"/></svg>";
    let rsp = secured(&certificates, "", routes).file("index.html", page).file("a.svg", svg).start();
    let steps = "
        const seen = await page.evaluate(async () => {
          const socket = new WebSocket(location.href.replace('https:', 'wss:') + 'room');
          const heard = [];
          await new Promise((open, fail) => { socket.onopen = open; socket.onerror = fail; });
          const two = new Promise((done) => { socket.onmessage = ({ data }) => heard.push(data) === 2 && done(); });
          socket.send('from the socket');
          await fetch('/room', { method: 'POST', body: 'from a fetch' });
          await two;
          const protocols = performance.getEntries().map((entry) => entry.nextHopProtocol).filter((name) => name);
          return { heard: heard.sort(), protocols: [...new Set(protocols)], title: document.title };
        });
        await page.screenshot({ path: '$PICTURES/tls.png' });
        return seen;";
    let visit = Chromium::visit(&url(&rsp, "/"), &steps.replace("$PICTURES", env!("CARGO_TARGET_TMPDIR")));
    assert_eq!(visit.errors, [""; 0]);
    let wanted = json!({ "heard": ["from a fetch", "from the socket"], "protocols": ["h2"], "title": "secured" });
    assert_eq!(visit.value, wanted);
    for (path, status) in [("/a.svg", "200"), ("/site.key", "404"), ("/site.pem", "404")] {
        let ca = certificates.text("ca.pem");
        let output = curl(&["--cacert", &ca, "-o", "/dev/null", "-w", "%{http_code}", &url(&rsp, path)]);
        assert_eq!(output.text(), status, "{path}");
    }
}

#[test]
fn haproxy_in_front_passes_tls_on_and_says_whose_it_is() {
    let certificates = Certificates::new();
    let statements = "trust \"127.0.0.1\"\nlisten { \"127.0.0.1:$PORT\", tls = true, proxy_protocol = true }";
    let rsp = secured(&certificates, statements, &format!("[\"/*\"] = {WHO}")).start();
    let haproxy = Haproxy::start(&format!(
        "listen front\n  mode tcp\n  bind 127.0.0.1:$PORT\n  server rsp {} send-proxy-v2\n",
        rsp.address()
    ));
    let (_, port) = haproxy.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let (ca, url) = (certificates.text("ca.pem"), format!("https://localhost:{port}/"));
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let output = curl(&["--cacert", &ca, "--interface", "127.0.0.9", flag, &url]);
        assert_eq!(output.text(), format!("{version} https 127.0.0.9\n"), "{}", output.stderr);
    }
}

#[test]
fn what_is_passed_through_is_opened_by_haproxy_which_learns_the_client() {
    let certificates = Certificates::new();
    let haproxy = Haproxy::start(&format!(
        "frontend back\n  mode http\n  bind 127.0.0.1:$PORT accept-proxy ssl crt {} alpn h2,http/1.1\n  \
         http-request return status 200 content-type text/plain lf-string \"opened by haproxy for %[src], %[fc_pp_authority]\\n\"\n",
        certificates.both("site")
    ));
    let rsp = Rsp::config(
        "workers(1)\nlisten { \"127.0.0.1:$PORT\", tls = true }\n\
         local back = upstream { \"$BACK\", proxy_protocol = \"v2\" }\nsite \"localhost\" { tls = passthrough(back) }\n",
    )
    .set("BACK", haproxy.address())
    .start();
    for flag in ["--http2", "--http1.1"] {
        let output =
            curl(&["--cacert", &certificates.text("ca.pem"), "--interface", "127.0.0.9", flag, &url(&rsp, "/")]);
        assert_eq!(output.text(), "opened by haproxy for 127.0.0.9, localhost\n", "{}", output.stderr);
    }
}

#[test]
fn nginx_and_haproxy_are_asked_by_tls_with_and_without_http_2() {
    let certificates = Certificates::new();
    let nginx = Nginx::start(&format!(
        "server {{ listen 127.0.0.1:$PORT ssl http2; ssl_protocols TLSv1.2 TLSv1.3; \
         ssl_certificate {}; ssl_certificate_key {}; \
         location / {{ return 200 \"nginx $server_protocol $ssl_protocol $ssl_server_name\\n\"; }} }}",
        certificates.text("site.pem"),
        certificates.text("site.key"),
    ));
    let haproxy = Haproxy::start(&format!(
        "frontend back\n  mode http\n  bind 127.0.0.1:$PORT ssl crt {} alpn h2,http/1.1\n  \
         http-request return status 200 content-type text/plain lf-string \"haproxy %HV %[ssl_fc_protocol] %[ssl_fc_sni]\\n\"\n",
        certificates.both("site")
    ));
    let port = |address: String| address.rsplit_once(':').unwrap().1.to_owned();
    let rsp = secured(
        &certificates,
        "local function app(port, http2) return upstream { \"https://localhost:\" .. port, http2 = http2, tls = { ca = \"ca.pem\" } } end",
        "[\"/nginx\"] = proxy(app(\"$NGINX\", false)), [\"/nginx/2\"] = proxy(app(\"$NGINX\", true)), \
         [\"/haproxy\"] = proxy(app(\"$HAPROXY\", false)), [\"/haproxy/2\"] = proxy(app(\"$HAPROXY\", true))",
    )
    .set("NGINX", port(nginx.address()))
    .set("HAPROXY", port(haproxy.address()))
    .start();
    let ca = certificates.text("ca.pem");
    for (path, said) in [
        ("/nginx", "nginx HTTP/1.1 TLSv1.3 localhost\n"),
        ("/nginx/2", "nginx HTTP/2.0 TLSv1.3 localhost\n"),
        ("/haproxy", "haproxy HTTP/1.1 TLSv1.3 localhost\n"),
        ("/haproxy/2", "haproxy HTTP/2.0 TLSv1.3 localhost\n"),
    ] {
        for flag in ["--http2", "--http1.1"] {
            assert_eq!(curl(&["--cacert", &ca, flag, &url(&rsp, path)]).text(), said, "{path} {flag}");
        }
    }
}

#[test]
fn nginx_and_haproxy_in_front_verify_rsp_and_show_who_they_are() {
    let certificates = Certificates::new();
    let own = "site \"localhost\" { tls = { cert = \"site.pem\", key = \"site.key\", client_ca = \"ca.pem\" },\n  \
               [\"/*\"] = function(request) return reply(200, `{request.version} {request.tls.version} {request.tls.subject}\\n`) end }";
    let app = secured(&certificates, own, "[\"/*\"] = reply(404)").start();
    let (port, ca) = (app.port(), certificates.text("ca.pem"));
    let (client, both) = (certificates.text("client"), certificates.both("client"));
    let nginx = Nginx::start(&format!(
        "server {{ listen 127.0.0.1:$PORT; location / {{ proxy_pass https://localhost:{port}; proxy_http_version 1.1; \
         proxy_ssl_server_name on; proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_protocols TLSv1.2 TLSv1.3; \
         proxy_ssl_certificate {client}.pem; proxy_ssl_certificate_key {client}.key; }} }}"
    ));
    let haproxy = |version: &str, alpn: &str| {
        Haproxy::start(&format!(
            "listen front\n  mode http\n  bind 127.0.0.1:$PORT\n  server rsp 127.0.0.1:{port} ssl verify required ca-file {ca} \
             sni str(localhost) verifyhost localhost crt {both} alpn {alpn} {version}\n"
        ))
    };
    let (by_1, by_2) = (haproxy("ssl-min-ver TLSv1.3", "http/1.1"), haproxy("ssl-max-ver TLSv1.2", "h2"));
    for (address, said) in [
        (nginx.address(), "1.1 1.3 CN=front\n"),
        (by_1.address(), "1.1 1.3 CN=front\n"),
        (by_2.address(), "2 1.2 CN=front\n"),
    ] {
        for _ in 0..3 {
            let output = curl(&["-H", "Host: localhost", &format!("http://{address}/")]);
            assert_eq!(output.text(), said, "{}", output.stderr);
        }
    }
}
