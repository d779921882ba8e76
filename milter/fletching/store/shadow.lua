-- Adds counts of mail in shadow to those of an hour. Each process numbers its batches, so that a
-- batch whose answer was lost is not added twice.
--
-- KEYS[1] the counts of the hour
-- ARGV[1] the process   ARGV[2] the number of its batch, larger than all before
-- ARGV[3] how many fields there may be before new names are added up   ARGV[4] ms to keep them
-- ARGV[5...] for each count: `+` adds; `?` adds under its name, or under `(others)` if it is new and
--            there is no room; `^` keeps the largest. Then its field, and the number.

local writer = '|writer|' .. ARGV[1]
if tonumber(redis.call('HGET', KEYS[1], writer) or 0) >= tonumber(ARGV[2]) then
  return 0
end
for i = 5, #ARGV, 3 do
  local how, field, number = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if how == '^' then
    if tonumber(redis.call('HGET', KEYS[1], field) or 0) < number then
      redis.call('HSET', KEYS[1], field, number)
    end
  else
    if how == '?' and redis.call('HEXISTS', KEYS[1], field) == 0
        and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
      field = string.match(field, '^[^|]*|[^|]*|') .. '(others)'
    end
    redis.call('HINCRBY', KEYS[1], field, number)
  end
end
redis.call('HSET', KEYS[1], writer, ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
