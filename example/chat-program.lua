-- A chat whose server is a script of twenty lines that reads lines and prints lines: no netcat, no TCP, no library.
-- Try it: rsp example/chat-program.lua, and open http://127.0.0.1:8080/ in two browsers. From a shell, with an event stream:
--   curl -N -H 'Accept: text/event-stream' 'http://127.0.0.1:8080/chat?name=Ada'

listen "127.0.0.1:8080"

site "*" {
  ["/"] = files "./chat-program", -- the page

  -- One process for all clients. It is told who comes, what they say and who leaves, and says to whom what goes:
  --   in:  {"id":"1","event":"open","request":{"query":"name=Ada",…}}   {"id":"1","event":"message","data":"hello"}
  --   out: {"data":"Ada: hello"} to all, {"id":"1","data":"psst"} to one
  -- If it ends it is started again, clients stay, and it is told of each of them.
  ["/chat"] = exec { "python3", "chat-program/chat.py", shared = true },
}
