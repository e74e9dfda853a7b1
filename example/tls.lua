-- Three sites on one port. Make their certificates first: sh example/tls/certificates.sh
-- doc/guide/tls.md asks each of them.

listen { ":8443", tls = true }

-- A is opened here, with its own certificate, for HTTP/1.1 and HTTP/2.
site "a.example" {
  tls = { cert = "tls/a.pem", key = "tls/a.key" },
  ["/*"] = function(request)
    return reply(200, `A was opened by rsp, for {request.client.ip}, by {request.version} and TLS {request.tls.version}\n`)
  end,
}

-- B is passed through unopened: only the nginx of tls/nginx.conf has the key. It learns by the
-- PROXY protocol who the client is.
local nginx = upstream "nginx" { "127.0.0.1:9443", proxy_protocol = "v2" }
site "b.example" { tls = passthrough(nginx) }

-- C is for clients that have a certificate of this authority.
site "c.example" {
  tls = { cert = "tls/c.pem", key = "tls/c.key", client_ca = "tls/ca.pem" },
  ["/*"] = function(request) return reply(200, `C knows {request.tls.subject}\n`) end,
}
