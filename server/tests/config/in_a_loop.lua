listen "127.0.0.1:8080"
for i = 1, 2 do
  site("s" .. i .. ".example") {
    ["/" .. i] = proxy { "127.0.0.1:3000", timeot = "1s" },
    ["/*"] = reply(i),
  }
end
