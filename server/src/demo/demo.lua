-- What `rsp demo` runs. The ports were filled in; the rest you could have written.

listen "$LISTEN"
listen { "$SECURED", tls = true } -- HTTP/2, too
log { format = "none" }

local hello = upstream "hello" {
  { "$ONE", name = "one" },
  { "$TWO", name = "two" },
  { "$THREE", name = "three" },
  balance = "round_robin",

  -- A request that meets a closed port goes to another endpoint. So may every
  -- one, if need be; busy sites are better off with the default, one in five.
  retry = { tries = 3, budget = 1 },

  -- The closed one is then left out: for a second, the next time for two.
  -- Two of the three may be out at once.
  outlier = { eject = "1s", eject_max = "2s", max_ejected = 0.7 },
}

site "*" {
  tls = { cert = "$CERTIFICATE", key = "$KEY" }, -- made at the start, and signed by nobody
  ["GET /hello"] = proxy(hello),
  ["GET /"] = proxy "$BACKSTAGE",   -- this page
  ["/demo/*"] = proxy "$BACKSTAGE", -- its switches

  -- The chat: its page, and the room where browsers, event streams, polls and curl meet.
  ["GET /chat"] = proxy "$BACKSTAGE",
  ["GET /chat/"] = redirect("/chat"),
  ["/chat/room"] = channel {
    "chat",
    history = 200,      -- whoever comes sees the latest; whoever was away, what it missed
    presence = true,    -- who is here
    join_leave = true,  -- who comes and who goes
    message_max = "16KiB",
    -- Whoever comes says its name. Where that must be true, let `auth` ask for it.
    subscribe = function(request)
      local name = request.args.name
      return if name and utf8.len(name) and #name <= 160 then { user = name } else true
    end,
  },

  -- Programs: each line that one prints is a message to its visitor; each message of the
  -- visitor is a line that it reads.
  ["GET /programs"] = proxy "$BACKSTAGE",
  ["GET /programs/"] = redirect("/programs"),
  ["/programs/clock"] = exec { "sh", "-c", "while date; do sleep 1; done", console = true },
  ["/programs/greeter"] = exec { "sh", "-c", [[
    echo "Hello! What is your name?"
    read -r name || exit
    echo "Nice to meet you, $name. I am a shell script. Ask me for the time, or say bye."
    while read -r line; do
      case $line in
        *time*) date +"It is %H:%M:%S." ;;
        *bye* | *Bye*) echo "Goodbye, $name."; exit ;;
        *) echo "You say: $line" ;;
      esac
    done
  ]], console = true },
}
