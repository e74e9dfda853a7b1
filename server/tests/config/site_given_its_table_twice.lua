listen "127.0.0.1:8080"
local s = site "a.example"
s { ["/"] = reply(200) }
s { ["/"] = reply(201) }
