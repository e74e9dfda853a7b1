listen "127.0.0.1:8080"
errors {
  [200] = "./error_pages.lua",
  ["502"] = "./error_pages.lua",
  ["5xxx"] = "./error_pages.lua",
  [404] = "./no_such_page.html",
  [403] = reply(403, "no"),
  [410] = 5,
  [411] = "..",
  "./error_pages.lua",
}
site "a" {
  errors = "./404.html",
  ["/*"] = reply(200),
}
site "b" {
  errors = {},
  ["/*"] = reply(200),
}
