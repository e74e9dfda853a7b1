listen "127.0.0.1:8080"
local routes = {}
routes.routes = routes
site "*" (routes)
