listen "127.0.0.1:8080"
site "example.com" {
  ["GET/x"] = reply(200),
  ["/a/../b"] = reply(200),
  ["/a/*/b"] = reply(200),
  ["/a//b"] = reply(200),
  ["/{}"] = reply(200),
  ["/{id}/{id}"] = reply(200),
  ["/%41"] = reply(200),
  ["G(T /x"] = reply(200),
}
