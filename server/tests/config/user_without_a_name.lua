listen "127.0.0.1:8080"
user ":www-data"
site "*" (reply(200))
