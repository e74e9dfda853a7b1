//! Paths go upstream as they came; one that could mean two routes goes nowhere.

use testkit::{Origin, Rsp};

use super::proxy;

#[test]
fn a_path_is_forwarded_as_received() {
    let origin = Origin::echoing();
    let rsp = proxy(&origin);
    let mut client = rsp.client();
    let paths = [
        "/",
        "/a//b",
        "/a/../b",
        "/./a",
        "/a/%2e%2e/b",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/%41%7f",
        "/a;b=c",
        "/?",
        "/?a=%20&b",
        "/a?x=/../y",
        "//",
        "/a/..",
        "/~a!$&'()*+,:@[]|{}^`\"<>",
    ];
    for path in paths {
        assert_eq!(client.get(path).status, 200, "{path}");
        assert_eq!(origin.received().last().unwrap().request.target, path);
    }
    for path in ["/../a", "/%2e%2e/a", "/a%", "/a%zz", "/a%00"] {
        assert_eq!(client.get(path).status, 400, "{path} has no reading");
    }
}

#[test]
fn a_path_that_another_reader_takes_for_another_route_is_400() {
    let (open, guarded) = (Origin::echoing(), Origin::echoing());
    let rsp = Rsp::config(
        "workers(1)\nlisten \"127.0.0.1:$PORT\"\n\
         site \"*\" { [\"/*\"] = proxy \"$OPEN\", [\"/admin/*\"] = { allow \"10.0.0.0/8\", proxy \"$GUARDED\" } }",
    )
    .set("OPEN", open.address())
    .set("GUARDED", guarded.address())
    .start();
    let mut client = rsp.client();
    let ambiguous = [
        "/x/../admin/a",
        "/admin/../x",
        "/admin/%2e%2e/x",
        "/x/%2e%2e/admin/a",
        "/admin%2fa",
        "/admin%5ca",
        "/admin\\a",
        "//admin/a",
        "/./admin/a",
        "/x/..%2fadmin/a",
        "/admin/..%2f..%2fx",
    ];
    for path in ambiguous {
        assert_eq!(client.get(path).status, 400, "{path}");
    }
    for (path, status) in [("/admin/a", 403), ("/%61dmin/a", 403), ("/admin", 200), ("/x/../y", 200), ("/x%2fy", 200)] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    assert_eq!(guarded.received().len(), 0);
    assert_eq!(open.received().len(), 3);
}

#[test]
fn the_nearest_host_wins_also_over_the_sites_of_one_listener() {
    let rsp = Rsp::config(
        "workers(1) listen \"127.0.0.1:$PORT\" listen \"127.0.0.1:$PORT2\"\n\
         site { \"*\", listen = \"127.0.0.1:$PORT\" } (reply(200, \"any\"))\n\
         site \"a.test\" (reply(200, \"exact\"))",
    )
    .start();
    for (port, host, text) in [(1, "a.test", "exact"), (1, "b.test", "any"), (2, "a.test", "exact")] {
        let mut client = testkit::Client::connect(&format!("127.0.0.1:{}", rsp.port_of(port)));
        let answer = client.request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.text(), text, "{host} on listener {port}");
    }
}
