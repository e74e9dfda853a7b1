listen "127.0.0.1:8080"
broker "redis://user:secret@127.0.0.1:6379/0"
site "*" (channel "news")
