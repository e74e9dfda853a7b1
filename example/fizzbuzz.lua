-- A shell script as a WebSocket, with a page that shows it. Try it: rsp example/fizzbuzz.lua, and open
-- http://127.0.0.1:8080/ in a browser, or in several: each has a count of its own.

listen "127.0.0.1:8080"

site "*" {
  ["/"] = files "./fizzbuzz", -- the page; the script beside it is not served: this route is / alone

  -- A process for each visitor: every line that it prints is a message. It ends when they leave. In a browser
  -- http://127.0.0.1:8080/count is a page to try it by hand; without a browser:
  --   curl -N -H 'Accept: text/event-stream' http://127.0.0.1:8080/count
  ["/count"] = exec {
    "./fizzbuzz/fizzbuzz.sh",
    console = true,
    processes_max = 100,          -- for one visitor more 429
    env = { PAUSE = "0.3" },      -- seconds between two numbers
  },
}
