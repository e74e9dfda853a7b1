listen "127.0.0.1:8080"
site "*" {
  ["/a"] = { cors {}, reply(200) },
  ["/b"] = { cors { origins = "*", credentials = true }, reply(200) },
  ["/c"] = { cors { origins = { "example.com", "https://Example.com:443/", "https://a*.example.com", "https://" } }, reply(200) },
  ["/d"] = { cors { origins = "null", methods = { "put", "P T" }, headers = { "X A", "*" } }, reply(200) },
  ["/e"] = { cors { origins = 7 }, reply(200) },
  ["/g"] = { cors { origins = {} }, reply(200) },
  ["/f"] = { cors { origins = { "*", "null" }, max_age = 600 }, reply(200) },
}
