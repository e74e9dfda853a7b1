listen "127.0.0.1:8080"
site "example.com" {
  ["/a/*"] = files { ".", cache_control = "max-age=60\n", lisitng = true },
  ["/b/*"] = files { ".", try = { "{path}", "{pth}.html", "index.html" } },
  ["/c/*"] = files { ".", try = "/../secret", mime = { md = "markdown", ["tar.gz"] = "application/gzip" } },
  ["/d/*"] = files { ".", mime = "text/plain", dotfiles = "yes" },
}
