listen "127.0.0.1:8080"
log { format = "websocket" }
site "*" {
  ["/"] = { headers { only = "websockets" }, redirect("http://{hostnam}/", 301) },
}
