listen "127.0.0.1:8080"
site { "a.example", listn = ":80" } { ["/*"] = proxy "127.0.0.1:3000", lissen = ":80" }
