listen "127.0.0.1:8080"
local options = { "127.0.0.1:3000", timeuot = "1s" }
site "*" {
  ["/*"] = proxy(options),
}
