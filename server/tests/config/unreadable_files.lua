listen "127.0.0.1:8080"
site "example.com" {
  ["/missing/*"] = files "./there/is/no/such/folder",
  ["/file/*"] = files "./unreadable_files.lua",
}
log { to = "/no/such/folder/access.log" }
