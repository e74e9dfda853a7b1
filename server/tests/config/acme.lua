listen { "127.0.0.1:8443", tls = true }
acme { email = "mailto:me@example.com", directory = "http://acme.example/directory", challenge = "dns-01" }
site { "a.example", "*.a.example" } { tls = "acme", ["/"] = reply(200) }
site "*" { tls = "acme", ["/"] = reply(200) }
site "127.0.0.1" { tls = "acme", ["/"] = reply(200) }
site "b.example" { tls = "acne", ["/"] = reply(200) }
