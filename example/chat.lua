-- A chat: one page, one URL. Try it: rsp example/chat.lua, and open http://127.0.0.1:8080/chat in two browsers.

listen "127.0.0.1:8080"

site "*" {
  ["/"] = redirect("/chat/"),
  ["/chat/*"] = files "./chat", -- the page; it brings all that it needs

  -- The room. Browsers, event streams, polls and curl meet here:
  --   curl -d hello http://127.0.0.1:8080/chat/room
  --   curl -N -H 'Accept: application/x-ndjson' http://127.0.0.1:8080/chat/room
  ["/chat/room"] = channel {
    "chat",
    history = 200,      -- whoever comes sees the latest, whoever was away all that it missed
    presence = true,    -- who is here: curl 'http://127.0.0.1:8080/chat/room?presence'
    join_leave = true,  -- all are told who comes and goes
    message_max = "16KiB",
    -- Whoever comes says its name. Where that must be true, let `auth` ask for it.
    subscribe = function(request)
      local name = request.args.name
      return if name and utf8.len(name) and #name <= 160 then { user = name } else true
    end,
  },
}
