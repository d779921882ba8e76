-- Adds addresses to a suppression list. The first entry of an address stays.
--
-- KEYS[1] the list   ARGV[1] '1' if the operator adds them, '' for events
-- ARGV[2...] each address, unix milliseconds and reason
-- Returns how many were added. An address that the operator removed ("<unix milliseconds>
-- removed") is added again by the operator or by a later event, but not by an older event that is
-- written again.

local added = 0
for i = 2, #ARGV, 3 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  local removed = entry and string.match(entry, '^(%d+) removed$')
  if not entry or (removed and (ARGV[1] == '1' or tonumber(ARGV[i + 1]) > tonumber(removed))) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
    added = added + 1
  end
end
return added
