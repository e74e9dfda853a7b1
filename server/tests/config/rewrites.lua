listen "127.0.0.1:8080"
site "*" {
  ["/a"] = { rewrite "^/a", reply(200) },
  ["/b"] = { rewrite("^/(b", "/c"), reply(200) },
  ["/c"] = { rewrite("^/é[z-a]", "/c"), reply(200) },
  ["/d"] = { rewrite("^/(.*)", "/$1a"), reply(200) },
  ["/e"] = { rewrite("^/(?<name>.*)", "/$nam"), reply(200) },
  ["/f"] = { rewrite("^/f", "/%20"), reply(200) },
  ["/g"] = { rewrite("^/g", "/?a b"), reply(200) },
  ["/h"] = { rewrite("((((a{100}){100}){100}){100})", "/"), reply(200) },
  ["/i"] = { rewrite("(?=x)", "/"), reply(200) },
}
