-- A site in PHP, such as WordPress: scripts by php-fpm, uploads and themes as plain files.
-- Try it: rsp check example/php.lua

listen "127.0.0.1:8080"

-- The second one takes over when the first one is gone. Each page is one connection; see `keepalive` of `fastcgi`
-- in the reference before you keep them open.
local php = upstream "php" {
  "unix:/run/php/php-fpm.sock",
  { "127.0.0.1:9000", backup = true },
}

site { "example.com", "localhost" } {
  limits = { body = "64MiB" },

  -- A path that names no script is answered by /index.php, which sees it in REQUEST_URI.
  ["/*"] = fastcgi { php, root = "./public", params = { APP_ENV = "production" }, timeout = "2m" },

  -- Nothing below a folder of `files` is run, and its scripts would be sent as text: only folders without any.
  ["/static/*"] = files "./public",

  -- Who may sign in.
  ["/wp-login.php"] = { allow { "10.0.0.0/8", "127.0.0.1" }, fastcgi { php, root = "./public" } },
}
