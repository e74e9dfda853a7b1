listen "127.0.0.1:8080"
upstream "app" {
  { "127.0.0.1:3000", wieght = 2 },
  outlier = { failures = 3, ejct = "1s" },
}
site "*" (proxy "app")
limits { boddy = "1MiB" }
