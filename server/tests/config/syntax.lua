listen "127.0.0.1:8080"
site "example.com" {
  ["/*"] = proxy "127.0.0.1:3000"
  ["/x"] = reply(200),
}
