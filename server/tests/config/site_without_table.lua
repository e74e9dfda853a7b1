listen "127.0.0.1:8080"
site "a.example"
site { "b.example", "c.example" }
