-- For wrk: POSTs of 128 bytes. Its arguments: a path, and of how many channels its `#` is the number, in turn.
local requests, number = {}, 0

function init(arguments)
  for i = 0, tonumber(arguments[2] or 1) - 1 do
    requests[#requests + 1] = wrk.format("POST", (arguments[1]:gsub("#", tostring(i))), nil, ("x"):rep(128))
  end
end

function request()
  number = number % #requests + 1
  return requests[number]
end
