listen "127.0.0.1:8080"
site "example.com" { ["/"] = reply(200) }
site { "www.example.com", "Example.com." } { ["/"] = reply(200) }
