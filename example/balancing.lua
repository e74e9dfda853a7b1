-- Three ways to spread work over an app's processes, with what happens when they are ill or busy.
listen "127.0.0.1:8080"

-- An app that keeps its sessions in memory: a client stays where it was, by a cookie that names the endpoint in a code.
local shop = upstream "shop" {
  "127.0.0.1:3000", "127.0.0.1:3001", { "127.0.0.1:3009", backup = true },
  balance = "least_connections",
  sticky = "shop_endpoint",
  -- Asked every two seconds; two failures in a row take it out, two successes bring it back.
  probe = { path = "/healthz", status = "200-299" },
  -- An endpoint that is back begins with a little.
  slow_start = "30s",
}

-- A synchronous app: as many requests at once as it has threads. The others wait in line, two seconds at most.
local reports = upstream "reports" {
  { "127.0.0.1:3100", max_connections = 4 },
  { "127.0.0.1:3101", max_connections = 8, weight = 2 },
  queue = { size = 100, timeout = "2s" },
}

-- Caches: a page always from the same one, so that each keeps its share of all pages.
local pages = upstream "pages" {
  "127.0.0.1:3200", "127.0.0.1:3201", "127.0.0.1:3202",
  balance = "hash", key = "uri",
  outlier = { slow = "2s" },
}

site "shop.example"    (proxy(shop))
site "reports.example" (proxy(reports))
site "*"               (proxy(pages))
