listen "127.0.0.1:8080"
site "example.com" {
  ["/empty"] = {},
  ["/text"] = "127.0.0.1:3000",
  ["/options"] = { proxy "127.0.0.1:3000", timeout = "1s" },
  ["/nested"] = { { allow "::1" }, proxy "127.0.0.1:3000" },
}
