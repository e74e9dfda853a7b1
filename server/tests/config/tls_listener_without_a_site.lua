listen "127.0.0.1:8080"
listen { "127.0.0.1:8443", tls = true }
listen { "127.0.0.1:8444", tls = true }
site { "a.example", listen = { "127.0.0.1:8080", "127.0.0.1:8444" } } {
  tls = { cert = "tls.pem", key = "tls.key" },
  ["/"] = reply(200),
}
site "b.example" { ["/"] = reply(200) }
