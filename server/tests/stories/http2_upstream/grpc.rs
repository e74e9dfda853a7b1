//! gRPC through rsp: a client and a server that others wrote.

use serde_json::json;
use testkit::{Puppet, Rsp, free_port};

#[test]
fn every_kind_of_call_goes_through_and_failures_are_told() {
    let port = free_port();
    let mut server = Puppet::python("grpc_server.py", &json!({ "port": port }));
    server.hear_of("listening");
    let config = "listen { \"127.0.0.1:$PORT\", http2 = true }\n\
                  upstream \"app\" { \"127.0.0.1:$SERVER\", http2 = true }\n\
                  site \"*\" { [\"/test.Echo/*\"] = proxy \"app\" }";
    let rsp = Rsp::config(config).set("SERVER", port).start();
    let mut client = Puppet::python("grpc_client.py", &json!({ "address": rsp.address() }));
    for told in [
        json!({ "once": "hello", "told": "this" }),
        json!({ "large": 3_000_000 }),
        json!({ "many": ["0", "1", "2", "3", "4"] }),
        json!({ "total": "6" }),
        json!({ "talk": ["one", "two", "three"], "rest": [] }),
        json!({ "fail": { "code": "NOT_FOUND", "details": "no such thing: it" } }),
        json!({ "wait": { "code": "DEADLINE_EXCEEDED", "details": "Deadline Exceeded" } }),
        json!({ "nowhere": { "code": "UNIMPLEMENTED", "details": "Not Found" } }),
    ] {
        assert_eq!(client.hear(), told);
    }
    // A server that is gone is one that can be asked again.
    drop(server);
    client.tell(&json!({}));
    let again = client.hear();
    assert_eq!(again["again"]["code"], "UNAVAILABLE", "{again}");
}
