listen "127.0.0.1:8080"
broker { redis = "http://:secret@127.0.0.1:6379", prefix = 7, timeout = "2m" }
site "*" (channel "news")
