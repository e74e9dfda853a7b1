-- ARGV: op, word, where, run, fresh, life, known epoch, known offset, known run, and what the op takes.
-- META: e epoch, o offset of the last message, r the run of the server that saw it last, p the run before that, b the
-- offset that r began with. A server that lost the end of its memory went back to an offset below one that was seen.
local run, fresh, life = ARGV[4], ARGV[5], ARGV[6]
local meta = redis.pcall('HMGET', META, 'e', 'o', 'r', 'p', 'b')
if meta.err then
  -- What stands there is not of rsp.
  redis.call('DEL', META)
  meta = {}
end
local epoch, offset = meta[1], tonumber(meta[2])

-- The epoch after this one.
local function following(text)
  local digits = '0123456789abcdefghijklmnopqrstuvwxyz'
  for i = #text, 1, -1 do
    local at = digits:find(text:sub(i, i), 1, true) or 36
    if at < 36 then
      return text:sub(1, i - 1) .. digits:sub(at + 1, at + 1) .. ('0'):rep(#text - i)
    end
  end
  return text
end

local function begin()
  -- Whoever made the last one may have a clock that is ahead of ours.
  if epoch and #epoch == #fresh and epoch >= fresh then
    fresh = following(epoch)
  end
  -- The first command is one that a full server refuses: after another one, none would be.
  redis.call('HSET', META, 'e', fresh, 'o', '0', 'r', run)
  redis.call('HDEL', META, 'p', 'b')
  redis.call('DEL', STREAM, OFFSETS, ENDS)
  epoch, offset = fresh, 0
  tell('r' .. fresh .. '-0')
end

local function position(at)
  return epoch .. '-' .. string.format('%.0f', at or offset)
end

if epoch and offset then
  local before, base = meta[4], tonumber(meta[5])
  if meta[3] ~= run then
    before, base = meta[3], offset
    redis.call('HSET', META, 'r', run, 'p', before or '', 'b', position():match('-(%d+)$'))
  end
  local known = tonumber(ARGV[8])
  -- An epoch before one that was seen is back, as that of an old dump.
  if epoch < ARGV[7] then
    begin()
  elseif epoch == ARGV[7] and (offset < known or (ARGV[9] ~= run and (ARGV[9] ~= before or (base or 0) < known))) then
    begin()
  end
else
  begin()
end
-- Others may want it for longer.
local function remember()
  if redis.call('PTTL', META) < tonumber(life) then
    redis.call('PEXPIRE', META, life)
  end
end
if op == 'look' then
  -- Long enough for who looked to come and follow.
  if redis.call('PTTL', META) < 0 then
    redis.call('PEXPIRE', META, math.min(tonumber(life), 60000))
  end
elseif op ~= 'publish' then
  remember()
end

-- count messages at most, and not many more bytes than asked for; ids and messages in turn.
local function read(command, from, to)
  local count, bytes, found = tonumber(ARGV[13]), tonumber(ARGV[14]), {}
  while count > 0 and bytes > 0 do
    local page = redis.call(command, STREAM, from, to, 'COUNT', math.min(count, 64))
    for _, entry in ipairs(page) do
      found[#found + 1], found[#found + 2] = entry[1], entry[2][2]
      count, bytes = count - 1, bytes - #entry[2][2]
      from = '(' .. entry[1]
      if bytes <= 0 then break end
    end
    if #page < 64 then break end
  end
  return { position(), found }
end

if op == 'publish' then
  local body, history, ttl, key, again = ARGV[10], tonumber(ARGV[11]), ARGV[12], ARGV[13], tonumber(ARGV[14])
  if key ~= '' then
    local old = redis.call('ZRANGEBYSCORE', ENDS, '-inf', now, 'LIMIT', 0, 1000)
    if #old > 0 then
      -- As in begin(): a full server refuses this, and not what would follow what is forgotten here.
      redis.call('HSET', META, 'e', epoch)
      redis.call('HDEL', OFFSETS, unpack(old))
      redis.call('ZREM', ENDS, unpack(old))
    end
    local ends = tonumber(redis.call('ZSCORE', ENDS, key) or 0)
    local first = redis.call('HGET', OFFSETS, key)
    if first and ends > now then
      return { epoch .. '-' .. first, 1, 0 }
    end
  end
  offset = offset + 1
  local text = string.format('%.0f', offset)
  redis.call('HSET', META, 'o', text)
  remember()
  if history > 0 then
    local add = { 'XADD', STREAM, 'MAXLEN', history, text .. '-0', 'm', body }
    local done = redis.pcall(unpack(add))
    if type(done) == 'table' and done.err then
      -- What stands there is not of this epoch, or no stream.
      if not (done.err:find('WRONGTYPE') or done.err:find('smaller')) then
        return done
      end
      redis.call('DEL', STREAM)
      redis.call(unpack(add))
    end
    redis.call('PEXPIRE', STREAM, ttl)
  else
    redis.call('DEL', STREAM)
  end
  if key ~= '' then
    redis.call('HSET', OFFSETS, key, text)
    redis.call('ZADD', ENDS, now + again, key)
    if redis.call('ZCARD', ENDS) > tonumber(ARGV[15]) then
      redis.call('HDEL', OFFSETS, redis.call('ZPOPMIN', ENDS)[1])
    end
    redis.call('PEXPIRE', OFFSETS, again)
    redis.call('PEXPIRE', ENDS, again)
  end
  return { position(), 0, tell('m' .. position() .. '\n' .. body) }
end

if op == 'reset' then
  if epoch ~= fresh then begin() end
  remember()
elseif op == 'check' then
  sweep()
elseif ARGV[10] == 'since' then
  if ARGV[11] == epoch and tonumber(ARGV[12]) < offset then
    return read('XRANGE', '(' .. ARGV[12] .. '-0', '+')
  end
elseif ARGV[10] == 'latest' then
  return read('XREVRANGE', '+', '-')
end
return { position(), {} }
