-- Enters addresses into a suppression list. The first entry of an address stays.
--
-- KEYS[1] the list   ARGV[1] '1' where the operator enters them, '' for events
-- ARGV[2...] each address, unix milliseconds and reason
-- Gives how many were not there. One that the operator removed ("<unix milliseconds> removed") comes
-- back by the operator, or by an event after that: not by an older one that is written once more.

local entered = 0
for i = 2, #ARGV, 3 do
  local there = redis.call('HGET', KEYS[1], ARGV[i])
  local removed = there and string.match(there, '^(%d+) removed$')
  if not there or (removed and (ARGV[1] == '1' or tonumber(ARGV[i + 1]) > tonumber(removed))) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
    entered = entered + 1
  end
end
return entered
