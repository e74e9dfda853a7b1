-- A warning: nobody could ask for the answer.
listen { "127.0.0.1:8443", tls = true }
acme { cache = "./", directory = "staging" }
site "a.example" { tls = "acme", ["/"] = reply(200) }
