listen ":8080"
upstream "a" {
  { "127.0.0.1:3000", name = "one" },
  { "127.0.0.1:3001", name = "one" },
  balance = "hash", key = "heder:X-User", sticky = "app cookie",
}
upstream "b" { "127.0.0.1:3002", key = "uri", probe = { every = "1s" }, queue = { size = 5, timout = "1s" } }
upstream "c" {
  "127.0.0.1:3003",
  probe = { path = "healthz", tcp = false },
}
upstream "d" {
  "127.0.0.1:3004",
  balance = "hash", key = function(request) return request.path end,
  probe = { path = "/", status = "2xx" },
  max_connections = 0,
}
site "*" (proxy "a")
