listen "127.0.0.1:8080"
site "*" {
  ["/a/{room}"] = channel "chat:{rom}",
  ["/b"] = channel "chat:{room}",
  ["/c"] = channel { "chat:{room", history = -1, ttl = "500ms" },
  ["/d"] = channel { "", publish = "sever", subscribe = true, delete = "nobody" },
  ["/e"] = channel { "e", publish = 7, origins = { "example.com" }, field = "", slow = "drop" },
  ["/f"] = channel { "f", protocols = { "plain", "sockjs", "socketio", "plane", "mqtt" } },
  ["/g"] = channel { "g", poll_timeout = "0s", ping = "2h", message_max = 0, queue_max = "1KB" },
  ["/h"] = channel { "news", history = 10 },
  ["/i"] = channel { "news", history = 20, hystory = 30 },
  ["/j"] = channel { protocols = 7 },
}
