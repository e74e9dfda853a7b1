listen { "127.0.0.1:8443", tls = true }
site "a.example" { tls = "acme", ["/"] = reply(200) }
