listen "127.0.0.1:8080"
site "a.example" { tls = { cert = "tls.pem", key = "tls.key" }, ["/"] = reply(200) }
site "b.example" { tls = passthrough "127.0.0.1:8443" }
site { "c.example", listen = "127.0.0.1:8080" } { tls = { cert = "tls.pem", key = "tls.key" }, ["/"] = reply(200) }
site "d.example" { redirect_http = true, ["/"] = reply(200) }
site "e.example" { hsts = true, ["/"] = reply(200) }
site "f.example" { redirect_http = false, tls = nil, ["/"] = reply(200) }
