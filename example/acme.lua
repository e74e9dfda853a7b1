-- Certificates from Let's Encrypt, got and renewed by rsp itself; see doc/guide/certificates.md.
-- The names must lead to this machine, and port 80 of it must be reachable.

acme {
  email = "me@example.com",
  cache = "/var/lib/rsp-acme",
  -- Try it here first: its certificates are believed by nobody, and its limits are far away.
  directory = "https://acme-staging-v02.api.letsencrypt.org/directory",
}

listen ":80"
listen { ":443", tls = true }

site { "example.com", "www.example.com" } {
  tls = "acme",
  redirect_http = true,
  hsts = "30d",
  ["/*"] = proxy "127.0.0.1:3000",
}
