listen { "127.0.0.1:8443", tls = { min = "1.3" } }
listen { "127.0.0.1:8444", tls = true }
site { "old.example", listen = "127.0.0.1:8444" } {
  tls = { cert = "tls.pem", key = "tls.key", ciphers = { "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" } },
  ["/"] = reply(200),
}
site "both.example" {
  tls = { cert = "tls.pem", key = "tls.key", ciphers = { "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256" } },
  ["/"] = reply(200),
}
site "wrong.example" {
  tls = { cert = "tls.pem", key = "tls.key", ciphers = { "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" } },
  ["/"] = reply(200),
}
