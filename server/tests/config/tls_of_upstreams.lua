listen "127.0.0.1:8080"
upstream "a" { "https://a.example/path" }
upstream "b" { "https://" }
upstream "c" { "127.0.0.1:9443", tls = true }
upstream "d" { "127.0.0.1:9443", tls = { ca = "tls.pem", verify = false } }
upstream "e" { "127.0.0.1:9443", tls = { ca = "gone.pem" } }
upstream "f" { "127.0.0.1:9443", tls = { server_name = "https://f.example" } }
upstream "g" { "127.0.0.1:9443", tls = { key = "tls.key" } }
upstream "h" { "127.0.0.1:9443", tls = { cert = "gone.pem" } }
upstream "i" { "unix:/run/i.sock", tls = {} }
upstream "j" { "127.0.0.1:9443", tls = { servername = "j.example" } }
upstream "k" { "127.0.0.1:9443", "https://k.example", tls = { ca = "tls.pem", server_name = "k.example", cert = "tls.pem", key = "tls.key" } }
site "*" (proxy "k")
