listen "127.0.0.1:8080"
local ports = {}
while #ports < 10 do
  local port = 3000 + #ports
end
