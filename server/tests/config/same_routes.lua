listen "127.0.0.1:8080"
site "example.com" {
  ["/users/{id}"] = reply(200),
  ["/users/{name}"] = reply(200),
  ["GET /users/{id}"] = reply(200),
}
