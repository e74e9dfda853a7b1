-- Folders: an app of one page, downloads with a list, and a blog of compressed pages.
-- Try it: rsp example/files.lua

listen "127.0.0.1:8080"

site "*" {
  -- What is no file is a path of the app: its page answers. Names that hold a hash of their content never change.
  ["/*"] = files { "./public", try = { "{path}", "{path}.html", "/index.html" }, cache_control = "no-cache" },
  ["/assets/*"] = files { "./public", cache_control = "public, max-age=31536000, immutable" },

  -- A list for people, and for programs: curl -H 'Accept: application/json' http://127.0.0.1:8080/downloads/
  ["/downloads/*"] = files { ".", listing = true, mime = { lua = "text/plain; charset=utf-8" } },
}
