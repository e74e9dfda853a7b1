//! Stories of the PROXY protocol, in both directions: whose a connection is that somebody passes on.

use std::time::Duration;

use testkit::{Haproxy, Nginx, Rsp, curl, eventually};

use super::SOON;

/// rsp that tells each client who it takes it for, and believes 127.0.0.1.
const WHO: &str = r#"
workers(1)
listen { "127.0.0.1:$PORT", proxy_protocol = true }
trust "127.0.0.1"
limits { head_timeout = "300ms" }
site "*" { ["/*"] = function(request)
  return reply(200, request.client.ip .. " " .. tostring(request.peer.port) .. " " .. request.scheme .. "\n")
end }
"#;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Version 2: the signature, what it is, and the bytes that follow.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, rest].concat()
}

#[test]
fn who_a_connection_is_from_is_what_its_header_says_for_every_request_on_it() {
    let rsp = Rsp::config(WHO).start();
    let mut client = rsp.client();
    client.send("PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n");
    for _ in 0..2 {
        assert_eq!(client.request(GET).text(), "203.0.113.7 4711 http\n");
    }
    let mut client = rsp.client();
    client.send_in_pieces("PROXY TCP6 2001:db8::7 2001:db8::1 4712 80\r\n", 1, Duration::from_millis(1));
    assert_eq!(client.request(GET).text(), "2001:db8::7 4712 http\n");
    let addresses = [203, 0, 113, 8, 192, 0, 2, 1, 0x12, 0x67, 0, 80];
    // The field of TLS says that the client came by it.
    let tls = [0x20, 0, 5, 1, 0, 0, 0, 0];
    let mut client = rsp.client();
    client.send([version_2(0x21, 0x11, &[&addresses[..], &tls].concat()), GET.into()].concat());
    assert_eq!(client.read_response("GET").text(), "203.0.113.8 4711 https\n");
}

#[test]
fn a_header_of_the_senders_own_leaves_the_address_as_it_is() {
    let rsp = Rsp::config(WHO).start();
    for header in [version_2(0x20, 0, &[]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = rsp.client();
        client.send(&header);
        let said = client.request(GET).text();
        assert!(said.starts_with("127.0.0.1 ") && said.ends_with(" http\n"), "{said}");
    }
}

#[test]
fn who_sends_no_header_a_wrong_one_or_none_in_time_is_closed_without_an_answer() {
    let rsp = Rsp::config(WHO).start();
    let too_long = version_2(0x21, 0x11, &[0; 5000]);
    for wrong in [GET.as_bytes(), b"PROXY TCP4 nonsense\r\n", &too_long, b"PROXY TCP4 203.0.113.7 192", b""] {
        let mut client = rsp.client();
        client.send(wrong);
        assert!(client.read_to_end().0.is_empty(), "{wrong:?}");
    }
    let mut client = rsp.client();
    client.send("PROXY UNKNOWN\r\n");
    assert_eq!(client.request(GET).status, 200, "nobody else was harmed");
}

#[test]
fn an_end_within_a_header_closes_at_once() {
    let rsp = Rsp::config(&WHO.replace("300ms", "60s")).start();
    for part in ["PROXY TCP4 203.0", "\r\n\r\n\0\r\nQUIT\n\x21"] {
        let mut client = rsp.client();
        client.send(part);
        client.half_close();
        assert!(client.is_closed_within(SOON));
    }
}

#[test]
fn only_who_is_trusted_may_say_whose_a_connection_is_and_its_client_is_not() {
    let rsp = Rsp::config(&WHO.replace("trust \"127.0.0.1\"", "trust \"10.0.0.0/8\"")).start();
    let mut client = rsp.client();
    let _ = client.try_send(format!("PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n{GET}"));
    assert!(client.read_to_end().0.is_empty());
    // What the header says is the peer: its own forwarding fields count if it is trusted, too.
    let rsp = Rsp::config(WHO).start();
    for (source, wanted) in [("203.0.113.7", "203.0.113.7 4711 http\n"), ("127.0.0.1", "198.51.100.1 4711 http\n")] {
        let mut client = rsp.client();
        client.send(format!("PROXY TCP4 {source} 192.0.2.1 4711 80\r\n"));
        let said = client.request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n");
        assert_eq!(said.text(), wanted);
    }
}

#[test]
fn connections_of_a_client_are_counted_by_the_address_in_the_header() {
    let config = WHO.replace("head_timeout = \"300ms\"", "connections_per_client = 1");
    let rsp = Rsp::config(&config).start();
    let connect = |source: &str| {
        let mut client = rsp.client();
        client.send(format!("PROXY TCP4 {source} 192.0.2.1 4711 80\r\n"));
        let status = client.request(GET).status;
        (client, status)
    };
    let (_first, status) = connect("203.0.113.7");
    assert_eq!(status, 200);
    assert_eq!(connect("203.0.113.7").1, 503);
    assert_eq!(connect("203.0.113.8").1, 200);
}

#[test]
fn haproxy_and_curl_say_whose_their_connections_are() {
    let rsp = Rsp::config(WHO).start();
    for version in ["send-proxy", "send-proxy-v2"] {
        let haproxy = Haproxy::start(&format!(
            "listen front\n  mode tcp\n  bind 127.0.0.1:$PORT\n  server rsp {} {version}\n",
            rsp.address()
        ));
        let answer = curl(&["--interface", "127.0.0.9", &format!("http://{}/", haproxy.address())]);
        assert!(answer.text().starts_with("127.0.0.9 "), "{version}: {}", answer.text());
    }
    let answer = curl(&["--haproxy-protocol", &format!("http://{}/", rsp.address())]);
    assert!(answer.text().starts_with("127.0.0.1 "), "{}", answer.text());
}

#[test]
fn an_upstream_learns_by_either_version_whose_a_connection_is() {
    let nginx = Nginx::start(
        "server { listen 127.0.0.1:$PORT proxy_protocol; access_log $DIR/access.log;
         location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port\\n\"; } }",
    );
    for version in ["v1", "v2"] {
        let rsp = Rsp::config(
            r#"
            listen "127.0.0.1:$PORT"
            upstream "app" { "$NGINX", proxy_protocol = "$VERSION", probe = { path = "/up", every = "50ms" } }
            site "*" { ["/*"] = proxy "app" }
            "#,
        )
        .set("NGINX", nginx.address())
        .set("VERSION", version)
        .start();
        for source in ["127.0.0.5", "127.0.0.6", "127.0.0.5"] {
            let answer = curl(&["--interface", source, &format!("http://{}/", rsp.address())]);
            assert!(answer.text().starts_with(&format!("{source} ")), "{version}: {}", answer.text());
        }
        // Two requests on one connection are two connections behind it, of one client.
        let mut client = rsp.client();
        assert_eq!(client.get("/").text(), client.get("/").text());
        // Its probes have a header, too: nginx answers no others.
        let seen = std::fs::read_to_string(nginx.folder().join("access.log")).unwrap().matches("GET /up").count();
        eventually(SOON, || {
            let log = std::fs::read_to_string(nginx.folder().join("access.log")).unwrap();
            log.lines().filter(|line| line.contains("GET /up HTTP/1.1\" 200")).count() > seen
        });
    }
}

#[test]
fn rsp_behind_rsp_knows_the_client_of_the_first() {
    let back = Rsp::config(WHO).start();
    let front = Rsp::config(
        r#"
        listen "127.0.0.1:$PORT"
        upstream "back" { "$BACK", proxy_protocol = "v2" }
        site "*" { ["/*"] = proxy { "back", forwarded = "off" } }
        "#,
    )
    .set("BACK", back.address())
    .start();
    let answer = curl(&["--interface", "127.0.0.7", &format!("http://{}/", front.address())]);
    assert!(answer.text().starts_with("127.0.0.7 "), "{}", answer.text());
}
