listen "127.0.0.1:8080"
site "*" {
  ["/a/*"] = cgi {},
  ["/b/*"] = cgi "./nowhere",
  ["/c/*"] = cgi "cgi_and_bridge.lua",
  ["/d/*"] = cgi { ".", "..", timeout = "0s", framing = "raw" },
  ["/e/*"] = cgi { ".", otherwise = 404, env = "A=B" },
  ["/f"] = bridge {},
  ["/g"] = bridge "nobody",
  ["/h"] = bridge { "127.0.0.1:7000", framing = "object", shared = true },
  ["/i"] = bridge { "127.0.0.1:7000", origins = 7, line_max = "1TiB" },
}
