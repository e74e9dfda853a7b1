-- Nothing here is wrong, and none of it has an effect.
listen { "127.0.0.1:8443", tls = true }
acme { email = "me@example.com", cache = "./" }
site "a.example" { tls = passthrough "127.0.0.1:9443", redirect_http = true, ["/"] = reply(200) }
site "b.example" { ["/"] = reply(200) }
