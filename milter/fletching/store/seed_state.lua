-- Changes the state of a claimed seed, if it is as expected. The states and who changes them are in
-- seeds.py. When no seed needs the content of a mail any more, it is deleted.
--
-- KEYS[1] the seeds of a campaign   KEYS[2] the content of the mail that was copied
-- ARGV[1] the seed   ARGV[2] the attempt that is expected   ARGV[3] the states that are expected,
--         each between spaces   ARGV[4] fields to change, JSON
-- Returns the state before; 'stale' if it is another attempt, 'unknown' if the seed is not claimed.

local found = redis.call('HGET', KEYS[1], ARGV[1])
if not found then
  return 'unknown'
end
local seed = cjson.decode(found)
local before = seed.state
if seed.attempt ~= tonumber(ARGV[2]) then
  return before == 'sent' and before or 'stale'
end
if not string.find(ARGV[3], ' ' .. before .. ' ', 1, true) then
  return before
end
for name, value in pairs(cjson.decode(ARGV[4])) do
  seed[name] = value
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(seed))

if seed.state == 'sent' or seed.state == 'failed' then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 2, #all, 2 do
    local other = cjson.decode(all[i])
    if other.mail == seed.mail and other.state ~= 'sent' and other.state ~= 'failed' then
      return before
    end
  end
  redis.call('DEL', KEYS[2])
end
return before
