-- Functions decide while a request waits: each returns a handler, or nil for the next one.

listen "127.0.0.1:8080"

local app = upstream "app" { "127.0.0.1:3000" }
local beta = upstream "beta" { "127.0.0.1:3001" }

-- A filter: answers, or lets the request pass.
local function with_key(request)
  if request.headers["X-Api-Key"] ~= env("API_KEY", "secret") then
    return reply(401, { error = "a key is needed" })
  end
end

-- A filter that changes the request for those behind it.
local function versioned(request)
  request.headers["X-Api-Version"] = request.args.version or "1"
  request.path = "/v1" .. request.path
end

site "*" {
  ["/who"] = function(request)
    return reply(200, `{request.client.ip} asks {request.host} for {request.path}\n`)
  end,

  ["/api/*"] = { with_key, versioned, proxy(app) },

  -- Who has the cookie sees the next version.
  ["/*"] = function(request)
    return proxy(if request.cookies.beta == "yes" then beta else app)
  end,

  ["POST /sum"] = function(request)
    local sum = 0
    for _, number in request:json("64KiB") do
      sum += number
    end
    return reply(200, { sum = sum })
  end,

  ["/hello/{name}"] = function(request)
    return reply(200, `hello {request.params.name}\n`)
  end,
}
