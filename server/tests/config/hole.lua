listen "127.0.0.1:8080"
local second
upstream "app" { "127.0.0.1:3000", second, "127.0.0.1:3002" }
site "*" (proxy "app")
