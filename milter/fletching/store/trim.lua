-- Forgets events from before a time; and puts right how many wait for the groups that had not read
-- all of those. Redis would count the forgotten ones as waiting, for ever.
--
-- KEYS[1] the stream   KEYS[2] its marks, hash: writer -> sequence number   ARGV[1] the least id
--         that must stay

-- Sequence numbers are times in microseconds. A journal keeps no event so much longer than the
-- stream, so nobody will ask for its mark again.
local longer = 7 * 86400000
local marks = redis.call('HGETALL', KEYS[2])
for i = 1, #marks, 2 do
  if marks[i + 1] / 1000 < tonumber(string.match(ARGV[1], '^%d+')) - longer then
    redis.call('HDEL', KEYS[2], marks[i])
  end
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end

-- Ids are compared as text: a number of Lua has not enough digits.
local function before(one, other)
  local ms, rest = one:match('(%d+)%-(%d+)')
  local other_ms, other_rest = other:match('(%d+)%-(%d+)')
  if ms == other_ms then
    ms, other_ms = rest, other_rest
  end
  return #ms < #other_ms or (#ms == #other_ms and ms < other_ms)
end

local forgotten = redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[1])
if forgotten == 0 then
  return 0
end

local function named(flat)
  local found = {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  return found
end

local stream = named(redis.call('XINFO', 'STREAM', KEYS[1]))
local first = stream['first-entry']
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = named(flat)
  local last = group['last-delivered-id']
  if not first or before(last, first[1]) then
    local passed = stream['entries-added'] - stream['length']
    redis.call('XGROUP', 'SETID', KEYS[1], group['name'], last, 'ENTRIESREAD', passed)
  end
end
return forgotten
