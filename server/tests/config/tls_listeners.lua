listen { "127.0.0.1:8443", tls = { minimum = "1.3" } }
listen { "127.0.0.1:8444", tls = { min = "1.1" } }
listen { "127.0.0.1:8445", tls = "yes" }
listen { "127.0.0.1:8446", tls = { "1.3" } }
listen { "127.0.0.1:8447", tls = { cert = "tls.pem", key = "tls.key" } }
listen { "127.0.0.1:5432", tcp = tunnel "127.0.0.1:5433", tls = true }
listen { "127.0.0.1:5434", tcp = tunnel "127.0.0.1:5433", http2 = true }
listen { "127.0.0.1:5435", tcp = proxy "127.0.0.1:5433" }
listen { "127.0.0.1:5436", tcp = tunnel "db" }
listen { "127.0.0.1:5437", tcp = tunnel { "127.0.0.1:5433", idle_timeout = 30 } }
listen { "127.0.0.1:5438", tcp = tunnel {} }
listen { "127.0.0.1:5439", tcp = tunnel "127.0.0.1:5433", tls = false, http2 = false }
site { "tunnel.example", listen = { "127.0.0.1:5439", "127.0.0.1:8443" } } { ["/"] = reply(200) }
site "route.example" { ["/"] = tunnel "127.0.0.1:5433" }
site "opened.example" { tls = { cert = "tls.pem", key = "tls.key" }, ["/"] = reply(200) }
