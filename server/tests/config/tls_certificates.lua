listen { "127.0.0.1:8443", tls = true }
site "a.example" { tls = { certificate = "tls.pem" }, ["/"] = reply(200) }
site "b.example" { tls = { key = "tls.key" }, ["/"] = reply(200) }
site "c.example" { tls = {}, ["/"] = reply(200) }
site "d.example" { tls = "tls.pem", ["/"] = reply(200) }
site "e.example" { tls = true, ["/"] = reply(200) }
site "f.example" { tls = proxy "127.0.0.1:8443", ["/"] = reply(200) }
site "g.example" { tls = { cert = "gone.pem", key = "tls.key" }, ["/"] = reply(200) }
site "h.example" { tls = { cert = "tls.pem", key = "gone.key" }, ["/"] = reply(200) }
site "i.example" { tls = { cert = 7, kee = "tls.key" }, ["/"] = reply(200) }
site "j.example" { tls = { "tls.pem", "tls.key" }, ["/"] = reply(200) }
site "k.example" { tls = { { cert = "tls.pem", key = "tls.key" }, {} }, ["/"] = reply(200) }
site "l.example" { tls = { { cert = "tls.pem", key = "tls.key" }, cert = "tls.pem" }, ["/"] = reply(200) }
site "m.example" { tls = { cert = "tls.pem", key = "tls.key", client_ca = "gone.pem" }, ["/"] = reply(200) }
site "n.example" { tls = { cert = "", key = "tls.key" }, ["/"] = reply(200) }
