listen { "127.0.0.1:8443", tls = true }
acme { cache = "tls.pem", directory = "stagin", ca = "gone.pem", mail = "me@example.com" }
site "a.example" { tls = "acme", ["/"] = reply(200) }
