listen "127.0.0.1:8080"
upstream "backend" { "127.0.0.1:3000" }
site "*" { ["/*"] = proxy "backnd", ["/x"] = proxy { "other", timeout = "1s" } }
