--!strict
--[==[ site "x" { a = 1, a = 2 } ]] ]==]
type Options = { timeout: string, timeout2: string?, [string]: any }
local text = [[ proxy { a = 1, a = 1 ]] .. "\"{ a = 1, a = 1 }\z
    " .. `{ "a = 1" }, { #{ 1, 2 } } a = {1} \{`
local function pick(a: number, b: { c: string }?): (number, string)
  if a > 1 then return if b then 1 else 2, "x" elseif a < 0 then return 3, "y" else return 4, "z" end
end
local n = if pick(1) == 4 then 1 else 2
repeat local a, b = 1, 2 until true
while n > 5 do n -= 1 end
for _, v in { 1, 2 } do n += v end
listen "127.0.0.1:8080"
site "*" {
  ["/f"] = function(request) local a, b = 1, 2; if a then return reply(200, { x = 1, y = 2 }) end end,
  ["/*"] = proxy { "127.0.0.1:3000", bufer = "64KiB" :: any },
}
