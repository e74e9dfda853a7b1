listen "127.0.0.1:8080"
site "*" { ["/"] = reply(200, "caf\xe9") }
