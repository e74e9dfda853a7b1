-- ARGV: op, word, where, node, life, and what the op takes. MEMBERS: node:id → a (announced) or q (quiet) and the member;
-- NODES: nodes by the time at which they are dead if nobody hears of them.
local node, life = ARGV[4], tonumber(ARGV[5])

local function stay()
  redis.call('ZADD', NODES, now + life, node)
  redis.call('PEXPIRE', NODES, life * 2)
  redis.call('PEXPIRE', MEMBERS, life * 2)
end

local function enter(field, value)
  if redis.call('HSET', MEMBERS, field, value) == 1 and string.sub(value, 1, 1) == 'a' then
    tell('j' .. string.sub(value, 2))
  end
end

if op == 'enter' then
  sweep()
  enter(node .. ':' .. ARGV[6], ARGV[7])
  stay()
elseif op == 'leave' then
  local field = node .. ':' .. ARGV[6]
  local value = redis.call('HGET', MEMBERS, field)
  if value and redis.call('HDEL', MEMBERS, field) == 1 and string.sub(value, 1, 1) == 'a' then
    tell('l' .. string.sub(value, 2))
  end
elseif op == 'beat' then
  -- Whether the node and its members are known: what was swept or lost must come again.
  sweep()
  local known = redis.call('ZSCORE', NODES, node) and redis.call('EXISTS', MEMBERS) == 1
  stay()
  return known and 1 or 0
elseif op == 'mine' then
  local mine = {}
  for i = 6, #ARGV, 2 do
    mine[node .. ':' .. ARGV[i]] = ARGV[i + 1]
  end
  dismiss(node, mine)
  for field, value in pairs(mine) do
    enter(field, value)
  end
  if next(mine) then
    stay()
  else
    redis.call('ZREM', NODES, node)
  end
elseif op == 'present' then
  sweep()
  local found, count, cursor = {}, 0, '0'
  repeat
    local page = redis.call('HSCAN', MEMBERS, cursor, 'COUNT', 1000)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if not found[page[2][i]] then count = count + 1 end
      found[page[2][i]] = string.sub(page[2][i + 1], 2)
    end
  until cursor == '0' or count >= tonumber(ARGV[6])
  local values = {}
  for _, value in pairs(found) do
    values[#values + 1] = value
  end
  return values
end
return 1
