listen "127.0.0.1:8080"
local function port(of)
  return of.port.number
end

local function target()
  local it = "127.0.0.1:" .. port {}
  return it
end

site "*" (proxy(target()))
