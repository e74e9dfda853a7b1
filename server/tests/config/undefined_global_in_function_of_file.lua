listen "127.0.0.1:8080"
local function routes(target)
  return { ["/*"] = proxy(tagret) }
end

site "*" (routes "127.0.0.1:3000")
