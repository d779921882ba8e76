-- Adds the event of a bad address to the end of the stream, once for each address of a list.
--
-- KEYS[1] the stream   KEYS[2] hash: name of list and address -> unix milliseconds of its event
-- ARGV[1] the name   ARGV[2] unix milliseconds of the event   ARGV[3] when the operator removed the
-- address from the suppression list, 0 if never   ARGV[4] the event
-- Returns how many were added. After a removal, a later bounce makes the address bad once more.

local ms, removed = tonumber(ARGV[2]), tonumber(ARGV[3])
local reported = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or -1)
if ms <= removed or (reported >= 0 and reported >= removed) then
  return 0
end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local position = newest and tonumber(newest[2][4]) or 0
redis.call('XADD', KEYS[1], '*', 'event', ARGV[4], 'position', position + 1)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
