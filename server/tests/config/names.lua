listen "127.0.0.1:8080"
resolver { "10.0.0.2:53", "10.0.0.3", "[::1]:53", "dns.internal", "0.0.0.0", 53 }
local app = upstream "app" { "srv:_http._tcp.app.internal", "srv:app", "srv:", resolve = "once" }
site "a" { ["/*"] = proxy(app) }
