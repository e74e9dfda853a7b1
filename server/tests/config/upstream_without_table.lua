listen "127.0.0.1:8080"
local app = upstream "app"
site "*" (proxy(app))
