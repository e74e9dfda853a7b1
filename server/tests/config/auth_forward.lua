listen "127.0.0.1:8080"
upstream "login" { "127.0.0.1:9000" }
site "*" {
  ["/a/*"] = { auth { forward = { "logn", path = "/check" } }, reply(200) },
  ["/b/*"] = { auth { forward = { "login" } }, reply(200) },
  ["/c/*"] = { auth { forward = { "login", path = "check", copy = { "X-User", "Connection" } } }, reply(200) },
  ["/d/*"] = { auth { forward = { "login", path = "/check", cash = "1s" } }, reply(200) },
  ["/e/*"] = { auth { forward = "login" }, reply(200) },
  ["/f/*"] = { auth { forward = { "login", path = "/" }, basic = { a = "b" } }, reply(200) },
  ["/g/*"] = { auth {}, reply(200) },
  ["/h/*"] = { auth { jwt = { secret = "x" } }, reply(200) },
  ["/i/*"] = { auth { basik = "x" }, reply(200) },
}
