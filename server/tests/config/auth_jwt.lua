listen "127.0.0.1:8080"
local function with(jwt) return { auth { jwt = jwt }, reply(200) } end
local SECRET = "0123456789abcdef0123456789abcdef"
site "*" {
  ["/a/*"] = with { secret = "short" },
  ["/b/*"] = { auth { jwt = { secret = "short" } }, reply(200) },
  ["/c/*"] = { auth { jwt = { key = "auth_users.htpasswd" } }, reply(200) },
  ["/d/*"] = { auth { jwt = { key = "nowhere.pem" } }, reply(200) },
  ["/e/*"] = { auth { jwt = { jwks = "https://example.com/.well-known/jwks.json" } }, reply(200) },
  ["/f/*"] = { auth { jwt = { jwks = "auth_users.htpasswd" } }, reply(200) },
  ["/g/*"] = { auth { jwt = { secret = SECRET, key = "nowhere.pem" } }, reply(200) },
  ["/h/*"] = { auth { jwt = { secret = SECRET, algorithms = { "HS256", "RS256", "none", "HS265" } } }, reply(200) },
  ["/i/*"] = { auth { jwt = { issuer = "us" } }, reply(200) },
  ["/j/*"] = { auth { jwt = { secret = SECRET, audiense = "app" } }, reply(200) },
  ["/k/*"] = { auth { jwt = { secret = SECRET, cookie = "a b" } }, reply(200) },
  ["/l/*"] = { auth { jwt = SECRET }, reply(200) },
  ["/m/*"] = { auth { jwt = { secret = SECRET }, forward = { "127.0.0.1:1", path = "/" } }, reply(200) },
}
