listen { "127.0.0.1:8443", tls = true }
local hits = shared "hits"
site "*" {
  tls = { certificate = function(sni) end },
  ["/*"] = { compress(), proxy "127.0.0.1:3000" },
  ["/table"] = proxy(routes { redis "redis://127.0.0.1", schema = "hipache" }),
}
