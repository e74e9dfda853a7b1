listen { "127.0.0.1:8443", tls = true }
local hits = shared "hits"
site "*" { ["/*"] = { compress(), proxy "127.0.0.1:3000" }, ["/raw"] = tunnel "127.0.0.1:3000" }
