-- Filters stand before a handler: in their order on the way in, in reverse on the way out.

listen "127.0.0.1:8080"

local app = upstream "app" { "127.0.0.1:3000" }

-- One limit, however many routes it stands in: each client has 5 logins a minute in all.
local logins = limit { rate = "5/m" }

-- Pages of these origins may read the answers, errors and refusals included, so it stands first.
local pages = cors {
  origins = { "https://example.com", "https://*.example.com" },
  methods = { "PUT", "DELETE" },
  headers = { "Content-Type", "Authorization" },
  credentials = true,
  max_age = "10m",
}

site "*" {
  ["POST /login"]   = { logins, proxy(app) },
  ["POST /recover"] = { logins, proxy(app) },

  -- 20 a second of each key, 100 after a pause, and never more than 10 at once. Who sends no key is counted by address.
  ["/api/*"] = { pages, limit { rate = "20/s", burst = 100, key = "header:X-Api-Key", concurrent = 10 }, proxy(app) },

  -- The app knows these paths by another name. What follows a `?` would be a new query.
  ["/v1/*"] = { rewrite("^/v1/", "/api/"), proxy(app) },

  -- Names with a version in them can be kept for ever; the file has none.
  ["/static/*"] = {
    rewrite([[^(/static/.*)\.[0-9a-f]{8}(\.[a-z]+)$]], "$1$2"),
    headers { response = { set = { ["Cache-Control"] = "max-age=31536000, immutable" } } },
    files "./public",
  },

  ["/*"] = proxy(app),
}
