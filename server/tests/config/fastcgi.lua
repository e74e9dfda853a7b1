listen ":8080"
upstream "php" { "unix:/run/php.sock" }
site "*" {
  ["/a/*"] = fastcgi { "phq", rot = "./x" },
  ["/b/*"] = fastcgi { "unix:/run/php.sock", root = "fastcgi.lua" },
  ["/c/*"] = fastcgi { "unix:/run/php.sock", index = "a/b.php", split = "" },
  ["/d/*"] = fastcgi { "unix:/run/php.sock", params = { APP_ENV = 1, ["A=B"] = "x", "y" } },
  ["/e/*"] = fastcgi { "unix:/run/php.sock", params = "x", keepalive = 4 },
  ["/f/*"] = fastcgi(function() end),
  ["/g/*"] = fastcgi {},
}
