listen "127.0.0.1:8080"
site "*" {
  ["/a"] = exec { "cat", shared = true, channel = "clock" },
  ["/b"] = exec { dir = ".", shared = true },
  ["/c"] = exec { dir = ".", channel = "clock" },
  ["/d"] = exec { "cat", shared = true, framing = "raw" },
  ["/e"] = exec { "cat", stderr = "client", framing = "raw" },
  ["/f"] = exec { "cat", stderr = "client", shared = true },
  ["/g/{room}"] = exec { "cat", channel = "chat:{room}" },
  ["/h"] = exec { "cat", channel = 7 },
  ["/i"] = exec { "cat", channel = "clock", origins = "*", ping = "5s", console = true, otherwise = reply(404) },
  ["/j"] = exec { "cat", channel = "clock", processes_max = 3 },
  ["/k"] = exec { "cat", shared = true, reverse_lookup = true },
}
