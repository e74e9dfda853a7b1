listen "127.0.0.1:8080"
site "*" { ["/a"] = reply(200, "a"), ["/b"] = reply(20, "b"), ["/c"] = reply("c") }
