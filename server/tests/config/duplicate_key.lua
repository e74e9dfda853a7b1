listen "127.0.0.1:8080"
site "example.com" {
  ["/"] = files ".",
  ["/api/*"] = proxy { "127.0.0.1:3000", timeout = "1s", ["timeout"] = "2s" },
  ['/'] = reply(200),
}
