-- A small site: static files, an app on two processes, and an admin corner for the office.
-- Try it: rsp check example/site.lua

listen "127.0.0.1:8080"
trust { "unix", "127.0.0.0/8" }
log { format = "combined" }
limits { body = "10MiB" }
drain "10s"
errors { [502] = "./public/502.html" } -- {id} in it is the request's id in the log

local app = upstream "app" {
  "127.0.0.1:3000",
  { "127.0.0.1:3001", weight = 2 },
  { "127.0.0.1:3002", backup = true },
  balance = "least_connections",
}

local secure = headers {
  response = { set = { ["X-Content-Type-Options"] = "nosniff" }, remove = { "Server" } },
}

site { "example.com", "localhost" } {
  ["/"]            = files "./public",
  ["/static/*"]    = files "./public",
  ["/api/*"]       = { secure, proxy { app, timeout = "30s" } },
  ["POST /upload"] = proxy { app, timeout = "5m" },
  ["/office/*"]    = { allow { "10.0.0.0/8", "127.0.0.1" }, proxy(app) },
  ["/old/{page}"]  = redirect("/{page}", 301),
  ["/health"]      = reply(200, "fine\n"),
}

site "*.example.com" (redirect("https://example.com{uri}", 308))

site "*" (reply(404, "no such site\n"))
