-- What both scripts begin with. All keys are of one channel, so that they are in one slot of a cluster.
local META, STREAM, OFFSETS, ENDS, MEMBERS, NODES = unpack(KEYS)
-- word: PUBLISH or SPUBLISH; where: the name that subscribers of the channel listen to.
local op, word, where = ARGV[1], ARGV[2], ARGV[3]

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function tell(text)
  return redis.call(word, where, text)
end

-- The members of a node that are not in `stay` (nil: none may stay) have left.
local function dismiss(node, stay)
  local cursor = '0'
  repeat
    local page = redis.call('HSCAN', MEMBERS, cursor, 'MATCH', node .. ':*', 'COUNT', 1000)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local field, value = page[2][i], page[2][i + 1]
      if not (stay and stay[field]) and redis.call('HDEL', MEMBERS, field) == 1 and string.sub(value, 1, 1) == 'a' then
        tell('l' .. string.sub(value, 2))
      end
    end
  until cursor == '0'
end

-- Whoever looks first finds a node that died and says that its members have left.
local function sweep()
  local dead = redis.pcall('ZRANGEBYSCORE', NODES, '-inf', now, 'LIMIT', 0, 100)
  if dead.err then
    -- What stands there is not of rsp; whoever lives says so again.
    redis.call('DEL', NODES)
    dead = {}
  end
  for _, node in ipairs(dead) do
    redis.call('ZREM', NODES, node)
    dismiss(node)
  end
end
