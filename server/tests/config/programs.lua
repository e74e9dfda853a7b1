listen "127.0.0.1:8080"
site "*" {
  ["/a"] = exec {},
  ["/b"] = exec { "./programs.lua", "x" },
  ["/c"] = exec { "no-such-program-anywhere" },
  ["/d"] = exec { "./nowhere.sh" },
  ["/e"] = exec { "cat", dir = "." },
  ["/f"] = exec { dir = "programs.lua" },
  ["/g"] = exec { dir = "./nowhere" },
  ["/h"] = exec { "cat", shard = true, framing = "line", stderr = "clint", processes_max = 0 },
  ["/i"] = exec { "cat", env = { "A=B", ["B=C"] = "d", E = 7 }, passenv = "PATH", cwd = "nowhere" },
  ["/j"] = exec { "cat", passenv = { "PATH", "A=B" }, user = "nobody-of-that-name", limits = { cpus = "1s", memory = "1KiB", files = 2 } },
  ["/k"] = exec { "cat", line_max = 0, message_max = "2GiB", close = "-1s", ping = "1ms" },
  ["/l"] = exec { "cat", origins = { "https://Example.com", "https://a.example:x", "http://", "a b" } },
  ["/m"] = exec { "cat", origins = "*", origin_required = true },
  ["/n"] = exec { "cat", otherwise = "files" },
  ["/p"] = exec { "cat", 7 },
}
