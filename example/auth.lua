-- Who may pass: staff by name and password, members by what a login service says, apps with a signed token.
-- Try it: rsp check example/auth.lua

listen "127.0.0.1:8080"

local app = upstream "app" { "127.0.0.1:3000" }
local login = upstream "login" { "127.0.0.1:9000" }

-- Or a file: auth { basic = "./htpasswd" }, where `htpasswd -B -C 12 htpasswd alice` writes a line.
local staff = auth {
  basic = {
    -- The password is "open sesame". Make your own; a real one costs 10 or more.
    alice = "$2y$04$2m/cwqLoplQT1je8GxRh7u9zv8xPdijkvSlpzgoiaJK.kkdDFQ9iS",
  },
}

-- Asked about every request: GET /check with its cookies, its method and its URI. 2xx lets it pass and names the
-- user; a redirect to the login page, or any other 3xx or 4xx, goes to the browser as it is.
local members = auth {
  forward = { login, path = "/check", timeout = "2s", cache = "10s", copy = { "X-User" } },
}

-- Tokens that a login service signs with the other half of this key (that of the example is thrown away). With a shared
-- secret of 32 bytes or more: jwt = { secret = env "TOKEN_SECRET" }.
local apps = auth {
  jwt = { key = "./tokens.pem", audience = "api" },
}

site "*" {
  ["/"]          = reply(200, "for everybody\n"),
  ["/login/*"]   = proxy(login),
  ["/staff/*"]   = { staff, proxy(app) },
  ["/members/*"] = { members, proxy(app) },
  ["/api/*"]     = { apps, proxy(app) },
  ["/whoami"]    = { apps, function(request) return reply(200, request.user .. "\n") end },
}
