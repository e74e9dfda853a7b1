listen "127.0.0.1:8080"
local app = upstream { "127.0.0.1:3000" }
site "*" { ["/*"] = app }
