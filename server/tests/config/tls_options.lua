listen { "127.0.0.1:8443", tls = true }
local function with(options)
  options.cert, options.key = "tls.pem", "tls.key"
  return options
end
site "a.example" { tls = with { min = "1.1" }, ["/"] = reply(200) }
site "b.example" { tls = with { min = "TLSv1.3" }, ["/"] = reply(200) }
site "c.example" { tls = with { ciphers = "TLS_AES_128_GCM_SHA255" }, ["/"] = reply(200) }
site "d.example" { tls = with { ciphers = { "ECDHE-RSA-AES128-GCM-SHA256" } }, ["/"] = reply(200) }
site "e.example" { tls = with { ciphers = {} }, ["/"] = reply(200) }
site "f.example" { tls = with { ciphers = 7 }, ["/"] = reply(200) }
site "g.example" { tls = with { ciphers = { "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256" } }, ["/"] = reply(200) }
site "h.example" { tls = with { min = "1.3", ciphers = { "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" } }, ["/"] = reply(200) }
site "i.example" {
  tls = {
    { cert = "tls.pem", key = "tls.key", min = "1.2", client_ca = "tls.pem" },
    { cert = "tls.pem", key = "tls.key", min = "1.3", client_ca = "tls.key" },
    ciphers = { "TLS_AES_128_GCM_SHA256" },
  },
  ["/"] = reply(200),
}
site "j.example" { tls = with {}, hsts = "a year", ["/"] = reply(200) }
site "k.example" { tls = with {}, hsts = "1500ms", ["/"] = reply(200) }
site "l.example" { tls = with {}, hsts = 31536000, ["/"] = reply(200) }
site "m.example" { tls = with {}, hsts = "9999d", ["/"] = reply(200) }
site "n.example" { tls = with {}, redirect_http = "yes", ["/"] = reply(200) }
