listen { "127.0.0.1:8443", tls = true }
local secured = upstream "secured" { "https://127.0.0.1:9443" }
site "a.example" { tls = passthrough "nobody" }
site "b.example" { tls = passthrough {} }
site "c.example" { tls = passthrough { "127.0.0.1:9443", timeout = "1m" } }
site "d.example" { tls = passthrough(secured) }
site "e.example" { tls = passthrough "127.0.0.1:9443", hsts = true }
site "f.example" { tls = passthrough(proxy "127.0.0.1:9443") }
site "g.example" { tls = passthrough "127.0.0.1:9443" }
site { "h.example", "g.example" } { tls = { cert = "tls.pem", key = "tls.key" }, ["/"] = reply(200) }
