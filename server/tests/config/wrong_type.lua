listen(8080)
workers "two"
site "example.com" {
  ["/*"] = proxy { "127.0.0.1:3000", upgrade = "yes", timeout = {} },
  ["/x"] = 3,
}
