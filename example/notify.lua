-- Programs say what happened by a webhook, and people's pages hear of it at once:
--   curl -H "Authorization: Bearer secret" -d '{"title": "disk full"}' http://127.0.0.1:8080/notify/ops
--   curl -H "Accept: text/event-stream" http://127.0.0.1:8080/news/ops

listen "127.0.0.1:8080"

local token = env("TOKEN", "secret")

site "*" {
  -- A function publishes; nobody else may.
  ["POST /notify/{team}"] = function(request)
    if request.headers.Authorization ~= "Bearer " .. token then
      return reply(403, { error = "a token is needed" })
    end
    local sent = request:json("4KiB")
    if type(sent) ~= "table" or type(sent.title) ~= "string" then
      return reply(400, { error = "a title is needed" })
    end
    -- With a key the webhook may be repeated, and the message is published once.
    local message = { title = sent.title, from = request.client.ip }
    local position = channel.publish("news:" .. request.params.team, message, { key = sent.id })
    return reply(202, { position = position })
  end,

  ["/news/{team}"] = channel { "news:{team}", history = 50, publish = "server" },

  -- Who may come, as whom, and what may be said.
  ["/talk/{room}"] = channel {
    "talk:{room}",
    presence = true,
    subscribe = function(request)
      local name = request.cookies.name
      if not name or #name > 40 then
        return false
      end
      return { user = name, info = { from = request.client.ip } }
    end,
    publish = function(request, message)
      if #message > 500 then
        return false
      end
      return (string.gsub(message, "[Dd]arn", "****"))
    end,
  },

  ["/talk/{room}/last"] = function(request)
    local said = {}
    for _, item in channel.history("talk:" .. request.params.room, 10) do
      table.insert(said, { user = item.user, text = item.data })
    end
    return reply(200, { said = said })
  end,
}
