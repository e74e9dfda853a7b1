//! The original rsp's config file in front of real servers, driven by curl.

use testkit::{Nginx, Pattern, PythonHttpServer, Rsp, RspBuilder, curl};

const FILE: &str = "-- as in 2013\nlistenPort = \"$PORT\"\nbackendAddress = \"$HOST\"\nbackendPort = \"$BACKEND\"\n";

fn original(address: &str) -> RspBuilder {
    let (host, port) = address.rsplit_once(':').unwrap();
    Rsp::config(FILE).set("HOST", host).set("BACKEND", port)
}

/// Serves its folder, which Python can serve as well.
fn nginx() -> Nginx {
    Nginx::start("server { listen 127.0.0.1:$PORT; root $DIR; }")
}

#[test]
fn two_requests_one_after_the_other_pass_through() {
    let nginx = nginx();
    std::fs::write(nginx.folder().join("a.txt"), "from a folder").unwrap();
    let python = PythonHttpServer::start(nginx.folder());
    for backend in [nginx.address(), python.address()] {
        let rsp = original(&backend).start();
        for _ in 0..2 {
            let got = curl(&[&rsp.url("/a.txt")]);
            assert_eq!((got.code, got.text().as_str()), (Some(0), "from a folder"), "{backend}: {}", got.stderr);
        }
        assert_eq!(curl(&["-w", "%{http_code}", "-o", "/dev/null", &rsp.url("/none")]).text(), "404");
    }
}

#[test]
fn an_answer_of_11_mb_arrives_intact() {
    let nginx = nginx();
    let bytes = Pattern::bytes(11 << 20);
    std::fs::write(nginx.folder().join("large"), &bytes).unwrap();
    let python = PythonHttpServer::start(nginx.folder());
    for backend in [nginx.address(), python.address()] {
        let rsp = original(&backend).start();
        let got = curl(&[&rsp.url("/large")]);
        assert_eq!((got.code, got.stdout.len()), (Some(0), bytes.len()), "{backend}: {}", got.stderr);
        assert!(got.stdout == bytes, "{backend}: the bytes differ");
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_harms_nobody_else() {
    let nginx = nginx();
    std::fs::write(nginx.folder().join("large"), Pattern::bytes(11 << 20)).unwrap();
    std::fs::write(nginx.folder().join("small"), "small").unwrap();
    let rsp = original(&nginx.address()).start();
    for _ in 0..3 {
        let mut client = rsp.client();
        client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_head();
        client.read_exactly(1000);
        client.reset();
        assert_eq!(rsp.client().get("/small").text(), "small");
    }
}
