listen "127.0.0.1:8080"
site "*" {
  ["/a"] = { limit {}, reply(200) },
  ["/b"] = { limit { burst = 5 }, reply(200) },
  ["/c"] = { limit { rate = "5 a second" }, reply(200) },
  ["/d"] = { limit { rate = "5/s", key = "client.id" }, reply(200) },
  ["/e"] = { limit { rate = "5/s", key = "header:X Key", status = 200 }, reply(200) },
  ["/f"] = { limit { rate = "5/s", by = "global" }, reply(200) },
  ["/g"] = { limit { concurrent = 0 }, reply(200) },
  ["/h"] = { limit { rate = "5/s", by = redis "redis://127.0.0.1:6379" }, reply(200) },
  ["/i"] = { limit { rate = "5/s", key = function(request) return request.path end }, reply(200) },
}
