listen "127.0.0.1:8080"
site "example.com" {
  ["/*"] = proxy {
    "127.0.0.1:3000",
    -- A comment with a key = "in it", and { brackets.
    timeuot = "5s",
  },
}
