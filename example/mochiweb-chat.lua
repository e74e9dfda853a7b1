-- The comet chat of 2008, as MochiWeb had it: a form posts `message=…`, and a GET waits until somebody says something.
-- Try it: rsp example/mochiweb-chat.lua, and open http://127.0.0.1:8080/ in two browsers, however old. From a shell:
--   curl -d message=hello http://127.0.0.1:8080/chat
--   curl -i http://127.0.0.1:8080/chat          the next message; its ETag goes into ?since= of the one after it

listen "127.0.0.1:8080"

site "*" {
  ["/"] = files "./mochiweb-chat",
  ["/chat"] = channel { "chat", field = "message", history = 50 },
}
